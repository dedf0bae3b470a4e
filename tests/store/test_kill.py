"""A writer that is killed at any moment leaves no seal that lies, and the next writer finishes.

A full disk, a store without leave to write, a server that never answers, and a network that alters what it carries end in an error that
says so, and in nothing half-written.
"""

import errno
import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import botocore.retryhandler
import gcsfs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs

import tasks.store.objects
from tasks.contracts.errors import StoreError
from tasks.store.artifacts import SEAL, Draft, fetch_file, find
from tasks.store.objects import OPTIONS, STAGING, Store
from tests.support.fake_gcs import FakeGcs, Kind

ROOT = Path(__file__).parents[2]
WRITER = [sys.executable, "-m", "tests.store.test_kill"]
KILLS = 8
N_KEYS = 40
SIZE = 3 * 2**20  # bytes of each of an artifact's two files
NAMES = ("a.bin", "b.bin")


def content(key: str, name: str) -> bytes:
    return hashlib.sha256(f"{key}/{name}".encode()).digest() * (SIZE // 32)


def write_all(store: Store, n_keys: int = N_KEYS) -> None:
    """Make every artifact that is not there, as a step does."""
    for number in range(n_keys):
        key = f"key-{number:02d}"
        if find(store, "thing", key) is None:
            draft = Draft(store, "thing", key)
            for name in NAMES:
                draft.write(name, content(key, name))
            draft.seal({"number": number})


def check_seals(store: Store) -> tuple[int, set[str]]:
    """Check every artifact that has a seal; return how many have one, and the objects that lie about without."""
    n_sealed, torn = 0, set()
    for key in store.names("thing"):
        names = store.names(f"thing/{key}")
        if SEAL not in names:
            torn |= {f"{key}/{name}" for name in names}
            continue
        artifact = find(store, "thing", key)
        assert artifact is not None, f"{key} has a seal, and is not whole"
        assert artifact.facts == {"number": int(key[-2:])}
        assert all(store.read(artifact.file(name).path) == content(key, name) for name in NAMES)
        shutil.rmtree(Path(store.root) / "thing" / key)  # seen to be right: the next writer makes it again
        n_sealed += 1
    return n_sealed, torn


def test_a_killed_writer_leaves_no_half_sealed_artifact(tmp_path: Path) -> None:
    store, dice = Store(str(tmp_path / "store")), random.Random(0)
    began = time.monotonic()
    write_all(store, 2)
    longest = min(max(4 * (time.monotonic() - began), 0.05), 0.6)  # seconds that a writer lives after its first words
    n_sealed, torn = check_seals(store)
    for _ in range(KILLS):
        with subprocess.Popen([*WRITER, store.root], cwd=ROOT, stdout=subprocess.PIPE) as writer:
            assert writer.stdout and writer.stdout.readline() == b"writing\n"
            time.sleep(dice.uniform(0, longest))
            writer.send_signal(signal.SIGKILL)
        assert writer.returncode == -signal.SIGKILL, "it was done before it was killed; give it more to write"
        n_more, more_torn = check_seals(store)
        n_sealed, torn = n_sealed + n_more, torn | more_torn
    assert n_sealed > KILLS // 4 and len(torn) > KILLS // 4, f"{n_sealed} sealed, {len(torn)} torn: the kills came at the wrong moments"
    write_all(store)
    assert check_seals(store) == (N_KEYS, set())


def small(store: Store, data: bytes = b"what it holds") -> Draft:
    draft = Draft(store, "thing", "key")
    draft.write("x.bin", data)
    return draft


def files_of(store: Store) -> list[str]:
    return [path.name for path in Path(store.root).rglob("*") if path.is_file()]


@pytest.mark.parametrize("write", ["in Arrow", "in Parquet", "by hand"])
def test_a_full_disk_names_what_had_no_room_and_leaves_nothing(local: Store, write: str) -> None:
    table = pa.table({"row": range(100_000)})
    told = r"no room for /.*/thing/key/big\.arrow .*; make some in /.* or name another place: `store` in the recipe"
    with pytest.raises(OSError, match=told) as caught:
        with Draft(local, "thing", "key").staged("big.arrow") as path:
            path.symlink_to("/dev/full")  # a disk without room, as every library meets it
            if write == "in Arrow":
                with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
                    writer.write_table(table)
            elif write == "in Parquet":
                pq.write_table(table, path)
            else:
                path.write_bytes(b"x" * 100_000)
    assert caught.value.errno == errno.ENOSPC and not isinstance(caught.value, StoreError), "an accident: it is tried again"
    assert files_of(local) == [] and not any((Path(local.root) / STAGING).iterdir())


@pytest.mark.parametrize("what", ["create", "replace", "seal"])
def test_a_disk_that_is_full_when_bytes_are_made_durable_leaves_nothing(local: Store, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    draft = small(local)
    before = files_of(local)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(OSError, match=r"no room for /.*/thing/key/(seal\.json|y\.bin)"):
        patch.setattr(os, "fsync", full)
        draft.seal({}) if what == "seal" else getattr(local, what)("thing/key/y.bin", b"y" * 1000)
    assert files_of(local) == before
    assert draft.seal({}) == find(local, "thing", "key")


def test_a_bucket_without_leave_to_write_is_refused_by_name(gcs: FakeGcs, gs: Store) -> None:
    assert small(gs).seal({}) == find(gs, "thing", "key")
    gcs.fail("POST .*upload", "403", times=2)
    told = rf"^{gs.url} cannot be written \(Forbidden: .*let this user write there, or name another place: `store` in the recipe"
    for write in (gs.create, gs.replace):
        with pytest.raises(StoreError, match=told):
            write("thing/key/other.bin", b"x")
    made = find(gs, "thing", "key")
    assert made is not None
    gcs.fail("GET .*x-.*alt=media", "403")
    with pytest.raises(OSError, match=r"^Forbidden: ") as caught:  # it is reading that is forbidden here
        fetch_file(gs, made.file("x.bin"))
    assert not isinstance(caught.value, StoreError)


def test_leave_to_write_that_s3_denies_is_refused_by_name(s3: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Access Denied")  # what s3fs makes of a 403

    monkeypatch.setattr(s3.fs, "pipe_file", denied, raising=False)
    with pytest.raises(StoreError, match=rf"^{s3.url} cannot be written \(\[Errno 13\] Access Denied\); let this user write there"):
        s3.create("x.bin", b"x")


@pytest.mark.parametrize("kind", ["flip", "truncate"])
def test_a_seal_that_arrives_altered_is_asked_for_again(gcs: FakeGcs, gs: Store, kind: Kind) -> None:
    made = small(gs).seal({"text": "blåbär"})
    gcs.fail(f"GET .*{SEAL}.*alt=media", kind, times=2)
    assert find(gs, "thing", "key") == made, "or all that it stands for would be made again"


def test_a_network_that_alters_every_body_does_not_cost_the_object(gcs: FakeGcs, gs: Store) -> None:
    made = small(gs, bytes(10_000)).seal({})
    gcs.fail("GET .*x-.*alt=media", "flip", times=3)
    with pytest.raises(OSError, match=r"x-\w+\.bin arrived with other bytes each of three times") as caught:
        fetch_file(gs, made.file("x.bin"))
    assert not isinstance(caught.value, StoreError), "an accident: it is tried again"
    assert fetch_file(gs, made.file("x.bin")).read_bytes() == bytes(10_000)


def test_a_damaged_object_is_mended_without_ever_being_gone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made = small(store).seal({})
    store.replace(made.file("x.bin").path, b"something else")
    monkeypatch.setattr(Store, "delete", None)
    assert small(store).seal({}) == find(store, "thing", "key") == made


def test_a_byte_that_is_altered_or_missing_in_any_store_is_noticed_before_it_is_used(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice, draft = random.Random(0), Draft(store, "thing", "key")
    for name in NAMES:
        draft.write(name, dice.randbytes(3_000))
    made = draft.seal({"text": "blåbär"})
    paths = [f"thing/key/{SEAL}", *(file.path for file in made.files)]
    for number in range(30):
        path = paths[number % 3]
        data = store.read(path)
        place = dice.randrange(len(data))
        store.replace(path, data[:place] + (bytes([data[place] ^ 1]) if number % 2 else b"") + data[place + 1 :])
        found = find(store, "thing", "key")
        if path.endswith(SEAL):  # some of its bytes are spaces
            assert found in (None, made)
        elif found is not None:  # S3 tells no checksum: there it is noticed on the way to the reader
            assert store.url.startswith("s3:")
            monkeypatch.setenv("VISKA_CACHE", str(tmp_path / f"cache-{number}"))
            with pytest.raises(StoreError, match="is damaged"):
                for file in found.files:
                    fetch_file(store, file)
        store.replace(path, data)
        assert find(store, "thing", "key") == made


class Silent:
    """A server that takes every connection and never says a word."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.guests: list[socket.socket] = []
        threading.Thread(target=self._welcome, daemon=True).start()

    def _welcome(self) -> None:
        try:
            while True:
                self.guests.append(self.socket.accept()[0])
        except OSError:
            pass


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Silent]:
    server = Silent()
    for name in ("STORAGE_EMULATOR_HOST", "AWS_ENDPOINT_URL"):
        monkeypatch.setenv(name, server.url)
    for name, value in (("ACCESS_KEY_ID", "nobody"), ("SECRET_ACCESS_KEY", "nothing"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    yield server
    for each in (server.socket, *server.guests):
        each.close()
    for kind in (gcsfs.GCSFileSystem, s3fs.S3FileSystem):
        kind.clear_instance_cache()


SHORT = 0.3  # seconds
WAITS = 1 + 2 + 4 + 8  # seconds at most that botocore waits between five tries


@pytest.mark.parametrize("protocol", ["gs", "s3"])
def test_a_server_that_never_answers_fails_every_call_within_two_minutes(
    silent: Silent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    long = OPTIONS[protocol].get("requests_timeout") or max(OPTIONS[protocol]["config_kwargs"].values())
    short = {"requests_timeout": SHORT} if protocol == "gs" else {"config_kwargs": {"connect_timeout": SHORT, "read_timeout": SHORT}}
    monkeypatch.setitem(tasks.store.objects.OPTIONS, protocol, OPTIONS[protocol] | short)
    monkeypatch.setattr(botocore.retryhandler, "delay_exponential", lambda **_: 0.01)
    store = Store(f"{protocol}://bucket/viska")
    (tmp_path / "large.bin").write_bytes(bytes(200_000))
    calls = [
        lambda: store.exists("x"),
        lambda: store.read("x"),
        lambda: store.names("x"),
        lambda: store.holds("x", 1, ""),
        lambda: store.create("x", b"x"),
        lambda: store.create("x", tmp_path / "large.bin"),
        lambda: store.replace("x", b"x"),
        lambda: store.delete("x"),
        lambda: store.download("x", tmp_path / "copy", ""),
    ]

    def seconds(call: object) -> float:
        began = time.monotonic()
        with pytest.raises(Exception) as caught:  # whatever the library calls it
            call()  # type: ignore[operator]
        assert "Timeout" in type(caught.value).__name__, caught.value
        assert not isinstance(caught.value, StoreError), "an accident: it is tried again"
        return time.monotonic() - began

    with ThreadPoolExecutor(len(calls)) as threads:
        took = list(threads.map(seconds, calls))
    tries = {"gs": 1, "s3": 5}[protocol]
    assert tries * SHORT <= min(took) and max(took) < tries * SHORT + 2, took
    assert tries * long + (WAITS if tries > 1 else 0) <= 120


def test_a_forked_process_makes_connections_of_its_own(gcs: FakeGcs, gs: Store) -> None:
    made = small(gs).seal({})
    child = os.fork()
    if child == 0:
        code = 1
        try:
            other = Store(gs.url)
            assert other.fs is not gs.fs and other.fs._loop is not gs.fs._loop
            assert find(other, "thing", "key") == made
            try:
                gs.read(f"thing/key/{SEAL}")  # of the parent: it must not hang, or speak on the parent's connections
            except RuntimeError as error:
                code = 0 if "fork-safe" in str(error) else 2
        finally:
            os._exit(code)
    until = time.monotonic() + 30
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < until:
        time.sleep(0.02)
    if ended == (0, 0):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert ended == (child, 0)
    assert find(gs, "thing", "key") == made, "the parent's own still work"


if __name__ == "__main__":
    print("writing", flush=True)
    write_all(Store(sys.argv[1]))
