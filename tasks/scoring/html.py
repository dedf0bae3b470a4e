"""The report as one HTML file: opens offline, loads nothing, plays its clips. Pictures are SVG, sounds are in the file."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape

from tasks.contracts.languages import name as name_of
from tasks.scoring.normalise import plain
from tasks.scoring.pictures import calibration_pictures, curve_pictures, dev_picture, runs_picture, slices_picture
from tasks.scoring.rates import aligned
from tasks.scoring.svg import PALETTE

N_MISTAKES, N_GONE = 10, 4  # rows of a table of mistakes: the most frequent, and those that were frequent and are no longer
SECTIONS = {
    "rates": "Error rates", "slices": "Slices", "mistakes": "Mistakes", "hallucinations": "Hallucinations", "calibration": "Confidence",
    "forgetting": "Forgotten", "long": "Long recordings", "worst": "Worst clips", "training": "Training and cost", "data": "Data",
    "origin": "Origin",
}  # fmt: skip
Mistakes = list[dict[str, Any]]


def render_report(report: dict[str, Any], sounds: dict[str, str], normaliser: Callable[[str], str] = plain) -> str:
    """Return the page; a part of the report that is absent or empty is left out.

    Args:
        report: what `compare` gave, with what `write_report` adds.
        sounds: data addresses of clips by id; clips that are shown and have a sound get a player.
        normaliser: the report's, so that what is marked is what was counted.
    """
    long = report.get("long_form") or {}
    left_out = {name for name in ("slices", "mistakes", "hallucinations", "calibration", "forgetting") if not report.get(name)}
    left_out |= set() if long else {"long"}
    return environment().get_template("report.html.j2").render(
        report=report,
        sounds=sounds,
        contents=[(name, title) for name, title in SECTIONS.items() if name not in left_out],
        pictures=_pictures(report, kinds := _by_kind(report.get("slices") or [])),
        kinds=kinds,
        mistakes={key: _side_by_side(report["mistakes"], key) for key in ("confused", "characters", "missed", "made_up")}
        if report.get("mistakes") else {},
        recordings=[_marked(each, normaliser) for each in long.get("recordings", [])],
        worst=[_marked(each, normaliser) for each in report["worst"] if each["n_edits"]],
        spent=_spent(report["checkpoint"]),
    )  # fmt: skip


def render_comparison(reports: Sequence[dict[str, Any]], pairs: Sequence[dict[str, Any]]) -> str:
    """Return a page that compares runs.

    Args:
        reports: of the runs, each with its "key"; the first is what others are compared with.
        pairs: for runs after the first: "key", "same_test", "why" they cannot be compared, and "gain" against the first by measure.
    """
    names = _distinct([each["name"] for each in reports])
    rows = dict(zip(names, reports, strict=True))
    return environment().get_template("comparison.html.j2").render(
        rows=rows,
        pairs={each["key"]: each for each in pairs},
        comparable=all(each["same_test"] for each in pairs),
        differences=_differences([each["recipe"] for each in reports]),
        runs=runs_picture({name: {side: each[side]["wer"] for side in ("before", "after")} for name, each in rows.items()}),
        dev=dev_picture({name: each.get("history", []) for name, each in rows.items()}),
    )  # fmt: skip


def mark_errors(reference: str, hypothesis: str, normaliser: Callable[[str], str] = plain) -> Markup:
    """Return the hypothesis with its word errors marked: <ins> for what was not said, <del> for what was missed."""
    pieces: list[Markup] = []
    for said, heard in aligned(normaliser(reference).split(), normaliser(hypothesis).split()):
        if said == heard:
            pieces.append(escape(" ".join(heard)))
            continue
        if said:
            pieces.append(Markup("<del>{}</del>").format(" ".join(said)))
        if heard:
            pieces.append(Markup("<ins>{}</ins>").format(" ".join(heard)))
    return Markup(" ").join(pieces)


def environment() -> Environment:
    """Return what renders pages: escapes all text, and knows our filters."""
    found = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    found.filters |= {"language": name_of, "percent": _percent, "figure": _figure, "hours": _hours, "duration": _duration, "clock": _clock}
    found.globals["palette"] = PALETTE
    return found


def _by_kind(slices: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    return {by: [each for each in slices if each["by"] == by] for by in dict.fromkeys(each["by"] for each in slices)}


def _pictures(report: dict[str, Any], kinds: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    calibration = report.get("calibration")
    return {
        "curves": curve_pictures(report.get("history", []), report["checkpoint"].get("best_step")),
        "slices": slices_picture(kinds, report["before"]["wer"], report["after"]["wer"]) if kinds else None,
        "calibration": calibration_pictures(calibration) if calibration else {},
    }


def _marked(clip: dict[str, Any], normaliser: Callable[[str], str]) -> dict[str, Any]:
    return clip | {f"marked_{side}": mark_errors(clip["reference"], clip[side], normaliser) for side in ("before", "after")}


def _side_by_side(mistakes: dict[str, Any], kind: str) -> Mistakes:
    """Return the most frequent mistakes after training, then those of before that are no longer among them, with both counts."""
    counts = {
        side: {tuple(v for k, v in each.items() if k != "n"): each["n"] for each in mistakes[side][kind]} for side in ("before", "after")
    }
    before, after = counts["before"], counts["after"]
    shown = [*list(after)[:N_MISTAKES], *[texts for texts in before if texts not in after][:N_GONE]]
    return [{"texts": texts, "before": before.get(texts), "after": after.get(texts)} for texts in shown]


def _spent(checkpoint: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what the time went into, the most first, with a colour each."""
    spent = sorted(checkpoint.get("spent", {}).items(), key=lambda each: -each[1])
    colours = cycle(("second", "first", "third", "fourth", "soft", "ink"))
    whole = sum(seconds for _, seconds in spent)
    return [
        {"what": what, "share": seconds / whole, "colour": colour} for (what, seconds), colour in zip(spent, colours, strict=False) if whole
    ]


def _distinct(names: list[str]) -> list[str]:
    """Return the names, those that occur more than once with a number."""
    return [f"{name} ({names[: place + 1].count(name)})" if names.count(name) > 1 else name for place, name in enumerate(names)]


def _differences(recipes: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the fields in which recipes differ, dotted, with what each says."""
    flat = [_flat(recipe) for recipe in recipes]
    fields = list(dict.fromkeys(field for each in flat for field in each))
    told = {field: [each.get(field, "not set") for each in flat] for field in fields}
    return {field: values for field, values in told.items() if len(set(values)) > 1}


def _flat(value: Any, field: str = "") -> dict[str, str]:
    if isinstance(value, Mapping) and value:
        return {key: text for name, each in value.items() for key, text in _flat(each, f"{field}.{name}".lstrip(".")).items()}
    return {field: value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)}


def _percent(share: float | None) -> str:
    return "–" if share is None or not math.isfinite(share) else f"{100 * share:.1f}".replace("-0.0", "0.0")


def _figure(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.2f}"


def _hours(hours: float) -> str:
    return f"{hours:,.1f} hours" if hours >= 1 else _duration(3600 * hours)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"


def _clock(seconds: float) -> str:
    return f"{int(seconds // 60)}:{seconds % 60:04.1f}"
