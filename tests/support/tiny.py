"""A Whisper of a hundred thousand weights, six tones to teach it, and a training of it: what the tests of tasks/model share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tasks.audio.log_mel import log_mel
from tasks.contracts.recipe import Training
from tasks.model.checkpoint import Progress, State, resume, whole_checkpoints
from tasks.model.keeper import Keeper
from tasks.model.loop import Moment, train
from tasks.model.optimise import freeze, make_optimizer, trained
from tasks.model.start import new_checkpoint
from tasks.model.whisper import Whisper, load_whisper
from tasks.shards.format import Example
from tasks.store.objects import Store

TEXTS = ["röd katt", "blå hund", "grön häst", "vit mås", "svart får", "gul anka"]
RUN = "tiny"
TOLD = {"training": {"seed": 1}, "data": "six tones"}  # what a checkpoint is compared with; these tests change their settings freely


def new_folder(folder: Path, **changes: Any) -> Path:
    """Write a new tiny checkpoint into `folder` and return it."""
    sizes = {"width": 32, "encoder_layers": 1, "decoder_layers": 1, "heads": 2, "n_mels": 80, "window": 1, "vocabulary": 300,
             "max_tokens": 16, "dropout": 0.0, "seed": 0, "language": "sv"}  # fmt: skip
    new_checkpoint(folder, TEXTS * 4, **(sizes | changes))
    return folder


def tones() -> list[Example]:
    """Six clips of different pitch and length, two words each."""
    examples = []
    for number, text in enumerate(TEXTS):
        samples = 0.3 * np.sin(2 * np.pi * 220 * 1.5**number * np.arange(6_400 + 1_500 * number) / 16_000)
        examples.append(Example(f"tone-{number}", text, samples.size, *log_mel(samples.astype(np.float32), 80, 16_000)))
    return examples


def settings(**changes: Any) -> Training:
    """Return settings of a training that takes a second or two."""
    return Training(**({"steps": 8, "batch": 2, "learning_rate": 3e-3, "warmup": 2, "evaluate_every": 2, "seed": 1} | changes))


def always_wrong(references: list[str], hypotheses: list[str]) -> float:
    """Stand for a WER, whatever was heard; the real one takes seconds to import."""
    assert len(references) == len(hypotheses)
    return 1.0


def train_tiny(
    folder: Path, store: Store, settings: Training, wer: Callable[[list[str], list[str]], float] = always_wrong,
    clips: Sequence[Example] = (), dev: Sequence[Example] = (), stop_after: int = 0, watch: Callable[[Moment], None] | None = None,
) -> tuple[Whisper, Progress]:  # fmt: skip
    """Train the checkpoint in `folder` with new objects, from wherever the store says; return the model and its progress.

    `stop_after`: leave, as if interrupted, once this step is kept.
    """
    whisper = load_whisper(folder, "sv", "cpu")
    keeper = Keeper(store, RUN, TOLD, settings.checkpoints.newest)

    def keep(state: State, wait: bool) -> bool:
        stored = keeper(state, True)
        if state.progress.step == stop_after:
            raise KeyboardInterrupt
        return stored

    def take_over(state: State) -> None:
        resume(store, RUN, state, TOLD)

    return whisper, train(whisper, clips or tones(), dev or tones()[:2], settings, wer, keep, take_over, watch)


def state_of(folder: Path, stepped: bool = False) -> State:
    """Return the state of a training that begins, or that has taken a step."""
    model = load_whisper(folder, "sv", "cpu").model
    freeze(model, settings())
    state = State(model, make_optimizer(model, settings()), torch.amp.GradScaler("cpu", enabled=False))
    if stepped:
        sum(weight.square().sum() for weight in trained(model).values()).backward()
        state.optimizer.step()
        state.progress.step = 1
    return state


def checkpoints(store: Store) -> list[int]:
    """Return the steps of the whole checkpoints."""
    return [checkpoint.facts["step"] for checkpoint, _ in whole_checkpoints(store, RUN)][::-1]


def weights(whisper: Whisper) -> dict[str, torch.Tensor]:
    """Return a copy of the weights."""
    return {name: weight.clone() for name, weight in whisper.model.state_dict().items()}


def same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Say whether two models are equal, bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(weight, other[name]) for name, weight in one.items())
