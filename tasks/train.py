"""Train: shards to a checkpoint. Safe to kill: it goes on from the last whole checkpoint, on any machine that sees the store."""

import logging
import tempfile
from pathlib import Path
from typing import Any

import torch

from tasks.contracts.errors import TrainingError
from tasks.contracts.recipe import Training
from tasks.contracts.values import Artifact
from tasks.model.checkpoint import KIND, Progress, load_checkpoint, load_weights, newest_checkpoint, save_checkpoint
from tasks.model.loop import train
from tasks.model.whisper import load_whisper, save_whisper
from tasks.policy import step
from tasks.scoring.rates import word_error_rate
from tasks.shards.dataset import open_split
from tasks.shards.plan import sample
from tasks.store.artifacts import Draft, fetch, load
from tasks.store.lines import to_lines

log = logging.getLogger(__name__)


@step("checkpoint", version=1, task_run_name="train-{training.steps}-steps")
def train_model(draft: Draft, start: Artifact, dataset: Artifact, language: str, training: Training) -> dict[str, Any]:
    """Train `start` on the data set's train split and keep the checkpoint with the lowest dev WER."""
    store, run = draft.store, draft.key
    folder = fetch(store, start)
    whisper = load_whisper(folder, language, device())
    clips = open_split(store, dataset, "train")
    dev = list(open_split(store, dataset, "dev"))
    chosen = sample([each.id for each in dev], training.dev_clips, training.seed)
    dev = [each for each in dev if each.id in chosen]

    def keep(model: torch.nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
        save_checkpoint(store, run, model, optimizer, progress)

    def resume(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
        newest = newest_checkpoint(store, run)
        return load_checkpoint(store, newest, model, optimizer) if newest else Progress()

    progress = train(whisper, clips, dev, training, word_error_rate, keep, resume)
    if not progress.best_step:
        raise TrainingError(f"training {run}: no look at the dev split gave a finite WER; see its log")
    load_weights(whisper.model, fetch(store, load(store, KIND, f"{run}/{progress.best_step:08d}")))
    with tempfile.TemporaryDirectory() as target:
        save_whisper(whisper, folder, Path(target))
        for path in sorted(Path(target).iterdir()):
            draft.write(path.name, path)
    draft.write("training.jsonl", to_lines(progress.history))
    n_epochs = progress.step * training.batch * training.accumulate / len(clips)
    return {"steps": progress.step, "best_step": progress.best_step, "dev_wer": progress.best_wer, "n_epochs": round(n_epochs, 2),
            "seconds": round(sum(look["seconds"] for look in progress.history), 1), "device": device(),
            "n_parameters": sum(each.numel() for each in whisper.model.parameters())}  # fmt: skip


def device() -> str:
    """Return where models run on this machine."""
    return "cuda" if torch.cuda.is_available() else "cpu"
