"""Whether a challenger may take the champion's place: it must surely be better on the test, and must not surely be worse anywhere.

"Surely" is an interval of the paired bootstrap (`tasks.scoring.intervals`). Losses are judged by what is sure, not by the figure alone: of
twenty slices of fifty words each, one is two points worse by luck in nearly every comparison. The price: a slice may get a little worse
unseen if it is small. A slice without an interval decides nothing; of a further test or of long recordings the figure counts then.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isclose, log2
from typing import Any

from tasks.scoring.slices import MIN_CLIPS, MIN_WORDS

Contest = Mapping[str, Any]  # what `tasks.scoring.contest` found


@dataclass(frozen=True)
class Check:
    """One thing that was asked, and what came of it."""

    what: str  # "WER", "speaker: speaker 2", "other test: fleurs-en", ...
    passed: bool
    words: str  # what was got and expected, as a person reads it
    before: dict[str, Any] | None = None  # intervals, where there are such
    after: dict[str, Any] | None = None
    gain: dict[str, Any] | None = None


def judge(contest: Contest, wish: Mapping[str, Any]) -> list[Check]:
    """Return every check, the one of the whole test first; a challenger that fails none is better.

    Args:
        contest: the two models compared.
        wish: the recipe's `release.gate`, as JSON values.
    """
    checks = [_better(contest, wish)]
    allowed = wish["may_lose"] / 100
    for part in contest["slices"]:
        if part["n_clips"] >= MIN_CLIPS and part["n_words"] >= MIN_WORDS:
            checks.append(_not_worse(f"{part['by']}: {part['name']}", part, allowed, is_slice=True))
    checks += [_not_worse(f"other test: {each['name']}", each, allowed) for each in contest["others"]]
    if contest["long"]:
        checks.append(_not_worse("long recordings", contest["long"], allowed))
        checks.append(_quiet(contest["long"]["silence"], wish["may_make_up"]))
    return checks


def _better(contest: Contest, wish: Mapping[str, Any]) -> Check:
    gain, least = contest["gain"], wish["min_gain"] / 100
    told = f"gain {_points(gain)}, wanted surely more than {wish['min_gain']:g}"
    if contest["n_words"] < wish["min_words"]:
        return _told("WER", contest, False, f"{told}; the test has {contest['n_words']} words, at least {wish['min_words']} are wanted")
    if gain["low"] is None:
        return _told("WER", contest, False, f"{told}; there is no interval, since a single clip has nearly all words")
    if _is_alike(gain) and contest["n_units"] < (least_units := ceil(log2(2 / (1 - wish["confidence"])))):
        # All gain alike, so the bootstrap knows of no spread. The sign test does: n alike are luck 1 time in 2^n.
        return _told("WER", contest, False, f"{told}; {contest['n_units']} {contest['unit']} gain alike, it would take {least_units}")
    return _told("WER", contest, gain["low"] > least, told)


def _not_worse(what: str, part: Mapping[str, Any], allowed: float, is_slice: bool = False) -> Check:
    gain = part["gain"]
    told = f"gain {_points(gain)}, a sure loss of at most {100 * allowed:g} is allowed"
    if gain["high"] is None and is_slice:
        return _told(what, part, True, f"{told}; there is no interval, so it decides nothing")
    if gain["high"] is None:  # a test of its own, of nearly one clip or recording: better too careful than a loss of everything unseen
        return _told(what, part, gain["value"] >= -allowed, f"{told}; there is no interval, so the figure counts")
    if _is_alike(gain):  # no spread is known, and a loss that each of them shows is one
        return _told(what, part, gain["value"] >= -allowed, told)
    return _told(what, part, gain["high"] >= -allowed, told)


def _is_alike(gain: Mapping[str, Any]) -> bool:
    """Say whether all gain the same: then the bootstrap finds no spread, but for the last digits."""
    return isclose(gain["low"], gain["high"], abs_tol=1e-9)


def _quiet(silence: Mapping[str, Any], allowed: float) -> Check:
    minutes = max(silence["seconds"] / 60, 1e-9)
    more = (silence["after"] - silence["before"]) / minutes if silence["seconds"] else 0.0
    words = f"{silence['before']} and {silence['after']} words made up in {silence['seconds']:g} s, {allowed:g} more a minute are allowed"
    return Check("where nobody speaks", more <= allowed, words)


def _told(what: str, part: Mapping[str, Any], passed: bool, words: str) -> Check:
    return Check(what, passed, words, part["before"], part["after"], part["gain"])


def _points(gain: Mapping[str, Any]) -> str:
    limits = "" if gain["low"] is None else f" ({100 * gain['low']:.1f} to {100 * gain['high']:.1f})"
    return f"{100 * gain['value']:.1f} points{limits}"


def reasons(checks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return why a challenger is refused, a line for each check that failed; of JSON values."""
    return [f"{each['what']}: {each['words']}" for each in checks if not each["passed"]]
