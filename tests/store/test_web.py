"""Files over HTTP: whole and checked or not at all, no byte fetched twice, no redirect into a private network, no secret shown."""

import hashlib
import logging
import os
import random
import re
import threading
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from tasks.contracts.errors import StoreError
from tasks.store import web
from tasks.store.source import MISSING
from tests.support.fake_data_collective import FakeDataCollective, Kind

DATA = random.Random(0).randbytes(3 * 2**20 + 7)
SHA256, MD5 = hashlib.sha256(DATA).hexdigest(), hashlib.md5(DATA).hexdigest()
CANARY = "canary-query-93bd"


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDataCollective]:
    monkeypatch.setattr(web, "PAUSE", 0.01)
    with FakeDataCollective() as server:
        server.files["/a.bin"] = DATA
        yield server


def fetch(there: FakeDataCollective, target: Path, n_bytes: int = len(DATA), checksum: str = SHA256) -> None:
    web.fetch(f"{there.url}/a.bin?token={CANARY}", target, n_bytes, checksum)


@pytest.mark.parametrize("checksum", [SHA256, MD5, ""])
def test_a_file_comes_whole_and_once(there: FakeDataCollective, tmp_path: Path, checksum: str) -> None:
    for _ in range(2):
        fetch(there, tmp_path / "new" / "a.bin", checksum=checksum)
    assert (tmp_path / "new" / "a.bin").read_bytes() == DATA and there.n_sent("/a.bin") == len(DATA)
    assert sorted(each.name for each in (tmp_path / "new").iterdir()) == ["a.bin", "a.bin.lock"]
    assert there.requests[0].headers["accept-encoding"] == "identity", "or a server may pack it, and the size be another"


@pytest.mark.parametrize("kind", ["cut", "short"])
def test_an_interrupted_download_goes_on_and_no_byte_comes_twice(there: FakeDataCollective, tmp_path: Path, kind: Kind) -> None:
    there.fail("GET /a.bin", kind, times=4)
    fetch(there, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == DATA
    ends = [0] + [end for _, _, end in there.sent]
    assert [start for _, start, _ in there.sent] == ends[:-1] and ends[-1] == len(DATA) and len(there.sent) == 5
    assert [request.headers.get("if-range", "") != "" for request in there.requests] == [False, True, True, True, True]


def test_a_reset_connection_and_a_busy_server_are_tried_again(there: FakeDataCollective, tmp_path: Path) -> None:
    for kind in ("503", "reset", "429", "reset"):
        there.fail("GET /a.bin", kind)  # type: ignore[arg-type]
    fetch(there, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == DATA and len(there.requests) == 5


def test_a_server_that_ignores_ranges_starts_over(there: FakeDataCollective, tmp_path: Path) -> None:
    there.fail("GET /a.bin", "cut")
    there.fail("GET /a.bin", "ignore_range")
    fetch(there, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == DATA
    assert [(start, end) for _, start, end in there.sent] == [(0, (len(DATA) + 1) // 2), (0, len(DATA))]


def test_another_range_than_asked_for_is_not_taken(there: FakeDataCollective, tmp_path: Path) -> None:
    there.fail("GET /a.bin", "cut")
    there.fail("GET /a.bin", "shifted")
    fetch(there, tmp_path / "a.bin")
    half = (len(DATA) + 1) // 2
    assert (tmp_path / "a.bin").read_bytes() == DATA and [start for _, start, _ in there.sent] == [0, half + 1, half]


def test_a_weak_etag_promises_nothing(there: FakeDataCollective, tmp_path: Path) -> None:
    there.weak = True
    there.fail("GET /a.bin", "cut")
    fetch(there, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == DATA and ["if-range" in request.headers for request in there.requests] == [False, False]


def test_a_file_that_changes_meanwhile_comes_anew(there: FakeDataCollective, tmp_path: Path) -> None:
    old = DATA[::-1]
    there.files["/a.bin"] = old
    there.fail("GET /a.bin", "hold")
    thread = threading.Thread(target=fetch, args=(there, tmp_path / "a.bin"))
    thread.start()
    assert there.held.wait(10)
    there.files["/a.bin"] = DATA
    there.release.set()
    thread.join()
    assert (tmp_path / "a.bin").read_bytes() == DATA
    assert [start for _, start, _ in there.sent] == [0, 0], "or the halves of two files would have been joined"


def test_what_another_run_left_is_gone_on_with_if_a_checksum_vouches_for_it(there: FakeDataCollective, tmp_path: Path) -> None:
    for checksum, start in ((SHA256, 1000), ("", 0)):
        there.sent.clear()
        (tmp_path / "a.bin.part").write_bytes(DATA[:1000])
        fetch(there, tmp_path / "a.bin", checksum=checksum)
        assert (tmp_path / "a.bin").read_bytes() == DATA and there.sent[0][1] == start
        (tmp_path / "a.bin").unlink()
    (tmp_path / "a.bin.part").write_bytes(DATA)  # killed before the rename
    there.requests.clear()
    fetch(there, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == DATA and there.requests == []


@pytest.mark.parametrize("left", [b"x" * 1000, b"x" * len(DATA), DATA + b"x"])
def test_a_part_of_something_else_is_thrown_away(there: FakeDataCollective, tmp_path: Path, left: bytes) -> None:
    (tmp_path / "a.bin.part").write_bytes(left)
    fetch(there, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == DATA


def test_a_part_that_is_longer_than_the_file_there_is_thrown_away(there: FakeDataCollective, tmp_path: Path) -> None:
    there.files["/a.bin"] = DATA[:1000]
    (tmp_path / "a.bin.part").write_bytes(DATA[:2000])
    with pytest.raises(ConnectionError, match="5 tries in a row brought nothing"):
        fetch(there, tmp_path / "a.bin")
    assert re.match(r"bytes=2000-", there.requests[0].headers["range"]) and "range" not in there.requests[1].headers


def test_a_damaged_file_that_was_whole_once_is_fetched_again(there: FakeDataCollective, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(DATA[:-1] + b"x")
    fetch(there, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == DATA


def test_an_altered_byte_costs_another_download_and_twice_is_refused(there: FakeDataCollective, tmp_path: Path) -> None:
    there.fail("GET /a.bin", "flip")
    fetch(there, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == DATA
    there.fail("GET /a.bin", "flip", times=2)
    with pytest.raises(StoreError, match=rf"/a\.bin: other bytes than promised came twice: checksum not {SHA256[:12]}\.\.\.; run again"):
        fetch(there, tmp_path / "b.bin")
    there.files["/a.bin"] = DATA + b"x"
    with pytest.raises(StoreError, match=rf"came twice: {len(DATA) + 1} bytes, expected {len(DATA)}"):
        fetch(there, tmp_path / "b.bin")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.bin", "a.bin.lock", "b.bin.lock"]


def test_no_room_is_said_before_anything_is_fetched(there: FakeDataCollective, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"MB free, .* MB are still to come; make room, or name another place: VISKA_CACHE"):
        fetch(there, tmp_path / "a.bin", n_bytes=10**18)
    assert there.requests == []


def test_a_server_that_stays_busy_ends_the_tries(there: FakeDataCollective, tmp_path: Path) -> None:
    there.fail("GET /a.bin", "503", times=99)
    with pytest.raises(ConnectionError, match=r"/a\.bin: answers 503; 5 tries in a row brought nothing; run again later"):
        fetch(there, tmp_path / "a.bin")
    assert len(there.requests) == web.TRIES
    with pytest.raises(ConnectionError, match="answers 503; 5 tries"):
        web.read(f"{there.url}/a.bin")


def test_tries_that_bring_much_do_not_count(there: FakeDataCollective, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "PROGRESS", 1000)
    there.fail("GET /a.bin", "cut", times=9)
    fetch(there, tmp_path / "a.bin")
    assert len(there.sent) == 10
    there.fail("GET /a.bin", "reset", times=99)
    there.fail("GET /a.bin", "ignore_range", times=99)
    with pytest.raises(ConnectionError, match="5 tries in a row"):  # each brings half of it, always the same one
        web.fetch(f"{there.url}/a.bin", tmp_path / "b.bin", 2 * len(DATA), "")


def test_a_server_is_waited_for_as_long_as_it_asks_within_reason(there: FakeDataCollective, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    for wait, least, most in (("7", 7, 7), (in_a_minute, 50, 60), ("soon", 0, 1), ("-5", 0, 1), ("", 0, 1)):
        there.fail("GET", "429")
        there.wait = wait
        assert web.read(f"{there.url}/a.bin") == DATA
        assert least <= waited.pop() <= most, wait
    there.fail("GET", "429")
    there.wait = "3600"
    with pytest.raises(ConnectionError, match="answers 429; asks us to wait 3600 s; run again later"):
        web.read(f"{there.url}/a.bin")
    assert waited == []


def test_pauses_grow_and_all_tries_end_within_two_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    with pytest.raises(ConnectionError, match=r"http://127\.0\.0\.1:1/x: .*Connection refused"):
        web.read("http://127.0.0.1:1/x")
    assert all(2**n / 2 <= pause <= 2**n for n, pause in enumerate(waited)) and len(waited) == 4
    assert web.TRIES * web.TIMEOUT + sum(2**n for n in range(4)) <= 120


def test_a_server_that_never_answers_is_given_up(there: FakeDataCollective, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "TIMEOUT", 0.2)
    web._client.cache_clear()
    there.fail("GET /a.bin", "hold", times=99)
    with pytest.raises(ConnectionError, match="timed out; 5 tries in a row"):
        web.read(f"{there.url}/a.bin")
    web._client().close()
    web._client.cache_clear()


@pytest.mark.parametrize(("status", "error", "message"), [
    (404, FileNotFoundError, r"no such file \(404\)"), (410, FileNotFoundError, r"no such file \(410\)"),
    (403, StoreError, "answers 403, expected 200; may everybody read it"), (401, StoreError, "answers 401"),
])  # fmt: skip
def test_what_a_server_refuses_is_not_asked_for_again(
    there: FakeDataCollective, tmp_path: Path, status: int, error: type[Exception], message: str
) -> None:
    there.refusals["GET x"] = (status, "")
    there.datasets["x"] = {}
    for ask in (lambda: web.read(f"{there.api}/datasets/x"), lambda: web.fetch(f"{there.api}/datasets/x", tmp_path / "x", 5, "")):
        there.requests.clear()
        with pytest.raises(error, match=message):
            ask()
        assert len(there.requests) == 1


def test_an_expired_address_is_asked_for_anew_and_not_for_ever(there: FakeDataCollective, tmp_path: Path) -> None:
    there.publish("x", DATA)
    there.fail("GET /bucket", "cut")
    there.fail("GET /bucket", "expired")
    given: list[str] = []

    def sign() -> str:
        given.append(web.ask("POST", f"{there.api}/datasets/x/download", {"Authorization": "Bearer canary-key-7f3a"}).body.decode())
        return given[-1].split('"')[3]

    web.fetch(sign, tmp_path / "x", len(DATA), SHA256)
    assert (tmp_path / "x").read_bytes() == DATA and len(given) == 2 and there.n_sent("/bucket/x.tar.gz") - len(DATA) < 200
    there.fail("GET /bucket", "expired", times=99)
    with pytest.raises(ConnectionError, match="answers 403; 5 tries"):
        web.fetch(sign, tmp_path / "y", len(DATA), SHA256)


def test_two_that_want_the_same_file_fetch_it_once(there: FakeDataCollective, tmp_path: Path) -> None:
    there.fail("GET /a.bin", "hold")
    threads = [threading.Thread(target=fetch, args=(there, tmp_path / "a.bin")) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert there.held.wait(10)
    there.release.set()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a.bin").read_bytes() == DATA and there.n_sent("/a.bin") == len(DATA)


def test_small_files_are_read_whole_up_to_a_limit(there: FakeDataCollective) -> None:
    there.fail("GET /a.bin", "cut")
    assert web.read(f"{there.url}/a.bin") == DATA == web.read(f"{there.url}/a.bin", limit=len(DATA))
    with pytest.raises(StoreError, match=r"/a\.bin: larger than 3 MB"):
        web.read(f"{there.url}/a.bin", limit=len(DATA) - 1)


def test_a_stamp_is_the_etag_or_size_and_date_and_changes_with_the_file(there: FakeDataCollective) -> None:
    before = web.stamp(f"{there.url}/a.bin")
    there.files["/a.bin"] = b"new"
    assert before.startswith('"') and web.stamp(f"{there.url}/a.bin") not in (before, "")
    there.etags = False
    assert web.stamp(f"{there.url}/a.bin") == "3:Fri, 12 Jun 2026 10:00:00 GMT"
    assert web.stamp(f"{there.url}/nothing") == MISSING
    assert web.stamp(f"{there.url}/bucket/unsigned") == "", "403 to HEAD says nothing of the file"
    assert all(request.line.startswith("HEAD ") for request in there.requests)


def test_redirects_are_followed_five_times(there: FakeDataCollective, tmp_path: Path) -> None:
    there.redirects |= {f"/{n}": f"{'' if n % 2 else there.url}/{n + 1}" for n in range(6)}
    there.files["/6"] = there.files["/5x"] = DATA
    assert web.read(f"{there.url}/1") == DATA
    web.fetch(f"{there.url}/1", tmp_path / "x", len(DATA), SHA256)
    with pytest.raises(StoreError, match=r"/0: more than 5 redirects, the last to .*/6"):
        web.read(f"{there.url}/0?token={CANARY}")
    answer = web.ask("POST", f"{there.url}/1", {"Authorization": "Bearer x"})
    assert answer.status == 302, "a key must not be carried elsewhere"


@pytest.mark.parametrize("host", [
    "127.0.0.1", "localhost", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "2130706433", "0x7f.1",
    "[::1]", "[fe80::1]", "[fd00::1]", "[::ffff:127.0.0.1]",
])  # fmt: skip
def test_nobody_outside_leads_us_into_a_private_network(host: str) -> None:
    with pytest.raises(StoreError, match=r"^https://93\.184\.216\.34/a: leads to https://.*/latest, into a private network"):
        web.next_address("https://93.184.216.34/a?x=1", f"https://{host}/latest?{CANARY}", "https://93.184.216.34/a")
    with pytest.raises(StoreError, match="into a private network"):  # and not in two steps
        web.next_address("https://1.1.1.1/a", f"https://{host}/latest", "https://93.184.216.34/a")
    assert web.next_address("https://10.0.0.1/a", f"https://{host}/latest", "https://10.0.0.1/a"), "who began inside may stay there"


def test_redirects_go_from_https_to_https_only() -> None:
    here = "https://93.184.216.34/a/b?x=1"
    assert web.next_address(here, "../c?y=2", here) == "https://93.184.216.34/c?y=2"
    assert web.next_address(here, "https://1.1.1.1/c", here) == "https://1.1.1.1/c"
    for there in ("http://1.1.1.1/c", "http://127.0.0.1/c", "ftp://1.1.1.1/c", "file:///etc/passwd"):
        with pytest.raises(StoreError, match=r"a/b: leads to .*, expected https"):
            web.next_address(here, there, here)
    with pytest.raises(StoreError, match="a/b: leads to an address that cannot be read") as caught:
        web.next_address(here, f"https://host:{CANARY}/", here)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(("url", "is_allowed"), [
    ("https://host.se/x", True), ("http://127.0.0.1:8/x", True), ("http://localhost/x", True), ("http://[::1]/x", True),
    ("http://host.se/x", False), ("http://10.0.0.1/x", False), ("http://127.0.0.1.evil.org/x", False), ("ftp://127.0.0.1/x", False),
    ("https:///x", False), ("/x", False), ("", False), ("https://host.se:port/", False), ("https://x\0y/", False),
])  # fmt: skip
def test_plain_http_is_for_this_machine_only(url: str, is_allowed: bool) -> None:
    assert web.is_allowed(url) == is_allowed
    if not is_allowed:
        with pytest.raises(StoreError, match="expected an address with https://; plain http only on this machine"):
            web.read(url)


def test_an_address_is_shown_without_what_is_secret_in_it() -> None:
    assert web.shown("https://user:pass@host.se:8/a/b.wav?token=x#y") == "https://host.se:8/a/b.wav"
    assert web.shown("https://[x") == "an address that cannot be read"


def test_no_signature_is_shown_whatever_happens(
    there: FakeDataCollective, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    there.redirects["/moved"] = f"/a.bin?token={CANARY}"
    there.redirects["/away"] = f"ftp://x/?token={CANARY}"
    url = f"{there.url}/a.bin?token={CANARY}"
    assert web.read(f"{there.url}/moved") == DATA
    shown = []
    for match, kind, ask in (
        ("GET /a.bin", "503", lambda: web.read(url)), ("GET /a.bin", "reset", lambda: web.read(url)),
        ("GET /a.bin", "flip", lambda: fetch(there, tmp_path / "a")), ("GET /a.bin", "cut", lambda: fetch(there, tmp_path / "b", 10**7)),
        ("never", "cut", lambda: web.read(url, limit=5)), ("never", "cut", lambda: web.read(f"{there.url}/away")),
        ("never", "cut", lambda: web.read(f"{there.url}/none?token={CANARY}")), ("never", "cut", lambda: web.read(f"http://x.se/?{CANARY}")),
        ("never", "cut", lambda: web.read(f"http://{CANARY}@127.0.0.1:1/")),
    ):  # fmt: skip
        there.faults.clear()
        there.fail(match, kind, times=99)  # type: ignore[arg-type]
        with pytest.raises((StoreError, OSError)) as caught:
            ask()
        shown.append("".join(traceback.format_exception(caught.value)))
    out = capfd.readouterr()
    assert caplog.records and CANARY in "".join(each.line for each in there.requests)
    assert CANARY not in "".join([*shown, caplog.text, out.out, out.err, *map(repr, os.listdir(tmp_path))])
