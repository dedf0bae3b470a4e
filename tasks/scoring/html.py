"""The report as one HTML file: opens offline, loads nothing, plays its clips. Pictures are SVG, sounds are in the file."""

from pathlib import Path
from typing import Any

import jiwer
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape

from tasks.contracts.languages import name as name_of
from tasks.scoring.curves import chart, curves_of
from tasks.scoring.normalise import plain


def render_report(report: dict[str, Any], sounds: dict[str, str]) -> str:
    """Return the page.

    Args:
        report: what `compare` gave, with what `write_report` adds.
        sounds: data addresses of clips by id; the worst clips with a sound get a player.
    """
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["language"] = name_of
    curves = {title: chart(series) for title, series in curves_of(report["history"]).items()}
    worst = [clip | {"marked": mark_errors(clip["reference"], clip["after"])} for clip in report["worst"]]
    return environment.get_template("report.html.j2").render(report=report, curves=curves, worst=worst, sounds=sounds)


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
