"""Trials in order, and whether the best one is better than the recipe as it was by more than the luck of a seed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import Any

from tasks.search.scale import names_of, short_fields
from tasks.search.space import Values, name
from tasks.search.study import Tried

# Two-sided 95 % points of Student's t by degrees of freedom; beyond, that of 19 is wide enough.
T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11, 2.101, 2.093)
AS_IT_IS = "the recipe as it is"


@dataclass(frozen=True)
class Place:
    """Some settings, with all their seeds."""

    number: int  # of the first trial with them
    values: Values
    state: str
    dev_wer: float | None  # mean over its seeds; of one that was ended early: the lowest that it had
    seeds: list[float]  # dev WER of each finished training that counts
    with_seed: list[int]  # and their seeds
    seconds: float  # of all of them
    error: str


def places(tried: Sequence[Tried]) -> list[Place]:
    """Return the settings in order: those with other seeds first, by mean dev WER; then what was ended early; then what failed.

    If only some were repeated, they were chosen because their first training came out well, partly by luck: of these it does not count.
    """
    firsts = [each for each in tried if each.repeats is None]
    repeated = {each.repeats for each in tried if each.repeats is not None and each.state == "complete"}
    chosen = bool(repeated) and any(each.number not in repeated for each in firsts if each.state == "complete")
    found = [_place(first, tried, counts=not chosen or first.number not in repeated) for first in firsts]
    order = {"complete": 0, "pruned": 1, "fail": 2}
    return sorted(found, key=lambda each: (order[each.state], each.number not in repeated, each.dev_wer or 0.0, each.number))


def _place(first: Tried, tried: Sequence[Tried], counts: bool) -> Place:
    again = sorted((each for each in tried if each.repeats == first.number), key=lambda each: each.seed)
    count = [first, *again] if counts else again
    done = {each.seed: each.dev_wer for each in count if each.state == "complete" and each.dev_wer is not None}
    wer = mean(done.values()) if done else first.dev_wer
    seconds = sum(each.seconds for each in (first, *again))
    return Place(first.number, first.values, first.state, wer, list(done.values()), list(done), seconds, first.error)


def titles(found: Sequence[Place]) -> list[str]:
    """Return what each of them tries, in a few words."""
    fields = short_fields(list(dict.fromkeys(field for each in found for field in each.values)))
    names = {field: names_of([each.values[field] for each in found if field in each.values]) for field in fields}
    return [", ".join(f"{fields[field]} {names[field][name(value)]}" for field, value in each.values.items()) or AS_IT_IS for each in found]


def gain(best: Place, before: Place) -> dict[str, Any]:
    """Return by how much the mean dev WER is lower, with a 95 % interval over seeds; without one where there are no two seeds of both.

    The same seed means the same clips in the same order, so differences are taken seed by seed (a paired t interval).
    """
    theirs = dict(zip(best.with_seed, best.seeds, strict=True))
    differences = [wer - theirs[seed] for seed, wer in zip(before.with_seed, before.seeds, strict=True) if seed in theirs]
    if len(differences) < 2:
        return {"value": differences[0] if differences else None, "low": None, "high": None, "n_seeds": len(differences)}
    half = T[min(len(differences) - 1, len(T)) - 1] * stdev(differences) / len(differences) ** 0.5
    return {"value": mean(differences), "low": mean(differences) - half, "high": mean(differences) + half, "n_seeds": len(differences)}


def ranking(tried: Sequence[Tried]) -> dict[str, Any]:
    """Return the whole result as JSON values: the places in order, the best, and its gain over the recipe as it is."""
    found = places(tried)
    finished = [each for each in found if each.state == "complete"]
    before = next((each for each in finished if not each.values), None)
    best = finished[0] if finished else None
    return {
        "places": [asdict(each) | {"title": title} for each, title in zip(found, titles(found), strict=True)],
        "best": best.number if best else None,
        "gain": gain(best, before) if best and before and best is not before else None,
        "trials": [asdict(each) for each in tried],
    }


def verdict(result: dict[str, Any]) -> str:
    """Return the result in a sentence."""
    best = next((each for each in result["places"] if each["number"] == result["best"]), None)
    if best is None:
        return "no trial came to its end"
    head = f"best: {best['title']}, dev WER {100 * best['dev_wer']:.1f} %"
    if not best["values"]:
        return f"{head}; nothing that was tried is better"
    if (found := result["gain"]) is None:
        return f"{head}; the recipe as it is did not come to its end"
    points = f"{100 * found['value']:+.1f} points against the recipe as it is"
    if found["low"] is None:
        return f"{head}; gain {points}, of one seed each: that may be luck"
    told = "more than the luck of a seed" if found["low"] > 0 else "no more than the luck of a seed can be"
    limits = f"{100 * found['low']:+.1f} to {100 * found['high']:+.1f}"
    return f"{head}; gain {points} ({limits}, {found['n_seeds']} seeds): {told}"


def lines(result: dict[str, Any]) -> list[str]:
    """Return the table as text, a line for each place."""
    rows = []
    for rank, each in enumerate(result["places"], 1):
        wer = "–" if each["dev_wer"] is None else f"{100 * each['dev_wer']:.1f} %"
        seeds = each["seeds"]
        spread = f"{100 * min(seeds):.1f} to {100 * max(seeds):.1f}, {len(seeds)} seeds" if len(seeds) > 1 else ""
        told = {"complete": spread, "pruned": "ended early", "fail": f"failed: {each['error']}"}[each["state"]]
        rows.append((str(rank), f"#{each['number']}", wer, told if each["state"] != "fail" else told[:60], each["title"]))
    widths = [max((len(row[at]) for row in rows), default=0) for at in range(4)]
    return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows]
