"""Train a tiny Whisper as one of several processes that torchrun starts.

`... -m tests.support.train_team FOLDER STORE OUT SETTINGS [STOP]`: each writes its losses and weights to OUT; after step STOP one of them
is asked to stop.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from tasks.model.checkpoint import State, resume
from tasks.model.keeper import Keeper
from tasks.model.loop import Moment, train
from tasks.model.signals import Stopped
from tasks.model.team import rank, team
from tasks.model.whisper import load_whisper
from tasks.store.objects import Store
from tests.support.tiny import RUN, TOLD, always_wrong, settings, tones


def main(folder: str, root: str, out: str, told: str, stop: str = "-1") -> int:
    torch.set_num_threads(1)
    section, losses = settings(**json.loads(told)), []
    with team() as place:
        whisper = load_whisper(Path(folder), "sv", place)
        keeper = Keeper(Store(root), RUN, TOLD, section.checkpoints.newest)

        def take_over(state: State) -> None:
            resume(Store(root), RUN, state, TOLD)

        def watch(moment: Moment) -> None:
            if not moment.look:
                losses.append(moment.loss)
            if moment.step == int(stop) and rank() == 1:
                os.kill(os.getpid(), signal.SIGTERM)

        code = 0
        try:
            progress = train(whisper, tones(), tones(), section, always_wrong, keeper, take_over, watch)
        except Stopped:
            code = 143
        else:
            Path(out, f"looks-{rank()}.json").write_text(json.dumps(progress.history))
        Path(out, f"losses-{rank()}.json").write_text(json.dumps(losses))
        save_file(
            {name: weight.contiguous() for name, weight in whisper.model.named_parameters()}, Path(out, f"weights-{rank()}.safetensors")
        )
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
