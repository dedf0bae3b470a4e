"""The state of a training on the store: saved whole, found again on any machine, never believed when damaged.

A checkpoint is the trained weights, AdamW's two moments and the progress; what is frozen is as it was in the model that training starts
from. Everything random in a step follows from the seed and the step's number, and so does the order of the clips: there is no generator
and no position to save. Tensors are safetensors, so that whoever can write to the bucket can at most spoil a training, not run code in it.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tasks.contracts.errors import StoreError, TrainingError
from tasks.contracts.values import Artifact
from tasks.model.optimise import trained
from tasks.store.artifacts import SEAL, Draft, fetch, find, peek
from tasks.store.objects import Store

log = logging.getLogger(__name__)
KIND = "training"
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # of AdamW; a fused one wants its steps beside the weights
WEIGHTS, OPTIMIZER, PROGRESS = "model.safetensors", "optimizer.safetensors", "progress.json"
MAY_DIFFER = ("steps", "extend", "patience", "evaluate_every", "out_of_memory")  # in a training that is extended


@dataclass
class Progress:
    """How far a training has come."""

    step: int = 0  # optimiser steps done
    best_step: int = 0
    best_wer: float = float("inf")
    n_looks_since: int = 0  # looks at the dev split since the best one
    n_epoch: int = 0  # examples of an epoch
    n_halved: int = 0  # how often passes were halved because the GPU's memory did not suffice
    history: list[dict[str, Any]] = field(default_factory=list)  # one entry per look, for curves
    losses: list[float] = field(default_factory=list)  # of the steps since the last look
    spent: dict[str, float] = field(default_factory=dict)  # seconds by what they went into, over all attempts
    scaler: dict[str, Any] = field(default_factory=dict)  # of float16 losses

    def spend(self, what: str, seconds: float) -> None:
        """Add to the account of the time."""
        self.spent[what] = self.spent.get(what, 0.0) + seconds

    def enter(self, look: dict[str, Any]) -> None:
        """Enter a look, with the mean loss since the one before; the model that training started from is no candidate."""
        if self.losses:
            look = {"loss": sum(self.losses) / len(self.losses), **look}
        self.history.append({"step": self.step, **look, "seconds": round(sum(self.spent.values()), 1)})
        self.losses.clear()
        if not self.step:
            return
        if look["dev_wer"] < self.best_wer:
            self.best_wer, self.best_step, self.n_looks_since = look["dev_wer"], self.step, 0
        else:
            self.n_looks_since += 1


@dataclass
class State:
    """All that a step changes."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    progress: Progress = field(default_factory=Progress)

    def tensors(self) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Return the trained weights, and the optimiser's moments as `weight/moment`; not copied."""
        weights = trained(self.model)
        state = self.optimizer.state
        moments = {f"{name}/{what}": torch.as_tensor(state[weight][what]) for name, weight in weights.items() for what in MOMENTS}
        return {name: weight.detach() for name, weight in weights.items()}, moments

    def load(self, folder: Path) -> None:
        """Take over the state in a checkpoint's folder.

        Raises:
            TrainingError: if it is of a model of another shape, or one that trains other weights.
        """
        weights, moments = load_file(folder / WEIGHTS), load_file(folder / OPTIMIZER)
        ours = trained(self.model)
        if {name.rpartition("/")[0] for name in moments} != set(ours):
            raise TrainingError(f"{folder}: holds moments of other weights than this model trains; it belongs to another recipe")
        load_weights(self.model, weights, str(folder))
        for name, weight in ours.items():
            self.optimizer.state[weight] = {what: moments[f"{name}/{what}"].to(weight.device, copy=True) for what in MOMENTS}
        self.progress = Progress(**json.loads((folder / PROGRESS).read_text()))
        if self.progress.scaler and self.scaler.is_enabled():
            self.scaler.load_state_dict(self.progress.scaler)


def load_weights(model: torch.nn.Module, weights: dict[str, torch.Tensor], where: str) -> None:
    """Put trained weights into `model`; TrainingError if it has no such ones."""
    try:
        _, unknown = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise TrainingError(f"{where}: weights of another shape: {error!s:.200}") from error
    if unknown or not weights.keys() >= trained(model).keys():
        raise TrainingError(f"{where}: weights of another model: {len(unknown)} unknown, {len(weights)} in all")


def save_checkpoint(
    store: Store, run: str, weights: dict[str, torch.Tensor], moments: dict[str, torch.Tensor], progress: Progress, told: Any, newest: int
) -> None:
    """Seal the state after `progress.step` under `run`, and forget all but the newest and the best.

    Args:
        store: where it goes.
        run: the training's key, the same for every attempt at it.
        weights: the trained ones.
        moments: of the optimiser.
        progress: step and history.
        told: what decides the training, as JSON values; compared by whoever goes on from here.
        newest: how many stay, besides the best.
    """
    draft = Draft(store, KIND, f"{run}/{progress.step:08d}")
    for name, tensors in ((WEIGHTS, weights), (OPTIMIZER, moments)):
        with draft.staged(name) as path:
            save_file({each: tensor.contiguous() for each, tensor in tensors.items()}, path)
    draft.write(PROGRESS, json.dumps(asdict(progress)).encode())
    draft.seal({"step": progress.step, "best_step": progress.best_step}, told, anew=True)  # it may have been kept before its look
    _forget(store, run, progress, newest)


def whole_checkpoints(store: Store, run: str) -> Iterator[tuple[Artifact, Path]]:
    """Yield the whole checkpoints of a training, newest first, each fetched and checked; damaged and half-written ones are passed over.

    One whose best checkpoint is gone is passed over too: the training could not end with it.
    """
    for name in reversed(store.names(f"{KIND}/{run}")):
        if not store.names(f"{KIND}/{run}/{name}"):
            continue  # a local folder from which a checkpoint was taken away
        checkpoint = find(store, KIND, f"{run}/{name}")
        try:
            folder = fetch(store, checkpoint) if checkpoint else None
        except (StoreError, FileNotFoundError) as error:  # a store that cannot say a checksum: it is noticed when it is read
            log.warning("checkpoint %s of training %s: %s", name, run, error)
            folder = None
        if checkpoint is None or folder is None:
            log.warning("checkpoint %s of training %s is not whole; trying the one before", name, run)
            continue
        best = checkpoint.facts["best_step"]
        if best not in (0, checkpoint.facts["step"]) and find(store, KIND, f"{run}/{best:08d}") is None:
            log.warning("checkpoint %s of training %s: the best one, %d, is not whole; trying the one before", name, run, best)
            continue
        yield checkpoint, folder


def resume(store: Store, run: str, state: State, told: Any) -> None:
    """Take over the newest whole checkpoint of a training, if it has one.

    Raises:
        TrainingError: naming each setting that differs, if that was another training.
    """
    for checkpoint, folder in whole_checkpoints(store, run):
        refuse_differences(store, checkpoint, told)
        state.load(folder)
        log.info("training %s: goes on after step %d", run, state.progress.step)
        return


def extend(store: Store, other: str, run: str, told: Any) -> None:
    """Take the newest and the best checkpoint of another training as the first ones of this one; their files are shared, not copied.

    Raises:
        TrainingError: if the other has no whole checkpoint, differs in more than how long it goes on, or went as far already.
    """
    if next(whole_checkpoints(store, run), None):
        return
    newest = next(whole_checkpoints(store, other), None)
    if newest is None:
        raise TrainingError(
            f"training.extend {other}: {store.uri(KIND)} has no whole checkpoint of it; give the key of a training of this store"
        )
    refuse_differences(store, newest[0], told, MAY_DIFFER)
    last = newest[0].facts["step"]
    if last >= told.get("training", {}).get("steps", last + 1):
        raise TrainingError(f"training.extend {other}: it has gone {last} steps; set training.steps above that")
    for step in sorted({newest[0].facts["best_step"] or last, last}):
        checkpoint = find(store, KIND, f"{other}/{step:08d}")
        assert checkpoint is not None, "found above"
        draft = Draft(store, KIND, f"{run}/{step:08d}")
        for file in checkpoint.files:
            draft.adopt(file)
        if step == last:  # its patience begins anew, or one that stopped early would stop at once
            progress = json.loads((newest[1] / PROGRESS).read_text()) | {"n_looks_since": 0}
            draft.write(PROGRESS, json.dumps(progress).encode())
        draft.seal(checkpoint.facts, told)


def refuse_differences(store: Store, checkpoint: Artifact, told: Any, may_differ: tuple[str, ...] = ()) -> None:
    """Refuse to go on from a checkpoint of another data set, model or recipe; TrainingError naming what differs."""
    sealed = peek(store, KIND, checkpoint.key)
    before, now = dict(_leaves(sealed[1] if sealed else None)), dict(_leaves(told))
    differ = [
        f"{path} was {before.get(path)!r}, is {now.get(path)!r}"
        for path in sorted(before.keys() | now.keys())
        if before.get(path) != now.get(path) and path.removeprefix("training.") not in may_differ
    ]
    if differ:
        raise TrainingError(
            f"{checkpoint.kind}/{checkpoint.key} is of another training: {'; '.join(differ)}. Set these back; or start another training "
            "from its weights: model.kind trained"
        )


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each plain value within nested dicts, by its path."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else name)
    else:
        yield path, value


def _forget(store: Store, run: str, progress: Progress, newest: int) -> None:
    """Remove older checkpoints: the seal first, so that what remains of one is never taken for whole."""
    best = f"{progress.best_step:08d}"
    names = [name for name in store.names(f"{KIND}/{run}") if name != best and name <= f"{progress.step:08d}"]
    for name in names[:-newest]:
        for file in [SEAL, *(other for other in store.names(f"{KIND}/{run}/{name}") if other != SEAL)]:
            store.delete(f"{KIND}/{run}/{name}/{file}")
