"""The report as one HTML file: opens offline, loads nothing, plays its clips. Pictures are SVG drawn here, sounds are in the file."""

from pathlib import Path
from typing import Any

import jiwer
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape

from tasks.contracts.languages import name as name_of
from tasks.scoring.normalise import plain

WIDTH, HEIGHT, LEFT, BOTTOM = 520, 220, 44, 28  # of a chart, in its own units


def render_report(report: dict[str, Any], sounds: dict[str, str]) -> str:
    """Return the page.

    Args:
        report: what `compare` gave, with what `write_report` adds.
        sounds: data addresses of clips by id; the worst clips with a sound get a player.
    """
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["language"] = name_of
    history = report["history"]
    curves = {
        "Loss": chart(
            {"train": [(look["step"], look["loss"]) for look in history], "dev": [(look["step"], look["dev_loss"]) for look in history]}
        ),
        "Dev WER, %": chart({"dev": [(look["step"], 100 * min(look["dev_wer"], 1.5)) for look in history]}),
    }
    worst = [clip | {"marked": mark_errors(clip["reference"], clip["after"])} for clip in report["worst"]]
    return environment.get_template("report.html.j2").render(report=report, curves=curves, worst=worst, sounds=sounds)


def chart(series: dict[str, list[tuple[float, float]]]) -> Markup:
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
    for x in (left, right):
        parts.append(f'<text x="{place(x, 0)[0]:.1f}" y="{HEIGHT}" text-anchor="middle">{x:g}</text>')
    for number, (name, line) in enumerate(series.items()):
        places = [place(x, y) for x, y in line]
        parts.append(f'<polyline class="s{number}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>')
        parts += [f'<circle class="s{number}" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{name} {py:.4g} at step {px:g}</title></circle>'
                  for (x, y), (px, py) in zip(places, line, strict=True)]  # fmt: skip
        parts.append(f'<text class="s{number}" x="{WIDTH - 70}" y="{18 + 16 * number}">{escape(name)}</text>')
    return Markup("".join(parts) + "</svg>")


def mark_errors(reference: str, hypothesis: str) -> Markup:
    """Return the hypothesis with its word errors marked: <ins> for what was not said, <del> for what was missed."""
    reference, hypothesis = plain(reference), plain(hypothesis)
    if not reference:
        return Markup("<ins>{}</ins>").format(hypothesis) if hypothesis else Markup("")
    said, heard = reference.split(), hypothesis.split()
    pieces: list[Markup] = []
    for chunk in jiwer.process_words(reference, hypothesis).alignments[0]:
        missed = " ".join(said[chunk.ref_start_idx : chunk.ref_end_idx])
        made_up = " ".join(heard[chunk.hyp_start_idx : chunk.hyp_end_idx])
        if chunk.type == "equal":
            pieces.append(escape(made_up))
            continue
        if missed:
            pieces.append(Markup("<del>{}</del>").format(missed))
        if made_up:
            pieces.append(Markup("<ins>{}</ins>").format(made_up))
    return Markup(" ").join(pieces)
