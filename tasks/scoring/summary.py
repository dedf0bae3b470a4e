"""A report in a few lines: for the Prefect UI and the log."""

from collections.abc import Mapping, Sequence
from typing import Any

SIDES = ("before", "after")
Rate = Mapping[str, float | None]  # value, low and high; the last two are None where there can be no interval


def summary(report: dict[str, Any]) -> str:
    """Return the headline figures of a report as Markdown."""
    gain = report["gain"]["wer"]
    lines = [
        f"# {_percent(report['before']['wer']['value'])} → {_percent(report['after']['wer']['value'])} WER",
        "",
        f"{report['name']}, {report['n_clips']} test clips. Gain {_points(gain)} points{_verdict(gain)}.",
        "",
        "| | before | after | gain, points |",
        "|---|---|---|---|",
    ]
    for key, name in (("wer", "WER"), ("cer", "CER"), ("wer_raw", "WER, as written"), ("cer_raw", "CER, as written")):
        lines.append(_row(name, *(report[side][key] for side in (*SIDES, "gain"))))
    others = {f"WER, {each['name']}": each for each in report["forgetting"]}
    if long := report.get("long_form"):
        others = {"WER, recordings of minutes": long} | others
    lines += [_row(name, *(each[side] for side in (*SIDES, "gain"))) for name, each in others.items()]
    lines += ["", f"Normaliser {report['normaliser']}; decoding {report['decoding']}, the same for both."]
    if report["worst_slices"]:
        lines += ["", "Worst: " + ", ".join(f"{each['by']} {each['name']}" for each in report["worst_slices"]) + "."]
    return "\n".join(lines)


def slices_table(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the slices as rows of a table."""
    return [
        {"by": each["by"], "slice": each["name"], "clips": each["n_clips"], **{side: _interval(each[side]) for side in SIDES},
         "gain, points": _points(each["gain"])}
        for each in report["slices"]
    ]  # fmt: skip


def limits(interval: Rate, form: str = ".1f") -> str:
    """Return both ends of an interval in percent, in brackets; or that there is none."""
    low, high = interval["low"], interval["high"]
    return "(no interval)" if low is None or high is None else f"({100 * low:{form}} to {100 * high:{form}})"


def _row(name: str, before: Rate, after: Rate, gain: Rate) -> str:
    return f"| {name} | {_interval(before)} | {_interval(after)} | {_points(gain)} |"


def _verdict(gain: Rate) -> str:
    low, high = gain["low"], gain["high"]
    if low is None or high is None:
        return "; too few clips to tell"
    certain = "excludes zero" if low > 0 or high < 0 else "includes zero: no difference that these clips can show"
    return f", 95 % interval; it {certain}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _interval(interval: Rate) -> str:
    return f"{_percent(interval['value'])} {limits(interval)}"


def _points(interval: Rate) -> str:
    return f"{100 * (interval['value'] or 0):+.1f} {limits(interval, '+.1f')}"


def comparison_lines(reports: Sequence[dict[str, Any]], pairs: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each run, the first one to begin with, as columns of text."""
    against = {each["key"]: each for each in pairs}
    width = max(len(each["name"]) for each in reports)
    lines = []
    for report in reports:
        pair = against.get(report["key"])
        told = "" if pair is None else f"  gain {_points(pair['gain']['wer'])}" if pair["same_test"] else f"  {pair['why']}"
        lines.append(f"{report['key']}  {report['name']:{width}}  WER {_interval(report['after']['wer'])}, {report['normaliser']}{told}")
    return lines
