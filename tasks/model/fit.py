"""One training from references to files: fetch, train, keep checkpoints under the training's own key, write the best one out.

What the step `train` calls, and what `python -m tasks.model` runs on a machine without Prefect.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tasks.contracts.errors import TrainingError
from tasks.contracts.values import Artifact
from tasks.model.checkpoint import KIND, Progress, load_checkpoint, load_weights, newest_checkpoint, save_checkpoint
from tasks.model.loop import epoch_length, train
from tasks.model.whisper import load_whisper, save_whisper
from tasks.shards.dataset import open_split
from tasks.shards.plan import sample
from tasks.store.artifacts import Draft, fetch, load
from tasks.store.lines import to_lines

if TYPE_CHECKING:  # pydantic is not needed to train
    from tasks.contracts.recipe import Training


def fit(
    draft: Draft, start: Artifact, dataset: Artifact, language: str, training: "Training", wer: Callable[[list[str], list[str]], float]
) -> dict[str, Any]:
    """Train `start` on the data set's train split, and write the checkpoint with the lowest dev WER into the draft.

    Args:
        draft: its key names the training: every attempt at it goes on from the last one's checkpoints, on any machine.
        start: the sealed model.
        dataset: the sealed shards.
        language: of the labels.
        training: the recipe's section.
        wer: word error rate of (references, hypotheses).

    Returns:
        Facts: steps, the chosen one, its dev WER, epochs, seconds, device, parameters.
    """
    store, run = draft.store, draft.key
    folder = fetch(store, start)
    whisper = load_whisper(folder, language, device())
    clips, dev = open_split(store, dataset, "train"), open_split(store, dataset, "dev")
    chosen = sample(dev.ids, training.dev_clips, training.seed, dev.speakers)

    def keep(model: torch.nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
        save_checkpoint(store, run, model, optimizer, progress)

    def resume(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
        newest = newest_checkpoint(store, run)
        return load_checkpoint(store, newest, model, optimizer) if newest else Progress()

    progress = train(whisper, clips, [each for each in dev if each.id in chosen], training, wer, keep, resume)
    if not progress.best_step:
        raise TrainingError(f"training {run}: no look at the dev split gave a finite WER; are its texts empty?")
    load_weights(whisper.model, fetch(store, load(store, KIND, f"{run}/{progress.best_step:08d}")))
    with tempfile.TemporaryDirectory() as target:
        save_whisper(whisper, folder, Path(target))
        for path in sorted(Path(target).iterdir()):
            draft.write(path.name, path)
    draft.write("training.jsonl", to_lines(progress.history))
    return {
        "steps": progress.step,
        "best_step": progress.best_step,
        "dev_wer": progress.best_wer,
        "n_epochs": round(progress.step * training.batch * training.accumulate / epoch_length(len(clips), clips.weights), 2),
        "seconds": round(sum(look["seconds"] for look in progress.history), 1),
        "device": device(),
        "n_parameters": sum(each.numel() for each in whisper.model.parameters()),
    }


def device() -> str:
    """Return where models run on this machine."""
    return "cuda" if torch.cuda.is_available() else "cpu"
