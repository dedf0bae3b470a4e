"""Pictures of a search: every setting as a line, what each field decides, how each training went, and dev WER by the values of a field.

Every picture says in words what it shows.
"""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from tasks.scoring.pictures import HEIGHT, WIDE, WIDTH
from tasks.scoring.svg import STANDIN, drawing, for_itself, for_page
from tasks.search.importance import Weight, importances
from tasks.search.scale import Scale, excerpt, scales, short_fields, values_of
from tasks.search.strokes import AS_IT_IS, DOTS, Tried, called, in_order, kind, legend, percent, stroke

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AXIS, BAR = 64, 30  # pixels: of an axis of the parallel ones, and of a bar
LETTERS, FEW_LETTERS = 80, 62  # that stand side by side below an axis
EDGE = 0.05  # of an axis, before its first value and behind its last
FIELD = 26  # letters of a field's name beside its axis
Result = Mapping[str, Any]


def parallel_picture(result: Result) -> Markup | None:
    """Return every setting as a line from field to field, down to its dev WER; None where no field was varied, or all failed."""
    fields, settings = scales(result), _settings(result)
    if not fields or not settings:
        return None
    wers = sorted({percent(each["dev_wer"]) for each in settings})
    everything = [*fields.values(), Scale("dev WER, %", "linear", tuple(wers), ())]
    with drawing(WIDE, AXIS * len(everything) + 60) as figure:
        axes = figure.add_subplot()
        for place, scale in enumerate(everything):
            _axis(axes, place, scale)
        for each in in_order(result, settings):
            values = values_of(result, each)
            across = [scale.at(values[field]) if field in values else float("nan") for field, scale in fields.items()]
            line = [*across, everything[-1].at(percent(each["dev_wer"]))]
            axes.plot(line, range(len(line)), marker="o", markersize=4, label=called(result, each), **stroke(result, each))
        names = [excerpt(each, FIELD) for each in (*short_fields(list(fields)).values(), everything[-1].field)]
        axes.set_yticks(range(len(everything)), names, color=STANDIN["ink"])
        axes.set(ylim=(len(everything) - 0.4, -0.25), xlim=(-EDGE, 1 + EDGE), xticks=[])
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        legend(axes, 0.02)
        told = f"{_settings_told(result, settings)}. The table has all values."
        return for_page(figure, "parallel", "Every setting as a line, from field to field, to its dev WER", told)


def importance_picture(result: Result) -> Markup | None:
    """Return what each field decides, as bars, or None where that cannot be told; hollow and dashed: chance can give as much."""
    if not (weights := importances(result)):
        return None
    names = short_fields([each.field for each in weights])
    with drawing(WIDE, BAR * len(weights) + 50) as figure:
        axes = figure.add_subplot()
        for place, each in enumerate(weights):
            face, dash = (STANDIN["second"], "-") if each.is_beyond_chance else ("none", "--")
            axes.barh(place, 100 * each.share, 0.55, color=face, edgecolor=STANDIN["second"], linewidth=1.5, linestyle=dash)
            axes.text(100 * each.share + 1.5, place, _weight_told(each), verticalalignment="center")
        axes.set_yticks(range(len(weights)), [excerpt(names[each.field], FIELD) for each in weights], color=STANDIN["ink"])
        axes.set(ylim=(len(weights) - 0.4, -0.6), xlim=(0, 145), xticks=range(0, 101, 25), xlabel="share of what all fields decide, %")
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        told = "; ".join(f"{names[each.field]}: {_weight_told(each)}" for each in weights)
        return for_page(figure, "importance", "What each field decides", told)


def looks_picture(result: Result) -> Markup | None:
    """Return the dev WER of every training by its steps; None where there was no look. An x: it ended there, early or by a failure."""
    trainings = [each for each in result["trials"] if each["looks"]]
    if not trainings:
        return None
    with drawing(WIDE, HEIGHT + 100) as figure:
        axes = figure.add_subplot()
        for each in in_order(result, trainings):
            looks = sorted((int(step), percent(wer)) for step, wer in each["looks"].items())
            marker, size = ("o", 4.0) if each["state"] == "complete" else ("x", 6.5)
            look: dict[str, Any] = stroke(result, each) | {"marker": marker, "markersize": size, "markevery": [-1]}
            axes.plot(*zip(*looks, strict=True), label=called(result, each), **look)
        axes.set(xlabel="optimiser steps", ylabel="dev WER, %", xlim=(0, None), ylim=(0, None))
        legend(axes, 0.2)
        ended = sum(each["state"] != "complete" for each in trainings)
        told = f"{_settings_told(result, _settings(result))}. {len(trainings)} trainings, {ended} of which did not come to their end."
        return for_page(figure, "looks", "Dev WER of every training by its steps", told)


def values_picture(result: Result, field: str) -> Markup | None:
    """Return the dev WER of every training by its value of a field; None where that was not varied, or nothing has a dev WER."""
    if not (trainings := _trainings(result, field)):
        return None
    with drawing(WIDTH, HEIGHT + 40) as figure:
        _values(figure.add_subplot(), result, field, trainings)
        name = f"values{list(scales(result)).index(field)}"
        return for_page(figure, name, f"Dev WER by {field}", _values_told(result, field, trainings))


def values_file(result: Result, field: str) -> str:
    """Return that picture as an SVG file.

    Raises:
        ValueError: if the field was not varied, or nothing has a dev WER.
    """
    if not (trainings := _trainings(result, field)):
        raise ValueError(f"{field}: expected a field that was varied and has a dev WER, one of: {', '.join(scales(result)) or 'none'}")
    with drawing(WIDTH + 60, HEIGHT + 60, margin=12) as figure:
        _values(figure.add_subplot(), result, field, trainings)
        return for_itself(figure, f"Dev WER by {field}", _values_told(result, field, trainings))


def _axis(axes: "Axes", place: int, scale: Scale) -> None:
    """Draw one of the parallel axes, with its values below it, readable where lines cross them."""
    axes.plot([-EDGE, 1 + EDGE], [place, place], color=STANDIN["soft"], linewidth=1, zorder=1)
    for at, text in scale.ticks(LETTERS):
        axes.plot([at, at], [place - 0.05, place + 0.05], color=STANDIN["soft"], linewidth=1, zorder=1)
        paper = {"facecolor": STANDIN["card"], "edgecolor": "none", "alpha": 0.8, "pad": 1}
        down = place + (0.34 if text.startswith("\n") else 0.13)
        axes.text(at, down, text.strip(), color=STANDIN["soft"], ha="center", va="top", fontsize=10, bbox=paper, zorder=5)


def _values(axes: "Axes", result: Result, field: str, trainings: Sequence[Tried]) -> None:
    """Draw a dot for each training, a bar at the mean of those with the same value, and a line at the recipe as it is."""
    scale = scales(result)[field]
    for which, (name, look) in enumerate(DOTS.items()):
        drawn = [(scale.at(values_of(result, each)[field]), percent(each["dev_wer"])) for each in trainings if kind(result, each) == which]
        if drawn:
            axes.plot(*zip(*drawn, strict=True), label=name, linestyle="none", zorder=5 - which, **look)
    means = [(scale.at(value), mean(wers)) for value, wers in _by_value(result, field, trainings) if len(wers) > 1]
    if means:
        axes.plot(*zip(*means, strict=True), "_", markersize=22, markeredgewidth=2, color=STANDIN["ink"], label="mean of a value", zorder=6)
    if (before := next((each["dev_wer"] for each in result["places"] if kind(result, each) == 1), None)) is not None:
        axes.axhline(percent(before), **AS_IT_IS | {"linewidth": 1.2, "zorder": 1}, label="the recipe as it is, mean")
    ticks = scale.ticks(FEW_LETTERS)
    axes.set_xticks([at for at, _ in ticks], [text for _, text in ticks])
    axes.set(xlim=(-EDGE, 1 + EDGE), ylim=(0, None), xlabel=field, ylabel="dev WER, %")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.02), ncols=2, columnspacing=1.2)


def _settings(result: Result) -> list[Tried]:
    """Return the places that have a dev WER and did not fail."""
    return [each for each in result["places"] if each["dev_wer"] is not None and each["state"] != "fail"]


def _trainings(result: Result, field: str) -> list[Tried]:
    """Return the trainings that have a dev WER and a value of a field, if that was varied."""
    told = [each for each in result["trials"] if each["dev_wer"] is not None and each["state"] != "fail"]
    return [each for each in told if field in values_of(result, each)] if field in scales(result) else []


def _by_value(result: Result, field: str, trainings: Sequence[Tried]) -> list[tuple[Any, list[float]]]:
    """Return each value with the dev WERs of the trainings that came to their end, in percent."""
    scale = scales(result)[field]
    done = [(values_of(result, each)[field], percent(each["dev_wer"])) for each in trainings if each["state"] == "complete"]
    found = [(value, [wer for other, wer in done if scale.at(other) == scale.at(value)]) for value in scale.values]
    return [(value, wers) for value, wers in found if wers]


def _settings_told(result: Result, settings: Sequence[Tried]) -> str:
    marked = (f"{called(result, each)}, dev WER {percent(each['dev_wer']):.1f} %" for each in settings if kind(result, each) < 2)
    return "; ".join([f"{len(settings)} settings", *marked])


def _weight_told(weight: Weight) -> str:
    return f"{100 * weight.share:.0f} %, {'more than chance' if weight.is_beyond_chance else 'may be chance'}"


def _values_told(result: Result, field: str, trainings: Sequence[Tried]) -> str:
    means = [(mean(wers), scales(result)[field].called(value)) for value, wers in _by_value(result, field, trainings)]
    if not means:
        return f"{len(trainings)} trainings, all of which ended early"
    (low, best), (high, worst) = min(means), max(means)
    return f"{len(trainings)} trainings; the lowest dev WER is {low:.1f} % at {best}, the highest {high:.1f} % at {worst}"
