"""What people decide is never lost, the newest decision holds, and nothing that lies on a bucket is believed unseen."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.contracts.errors import StoreError
from tasks.corrections.apply import Applied
from tasks.corrections.decisions import Decision, correction, newest, read_log, read_table, save, seal_table
from tasks.store.objects import Store
from tests.store.conftest import *  # noqa: F403  (the four kinds of store)

SOUND = "a" * 64


def decision(id: str = "a", verdict: Any = "accept", was: str = "nio", text: str = "", **told: Any) -> Decision:
    return Decision(id=id, recording=SOUND, was=was, verdict=verdict, text=text, **told)


def test_a_log_is_read_as_it_was_written(store: Store) -> None:
    assert read_log(store, "team") == []
    first, second = [decision("å/ä.wav", "correct", text="fem", note="hörde fem")], [decision("b", "drop"), decision("c")]
    assert [save(store, "team", each) for each in (first, second)] == [1, 2]
    assert read_log(store, "team") == [first, second] and read_log(store, "team", after=1) == [second]
    assert read_log(store, "another") == [] and read_log(store, "team", after=2) == []


def test_of_many_who_save_at_once_nobody_is_lost(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda number: save(store, "team", [decision(f"clip-{number}")]), range(8)))
    assert sorted(numbers) == list(range(1, 9))
    assert set(newest(read_log(store, "team"))) == {f"clip-{number}" for number in range(8)}


def test_a_listing_that_lags_behind_loses_and_overwrites_nothing(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        save(memory, "team", [decision(f"clip-{number}")])
    monkeypatch.setattr(Store, "names", lambda *_: ["00000001.json", "notes.txt", "٣.json"])
    assert save(memory, "team", [decision("clip-3")]) == 4
    assert [entry[0].id for entry in read_log(memory, "team")] == ["clip-0", "clip-1", "clip-2", "clip-3"]


def test_a_store_that_cannot_be_written_says_so(local: Store) -> None:
    save(local, "team", [decision()])
    with pytest.raises(StoreError, match="cannot be written"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.store.objects._link", lambda *_: (_ for _ in ()).throw(PermissionError(13, "denied")))
        save(local, "team", [decision("b")])


def test_the_entry_behind_holds_whatever_its_clock_says() -> None:
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    table = newest([[decision(verdict="drop", at=late)], [decision(verdict="accept", at=early)]])
    assert table["a"].verdict == "accept"


def test_what_is_open_again_is_in_no_table(memory: Store) -> None:
    table = newest([[decision(verdict="drop"), decision("b")], [decision(verdict="open")]])
    assert set(read_table(memory, seal_table(memory, table))) == {"b"}


def test_who_judges_a_corrected_label_judges_the_corpus_one() -> None:
    corrected = [decision(verdict="correct", was="nio", text="Fem.")]
    kept = newest([corrected, [decision(verdict="accept", was="fem")]])["a"]
    assert (kept.verdict, kept.was, kept.text) == ("correct", "nio", "Fem.")
    dropped = newest([corrected, [decision(verdict="drop", was="fem")]])["a"]
    assert (dropped.verdict, dropped.was) == ("drop", "nio")
    again = newest([corrected, [decision(verdict="correct", was="fem", text="sex")]])["a"]
    assert (again.was, again.text) == ("nio", "sex")
    back = newest([corrected, [decision(verdict="accept", was="nio")]])["a"]
    assert (back.verdict, back.was) == ("accept", "nio"), "the corpus' own label, seen and found right"


def test_whoever_judges_what_the_corpus_says_by_itself_now_is_heard() -> None:
    corrected = [decision(verdict="correct", was="nio", text="Fem.")]
    dropped = newest([corrected, [decision(verdict="correct", was="fem", text="sex")]])
    assert dropped["a"].seen == ("fem",)
    assert Applied(dropped).label("a", SOUND, "fem", str) == Applied(dropped).label("a", SOUND, "nio", str) == "sex"
    third = newest([[decision(verdict="correct", was="sex", text="sju")]], dropped)
    assert [Applied(third).label("a", SOUND, label, str) for label in ("nio", "fem", "sex", "tio")] == ["sju", "sju", "sju", "tio"]
    assert third["a"].seen == ("fem", "sex") and third["a"].settles("fem") and not third["a"].settles("tio")


def test_who_changes_their_mind_about_a_corrected_label_still_judges_the_corpus_one() -> None:
    dropped = [[decision(verdict="correct", was="nio", text="fem")], [decision(verdict="drop", was="fem")]]
    for verdict, text, becomes in (("accept", "", "fem"), ("correct", "sex", "sex")):
        table = newest([*dropped, [decision(verdict=verdict, was="fem", text=text)]])
        assert Applied(table).label("a", SOUND, "nio", str) == becomes
    assert newest([*dropped, [decision(was="nio")]])["a"].seen == (), "the corpus' own label, seen and found right"
    other = decision(verdict="accept", was="fem").model_copy(update={"recording": "b" * 64})
    assert newest([*dropped, [other]])["a"] == other, "another sound is another clip"


def test_a_drop_holds_for_every_row_of_the_recording() -> None:
    applied = Applied({"a": decision(verdict="drop")})
    assert [applied.label("a", SOUND, text, str) for text in ("nio", "fem")] == [None, None] and applied.counts()["n_dropped"] == 1
    assert applied.label("a", "b" * 64, "nio", str) == "nio" and decision(verdict="drop").settles("fem")


def test_a_table_has_one_address_whoever_made_it(memory: Store) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    table = {each.id: each for each in (decision("b", at=at), decision("a", "correct", text="fem", at=at))}
    sealed = seal_table(memory, table)
    assert seal_table(memory, dict(reversed(table.items()))) == sealed and sealed.facts == {"n_decisions": 2}
    assert read_table(memory, sealed) == table
    assert read_table(memory, seal_table(memory, {})) == {} and seal_table(memory, {}).files == ()


GOOD = json.loads(decision("a", "correct", text="fem").model_dump_json())


@pytest.mark.parametrize(("change", "says"), [
    ({"id": 7}, "id: Input should be a valid string"), ({"id": ""}, "id: "), ({"text": "x" * 4_001}, "text: String should have at most"),
    ({"verdict": "maybe"}, "verdict: Input should be 'accept', 'correct', 'drop' or 'open'"), ({"recording": "../x"}, "recording: "),
    ({"at": "yesterday"}, "at: "), ({"at": "2026-01-01T00:00:00"}, "at: Input should have timezone info"), ({"more": 1}, "more: Extra"),
    ({"seen": ["x" * 4_001]}, "seen.0: String should have at most"), ({"seen": "nio"}, "seen: "),
    ({"text": " .. "}, "a correction without a word; drop the clip instead"), ({"note": None}, "note: "),
])  # fmt: skip
def test_what_is_no_decision_is_refused_by_name(memory: Store, change: dict[str, Any], says: str) -> None:
    memory.create("decisions/team/00000001.json", json.dumps([GOOD | change]).encode())
    with pytest.raises(StoreError, match=r"decisions/team/00000001\.json: no decision: ") as refusal:
        read_log(memory, "team")
    assert says in str(refusal.value)


@pytest.mark.parametrize("data", [b"\x80\x04K\x01.", b"{", b'{"a": 1}', b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_entry_is_refused(memory: Store, data: bytes) -> None:
    memory.create("decisions/team/00000001.json", data)
    with pytest.raises(StoreError, match=r"decisions/team/00000001\.json"):
        read_log(memory, "team")


def test_an_entry_that_is_gone_is_missed(local: Store) -> None:
    for id in "ab":
        save(local, "team", [decision(id)])
    local.delete("decisions/team/00000001.json")
    with pytest.raises(StoreError, match=r"00000001\.json is gone, and later entries are there; bring it back"):
        read_log(local, "team")


def test_a_stray_number_is_refused_before_anything_is_read(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for id in "ab":
        save(memory, "team", [decision(id)])
    memory.create("decisions/team/00400000.json", b"[]")
    monkeypatch.setattr(Store, "read", lambda *_: pytest.fail("read"))
    for attempt in (lambda: read_log(memory, "team"), lambda: save(memory, "team", [decision("c")])):
        with pytest.raises(StoreError, match=r"/00000003\.json and 399996 more are gone, and 00400000\.json is there; bring them back"):
            attempt()


def test_a_number_that_is_too_long_is_refused(memory: Store) -> None:
    memory.create("decisions/team/123456789.json", b"[]")
    with pytest.raises(StoreError, match=r"decisions/team holds 123456789\.json, expected numbers of 8 digits; move it away"):
        read_log(memory, "team")


def test_a_full_log_says_so(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.store.log.LAST", 1)
    save(memory, "team", [decision()])
    with pytest.raises(StoreError, match="decisions/team is full: 1 entries; go on under another name"):
        save(memory, "team", [decision("b")])


def test_a_few_entries_that_a_listing_leaves_out_are_read(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        save(memory, "team", [decision(f"clip-{number}")])
    monkeypatch.setattr(Store, "names", lambda *_: ["00000002.json", "00000018.json"])
    assert len(read_log(memory, "team")) == 20, "16 are missing before the last that is shown, and 2 behind it"


def test_a_correction_from_elsewhere_is_one_row(memory: Store) -> None:
    made = correction("a", SOUND, "nio", "fem", "said in the demo")
    save(memory, "team", [made])
    assert newest(read_log(memory, "team")) == {"a": made} and datetime.now(UTC) - made.at < timedelta(minutes=1)
    with pytest.raises(StoreError, match=r"clip 'a': no decision: .*without a word"):
        correction("a", SOUND, "nio", "")


@pytest.mark.parametrize(("verdict", "recording", "label", "becomes", "outcome"), [
    ("correct", SOUND, "nio", "fem", "corrected"), ("drop", SOUND, "nio", None, "dropped"), ("accept", SOUND, "nio", "nio", "accepted"),
    ("correct", SOUND, "  NIO ", "fem", "corrected"), ("correct", "", "nio", "fem", "corrected"),  # the sound is not known yet
    ("correct", SOUND, "tio", "tio", "stale"), ("drop", "b" * 64, "nio", "nio", "stale"),
    ("drop", SOUND, "tio", None, "dropped"), ("accept", SOUND, "fem", "fem", "stale"),
])  # fmt: skip
def test_a_decision_holds_only_where_sound_and_label_are_what_was_judged(
    verdict: str, recording: str, label: str, becomes: str | None, outcome: str
) -> None:
    applied = Applied({"a": decision(verdict=verdict, text="fem")})
    assert applied.label("a", recording, label, lambda text: text.strip().lower()) == becomes
    assert applied.label("b", recording, label, str) == label
    assert [row["outcome"] for row in applied.rows()] == [outcome]
    assert applied.counts() == {"n_corrected": 0, "n_dropped": 0, "n_accepted": 0, "n_stale": 0} | {f"n_{outcome}": 1}


def test_a_decision_on_a_clip_that_is_gone_is_stale() -> None:
    assert Applied({"a": decision()}).counts() == {"n_corrected": 0, "n_dropped": 0, "n_accepted": 0, "n_stale": 1}
