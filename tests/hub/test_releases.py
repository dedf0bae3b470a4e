"""The log of releases: what is current, what the next one is called, and what is no log."""

import json
from pathlib import Path

import pytest

from tasks.contracts.errors import ReleaseError, StoreError
from tasks.hub.releases import Event, add_event, claim, current, find_version, read_events
from tasks.store.objects import Store


@pytest.fixture
def local(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def released(version: int) -> Event:
    return Event("release", version, checkpoint=f"c{version}", page=f"p{version}")


def back(version: int) -> Event:
    return Event("rollback", version)


@pytest.mark.parametrize(("events", "now", "next"), [
    ([], None, 1), ([Event("rejection")], None, 1), ([released(1)], 1, 2), ([released(1), Event("rejection"), released(2)], 2, 3),
    ([released(1), released(2), back(1)], 1, 3), ([released(1), released(2), back(1), Event("rejection")], 1, 3),
    ([released(1), released(2), back(1), released(3)], 3, 4), ([released(1), released(2), back(1), back(2)], 2, 3),
])  # fmt: skip
def test_the_newest_release_is_current_unless_somebody_went_back(local: Store, events: list[Event], now: int | None, next: int) -> None:
    found = current(events)
    assert (found.version if found else None) == now and claim(local, "team", events, "mine") == next


def test_a_number_is_one_pages_alone_whether_or_not_it_was_published(local: Store) -> None:
    assert [claim(local, "team", [], of) for of in ("mine", "mine", "theirs", "mine")] == [1, 1, 2, 1]
    assert claim(local, "team", [released(1)], "mine") == 3 and claim(local, "other", [], "mine") == 1


def test_what_is_written_is_read_in_order(local: Store) -> None:
    events = [released(1), Event("rejection", reasons=["worse"], wer={"value": 0.1, "low": None, "high": None}), back(1)]
    assert [add_event(local, "team", event) for event in events] == [1, 2, 3]
    assert read_events(local, "team") == events and read_events(local, "other") == []


def test_two_who_write_at_once_lose_nothing(local: Store) -> None:
    add_event(local, "team", released(1))
    local.create("releases/team/00000002.json", json.dumps({"what": "release", "version": 2}).encode())
    assert add_event(local, "team", released(3)) == 3 and len(read_events(local, "team")) == 3


def test_a_version_that_is_not_there_is_refused_by_name(local: Store) -> None:
    events = [released(1), back(1), released(2)]
    assert find_version(events, 2, "team") == events[2]
    with pytest.raises(ReleaseError, match="team has no release v7; there are v1, v2"):
        find_version(events, 7, "team")


def test_a_field_of_a_later_viska_is_passed_over(local: Store) -> None:
    local.create("releases/team/00000001.json", json.dumps({"what": "release", "version": 1, "mood": "good"}).encode())
    assert read_events(local, "team")[0].version == 1


@pytest.mark.parametrize("data", [b"{", b"[]", b"1", b'{"what": "party"}', b'{"what": "release", "version": "1"}', b"\xff"])
def test_what_is_no_entry_is_refused(local: Store, data: bytes) -> None:
    local.create("releases/team/00000001.json", data)
    with pytest.raises(StoreError, match=r"releases/team/00000001\.json is no entry of a log of releases"):
        read_events(local, "team")
