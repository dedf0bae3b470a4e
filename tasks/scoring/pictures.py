"""Pictures of a report: how a training went, where the model is good and where not, and how far its confidence can be believed.

Colour is never the only sign: what was before is hollow and dashed, what came after is filled. Every picture says in words what it shows.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from tasks.scoring.svg import STANDIN, drawing, for_itself, for_page

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 430, 250  # pixels of a chart; half a page
WIDE, ROW = 620, 27  # pixels: of a picture with a row to each slice
MOST, MOST_MARKED = 200, 40  # points of a line, and where each has a mark
MOST_ROWS = 40  # of a picture; the table has all slices
WORST = 150  # %, where the axis of a WER ends: that of a model that talks on can be anything
COLOURS, DASHES = ("second", "first", "third", "fourth", "ink"), ("-", "--", ":", "-.")
Points = list[tuple[float, float]]
Rate = Mapping[str, Any]  # value, low and high, shares; the last two are None where there can be no interval


def curves_of(history: list[dict[str, Any]]) -> dict[str, dict[str, Points]]:
    """Return the points of each chart that has any, by its title and their name; the look before the first step has no loss in training."""

    def points(name: str, scale: float = 1.0, most: float = math.inf) -> Points:
        found = [(look["step"], min(scale * look[name], most)) for look in history if look.get(name) is not None]
        return [(step, value) for step, value in found if math.isfinite(value)]

    curves = {"Loss": {"dev": points("dev_loss"), "train": points("loss")}, "Dev WER, %": {"dev": points("dev_wer", 100, WORST)}}
    return {title: series for title, series in curves.items() if any(series.values())}


def picture(curves: dict[str, dict[str, Points]]) -> str:
    """Return charts, one below the other, as an SVG file."""
    with drawing(WIDTH + 60, max(1, len(curves)) * HEIGHT, margin=12) as figure:
        for number, (title, series) in enumerate(curves.items(), 1):
            _lines(figure.add_subplot(len(curves), 1, number), series, title)
        return for_itself(figure, "Curves of a training", "; ".join(_told(title, series) for title, series in curves.items()))


def inline(picture: str, told: str) -> str:
    """Return an SVG file as an image in a line of Markdown; `told` to those who cannot see it."""
    return f"![{told}](data:image/svg+xml;base64,{base64.b64encode(picture.encode()).decode()})"


def curve_pictures(history: list[dict[str, Any]], chosen: int | None = None) -> dict[str, Markup]:
    """Return the charts of a training for a page, by title; the step that was chosen is marked in the dev WER."""
    pictures = {}
    for number, (title, series) in enumerate(curves_of(history).items()):
        with drawing(WIDTH, HEIGHT) as figure:
            axes = figure.add_subplot()
            _lines(axes, series)
            for step, value in series["dev"]:
                if step == chosen and "WER" in title:
                    axes.plot([step], [value], "o", markersize=12, fillstyle="none", color=STANDIN["ink"], markeredgewidth=1.5)
            pictures[title] = for_page(figure, f"curve{number}", title, _told(title, series))
    return pictures


def dev_picture(histories: Mapping[str, list[dict[str, Any]]]) -> Markup | None:
    """Return the dev WER of several trainings by their names, or None where no training has one."""
    found = {name: curves_of(history).get("Dev WER, %", {}).get("dev", []) for name, history in histories.items()}
    series = {name: line for name, line in found.items() if line}
    if not series:
        return None
    with drawing(WIDE, HEIGHT + 20 * len(series)) as figure:
        _lines(figure.add_subplot(), series, below=True)
        return for_page(figure, "dev", "Dev WER of each run, %", _told("dev WER, %", series))


def slices_picture(kinds: Mapping[str, Sequence[dict[str, Any]]], before: Rate, after: Rate) -> Markup:
    """Return the WER of each slice before and after with intervals, by kind, with lines at that of all clips; at most MOST_ROWS rows."""
    rows: list[tuple[str, dict[str, Any] | None]] = []
    for by, slices in kinds.items():
        rows += [(by, None), *((str(each["name"]), each) for each in slices)]
    told = f"All clips: {_percent(before)} before, {_percent(after)} after. The table below has the figures."
    return _forest(rows[:MOST_ROWS], "slices", "WER of each slice", told, (before["value"], after["value"]))


def runs_picture(runs: Mapping[str, dict[str, Any]]) -> Markup:
    """Return the WER of runs, by their names, before and after with intervals."""
    told = "; ".join(f"{name}: {_percent(run['before'])} before, {_percent(run['after'])} after" for name, run in runs.items())
    return _forest(list(runs.items()), "runs", "WER of each run", told, None)


def calibration_pictures(sides: Mapping[str, dict[str, Any]]) -> dict[str, Markup]:
    """Return, for before and after, the share that is right by confidence, and the WER of what is kept by how much is kept."""
    right = {
        side: [(100 * bin["confidence"], 100 * bin["right"]) for bin in told["bins"] if bin["n_clips"]] for side, told in sides.items()
    }
    kept = {side: [(100 * at["kept"], min(100 * at["wer"], WORST)) for at in told["thresholds"]] for side, told in sides.items()}
    names = {
        "How confident, how often right": (right, "confidence, %", "clips without an error, %"),
        "WER of the most confident clips": (kept, "share of the clips kept, %", "their WER, %"),
    }
    pictures = {}
    for number, (title, (series, across, up)) in enumerate(names.items()):
        if not any(series.values()):
            continue
        with drawing(WIDTH, HEIGHT + 20) as figure:
            axes = figure.add_subplot()
            if series is right:
                axes.plot([0, 100], [0, 100], color=STANDIN["soft"], linewidth=1, linestyle=(0, (2, 3)))
            _lines(axes, {side: sorted(line) for side, line in series.items()}, sides=True)
            axes.set(xlabel=across, ylabel=up, xlim=(-2, 102), ylim=(0, 104) if series is right else (0, None))
            pictures[title] = for_page(figure, f"calibration{number}", title, _told(f"{up} by {across}", series))
    return pictures


def _lines(axes: "Axes", series: Mapping[str, Points], title: str = "", below: bool = False, sides: bool = False) -> None:
    """Draw a line for each series, from zero to the highest; `sides` are before and after, and others are numbered."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    looks = zip(cycle(COLOURS), cycle(DASHES), strict=False)
    few = max((len(line) for line in series.values()), default=0) <= MOST_MARKED
    for (name, line), (colour, dash) in zip(series.items(), looks, strict=False):
        colour, dash = ({"before": "first", "after": "second"}[name], "--" if name == "before" else "-") if sides else (colour, dash)
        points = line[::-1][:: -(-len(line) // MOST) or 1][::-1]  # the last is among them
        face = "none" if name == "before" else STANDIN[colour]
        marker: dict[str, Any] = {"marker": "o", "markersize": 4.5, "markerfacecolor": face} if few else {}
        axes.plot([x for x, _ in points], [y for _, y in points], dash, color=STANDIN[colour], label=shorten(name, 60), **marker)
    top = max((y for line in series.values() for _, y in line), default=0)
    axes.set_ylim(0, 1.08 * top or 1)
    axes.set_title(title)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    if not sides:
        axes.set_xlabel("optimiser steps")
    if len(series) > 1 and below:
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.2))
    elif len(series) > 1:
        axes.legend(loc="best")


def _forest(
    rows: Sequence[tuple[str, dict[str, Any] | None]], name: str, title: str, told: str, lines: tuple[float, float] | None
) -> Markup:
    """Draw a row to each (name, before and after); a name without figures heads those that follow."""
    with drawing(WIDE, ROW * len(rows) + 70) as figure:
        axes = figure.add_subplot()
        sides = (("before", "first", -0.16, "none", "--"), ("after", "second", 0.16, STANDIN["second"], "-"))
        for number, (side, colour, shift, face, dash) in enumerate(sides):
            drawn = [(place + shift, *_cut(row[side])) for place, (_, row) in enumerate(rows) if row]
            y, value = [at for at, *_ in drawn], [point for _, point, *_ in drawn]
            bars = np.array([(at, *bar) for at, _, *bar in drawn if bar]).reshape(-1, 3)
            axes.hlines(*bars.T, color=STANDIN[colour], linewidth=2, linestyle="-")
            axes.plot(
                value, y, "o", color=STANDIN[colour], markerfacecolor=face, markersize=6.5, markeredgewidth=1.8, label=side, clip_on=False
            )
            if lines:
                axes.axvline(min(100 * lines[number], WORST), color=STANDIN[colour], linewidth=1, linestyle=dash, alpha=0.7)
        axes.set_yticks(range(len(rows)), [shorten(label, 36, placeholder=" …") for label, _ in rows])
        for label, (_, row) in zip(axes.get_yticklabels(), rows, strict=True):
            label.set(color=STANDIN["ink"], fontweight="normal" if row else "bold")
        is_cut = any(100 * (row[side]["high"] or row[side]["value"]) > WORST for _, row in rows if row for side in ("before", "after"))
        axes.set(ylim=(len(rows) - 0.4, -0.6), xlim=(0, None), xlabel=f"WER, %, cut at {WORST}" if is_cut else "WER, %")
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.01), ncols=2)
        return for_page(figure, name, title, told)


def _cut(interval: Rate) -> tuple[float, ...]:
    """Return value, low and high in percent, or the value alone."""
    return tuple(min(100 * interval[key], WORST) for key in ("value", "low", "high") if interval[key] is not None)


def _percent(interval: Rate) -> str:
    return f"{100 * interval['value']:.1f} %"


def _told(title: str, series: Mapping[str, Points]) -> str:
    """Say where each line begins and ends."""
    ends = [
        f"{name} from {line[0][1]:.3g} at {line[0][0]:,.6g} to {line[-1][1]:.3g} at {line[-1][0]:,.6g}"
        for name, line in series.items()
        if line
    ]
    return f"{title}: {', '.join(ends)}"
