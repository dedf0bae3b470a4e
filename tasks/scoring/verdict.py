"""A verdict of the gate as people read it: Markdown for the Prefect UI, and the head of the report."""

import re
from collections.abc import Mapping
from typing import Any

from tasks.scoring.html import environment
from tasks.scoring.summary import limits

PLACE = "<!-- verdict -->"  # where in a report's page it stands
CONTENTS = '<nav aria-label="Contents"><ul>'
MARKUP = re.compile(r"[^\w .,:;/()+%-]")  # what a stranger's word could shape a page with
Verdict = Mapping[str, Any]


def headline(verdict: Verdict) -> str:
    """Return the verdict in a sentence."""
    if verdict["wins"]:
        return f"Wins against {verdict['champion']}."
    return f"Does not win against {verdict['champion']}: {'; '.join(verdict['reasons'])}."


def with_verdict(page: str, verdict: Verdict) -> str:
    """Return a report's page with the verdict at its head."""
    section = environment().get_template("verdict.html.j2").render(verdict=verdict, headline=headline(verdict))
    return page.replace(PLACE, section, 1).replace(CONTENTS, f'{CONTENTS}\n<li><a href="#verdict">The gate</a></li>', 1)


def as_markdown(verdict: Verdict) -> str:
    """Return the verdict with its checks, the failed ones first."""
    told = only_words(headline(verdict), 2_000)
    lines = [f"# {'The challenger wins' if verdict['wins'] else 'The challenger does not win'}", "", told, "",
             f"| | passed | {_cell(verdict['champion'])} | challenger | gain, points |", "|---|---|---|---|---|"]  # fmt: skip
    for each in sorted(verdict["checks"], key=lambda check: check["passed"]):
        rates = [_rate(each[side]) for side in ("before", "after")]
        gain = f"{100 * each['gain']['value']:+.1f} {limits(each['gain'], '+.1f')}" if each["gain"] else _cell(each["words"])
        lines.append(f"| {_cell(each['what'])} | {'yes' if each['passed'] else '**no**'} | {rates[0]} | {rates[1]} | {gain} |")
    return "\n".join([*lines, "", f"{verdict['n_words']:,} words in {verdict['n_clips']} clips, weighed by {verdict['unit']}. "
                      f"Intervals of {100 * verdict['level']:g} %. Normaliser {verdict['normaliser']}."])  # fmt: skip


def _rate(rate: Mapping[str, float] | None) -> str:
    return f"{100 * rate['value']:.1f} %" if rate else ""


def only_words(text: str, most: int = 80) -> str:
    """Return a stranger's words as words alone: names of slices and comments come from whoever wrote the table, or asked for a page."""
    return " ".join(MARKUP.sub(" ", text.replace("://", " ")).split())[:most]


def _cell(text: str) -> str:
    return only_words(text, 200)
