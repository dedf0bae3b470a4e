"""Past runs are listed newest first, with what became of each; what is not known of one is said to be unknown."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tasks.hub.releases import Event, add_event
from tasks.scoring.past import as_lines, past_runs
from tasks.store.artifacts import SEAL, Draft
from tasks.store.objects import Store

DAYS = {"swedish-1": "2026-11-01", "swedish-2": "2026-11-02", "digits": "2026-11-03"}


def key(name: str) -> str:
    return name.encode().hex().ljust(24, "0")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path))
    Draft(store, "checkpoint", key("swedish-1")).seal({"steps": 40, "seconds": 5400.0, "device": "cpu"})
    Draft(store, "dataset", key("swedish-1")).seal({"splits": {"train": 1200, "dev": 1}, "hours": {"train": 1.26}})
    facts = {"steps": 4000, "seconds": 10.0, "device": "cuda", "device_name": "T4", "gpu_hours": 0.5}
    Draft(store, "checkpoint", key("swedish-2")).seal(facts)
    for name in DAYS:
        _report(store, name)
    return store


def _report(store: Store, name: str) -> None:
    rates = [{"wer": {"value": value, "low": value - 0.1, "high": value + 0.1}} for value in (0.5, 0.3, 0.2)]
    facts = dict(zip(("before", "after", "gain"), rates, strict=True)) | {"name": name, "n_clips": 80, "normaliser": "viska-sv-1"}
    told = {"language": "sv", "model": {"kind": "scratch"}}
    Draft(store, "report", key(name)).seal(facts | {"checkpoint": key(name), "dataset": key(name)}, {"told": told})
    moment = datetime.fromisoformat(DAYS[name]).replace(tzinfo=UTC).timestamp()
    os.utime(store.uri(f"report/{key(name)}/{SEAL}"), (moment, moment))


def _say(store: Store, what: Any, name: str, model: str = "whisper-sv", **told: Any) -> None:
    add_event(store, model, Event(what, report=key(name), **told))


def _names(store: Store, **wish: Any) -> list[str]:
    return [each.name for each in past_runs(store, **wish)]


def test_runs_are_listed_newest_first_and_chosen_by_name_and_day(store: Store) -> None:
    assert _names(store) == ["digits", "swedish-2", "swedish-1"]
    assert _names(store, name="swedish-*") == ["swedish-2", "swedish-1"] and _names(store, name="swedish") == []
    assert _names(store, since=datetime(2026, 11, 2)) == ["digits", "swedish-2"]
    assert _names(store, since=datetime.fromisoformat("2026-11-02T02:00+01:00")) == ["digits"], "an hour after it, in UTC"


def test_what_became_of_a_run_is_the_last_that_was_said_of_it(store: Store) -> None:
    assert _names(store, verdict="open") == ["digits", "swedish-2", "swedish-1"]
    _say(store, "rejection", "digits", reasons=["too few words"])
    _say(store, "release", "swedish-1", version=1)
    _say(store, "release", "swedish-2", version=2)
    assert [(each.verdict, each.version, each.reasons) for each in past_runs(store)] == [
        ("refused", 0, ["too few words"]), ("current", 2, []), ("released", 1, []),
    ]  # fmt: skip
    assert _names(store, verdict="released") == ["swedish-2", "swedish-1"] and _names(store, verdict="current") == ["swedish-2"]
    add_event(store, "whisper-sv", Event("rollback", version=1))
    assert _names(store, verdict="current") == ["swedish-1"]
    _say(store, "rejection", "swedish-1", model="another", reasons=["no better"])
    assert _names(store, verdict="current") == ["swedish-1"], "under one name it is"


def test_the_table_says_what_it_cost_and_what_is_not_known(store: Store) -> None:
    _say(store, "release", "swedish-2", version=1)
    head, digits, second, first = as_lines(past_runs(store))
    assert head.split("  ")[0] == "date"
    assert first.split() == ["2026-11-01", "00:00", key("swedish-1"), "swedish-1", "1,200", "1.26", "40", "50.0",
                             "30.0", "(20.0", "to", "40.0)", "open", "1.50", "hours,", "cpu"]  # fmt: skip
    assert second.endswith("v1, current  0.50 GPU-hours, T4") and "  ?      ?      4,000  " in second
    assert digits.endswith("?") and digits.count("?") == 4
