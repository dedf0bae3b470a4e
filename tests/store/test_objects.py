"""Objects are created once and whole, on every store, whatever the network does."""

import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.contracts.errors import StoreError
from tasks.store.objects import Store, crc32c_of, measure
from tasks.store.source import Source
from tests.support.fake_gcs import FakeGcs

pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # aiohttp, of what gcsfs hands it
BYTES = b"one object\r\n--==0==\n\0\xff" * 100  # with what could end a part of an upload too early


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_an_object_is_read_back_as_it_was_created(store: Store) -> None:
    assert not store.exists("a/x.bin")
    store.create("a/x.bin", BYTES)
    store.create("a/empty.bin", b"")
    assert store.read("a/x.bin") == BYTES
    assert store.read("a/empty.bin") == b""
    assert store.exists("a/x.bin")
    assert store.holds("a/x.bin", len(BYTES), sha256(BYTES))
    assert store.names("a") == ["empty.bin", "x.bin"]
    assert store.names("nowhere") == []


def test_a_large_local_file_is_copied_whole(store: Store, tmp_path: Path) -> None:
    data = os.urandom(6 * 2**20)  # over 5 MiB gcsfs uploads in the resumable way
    (tmp_path / "big.bin").write_bytes(data)
    store.create("big.bin", tmp_path / "big.bin")
    store.create("big.bin", tmp_path / "big.bin")
    assert store.read("big.bin") == data


def test_a_staged_file_becomes_the_object_without_a_copy(local: Store) -> None:
    folder = local.staging() / "of-this-writer"
    folder.mkdir()
    (folder / "big.bin").write_bytes(BYTES)
    (folder / "big.bin").chmod(0o600)
    local.create("a/big.bin", folder / "big.bin")
    there = Path(local.root) / "a" / "big.bin"
    assert there.samefile(folder / "big.bin") and there.stat().st_mode & 0o777 == 0o644
    (folder / "other.bin").write_bytes(b"other")
    with pytest.raises(StoreError, match="nothing was overwritten"):
        local.create("a/big.bin", folder / "other.bin")


def test_bytes_and_files_are_measured_alike(tmp_path: Path) -> None:
    for data in (b"", BYTES, os.urandom(3 * 2**20 + 1)):  # blocks are of 1 MB
        (tmp_path / "x.bin").write_bytes(data)
        assert measure(data) == measure(tmp_path / "x.bin") == (len(data), sha256(data), crc32c_of(data))
    assert crc32c_of(b"123456789") == "4waSgw=="  # the check value of CRC-32C, E3069283


def test_creating_the_same_object_again_is_success(store: Store) -> None:
    store.create("x.bin", BYTES)
    store.create("x.bin", BYTES)
    assert store.read("x.bin") == BYTES


@pytest.mark.parametrize("other", [BYTES + b"!", BYTES[:-1] + b"!"], ids=["longer", "of equal size"])
def test_other_bytes_are_refused_and_nothing_is_overwritten(store: Store, tmp_path: Path, other: bytes) -> None:
    (tmp_path / "other.bin").write_bytes(other)
    store.create("x.bin", BYTES)
    for data in (other, tmp_path / "other.bin"):
        with pytest.raises(StoreError, match=r"x\.bin holds other bytes .* nothing was overwritten"):
            store.create("x.bin", data)
    assert store.read("x.bin") == BYTES


@pytest.mark.parametrize("from_file", [False, True], ids=["bytes", "files"])
def test_of_many_creators_one_wins(store: Store, tmp_path: Path, from_file: bool) -> None:
    together = threading.Barrier(8)
    offers: list[bytes] = [bytes([number]) * 100_000 for number in range(8)]

    def create(number: int) -> bool:
        path = tmp_path / f"{number}.bin"
        path.write_bytes(offers[number])
        together.wait()
        try:
            store.create("x.bin", path if from_file else offers[number])
        except StoreError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(create, range(8)))
    assert won.count(True) == 1
    assert store.read("x.bin") == offers[won.index(True)]


def test_readers_at_the_same_time_do_not_disturb_each_other(store: Store) -> None:
    data = os.urandom(2**20)
    store.create("x.bin", data)
    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(lambda _: store.read("x.bin") == data, range(40)))


def test_replace_overwrites_and_delete_may_come_late(store: Store) -> None:
    store.replace("x.bin", b"old")
    store.replace("x.bin", b"new")
    assert store.read("x.bin") == b"new"
    store.delete("x.bin")
    store.delete("x.bin")
    assert not store.holds("x.bin", 3, sha256(b"new"))
    with pytest.raises(FileNotFoundError):
        store.read("x.bin")


def test_a_download_appears_only_when_it_is_whole(store: Store, tmp_path: Path) -> None:
    store.create("x.bin", BYTES)
    store.download("x.bin", tmp_path / "copies" / "good.bin", sha256(BYTES))
    with pytest.raises(StoreError, match=r"x\.bin is damaged.*run again"):
        store.download("x.bin", tmp_path / "copies" / "bad.bin", sha256(b"what the seal promised"))
    assert [path.name for path in (tmp_path / "copies").iterdir()] == ["good.bin"]
    assert not store.exists("x.bin"), "a damaged object must go, or it would never be made again"


@pytest.mark.parametrize("root", ["nope://x", "nope://"])
def test_a_root_that_nobody_knows_is_refused(root: str) -> None:
    for kind in (Store, Source):
        with pytest.raises(StoreError, match=r"nope://.*: .*nope"):
            kind(root)


def test_a_write_that_fails_leaves_nothing_behind(local: Store, tmp_path: Path) -> None:
    with pytest.raises(OSError):
        local.create("a/x.bin", tmp_path / "missing.bin")
    assert local.names("a") == []


# What is done, the fault, and the request it falls on. gcsfs waits for a second or two before it tries again, so all run side by side.
FAULTS = [
    ("create", "503", "POST .*uploadType=multipart"),
    ("create", "reset", "POST .*uploadType=multipart"),
    ("create", "503_after", "POST .*uploadType=multipart"),
    ("create large", "503", "POST .*uploadType=resumable"),
    ("create large", "reset", "P.* .*upload_id"),
    ("create large", "503_after", "P.* .*upload_id"),
    ("replace", "503_after", "POST .*uploadType=multipart"),
    ("read", "503", "GET .*alt=media"),
    ("read", "reset", "GET .*alt=media"),
    ("download", "flip", "GET .*alt=media"),
    ("download", "truncate", "GET .*alt=media"),
    ("delete", "503_after", "DELETE"),
]


def test_faults_that_pass_end_with_the_right_object(gcs: FakeGcs, gs: Store, tmp_path: Path) -> None:
    large = os.urandom(6 * 2**20)
    (tmp_path / "large.bin").write_bytes(large)

    def carry_out(number: int) -> bytes:
        what, kind, match = FAULTS[number]
        gcs.buckets[f"fault-{number}"] = {}
        store = Store(f"gs://fault-{number}")
        if not what.startswith("create"):
            store.create("x.bin", BYTES)
        gcs.fail(match.replace(" ", f" .*/b/fault-{number}/"), kind)
        if what == "create large":
            store.create("x.bin", tmp_path / "large.bin")
        elif what == "download":
            store.download("x.bin", tmp_path / f"{number}.bin", sha256(BYTES))
            return (tmp_path / f"{number}.bin").read_bytes()
        else:
            {"create": lambda: store.create("x.bin", BYTES), "replace": lambda: store.replace("x.bin", b"new"),
             "read": lambda: None, "delete": lambda: store.delete("x.bin")}[what]()  # fmt: skip
        return store.read("x.bin") if store.exists("x.bin") else b"gone"

    with ThreadPoolExecutor(len(FAULTS)) as threads:
        ends = list(threads.map(carry_out, range(len(FAULTS))))
    expected = {"create": BYTES, "create large": large, "replace": b"new", "read": BYTES, "download": BYTES, "delete": b"gone"}
    assert [fault for fault, end in zip(FAULTS, ends, strict=True) if end != expected[fault[0]]] == []


def test_a_request_refused_for_good_is_an_accident_and_creates_nothing(gcs: FakeGcs, gs: Store) -> None:
    missing = Store("gs://no-such-bucket/viska")
    with pytest.raises(FileNotFoundError):  # no ViskaError: a step tries again, and then shows it
        missing.create("x.bin", BYTES)
    assert "no-such-bucket" not in gcs.buckets


def test_a_source_reads_regular_files_only(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(BYTES)
    os.mkfifo(tmp_path / "pipe.wav")  # reading it would wait for ever
    source = Source(str(tmp_path))
    assert "a.wav" in source.names()
    assert source.read("a.wav") == Source(str(tmp_path / "a.wav")).read() == BYTES
    for name in ("pipe.wav", "missing.wav", "a.wav/b.wav", "x" * 300):
        with pytest.raises(FileNotFoundError):
            source.read(name)


def test_a_stamp_changes_with_the_file_and_only_then(store: Store) -> None:
    source = Source(store.url if not store.local else store.root)
    store.create("x.bin", BYTES)
    before = source.stamp("x.bin")
    assert source.stamp("x.bin") == before
    store.replace("x.bin", BYTES[:-1] + b"!")
    assert source.stamp("x.bin") != before
    assert source.stamp("missing.bin") == "missing"


def test_a_link_has_the_stamp_of_the_file_it_leads_to(local: Store) -> None:
    local.create("x.bin", BYTES)
    os.symlink(f"{local.root}/x.bin", f"{local.root}/link.bin")
    source = Source(local.root)
    before = source.stamp("link.bin")
    local.replace("x.bin", BYTES[:-1] + b"!")  # of equal size
    assert before != source.stamp("link.bin") == source.stamp("x.bin")


@pytest.mark.parametrize("name", ["folder", "pipe", "x.bin/below", "x" * 300])
def test_what_is_no_file_and_what_cannot_be_there_is_missing_too(local: Store, name: str) -> None:
    local.create("x.bin", BYTES)
    local.create("folder/x.bin", BYTES)
    os.mkfifo(f"{local.root}/pipe")
    assert Source(local.root).stamp(name) == "missing"


def test_it_says_when_an_object_was_written(store: Store) -> None:
    before = time.time()
    store.create("kind/one.txt", b"words")
    said = store.written("kind/one.txt")
    if store.url.startswith("gs:"):  # the stand-in stamps everything alike
        assert datetime.fromtimestamp(said, UTC) == datetime(2026, 1, 1, tzinfo=UTC)
    else:
        assert before - 2 <= said <= time.time() + 2  # S3 has whole seconds
    with pytest.raises(FileNotFoundError):
        store.written("kind/two.txt")
