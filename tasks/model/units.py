"""Which clips are learnt together, as one window of Whisper, and how often an example without speech comes up.

Whisper learnt from windows of 30 s with several sentences and timestamps; corpora have one sentence of a few seconds. Clips are joined
only with others of their speaker, and a clip's own id decides whether it is: what is added to a corpus does not change that.
"""

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable, Sequence
from math import floor

import numpy as np

from tasks.model.augment import GRID, PAUSES
from tasks.shards.plan import draw


def make_units(
    ids: Sequence[str], n_samples: Sequence[int], speakers: Sequence[str], groups: Sequence[Hashable],
    weights: Sequence[float] | np.ndarray | None, share: float, longest: int, seed: int,
) -> list[tuple[int, ...]]:  # fmt: skip
    """Return the numbers of the clips that are learnt together; every clip is in exactly one unit.

    Args:
        ids: of each clip.
        n_samples: of each clip, at 16 kHz.
        speakers: of each clip; empty: unknown, and the clip stays by itself.
        groups: what else has to be equal, such as the language.
        weights: how often an epoch goes through each clip; equal ones only are joined.
        share: of the clips that are joined, if there is another that fits.
        longest: samples of a unit, with the shortest pauses and every clip on the grid of timestamps.
        seed: of who is joined, and in which order.

    Returns:
        Units in the order of their first clips.
    """
    units: list[tuple[int, ...]] = []
    alike: dict[Hashable, list[int]] = {}
    for number, (id, speaker, group) in enumerate(zip(ids, speakers, groups, strict=True)):
        if speaker and draw(seed, "stitch", id) < share:
            alike.setdefault((speaker, group, None if weights is None else float(weights[number])), []).append(number)
        else:
            units.append((number,))
    places = {number: (draw(seed, "stitch", "order", ids[number]), ids[number]) for numbers in alike.values() for number in numbers}
    steps = {number: -(-n_samples[number] // GRID) for number in places}
    for numbers in alike.values():
        units += map(tuple, _fill(sorted(numbers, key=places.__getitem__), steps, longest // GRID))
    return sorted(units)


def unit_weights(units: Sequence[tuple[int, ...]], weights: Sequence[float] | np.ndarray | None) -> np.ndarray | None:
    """Return how often an epoch goes through each unit, [n_units] float64: as often as through its clips, which have equal weights.

    An example without speech has the mean weight of the others, so that its share of an epoch is what it is of the units.
    """
    if weights is None:
        return None
    of_clips = np.array([weights[unit[0]] for unit in units if unit], np.float64)
    of_units = np.full(len(units), of_clips.mean())
    of_units[[bool(unit) for unit in units]] = of_clips
    return of_units


def add_no_speech(units: Sequence[tuple[int, ...]], share: float) -> list[tuple[int, ...]]:
    """Return the units, and behind them empty ones, examples without speech, so that these are as near to `share` of all as can be."""
    n_units = len(units)
    below = floor(share * n_units / (1 - share))
    n_empty = min(below, below + 1, key=lambda n: abs(n / (n + n_units) - share))
    return [*units, *[()] * n_empty]


def _fill(numbers: Iterable[int], steps: dict[int, int], room: int) -> list[list[int]]:
    """Lay each clip into the fullest window that has room for it: who is left alone fits to nobody who was there before."""
    units: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # sorted: what is left of each window, and its number
    for number in numbers:
        need = PAUSES[0] + steps[number]
        place = bisect_left(rooms, (need, 0))
        if place == len(rooms):
            rooms.append((room + PAUSES[0], len(units)))
            units.append([])
        left, unit = rooms.pop(place)
        units[unit].append(number)
        insort(rooms, (left - need, unit))
    return units
