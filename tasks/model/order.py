"""Which examples each optimiser step learns: known from the seed and the step's number, without the steps before it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tasks.shards.plan import draw

if TYPE_CHECKING:  # pydantic is not needed to train
    from tasks.contracts.recipe import Training


def batch_numbers(step: int, n_examples: int, settings: "Training", weights: np.ndarray | None = None) -> Iterator[int]:
    """Yield the numbers of the examples of one optimiser step.

    Each epoch is a permutation drawn from the seed and its number, and a step takes the next `batch * accumulate` of the endless row of
    epochs: every example exactly once an epoch, and any step's known without the steps before it. With `weights`, [n_examples] float, an
    epoch has one of weight 2 twice, and one of weight 0.5 every other time on average.
    """
    size = settings.batch * settings.accumulate
    n_epoch = epoch_length(n_examples, weights)
    for place in range(step * size, (step + 1) * size):
        epoch, within = divmod(place, n_epoch)
        yield _epoch(settings.seed, epoch, n_examples, n_epoch, weights)[within]


def epoch_length(n_examples: int, weights: np.ndarray | None) -> int:
    """Return how many examples an epoch goes through, as often as `weights` say."""
    return n_examples if weights is None else max(1, round(float(weights.sum(dtype=np.float64))))


def seed_of(seed: int, *words: Any) -> int:
    """Return a seed that depends on the recipe's and the words alone: what is random in a training has its own, named by step and place."""
    return int(draw(seed, *words) * 2**53)


_last_epoch: tuple[Any, np.ndarray | None, list[int]] = (None, None, [])


def _epoch(seed: int, number: int, n_examples: int, n_epoch: int, weights: np.ndarray | None) -> list[int]:
    """Return the examples of one epoch in their order."""
    global _last_epoch  # one epoch's order is asked for example by example
    key, of_weights, order = _last_epoch
    if key != (seed, number, n_examples, n_epoch) or of_weights is not weights:
        order = _shuffle(seed, number, n_examples, n_epoch, weights)
        _last_epoch = ((seed, number, n_examples, n_epoch), weights, order)  # kept: the place of one that went may be another's
    return order


def _shuffle(seed: int, number: int, n_examples: int, n_epoch: int, weights: np.ndarray | None) -> list[int]:
    order = torch.randperm(n_examples, generator=_generator(seed, "epoch", number))
    if weights is not None and not (weights == 1).all():
        # Systematic sampling: equal steps along the weights, laid end to end in random order, from a random place on.
        ends = np.cumsum(weights[order.numpy()], dtype=np.float64)
        steps = (np.arange(n_epoch) + draw(seed, "place", number)) * ends[-1] / n_epoch
        picked = order[torch.from_numpy(np.searchsorted(ends, steps, side="right").clip(max=n_examples - 1))]
        order = picked[torch.randperm(n_epoch, generator=_generator(seed, "order", number))]
    numbers: list[int] = order.tolist()
    return numbers


def _generator(seed: int, *words: Any) -> torch.Generator:
    return torch.Generator().manual_seed(seed_of(seed, *words))
