"""`prepare` in processes that are killed at random moments and started again, and a reader that looks on: for tests and benchmarks/kill.py.

The steps run in the order of flows/prepare.py without Prefect's engine, each as policy.py would run it: accidents are tried again twice,
refusals are not. Processes come from multiprocessing's fork server, which has imported everything and touched nothing, so that one starts
in milliseconds, without the threads and the connections of another.
"""

import asyncio
import csv
import hashlib
import io
import logging
import math
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import gcsfs.retry
import numpy as np
import pandas  # noqa: F401  (here, as the next ones, so that the processes need not)
import pyarrow.parquet as pq
import s3fs  # noqa: F401
import soundfile
from prefect.client.schemas import State
from tqdm import tqdm
from transformers import WhisperForConditionalGeneration, WhisperTokenizer  # noqa: F401
from transformers.utils.logging import disable_progress_bar

import tasks.download
import tasks.plan
import tasks.store.objects
from tasks.audio import SAMPLE_RATE
from tasks.audio.decode import decode_flac, read, to_int16
from tasks.audio.log_mel import log_mel as features_of
from tasks.audio.resample import resample as resampled
from tasks.contracts.corpora import FolderCorpus
from tasks.contracts.errors import ViskaError
from tasks.contracts.recipe import Leaks, Recipe, Scratch
from tasks.contracts.values import Artifact
from tasks.corpora import revision
from tasks.corpora.choose import rules_of
from tasks.download import download
from tasks.index import corrections_of, draw_test, index
from tasks.log_mel import log_mel
from tasks.plan import in_order, plan
from tasks.policy import DELAYS
from tasks.resample import resample
from tasks.shard import shard
from tasks.shards.dataset import open_split
from tasks.shards.format import Shard, Sound
from tasks.shards.plan import SPLITS
from tasks.start import fit_of, new_model
from tasks.store.artifacts import SEAL, fetch_file, find, peek
from tasks.store.objects import Store

ROOT = Path(__file__).parents[2]
WORDS = ("röd", "blå", "grön", "vit", "svart", "gul", "katt", "hund", "häst", "mås", "får", "anka", "åker", "är", "över", "hem")
RATES = (16_000, 16_000, 8_000, 22_050, 48_000)  # Hz, in turn
KINDS = ("manifest", "audio", "features", "dataset")  # what the reader looks at
PART = 8  # clips; eleven parts of 80
PACK = 400_000  # bytes of recordings in one object, so that there are several
PACE = 0.05  # of the waits between tries, ours and gcsfs': kills are to fall into work, not into waiting
HOPELESS = 10  # errors in one round
REFUSED, BROKEN = 3, 4  # exit codes: a ViskaError, and anything else


@dataclass(frozen=True)
class Place:
    """A store, and how processes reach it."""

    root: str
    environment: dict[str, str] = field(default_factory=dict)
    naive: bool = False  # to see that the reader would see something: write as most programs do

    def store(self) -> Store:
        """Return the store, with the environment set in this process."""
        os.environ.update(self.environment)
        return Store(self.root)


@dataclass(frozen=True)
class Clip:
    """What is true of one clip, whatever the store says."""

    id: str
    split: str
    text: str
    recording: str  # SHA-256 of the file
    samples: np.ndarray  # [n_samples] int16 at 16 kHz
    features: np.ndarray  # [n_mels, n_frames] float16
    fill: float


@dataclass(frozen=True)
class Truth:
    """What must come out of a corpus, computed without a store."""

    folder: Path
    n_rows: int
    manifest: list[tuple[str, str, str, str]]  # id, split, text, recording; split by split
    clips: dict[str, Clip]  # by id, those in the data set
    refused: dict[str, str]  # id to reason


def recipe(folder: Path) -> Recipe:
    """Return a recipe for the corpus in `folder`, with a model that takes no second to make."""
    model = Scratch(width=16, encoder_layers=1, decoder_layers=1, heads=2, window=1, vocabulary=300, max_tokens=32)
    leaks = Leaks(speaker="keep", text="keep")  # seven speakers and a few words, in every split
    return Recipe(name="kill", corpus=FolderCorpus(path=str(folder)), leaks=leaks, model=model)


def make_corpus(folder: Path, n_clips: int = 80, seed: int = 0) -> Truth:
    """Write `n_clips` clips of 0.3 to 1 s, and four rows that must be refused; return what is to come of them."""
    rng, dice = np.random.default_rng(seed), random.Random(seed)
    folder.mkdir(parents=True)
    rows, clips = [], {}
    for number in range(n_clips):
        id, rate = f"clip-{number:03d}.wav", RATES[number % len(RATES)]
        text, split = " ".join(dice.sample(WORDS, 2)), ("train", "train", "train", "dev", "train", "test")[number % 6]
        rows.append((id, text, f"speaker-{number % 7}", split))
        soundfile.write(folder / id, _syllables(rng, rate), rate, subtype="PCM_16")
        clips[id] = _true(folder / id, split, text)
    shutil.copy(folder / "clip-000.wav", folder / "twin.wav")
    (folder / "page.wav").write_bytes(b"<html>404 Not Found</html>" * 50)
    soundfile.write(folder / "wordless.wav", _syllables(rng, 16_000), 16_000)
    bad = {"twin.wav": "double sound", "page.wav": "unusable audio", "wordless.wav": "empty text", "gone.wav": "missing file"}
    rows[5:5] = [(id, "" if id == "wordless.wav" else "vit mås", "speaker-0", "train") for id in bad]
    with (folder / "manifest.csv").open("w", newline="") as table:
        csv.writer(table).writerows([("path", "text", "speaker", "split"), *rows])
    listed = [(id, split, text, hashlib.sha256((folder / id).read_bytes()).hexdigest())
              for id, text, _, split in rows if id not in ("gone.wav", "wordless.wav")]  # fmt: skip
    manifest = sorted(listed, key=lambda row: SPLITS.index(row[1]))  # stable: in the table's order inside a split
    return Truth(folder, len(rows), manifest, clips, bad)


def prepare(place: Place, recipe: Recipe, part: int = PART, threads: int = 2) -> Artifact:
    """Carry out flows/prepare.py and return the data set. For a process of its own: it changes the sizes of parts and packs for good."""
    setattr(tasks.plan, "part_size", lambda _: part)  # noqa: B010  (mypy: it is imported there)
    tasks.download.PACK = PACK
    root, store = place.root, place.store()
    corpus = _done(download, root, recipe.corpus, revision(recipe.corpus))
    rules = rules_of(recipe)
    corrections = _done(corrections_of, root, recipe.name)
    manifest = _done(index, root, corpus, _done(draw_test, root, corpus, rules, corrections), rules, corrections)
    parts = _done(plan, root, corpus, manifest)
    with ThreadPoolExecutor(threads) as pool:
        audio = list(pool.map(lambda part: _done(resample, root, part), parts))
        words = manifest.facts["training_words"]
        model = _done(new_model, root, recipe.model, recipe.language, recipe.training.seed, words, manifest)
        settings = model.facts["n_mels"], model.facts["window"], recipe.features.dtype
        features = list(pool.map(lambda each: _done(log_mel, root, *each, *settings), zip(parts, audio, strict=True)))
    window = model.facts["window"]
    dataset: Artifact = _done(shard, root, manifest, *in_order(audio, features), fit_of(model), recipe.language, recipe.gates, window)
    assert find(store, "dataset", dataset.key) == dataset
    return dataset


class Processes:
    """Where processes come from: a fork server that has imported this module."""

    def __init__(self) -> None:
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload([__name__])
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        with patch.dict(os.environ, {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}):
            ensure_running()

    def start(self, work: Callable[..., None], *arguments: Any) -> Any:
        """Start a process that does `work` and return it."""
        process = self.context.Process(target=work, args=arguments, daemon=True)
        process.start()
        return process


@dataclass
class Tally:
    """What happened to writers and to a reader."""

    n_rounds: int = 0
    n_kills: int = 0
    n_refused: int = 0  # attempts that ended with a refusal: a fault that came three times in a row
    n_broken: int = 0  # attempts that ended with another error
    n_polls: int = 0  # looks of the reader at one address
    n_seals: int = 0  # those that found a seal there
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0


def torture(
    processes: Processes,
    truth: Truth,
    expected: dict[str, str],
    store: Callable[[int], tuple[list[Place], Place]],
    n_kills: int,
    seed: int,
) -> Tally:
    """Prepare in one new store after another, killed at random moments, until there were `n_kills`.

    A run's length is measured first, without a kill; each moment of it is then equally likely.

    Args:
        processes: where writers and readers come from.
        truth: what is to come of the corpus.
        expected: `snapshot` of a store in which nothing was killed.
        store: gives a round's store as each of its writers reaches it, and as the reader does.
        n_kills: how many.
        seed: of the moments.
    """
    dice, tally, longest = random.Random(seed), Tally(), 0.0
    addresses = sorted({(kind, key) for kind, key, _ in (path.split("/", 2) for path in expected) if kind in KINDS})
    while not tally.n_rounds or tally.n_kills < n_kills:
        writers, eye = store(tally.n_rounds)
        line, end = processes.context.Pipe()
        reader = processes.start(watch, eye, truth, addresses, end)
        end.close()  # here, so that a reader that dies is noticed
        began = time.monotonic()
        write_until_done(processes, writers, recipe(truth.folder), n_kills if longest else 0, longest, dice, tally)
        seconds = time.monotonic() - began
        line.send("last look")
        n_polls, n_seals, violations, found = line.recv()
        reader.join()
        violations += [f"{path} differs from the uninterrupted run's" for path in expected.keys() | found.keys()
                       if expected.get(path) != found.get(path)]  # fmt: skip
        tally.n_rounds, tally.n_polls, tally.n_seals = tally.n_rounds + 1, tally.n_polls + n_polls, tally.n_seals + n_seals
        tally.violations += violations
        tally.seconds += seconds
        longest = longest or seconds
    return tally


def write_until_done(
    processes: Processes, places: list[Place], recipe: Recipe, n_kills: int, longest: float, dice: random.Random, tally: Tally
) -> None:
    """Start a writer at each place, kill each at a moment of its own, and start it again, until all have come to their end.

    Args:
        processes: where they come from.
        places: one store, once for each writer; several race.
        recipe: what they prepare.
        n_kills: once the tally has so many, they are left alone.
        longest: seconds within which a writer is killed.
        dice: draws the moments.
        tally: takes what happened.
    """
    writers: dict[int, tuple[Any, float]] = {}  # by place: the process, and when it will be killed

    def launch(number: int) -> None:
        end = time.monotonic() + dice.uniform(0, longest) if tally.n_kills < n_kills else math.inf
        writers[number] = processes.start(work, places[number], recipe), end

    before = tally.n_refused + tally.n_broken
    for number in range(len(places)):
        launch(number)
    while writers:
        for number, (writer, end) in list(writers.items()):
            writer.join(0.002)
            if writer.exitcode is None and time.monotonic() >= end:
                writer.kill()
                writer.join()
            if writer.exitcode is None:
                continue
            del writers[number]
            tally.n_kills += writer.exitcode == -signal.SIGKILL
            tally.n_refused += writer.exitcode == REFUSED
            tally.n_broken += writer.exitcode not in (0, REFUSED, -signal.SIGKILL)
            if tally.n_refused + tally.n_broken == before + HOPELESS:
                tally.violations.append(f"after {HOPELESS} errors it has not come to its end")
                for other, _ in writers.values():
                    other.kill()
                return
            if writer.exitcode:
                launch(number)


def work(place: Place, recipe: Recipe) -> None:
    """Prepare, as the whole life of a process."""
    gcsfs.retry.asyncio = SimpleNamespace(sleep=lambda seconds: asyncio.sleep(seconds * PACE))
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    logging.getLogger("tasks").setLevel(logging.WARNING)
    disable_progress_bar()
    tqdm.set_lock(threading.RLock())  # its own is a semaphore of the system, which a killed process leaves behind
    if place.naive:
        _be_naive()
    try:
        prepare(place, recipe)
    except ViskaError:
        traceback.print_exc(limit=-3)
        sys.exit(REFUSED)
    except Exception:
        traceback.print_exc(limit=-6)
        sys.exit(BROKEN)


def watch(place: Place, truth: Truth, addresses: list[tuple[str, str]], line: Connection) -> None:
    """Look at the addresses, and at what a listing shows, until the other end of the line speaks; then say what was seen."""
    n_polls = n_seals = 0
    violations: list[str] = []
    store = place.store()
    last = False
    while not last:
        last = line.poll()
        with tempfile.TemporaryDirectory() as cache:  # what was fetched for the last look would hide damage
            os.environ["VISKA_CACHE"] = cache
            listed = {(kind, key) for kind in KINDS for key in store.names(kind)}
            for kind, key in sorted({*addresses, *listed}):
                n_polls += 1
                if peek(store, kind, key) is not None:
                    n_seals += 1
                    violations += [f"{kind}/{key}: {wrong}" for wrong in wrongs(store, kind, key, truth)]
        time.sleep(0.02)  # the writers need the processor too
    try:
        found = snapshot(store)
    except Exception as error:
        found, violations = {}, [*violations, f"{type(error).__name__}: {error}"]
    line.send((n_polls, n_seals, violations, found))


def wrongs(store: Store, kind: str, key: str, truth: Truth) -> list[str]:
    """Return what is wrong with a sealed artifact: none of its bytes may be missing or altered, none of its rows untrue."""
    try:
        artifact = find(store, kind, key)
        if artifact is None:
            return ["it is sealed, and not whole"]
        for file in artifact.files:
            if hashlib.sha256(fetch_file(store, file).read_bytes()).hexdigest() != file.sha256:
                return [f"{file.name} has other bytes than the seal says"]
        CHECKS[kind](store, artifact, truth)
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]
    return []


def _check_manifest(store: Store, artifact: Artifact, truth: Truth) -> None:
    rows = pq.read_table(fetch_file(store, artifact.file("manifest.parquet"))).to_pylist()
    assert [(row["id"], row["split"], row["text"], row["recording"]) for row in rows] == truth.manifest, "other rows than the corpus"


def _check_audio(store: Store, artifact: Artifact, truth: Truth) -> None:
    samples = {clip.recording: clip.samples for clip in truth.clips.values()}
    sound = dict(Sound(fetch_file(store, artifact.file("audio.arrow"))))
    rows = pq.read_table(fetch_file(store, artifact.file("clips.parquet"))).to_pylist()
    assert rows and [row["recording"] for row in rows if row["row"] >= 0] == list(sound), "table and sound do not agree"
    for recording, flac in sound.items():
        assert np.array_equal(decode_flac(flac), samples[recording] / np.float32(32_768)), f"other samples of {recording}"


def _check_features(store: Store, artifact: Artifact, truth: Truth) -> None:
    known = {clip.recording: clip for clip in truth.clips.values()}
    shard = Shard(fetch_file(store, artifact.file("shard.arrow")))
    rows = pq.read_table(fetch_file(store, artifact.file("clips.parquet"))).to_pylist()
    assert len(shard) and [row["recording"] for row in rows] == shard.recordings, "table and shard do not agree"
    for number, recording in enumerate(shard.recordings):
        each, clip = shard[number], known[recording]
        assert np.array_equal(each.features, clip.features) and each.fill == np.float32(clip.fill), f"other features of {recording}"


def _check_dataset(store: Store, artifact: Artifact, truth: Truth) -> None:
    for split in SPLITS:
        wanted = [truth.clips[id] for id, its_split, _, _ in truth.manifest if its_split == split and id in truth.clips]
        examples = list(open_split(store, artifact, split))
        assert [each.id for each in examples] == [clip.id for clip in wanted], f"{split}: clips are lost, doubled or out of order"
        for each, clip in zip(examples, wanted, strict=True):
            assert (each.text, each.n_samples) == (clip.text, len(clip.samples)), f"other text or length of {clip.id}"
            assert np.array_equal(each.features, clip.features), f"other features of {clip.id}"
    table = fetch_file(store, artifact.file("quarantine.csv")).read_text()
    refused = {row["id"]: row["reason"] for row in csv.DictReader(io.StringIO(table))}
    assert refused == truth.refused, f"in quarantine are {refused}, not {truth.refused}"
    assert sum(artifact.facts["splits"].values()) + artifact.facts["n_rejected"] == truth.n_rows, "rows are lost"


CHECKS = {"manifest": _check_manifest, "audio": _check_audio, "features": _check_features, "dataset": _check_dataset}


def snapshot(store: Store) -> dict[str, str]:
    """Return the SHA-256 of every seal that a data set rests on and of every object these seals name, by path.

    Plans are left out: each start of a run writes one, of what is still to be made.
    """
    found = {}
    for kind in ("corpus", *KINDS, "model"):
        for key in store.names(kind):
            artifact = find(store, kind, key)
            assert artifact is not None, f"{kind}/{key} is not sealed, or not whole, though every writer came to its end"
            for path in [f"{kind}/{key}/{SEAL}", *(file.path for file in artifact.files)]:
                found[path] = hashlib.sha256(store.read(path)).hexdigest()
    return found


def _be_naive() -> None:
    """Open, write, close; and believe in what stands there already."""

    def write(target: Path, data: bytes | Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb", buffering=0) as file:
            for block in tasks.store.objects._blocks(data):
                for start in range(0, len(block), 10_000):
                    file.write(block[start : start + 10_000])
                    time.sleep(0.002)  # 5 MB/s

    holds = Store.holds
    tasks.store.objects._link = write
    Store.holds = lambda *where, read=False: read or holds(*where)  # type: ignore[method-assign]


def _done(step: Any, *arguments: Any) -> Any:
    """Carry out a step without Prefect's engine, with the tries of policy.py."""
    for delay in [*DELAYS, None]:
        try:
            value = step.fn(*arguments)
            return value.data if isinstance(value, State) else value
        except ViskaError:
            raise
        except Exception:
            if delay is None:
                raise
            time.sleep(delay * PACE)
    raise AssertionError


def _true(path: Path, split: str, text: str) -> Clip:
    data = path.read_bytes()
    decoded = read(data, 60)
    samples = to_int16(resampled(decoded.samples, decoded.rate))
    features, fill = features_of(samples / np.float32(32_768), 80, SAMPLE_RATE)
    return Clip(path.name, split, text, hashlib.sha256(data).hexdigest(), samples, features.astype(np.float16), fill)


def _syllables(rng: np.random.Generator, rate: int) -> np.ndarray:
    """Return 0.3 to 1 s of voiced sound with pauses, over soft noise, [n_samples] in [-1, 1]."""
    at = np.arange(int(rng.uniform(0.3, 1.0) * rate)) / rate
    pitch = rng.uniform(90, 280)
    voice = sum(np.sin(2 * np.pi * pitch * number * at) / number for number in range(1, 8))
    swell = np.maximum(0, np.sin(2 * np.pi * rng.uniform(3, 6) * at)) ** 2
    return np.clip(0.3 * voice * swell + 1e-3 * rng.standard_normal(len(at)), -1, 1)
