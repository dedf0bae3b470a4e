"""Runs are found by key or name, compared on the same test only, and paired: a run with itself differs by nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.contracts.errors import StoreError
from tasks.contracts.values import Artifact
from tasks.scoring.report import FORMAT
from tasks.scoring.runs import compare_runs, find_report
from tasks.scoring.summary import comparison_lines
from tasks.store.artifacts import Draft
from tasks.store.lines import to_lines
from tasks.store.objects import Store

WORDS = ["en båt", "tre hästar", "jag heter anna", "fem"]
KEYS = {"first": "1" * 24, "second": "2" * 24, "other test": "3" * 24, "plain": "4" * 24}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path))
    _run(store, "first", [text.split()[0] for text in WORDS])
    _run(store, "second", WORDS)
    _run(store, "other test", WORDS[:2])
    return store


def _run(store: Store, name: str, heard: list[str], **changes: Any) -> Artifact:
    key = KEYS.get(name, "9" * 24)
    rows = [{"id": f"c{number}", "reference": WORDS[number], "text": text, "capped": False} for number, text in enumerate(heard)]
    predictions = Draft(store, "predictions", key)
    predictions.write("predictions.jsonl", to_lines(rows))
    predictions.seal({})
    rate = {"value": 0.5, "low": 0.4, "high": 0.6}
    report = {"format": FORMAT, "name": name, "language": "sv", "decoding": "greedy", "predictions": {"after": key},
              "normaliser": "viska-sv-1",
              "recipe": {"scoring": {"normaliser": "auto", "resamples": 200, "seed": 0}}, "after": {"wer": rate}}  # fmt: skip
    draft = Draft(store, "report", key)
    draft.write("report.json", json.dumps(report | changes).encode())
    draft.write("groups.json", b"[1, 1, 2, 0]")
    return draft.seal({"name": name, "checkpoint": f"{key[0]}c" * 12, "after": {"wer": rate}})


def test_a_run_is_found_by_its_key_its_checkpoint_and_its_name(store: Store) -> None:
    assert {find_report(store, wish).key for wish in (KEYS["second"], "2c" * 12, "second")} == {KEYS["second"]}


def test_a_name_of_no_run_or_of_several_is_refused_with_the_keys(store: Store) -> None:
    with pytest.raises(StoreError, match=f"no report is of 'third'; name one by its key: {KEYS['first']} .first, WER 50.0 %."):
        find_report(store, "third")
    draft = Draft(store, "report", "8" * 24)
    draft.write("report.json", b"{}")
    draft.seal({"name": "second"})
    with pytest.raises(StoreError, match="2 reports are of 'second'"):
        find_report(store, "second")


def test_the_gain_is_that_of_the_words_counted_by_hand(store: Store) -> None:
    reports, (pair,) = compare_runs(store, ["first", "second"])
    assert [each["key"] for each in reports] == [KEYS["first"], KEYS["second"]]
    assert pair["same_test"] and pair["gain"]["wer"]["value"] == pytest.approx(4 / 8)  # hästar, heter, anna, båt
    assert pair["gain"]["wer"]["low"] <= 4 / 8 <= pair["gain"]["wer"]["high"]
    _, (same,) = compare_runs(store, ["first", "1c" * 12])
    assert set(same["gain"]["wer"].values()) == {0.0}


def test_runs_on_another_test_or_decoded_in_another_way_are_not_compared(store: Store) -> None:
    _run(store, "slow", WORDS, decoding="five beams")
    reports, (other, slow) = compare_runs(store, ["first", "other test", "slow"])
    assert not other["same_test"] and other["why"] == "scored on another test: 2 of its 2 clips are in that of the first run"
    assert not slow["same_test"] and "five beams" in slow["why"]
    _run(store, "plain", WORDS, normaliser="viska-plain-1")
    _, (plain,) = compare_runs(store, ["first", "plain"])
    assert not plain["same_test"] and "scored with viska-plain-1 and viska-sv-1" in plain["why"]
    assert other["why"] in "\n".join(comparison_lines(reports, [other, slow]))


def test_a_report_of_an_earlier_version_is_refused(store: Store) -> None:
    draft = Draft(store, "report", "7" * 24)
    draft.write("report.json", b"{}")
    draft.seal({})
    with pytest.raises(StoreError, match="has format 1, expected 2"):
        compare_runs(store, ["7" * 24])
