"""Runs of a store, found by key or name and compared with the first of them: on the same test, with the same normaliser, paired."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tasks.contracts.errors import StoreError
from tasks.contracts.values import Artifact
from tasks.scoring.intervals import paired_intervals
from tasks.scoring.normalise import normaliser_for
from tasks.scoring.predict import read_predictions
from tasks.scoring.rates import count_all, count_characters, count_words
from tasks.scoring.report import FORMAT
from tasks.store.artifacts import fetch_file, find, load, peek_all
from tasks.store.objects import Store

Run = dict[str, Any]


def find_report(store: Store, wish: str) -> Artifact:
    """Return the report with this key, of the checkpoint with this key, or of the run with this name.

    Raises:
        StoreError: if there is none, or several have the name.
    """
    if (report := find(store, "report", wish)) is not None:
        return report
    fitting = [each for each, _ in peek_all(store, "report") if wish in (each.facts.get("checkpoint"), each.facts.get("name"))]
    if len(fitting) != 1:
        there = ", ".join(_told(each) for each in fitting or [each for each, _ in peek_all(store, "report")])
        what = f"{len(fitting)} reports are of {wish!r}" if fitting else f"no report is of {wish!r}"
        raise StoreError(f"{store.uri('report')}: {what}; name one by its key: {there or 'there is none yet, train first'}")
    return load(store, "report", fitting[0].key)


def _told(report: Artifact) -> str:
    wer = report.facts.get("after", {}).get("wer", {}).get("value")
    return f"{report.key} ({report.facts.get('name', '?')}{'' if wer is None else f', WER {100 * wer:.1f} %'})"


def compare_runs(store: Store, wishes: Sequence[str]) -> tuple[list[Run], list[Run]]:
    """Return the reports of some runs, and how each of them but the first compares with the first.

    Args:
        store: where they lie.
        wishes: a report's or checkpoint's key, or a run's name, each.

    Returns:
        The reports, each with its `key`; and of each further run `key`, `same_test`, `why` it cannot be compared, and `gain`, the WER and
        CER of the first run less its own, with intervals.
    """
    reports = [_read(store, find_report(store, wish)) for wish in wishes]
    return reports, [_against(store, reports[0], each) for each in reports[1:]]


def _read(store: Store, report: Artifact) -> Run:
    read: Run = json.loads(fetch_file(store, report.file("report.json")).read_text())
    if read.get("format") != FORMAT:
        raise StoreError(f"report/{report.key} has format {read.get('format', 1)}, expected {FORMAT}; run its recipe again with this viska")
    return read | {"key": report.key, "groups": json.loads(fetch_file(store, report.file("groups.json")).read_text())}


def _against(store: Store, first: Run, other: Run) -> Run:
    told = {"key": other["key"], "same_test": False, "why": "", "gain": {}}
    before, after = (read_predictions(store, load(store, "predictions", each["predictions"]["after"])) for each in (first, other))
    said, also = ([(each.id, each.reference) for each in side] for side in (before, after))
    if said != also:
        return told | {"why": f"scored on another test: {len(set(said) & set(also))} of its {len(also)} clips are in that of the first run"}
    if first["decoding"] != other["decoding"]:
        return told | {"why": f"decoded in another way: {other['decoding']}"}
    wish = first["recipe"]["scoring"]
    normaliser = normaliser_for(first["language"], wish["normaliser"])
    if {first["normaliser"], other["normaliser"]} != {normaliser.name}:
        names = " and ".join(sorted({first["normaliser"], other["normaliser"]}))
        return told | {"why": f"scored with {names}, and now it is {normaliser.name}; run both recipes again, with one normaliser"}
    speakers, gain = [str(group or "") for group in first["groups"]], {}
    for name, count in (("wer", count_words), ("cer", count_characters)):
        errors = [count_all(side, count, normaliser) for side in (before, after)]
        gain[name] = asdict(paired_intervals(errors[0], errors[1], speakers, wish["resamples"], wish["seed"])[2])
    return told | {"same_test": True, "gain": gain}
