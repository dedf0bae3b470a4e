"""The state of a training on the store: saved whole, found again on any machine, never believed when damaged.

A checkpoint is the model's weights, AdamW's two moments and the progress. Everything random in a step follows from the seed and the step's
number, and so does the order of the clips: there is no generator state and no position to save. Tensors are safetensors, so that
whoever can write to the bucket can at most spoil a training, not run code in it.
"""

import json
import logging
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save, save_file

from tasks.contracts.errors import TrainingError
from tasks.contracts.values import Artifact
from tasks.store.artifacts import SEAL, Draft, fetch, find
from tasks.store.objects import Store

log = logging.getLogger(__name__)
KIND = "training"
KEPT = 2  # newest checkpoints of a training, besides the best


@dataclass
class Progress:
    """How far a training has come."""

    step: int = 0  # optimiser steps done
    best_step: int = 0
    best_wer: float = float("inf")
    n_looks_since: int = 0  # looks at the dev split since the best one
    history: list[dict[str, Any]] = field(default_factory=list)  # one entry per look, for curves
    losses: list[float] = field(default_factory=list)  # of the steps since the last look


def save_checkpoint(store: Store, run: str, model: torch.nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Seal the state after `progress.step` under `run`, and forget all but the newest and the best.

    Args:
        store: where it goes.
        run: the training's fingerprint, the same for every attempt at it.
        model: weights are stored as they are.
        optimizer: AdamW.
        progress: step and history.
    """
    draft = Draft(store, KIND, f"{run}/{progress.step:08d}")
    draft.write("model.safetensors", save({name: weight.contiguous() for name, weight in _weights(model).items()}))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimizer.safetensors"
        save_file(_moments(model, optimizer), path)
        draft.write("optimizer.safetensors", path)
    draft.write("progress.json", json.dumps(asdict(progress)).encode())
    draft.seal({"step": progress.step, "best_step": progress.best_step})
    _forget(store, run, progress)


def newest_checkpoint(store: Store, run: str) -> Artifact | None:
    """Return the newest whole checkpoint of a training; a damaged or half-written one is passed over for the one before it."""
    for name in reversed(store.names(f"{KIND}/{run}")):
        checkpoint = find(store, KIND, f"{run}/{name}")
        if checkpoint is not None:
            return checkpoint
        log.warning("checkpoint %s of training %s is not whole; trying the one before", name, run)
    return None


def load_checkpoint(store: Store, checkpoint: Artifact, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Put a checkpoint's state into `model` and `optimizer`, and return its progress.

    Raises:
        TrainingError: if it is a checkpoint of a model of another shape.
    """
    folder = fetch(store, checkpoint)
    load_weights(model, folder)
    moments = load_file(folder / "optimizer.safetensors")
    parameters = dict(_trained(model))
    if {name.rpartition("/")[0] for name in moments} != set(parameters):
        raise TrainingError(f"{checkpoint.key}: holds moments of other parameters than this model trains; it belongs to another recipe")
    for name, parameter in parameters.items():
        # the step counts too: a fused AdamW wants them beside the weights
        optimizer.state[parameter] = {what: moments[f"{name}/{what}"].to(parameter.device) for what in ("step", "exp_avg", "exp_avg_sq")}
    return Progress(**json.loads((folder / "progress.json").read_text()))


def load_weights(model: torch.nn.Module, folder: Path) -> None:
    """Put the weights of a checkpoint's folder into `model`; TrainingError if they do not fit."""
    try:
        missing, unknown = model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    except RuntimeError as error:
        raise TrainingError(f"{folder}: weights of another shape: {error!s:.200}") from error
    if unknown or set(missing) - {"proj_out.weight"}:  # tied to the token embedding
        raise TrainingError(f"{folder}: weights of another model: {len(missing)} missing, {len(unknown)} unknown")


def _weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights by name, each once: the output layer is tied to the token embedding."""
    return {name: weight for name, weight in model.state_dict().items() if name != "proj_out.weight"}


def _trained(model: torch.nn.Module) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def _moments(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {
        f"{name}/{what}": torch.as_tensor(optimizer.state[parameter][what]).contiguous()
        for name, parameter in _trained(model)
        for what in ("step", "exp_avg", "exp_avg_sq")
    }


def _forget(store: Store, run: str, progress: Progress) -> None:
    """Remove older checkpoints: the seal first, so that what remains of one is never taken for whole."""
    best = f"{progress.best_step:08d}"
    names = [name for name in store.names(f"{KIND}/{run}") if name != best]
    for name in names[:-KEPT]:
        for file in [SEAL, *(other for other in store.names(f"{KIND}/{run}/{name}") if other != SEAL)]:
            store.delete(f"{KIND}/{run}/{name}/{file}")
