"""Where a model is good and where it is not: error rates of parts of the test split, by what is known of each clip.

A part is judged by itself, with its own interval (`tasks.scoring.intervals`). Nobody is named: speakers are numbered.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np

from tasks.scoring.intervals import LEVEL, paired_intervals
from tasks.scoring.rates import Errors

Row = Mapping[str, Any]  # seconds, speaker, gender, age, accent, domain, snr, corpus and language of a clip; any may be missing
MIN_CLIPS, MIN_WORDS = 5, 50  # below, a slice is listed, but never among the worst: one odd clip decides it
N_NAMED = 20  # slices of one kind; the others are put together
N_WORST = 5
SECONDS = (2, 5, 10, 20)
DECIBELS = (10, 20, 30, 40, 50)  # as tasks.audio.isolated measures them
WORDS = (1, 4, 8, 13, 21)
UNSEEN = ("none", "one", "two or more")
NOT_TOLD = "not told"


def slices(
    clips: Sequence[Row],
    references: Sequence[str],
    before: Sequence[Errors],
    after: Sequence[Errors],
    known_words: set[str],
    resamples: int,
    seed: int,
    level: float = LEVEL,
) -> list[dict[str, Any]]:
    """Return both error rates and the gain of every part, kind by kind, as JSON values. A kind that has one part alone is left out.

    Args:
        clips: what is known of each.
        references: what was said, normalised.
        before: edits of each clip in words, by the first model.
        after: the same by the second.
        known_words: all normalised words of the training split.
        resamples: draws of each interval.
        seed: decides the draws.
        level: of each interval.
    """
    speakers = [_told(clip, "speaker") or "" for clip in clips]
    found: list[dict[str, Any]] = []
    for kind, parts in _partitions(clips, references, known_words).items():
        for name, places in parts.items():
            own = [speakers[place] for place in places]
            first, second, gain = paired_intervals([before[at] for at in places], [after[at] for at in places], own, resamples, seed, level)
            found.append(
                {"by": kind, "name": name, "n_clips": len(places), "n_speakers": len(set(own) - {""}),
                 "n_words": sum(after[at].n_reference for at in places),
                 "before": asdict(first), "after": asdict(second), "gain": asdict(gain)}
            )  # fmt: skip
    return found


def worst_slices(slices: Sequence[Mapping[str, Any]], overall: float) -> list[dict[str, str]]:
    """Return by and name of the slices that the second model certainly hears worse than all clips together, the most certain first.

    Certainly: it has an interval, which as a whole lies above `overall`, in a slice that is large enough. How certain: the distance to
    `overall`, in units of the distance to its own lower limit. Each slice is looked at by itself, so of 40 slices that are no worse about
    one stands here by luck (2.5 % of them): a hint where to look, not a proof.
    """
    large = [each for each in slices if each["n_clips"] >= MIN_CLIPS and each["n_words"] >= MIN_WORDS]
    worse = [each for each in large if each["after"]["low"] is not None and each["after"]["low"] > overall]
    worse.sort(key=lambda each: (overall - each["after"]["value"]) / max(each["after"]["value"] - each["after"]["low"], 1e-9))
    return [{"by": each["by"], "name": each["name"]} for each in worse[:N_WORST]]


def _partitions(clips: Sequence[Row], references: Sequence[str], known_words: set[str]) -> dict[str, dict[str, list[int]]]:
    """Return the places of the clips by kind and name."""
    words = [text.split() for text in references]
    unseen = [UNSEEN[min(sum(word not in known_words for word in each), 2)] for each in words]
    found = {
        "duration": _in_order([_bin(clip, "seconds", SECONDS, "s") for clip in clips], _names(SECONDS, "s")),
        "length": _in_order([_words(len(each)) for each in words], [_words(n) for n in (0, *WORDS)]),
        "new words": _in_order(unseen, UNSEEN),
        "snr": _in_order([_bin(clip, "snr", DECIBELS, "dB") for clip in clips], _names(DECIBELS, "dB")),
        "speaker": _numbered([_told(clip, "speaker") for clip in clips]),
    }
    for kind in ("gender", "age", "accent", "domain", "corpus", "language"):
        found[kind] = _by_size([_told(clip, kind) for clip in clips], str)
    return {kind: parts for kind, parts in found.items() if len(parts) > 1}


def _told(clip: Row, column: str) -> str | None:
    """Return a value as text, or None if it is missing: None, NaN or blank."""
    value = clip.get(column)
    text = "" if value is None or value != value else str(value).strip()
    return text if text not in ("", NOT_TOLD) else None


def _bin(clip: Row, column: str, edges: Sequence[int], what: str) -> str | None:
    told = _told(clip, column)
    return None if told is None else _names(edges, what)[int(np.searchsorted(edges, float(told), side="right"))]


def _names(edges: Sequence[int], what: str) -> list[str]:
    """Return the names of the bins between the edges; each holds its lower edge."""
    between = [f"{low} to {high} {what}" for low, high in pairwise(edges)]
    return [f"under {edges[0]} {what}", *between, f"{edges[-1]} {what} or more"]


def _words(n_words: int) -> str:
    place = int(np.searchsorted(WORDS, n_words, side="right"))
    if not place:
        return "no words"
    return f"{WORDS[-1]} words or more" if place == len(WORDS) else f"{WORDS[place - 1]} to {WORDS[place] - 1} words"


def _in_order(values: Sequence[str | None], order: Sequence[str]) -> dict[str, list[int]]:
    places = _places(values)
    return {name or NOT_TOLD: places[name] for name in (*order, None) if name in places}


def _numbered(values: Sequence[str | None]) -> dict[str, list[int]]:
    """Return speakers as numbers, by how many clips they have."""
    ranks = {speaker: rank for rank, (speaker, _) in enumerate(Counter(filter(None, values)).most_common(), 1)}
    return _by_size(values, lambda speaker: f"speaker {ranks[speaker]}")


def _by_size(values: Sequence[str | None], name: Callable[[str], str]) -> dict[str, list[int]]:
    """Return the largest first, of equals whoever comes first; then the others together, then those of whom nothing is told."""
    places = _places(values)
    told = sorted((value for value in places if value is not None), key=lambda value: -len(places[value]))
    found = {name(value): places[value] for value in told[:N_NAMED]}
    others = told[N_NAMED:]
    if others:
        found[f"{len(others)} other{'s' if len(others) > 1 else ''}"] = sorted(place for value in others for place in places[value])
    if None in places:
        found[NOT_TOLD] = places[None]
    return found


def _places(values: Sequence[str | None]) -> dict[str | None, list[int]]:
    found: dict[str | None, list[int]] = {}
    for place, value in enumerate(values):
        found.setdefault(value, []).append(place)
    return found
