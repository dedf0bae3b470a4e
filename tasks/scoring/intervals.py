"""How sure a difference is: bootstrap over speakers, paired.

Clips of one speaker err together, so speakers are drawn, not clips (Bisani and Ney 2004, "Bootstrap estimates for confidence intervals in
ASR performance evaluation"). Before and after are drawn alike, so that an easy draw is easy for both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.scoring.rates import Errors

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


def paired_intervals(
    before: Sequence[Errors], after: Sequence[Errors], speakers: Sequence[str], resamples: int, seed: int
) -> tuple[Interval, Interval, Interval]:
    """Return the error rates before and after, and their difference (positive: it got better), each with its interval.

    Args:
        before: edits of each clip, by the first model.
        after: edits of the same clips, by the second.
        speakers: who said each clip; clips with an unknown speaker ("") are each a group of their own.
        resamples: draws.
        seed: decides the draws.
    """
    groups = [speaker or f"clip {number}" for number, speaker in enumerate(speakers)]
    names = {name: place for place, name in enumerate(dict.fromkeys(groups))}
    sums = np.zeros((3, len(names)))  # edits before, edits after, reference length of each group
    for group, first, second in zip(groups, before, after, strict=True):
        sums[:, names[group]] += first.n_edits, second.n_edits, first.n_reference
    weights = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    drawn = weights @ sums.T  # [resamples, 3]
    lengths = np.maximum(drawn[:, 2], 1)
    rates = [drawn[:, 0] / lengths, drawn[:, 1] / lengths]
    whole = sums.sum(axis=1)
    values = [whole[0] / max(whole[2], 1), whole[1] / max(whole[2], 1)]
    return (
        _interval(values[0], rates[0]),
        _interval(values[1], rates[1]),
        _interval(values[0] - values[1], rates[0] - rates[1]),
    )


def _interval(value: float, draws: np.ndarray) -> Interval:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(value), float(low), float(high))
