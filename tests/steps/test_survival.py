"""`prepare` survives: kills at random moments, racing twins, a bad network, damaged bytes, a full disk, a store without leave to write.

benchmarks/kill.py does the first three at length.
"""

import ctypes
import os
import random
import resource
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.store.artifacts import find
from tasks.store.objects import Store
from tests.support.fake_gcs import FakeGcs
from tests.support.prepare_killed import BROKEN, REFUSED, Place, Processes, Truth, make_corpus, recipe, snapshot, torture, work, wrongs

N_FLIPS = 1_000


@pytest.fixture(scope="module")
def processes() -> Processes:
    return Processes()


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return make_corpus(tmp_path_factory.mktemp("survival") / "corpus", n_clips=48)


@pytest.fixture(scope="module")
def undisturbed(processes: Processes, truth: Truth) -> Store:
    """A store that a run left alone has filled."""
    store = Store(str(truth.folder.parent / "undisturbed"))
    assert run(processes, truth, store) == (0, "")
    return store


@pytest.fixture
def copy(undisturbed: Store, tmp_path: Path) -> Store:
    """A store that the test may spoil."""
    shutil.copytree(undisturbed.root, tmp_path / "store")
    return Store(str(tmp_path / "store"))


def run(processes: Processes, truth: Truth, store: Store, environment: dict[str, str] | None = None, **limits: int) -> tuple[int, str]:
    """Prepare in a process of its own; return its exit code and the last line of its words."""
    with tempfile.NamedTemporaryFile("r") as words:
        place = Place(store.url, {"VISKA_CACHE": f"{truth.folder.parent}/cache", **(environment or {})})
        process = processes.start(limited, words.name, limits, place, truth)
        process.join()
        return process.exitcode, (words.read().splitlines() or [""])[-1]


def limited(words: str, limits: dict[str, int], place: Place, truth: Truth) -> None:
    os.dup2(os.open(words, os.O_WRONLY), 2)
    if limits.get("obey"):
        obey()
    if "file_size" in limits:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limits["file_size"], limits["file_size"]))
    work(place, recipe(truth.folder))


def obey() -> None:
    """Give up what lets root pass by the permissions of files: all effective capabilities of this thread. Linux only."""
    header, none = struct.pack("Ii", 0x2008_0522, 0), bytes(24)
    assert ctypes.CDLL(None).capset(header, none) == 0


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take from everybody the leave to write in a folder."""
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for each in folders:
        each.chmod(0o555)
    yield
    for each in folders:
        each.chmod(0o755)


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_as_if_it_had_been_left_alone(
    processes: Processes, truth: Truth, undisturbed: Store, tmp_path: Path
) -> None:
    def store(number: int) -> tuple[list[Place], Place]:
        place = Place(str(tmp_path / f"store-{number}"))
        return [place], place

    tally = torture(processes, truth, snapshot(undisturbed), store, n_kills=8, seed=0)
    assert tally.violations == []
    assert tally.n_kills >= 8 and tally.n_seals > 100 and tally.n_refused + tally.n_broken == 0, tally


@pytest.mark.slow
def test_two_that_race_in_a_bucket_with_a_bad_network_end_with_one_data_set(processes: Processes, truth: Truth, undisturbed: Store) -> None:
    with FakeGcs() as gcs:
        gcs.bad_weather(0.015, seed=0)

        def store(number: int) -> tuple[list[Place], Place]:
            gcs.buckets[name := f"bucket-{number}"] = {}
            ways = [{"STORAGE_EMULATOR_HOST": url, "VISKA_CACHE": f"{truth.folder}-{name}-{writer}"}
                    for writer, url in enumerate([gcs.url, gcs.url, gcs.calm_url])]  # fmt: skip
            first, second, eye = (Place(f"gs://{name}/viska", way) for way in ways)
            return [first, second], eye

        tally = torture(processes, truth, snapshot(undisturbed), store, n_kills=4, seed=0)
        assert tally.violations == []
        assert tally.n_kills >= 4 and tally.n_seals > 50 and len(gcs.met) > 5, (tally, gcs.met)


def test_no_altered_or_missing_byte_is_believed(copy: Store) -> None:
    dice = random.Random(0)
    paths = sorted(path for path in Path(copy.root).rglob("*") if path.is_file())
    n_equal = 0
    for number in range(N_FLIPS):
        path = dice.choice(paths)
        kind, key = path.relative_to(copy.root).parts[:2]
        data, place = path.read_bytes(), dice.randrange(path.stat().st_size)
        other = b"" if number % 4 == 3 else bytes([data[place] ^ 1 << dice.randrange(8)])
        made = find(copy, kind, key)
        path.write_bytes(data[:place] + other + data[place + 1 :])
        found = find(copy, kind, key)
        path.write_bytes(data)
        assert made is not None
        if found is not None:  # a space of the seal that became a line feed, say
            assert path.name == "seal.json" and found == made, f"byte {place} of {path}"
            n_equal += 1
    assert n_equal < N_FLIPS / 20


@pytest.mark.parametrize("seed", range(3))
def test_what_was_damaged_is_made_again(processes: Processes, truth: Truth, undisturbed: Store, copy: Store, seed: int) -> None:
    dice = random.Random(seed)
    for kind in ("corpus", "manifest", "plan", "audio", "features", "model", "dataset"):
        path = dice.choice(sorted(Path(copy.root, kind).glob("*/*")))
        data, place = path.read_bytes(), dice.randrange(path.stat().st_size)
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
    assert run(processes, truth, copy) == (0, "")
    (key,) = copy.names("dataset")
    assert wrongs(copy, "dataset", key, truth) == []
    made, expected = find(copy, "dataset", key), find(undisturbed, "dataset", key)
    assert made is not None and expected is not None and made.digest == expected.digest
    for files in ("shards", "sounds"):
        assert made.facts[files] == expected.facts[files]
        assert all(copy.holds(*file[1:]) for file in made.facts[files].values())


def test_a_disk_that_is_full_is_named_and_nothing_half_written_stays(
    processes: Processes, truth: Truth, undisturbed: Store, tmp_path: Path
) -> None:
    store = Store(str(tmp_path / "store"))
    code, words = run(processes, truth, store, file_size=200_000)
    assert code == BROKEN
    assert "no room for " in words and f"{store.root}/corpus/" in words and "raw-" in words and "File too large" in words
    assert [path for path in Path(store.root).rglob("*") if path.is_file()] == [], "nothing of what did not fit may stay"
    assert run(processes, truth, store) == (0, "")
    assert snapshot(store) == snapshot(undisturbed)


def test_a_store_that_is_read_only_is_refused_by_name(processes: Processes, truth: Truth, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    Path(store.root).mkdir()
    with read_only(tmp_path / "store"):
        code, words = run(processes, truth, store, obey=1)
    assert code == REFUSED, "a StoreError, which is not tried again"
    assert f"StoreError: {store.root} cannot be written (" in words and "Permission denied" in words
    assert "let this user write there, or name another place: `store` in the recipe, or VISKA_STORE" in words


def test_a_store_below_a_file_is_refused_by_name(processes: Processes, truth: Truth, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, words = run(processes, truth, Store(str(tmp_path / "file/store")))
    assert code == REFUSED
    assert "file/store cannot be written (" in words and "Not a directory" in words


def test_a_store_that_is_read_only_serves_what_it_holds(processes: Processes, truth: Truth, copy: Store) -> None:
    with read_only(Path(copy.root)):
        assert run(processes, truth, copy, obey=1) == (0, "")
