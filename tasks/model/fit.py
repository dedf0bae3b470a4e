"""One training from references to files: fetch, train, keep checkpoints under the training's own key, write the best one out.

What the step `train` calls, and what `python -m tasks.model` runs on a machine without Prefect, alone or as one of several processes.
"""

import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from tasks.contracts.errors import TrainingError
from tasks.contracts.values import HISTORY, Artifact, plain
from tasks.model.checkpoint import KIND, WEIGHTS, Progress, State, extend, load_weights, resume
from tasks.model.keeper import Keeper
from tasks.model.lessons import needs_sound
from tasks.model.loop import Moment, Wer, train
from tasks.model.lora import merge_lora
from tasks.model.optimise import precision_of, usual_rate
from tasks.model.signals import Stopped
from tasks.model.team import as_first_says, rank, team, world
from tasks.model.whisper import Whisper, load_whisper, save_whisper
from tasks.shards.dataset import Split, open_split
from tasks.shards.format import Example
from tasks.shards.plan import sample
from tasks.store.artifacts import Draft, fetch, load
from tasks.store.lines import to_lines

if TYPE_CHECKING:  # pydantic is not needed to train
    from tasks.contracts.recipe import Training

log = logging.getLogger(__name__)


def fit(
    draft: Draft,
    start: Artifact,
    dataset: Artifact,
    language: str,
    training: "Training",
    wer: Wer,
    watch: Callable[[Moment], None] | None = None,
) -> dict[str, Any]:
    """Train `start` on the data set's train split, and write the checkpoint with the lowest dev WER into the draft.

    Args:
        draft: its key names the training: every attempt at it goes on from the last one's checkpoints, on any machine.
        start: the sealed model.
        dataset: the sealed shards.
        language: of the labels.
        training: the recipe's section.
        wer: word error rate of (references, hypotheses).
        watch: is told after each step and each look, in process 0.

    Returns:
        Facts: steps, the chosen one, its dev WER, epochs, seconds and what they went into, device, parameters. Process 0 writes the files.
    """
    store, run, settings = draft.store, draft.key, with_rate(training, start)
    told = {"training": plain(training), "start": start.digest, "data": dataset.identity(), "language": language}
    with team() as place:
        folder = fetch(store, start)
        whisper = load_whisper(folder, language, place)
        clips, dev = open_split(store, dataset, "train", needs_sound(settings)), open_split(store, dataset, "dev")
        keeper = Keeper(store, run, told, settings.checkpoints.newest)

        def take_over(state: State) -> None:
            """Process 0 looks for the newest whole checkpoint first; the others then find what it found."""
            if rank() == 0:
                if settings.extend:
                    extend(store, settings.extend, run, told)
                resume(store, run, state, told)
            step = as_first_says(state.progress.step)
            if step and rank():
                resume(store, run, state, told)
            if state.progress.step != step:
                raise OSError(f"process {rank()} found the training at step {state.progress.step}, process 0 at {step}: run again")

        try:
            progress = train(whisper, clips, _dev(dev, settings), settings, wer, keeper, take_over, watch if rank() == 0 else None)
        except Stopped:  # it has waited as long as it may
            raise
        except BaseException:
            keeper.leave()
            raise
        if rank() == 0:
            _write_best(draft, whisper, folder, progress, settings)
            draft.write(HISTORY, to_lines(progress.history))
        return _facts(progress, settings, whisper, place)


def with_rate(training: "Training", start: Artifact) -> "Training":
    """Return the settings with a learning rate, the usual one if the recipe leaves it open; TrainingError if the warm-up never ends."""
    if training.warmup >= training.steps:
        raise TrainingError(f"training.warmup {training.warmup} does not end within training.steps {training.steps}")
    rate = training.learning_rate or usual_rate(start.facts["width"], start.facts["is_new"], training.lora.rank > 0)
    return SimpleNamespace(**(dict(vars(training)) | {"learning_rate": rate}))  # type: ignore[return-value]  # the same fields


def _dev(dev: Split, settings: "Training") -> Sequence[Example]:
    chosen = sample(dev.ids, settings.dev_clips, settings.seed, dev.speakers)
    return [each for each in dev if each.id in chosen]


def _write_best(draft: Draft, whisper: Whisper, folder: Path, progress: Progress, settings: "Training") -> None:
    """Write the model of the best step into the draft, as every Whisper tool can load it."""
    store, run = draft.store, draft.key
    if not progress.best_step:
        raise TrainingError(f"training {run}: no look at the dev split gave a finite WER; are its texts empty?")
    best = fetch(store, load(store, KIND, f"{run}/{progress.best_step:08d}"))
    whisper.model.to("cpu")  # where matrices are multiplied in float32, whatever a GPU was allowed
    load_weights(whisper.model, load_file(best / WEIGHTS), str(best))
    if settings.lora.rank:
        merge_lora(whisper.model)
    with tempfile.TemporaryDirectory() as target:
        save_whisper(whisper, folder, Path(target))
        for path in sorted(Path(target).iterdir()):
            draft.write(path.name, path)


def _facts(progress: Progress, settings: "Training", whisper: Whisper, device: str) -> dict[str, Any]:
    spent = {what: round(seconds, 1) for what, seconds in progress.spent.items()}
    seconds = sum(progress.spent.values())
    dtype = precision_of(settings, torch.device(device))
    facts = {
        "steps": progress.step,
        "best_step": progress.best_step,
        "dev_wer": progress.best_wer,
        "n_epochs": round(progress.step * settings.batch * settings.accumulate / progress.n_epoch, 2),
        "seconds": round(seconds, 1),
        "spent": spent,
        "device": device,
        "n_devices": world(),
        "precision": str(dtype or torch.float32).removeprefix("torch."),
        "n_parameters": sum(each.numel() for each in whisper.model.parameters()),
    }
    if device.startswith("cuda"):
        facts |= {"device_name": torch.cuda.get_device_name(), "gpu_hours": round(seconds * world() / 3600, 4)}
    log.info(
        "trained %d steps in %.0f s%s, of which looks %.0f %%, waiting for clips %.1f %%, handing over checkpoints %.1f %%",
        progress.step, seconds, f", {facts['gpu_hours']} GPU-hours" if "gpu_hours" in facts else "",
        *(100 * spent.get(what, 0.0) / max(seconds, 1e-9) for what in ("looks", "waiting for clips", "checkpoints")),
    )  # fmt: skip
    return facts


def device() -> str:
    """Return where models run on this machine."""
    return "cuda" if torch.cuda.is_available() else "cpu"
