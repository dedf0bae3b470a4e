"""Curves of a training as SVG that is drawn here: for the report, and as a picture that stands by itself."""

import math
from typing import Any

from markupsafe import Markup, escape

WIDTH, HEIGHT, LEFT, BOTTOM = 520, 220, 44, 28  # of a chart, in its own units
TITLE, MARGIN = 26, 14  # of a picture, in the same units
MOST = 200  # points of a line in a picture
WORST = 150  # %, where the axis of a WER ends: that of a model that talks on can be anything
STYLE = (  # in a file of its own it knows nothing of the page around it, so it is dark on white on a dark page too
    "text{font:12px system-ui,sans-serif;fill:#66707f} .title{font-weight:600;font-size:13px;fill:#1c2330} "
    ".grid{stroke:#e3e7ed} .s0{fill:#0b6e99} .s1{fill:#d9730d} polyline{stroke-width:2;fill:none!important} "
    "polyline.s0{stroke:#0b6e99} polyline.s1{stroke:#d9730d}"
)
Points = list[tuple[float, float]]


def curves_of(history: list[dict[str, Any]]) -> dict[str, dict[str, Points]]:
    """Return the points of each chart that has any, by its title and their name; the look before the first step has no loss in training."""

    def points(name: str, scale: float = 1.0, most: float = math.inf) -> Points:
        found = [(look["step"], min(scale * look[name], most)) for look in history if name in look]
        return [(step, value) for step, value in found if math.isfinite(value)]

    curves = {"Loss": {"dev": points("dev_loss"), "train": points("loss")}, "Dev WER, %": {"dev": points("dev_wer", 100, WORST)}}
    return {title: series for title, series in curves.items() if any(series.values())}


def picture(curves: dict[str, dict[str, Points]]) -> str:
    """Return charts, one below the other, as an SVG file."""
    each, width = TITLE + HEIGHT + 8, WIDTH + 2 * MARGIN
    height = len(curves) * each + MARGIN
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">']
    parts.append(f'<style>{STYLE}</style><rect width="{width}" height="{height}" rx="8" fill="#fff"/>')
    for number, (title, series) in enumerate(curves.items()):
        top, drawn = number * each, chart({name: _thinned(line) for name, line in series.items()})
        parts.append(f'<text class="title" x="{MARGIN}" y="{top + TITLE - 6}">{escape(title)}</text>')
        parts.append(f'<svg x="{MARGIN}" y="{top + TITLE}" width="{WIDTH}" height="{HEIGHT + 8}">{drawn}</svg>')
    return "".join(parts) + "</svg>"


def chart(series: dict[str, Points]) -> Markup:
    """Return a line chart as SVG: x from the first to the last point of any series, y from 0 to the highest."""
    points = [point for line in series.values() for point in line]
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    top = max(max(y for _, y in points) * 1.08, 1e-9)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - left) / (right - left) if right > left else 0.5
        return LEFT + across * (WIDTH - LEFT - 12), (HEIGHT - BOTTOM) * (1 - y / top) + 6

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT + 8}" role="img">']
    for share in (0, 0.5, 1):
        y = place(left, top * share / 1.08)[1]
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - 12}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{top * share / 1.08:.3g}</text>')
    for x, anchor in ((left, "middle"), (right, "end")):
        parts.append(f'<text x="{place(x, 0)[0]:.1f}" y="{HEIGHT}" text-anchor="{anchor}">{x:g}</text>')
    for number, (name, line) in enumerate(series.items()):
        places = [place(x, y) for x, y in line]
        parts.append(f'<polyline class="s{number}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>')
        parts += [f'<circle class="s{number}" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{name} {py:.4g} at step {px:g}</title></circle>'
                  for (x, y), (px, py) in zip(places, line, strict=True)]  # fmt: skip
        parts.append(f'<text class="s{number}" x="{WIDTH - 70}" y="{18 + 16 * number}">{escape(name)}</text>')
    return Markup("".join(parts) + "</svg>")


def _thinned(line: Points) -> Points:
    """Return at most MOST of the points, the last among them."""
    return line[::-1][:: -(-len(line) // MOST) or 1][::-1]
