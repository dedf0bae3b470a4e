"""A training that is killed at random moments and started again until it comes to its end: for tests and benchmarks/kill_train.py.

Everything happens in a process of its own, which has imported everything and touched nothing: no thread, no connection and no tensor of it
is in the attempts that it forks, so that each starts in milliseconds and makes all its objects anew. `torture` starts that process; it
takes an `Order` and answers with a `Tally` for each kind of store, as JSON.

An attempt notes what it does in a log that no disk takes with it, each line made durable before it goes on: after which step it began,
every step with its loss to the last bit and its clips, every checkpoint that was sealed, and what came out. That it begins to write a
checkpoint, and has written it, it says through a pipe, so that a kill can be aimed.
"""

import asyncio
import hashlib
import json
import logging
import math
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gcsfs.retry
import torch
from safetensors.torch import save
from transformers.utils.logging import disable_progress_bar

from tasks.contracts.recipe import Training
from tasks.model import keeper as keepers
from tasks.model.checkpoint import KIND, OPTIMIZER, PROGRESS, WEIGHTS, Progress, State, resume
from tasks.model.keeper import Keeper
from tasks.model.loop import Moment, train
from tasks.model.signals import Stopped
from tasks.model.whisper import load_whisper
from tasks.shards.format import Example
from tasks.store.artifacts import fetch, load
from tasks.store.objects import STAGING, TEMPORARY, Store
from tests.support.tiny import RUN, TOLD, new_folder, settings, tones

ROOT = Path(__file__).parents[2]
AIMED = 0.3  # share of the kills that wait until a checkpoint is being written
PACE = 0.05  # of the waits between tries, ours and gcsfs': kills are to fall into work, not into waiting
LIMIT = 120.0  # seconds after which an attempt that nobody killed is said to hang
GRACE = 20.0  # seconds in which one that is asked to stop must have stored what it learnt (promise C4)
BROKEN, ASKED = 4, 128 + signal.SIGTERM  # exit codes: an error, and stopped because it was asked to
HOPELESS = 10  # errors on one kind of store
MINUTES = 0.005  # between checkpoints: 0.3 s
AT_FIRST = 0.02  # seconds that a checkpoint may take, before one was seen
BEGUN, SEALED = b"<", b">"  # what an attempt says aloud about a checkpoint


@dataclass(frozen=True)
class Order:
    """What the process is to do."""

    folder: str  # where stores, disks and logs go
    kills: dict[str, int]  # how many on which kind of store: folder, gcs; asked: SIGTERM for SIGKILL; naive: written as most programs do
    seed: int = 0  # of the moments
    steps: int = 40  # of a training
    url: str = ""  # of the server that has the bucket `kill`


@dataclass
class Tally:
    """What happened on one kind of store."""

    store: str
    n_trainings: int = 0
    n_kills: int = 0
    n_writing: int = 0  # kills that came while a checkpoint was being written
    n_wiped: int = 0  # kills that took the machine's disk too
    n_raised: int = 0  # attempts that ended with an error
    lost: list[int] = field(default_factory=list)  # steps taken again, by start after a kill
    at_risk: list[int] = field(default_factory=list)  # steps since the newest checkpoint that was sealed: at most so many may be lost
    stopping: list[float] = field(default_factory=list)  # seconds from SIGTERM to the end of the process
    spent: dict[str, float] = field(default_factory=dict)  # seconds of the trainings by what they went into
    violations: list[str] = field(default_factory=list)
    longest: float = 0.0  # seconds of an attempt that nobody killed
    n_checkpoints: int = 0  # that it sealed
    wait: float = 0.0  # seconds that it waited for each
    seconds: float = 0.0

    @property
    def waited(self) -> float:
        """Return the share of the time in which trainings waited for checkpoints (promise C6)."""
        return self.spent.get("checkpoints", 0.0) / max(sum(self.spent.values()), 1e-9)


@dataclass(frozen=True)
class Place:
    """Where a training lives."""

    kind: str
    start: Path  # the model that it begins with
    root: str  # of the store
    disk: Path  # what a machine that is taken away takes with it: cache and temporary files
    logs: Path
    steps: int
    url: str


@dataclass(frozen=True)
class Attempt:
    """One process, from its start to its end."""

    code: int  # exit code; negative: the signal that it died of
    began: int | None  # after which step; None: it did not come so far
    steps: list[dict[str, Any]]  # `step`, `loss` as hexadecimal text, `clips`
    sealed: list[int]  # steps of the checkpoints that it said were sealed
    end: dict[str, Any]  # what came out, if it came to its end
    was_hit: bool  # by the signal, before its end
    was_writing: bool  # a checkpoint, when it was hit
    seconds: float
    stopping: float  # of them, after the signal
    words: str  # that it wrote to stderr


def torture(order: Order) -> list[Tally]:
    """Carry out an order in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-m", "tests.support.train_killed", json.dumps(asdict(order))]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [Tally(**json.loads(line)) for line in done.stdout.splitlines()]


def main(order: Order) -> None:
    """Print a tally for each kind of store."""
    folder = Path(order.folder)
    start = folder / "start"
    assert _wait(_fork(lambda: new_folder(start, dropout=0.1), folder / "words")) == 0, (folder / "words").read_text()
    true = run(Place("folder", start, str(folder / "undisturbed"), folder / "disk", folder / "undisturbed-log", order.steps, ""))
    assert true.code == 0, true.words
    assert len({each["loss"] for each in true.steps}) > order.steps / 2, "losses that are all alike show nothing"
    for kind in order.kills:
        print(json.dumps(asdict(_torture_one(order, kind, start, true))), flush=True)


def _torture_one(order: Order, kind: str, start: Path, true: Attempt) -> Tally:
    """Train in one new place after another until there were enough kills; in a bucket the first is left alone, to be the others' clock."""
    dice, tally, n_kills = random.Random(f"{order.seed} {kind}"), Tally(kind), order.kills[kind]
    began = time.monotonic()
    if kind != "gcs":
        _set_clock(tally, true)
    while not tally.n_trainings or (tally.n_kills < n_kills and (tally.n_raised < HOPELESS or kind == "naive")):
        folder = Path(order.folder) / f"{kind}-{tally.n_trainings}"
        root = f"gs://kill/{folder.name}" if kind == "gcs" else str(folder / "store")
        place = Place(kind, start, root, folder / "disk", folder / "logs", order.steps, order.url)
        attempts = _train_until_done(place, n_kills if tally.longest else 0, dice, tally)
        if not tally.longest:
            _set_clock(tally, attempts[0])
        tally.violations += [f"training {tally.n_trainings}: {wrong}" for wrong in wrongs(attempts, true)]
        tally.lost += [lost for lost, _ in lost_steps(attempts)]
        tally.at_risk += [at_risk for _, at_risk in lost_steps(attempts)]
        for what, seconds in attempts[-1].end.get("spent", {}).items():
            tally.spent[what] = tally.spent.get(what, 0.0) + seconds
        tally.n_trainings += 1
        shutil.rmtree(folder)
    tally.seconds = time.monotonic() - began
    return tally


def _set_clock(tally: Tally, alone: Attempt) -> None:
    tally.longest, tally.n_checkpoints = alone.seconds, len(alone.sealed)
    tally.wait = alone.end.get("spent", {}).get("checkpoints", 0.0) / max(1, tally.n_checkpoints)


def _train_until_done(place: Place, n_kills: int, dice: random.Random, tally: Tally) -> list[Attempt]:
    """Start attempt after attempt until one comes to its end, each hit at a moment of its own until the tally has `n_kills`."""
    attempts: list[Attempt] = []
    deadly = signal.SIGTERM if place.kind == "asked" else signal.SIGKILL
    while True:
        moment = dice.uniform(0, tally.longest) if tally.n_kills < n_kills else math.inf
        aim = dice.random() if dice.random() < AIMED or place.kind == "asked" else None
        attempt = run(place, len(attempts), moment, aim, deadly)
        attempts.append(attempt)
        if attempt.code == 0:
            tally.longest = attempt.seconds if tally.longest and attempt.began == 0 else tally.longest  # the machine is less busy now
            return attempts
        is_wiped = dice.random() < 0.5
        tally.n_kills += attempt.was_hit
        tally.n_writing += attempt.was_writing
        tally.n_wiped += attempt.was_hit and is_wiped
        tally.stopping += [attempt.stopping] if attempt.code == ASKED else []
        if not attempt.was_hit:
            tally.n_raised += 1
            if tally.n_raised >= HOPELESS and place.kind != "naive":
                return attempts
            if place.kind == "naive":
                shutil.rmtree(place.root)  # what a human would do
        if is_wiped:
            shutil.rmtree(place.disk, ignore_errors=True)
        for folder in (place.disk, Path(place.root)):
            _spoil_leftovers(folder)


def run(place: Place, number: int = 0, moment: float = math.inf, aim: float | None = None, deadly: int = signal.SIGKILL) -> Attempt:
    """Train in a process forked from this one, and send it a signal.

    Args:
        place: where.
        number: of the attempt at this training.
        moment: seconds after its start, when it is hit.
        aim: not then, but while it next writes a checkpoint: after this share of the time that the last one took.
        deadly: the signal.
    """
    log, words = place.logs / f"{number}.jsonl", place.logs / f"{number}.txt"
    place.logs.mkdir(parents=True, exist_ok=True)
    ear, mouth = os.pipe()
    began = time.monotonic()
    process = _fork(lambda: learn(place, log, mouth), words)
    os.close(mouth)
    end = began + (moment if aim is None else math.inf)
    until, hit_at, said, took, begun = began + LIMIT, 0.0, b"", AT_FIRST, 0.0
    while True:
        if not hit_at and time.monotonic() >= end:
            os.kill(process, deadly)  # it may have ended just now: then it stays as it is
            hit_at, was_writing = time.monotonic(), said.endswith(BEGUN)
        if time.monotonic() >= until:
            os.kill(process, signal.SIGKILL)
        ready, _, _ = select.select([ear], [], [], max(0.0, min(until, math.inf if hit_at else end) - time.monotonic()))
        if not ready:
            continue
        if not (word := os.read(ear, 1)):
            break  # nobody is there to speak any more
        said += word
        if word == BEGUN:
            begun = time.monotonic()
            if aim is not None and end == math.inf and begun >= began + moment:
                end = begun + aim * took
        else:
            took = time.monotonic() - begun
    os.close(ear)
    code = _wait(process)
    ended = time.monotonic()
    was_hit = code in ((-deadly, ASKED) if hit_at else ())
    entries = [json.loads(line) for line in log.read_bytes().split(b"\n")[:-1]] if log.exists() else []
    return Attempt(
        code=code,
        began=next((each["began"] for each in entries if "began" in each), None),
        steps=[each for each in entries if "step" in each],
        sealed=[each["sealed"] for each in entries if "sealed" in each],
        end=next((each["end"] for each in entries if "end" in each), {}),
        was_hit=was_hit,
        was_writing=was_hit and was_writing,
        seconds=ended - began,
        stopping=ended - hit_at if hit_at else 0.0,
        words=words.read_text().strip(),
    )


def learn(place: Place, log: Path, mouth: int) -> None:
    """Train, as the whole life of a process, and note what comes out."""
    (place.disk / "tmp").mkdir(parents=True, exist_ok=True)
    os.environ |= {"VISKA_CACHE": str(place.disk / "cache"), "TMPDIR": str(place.disk / "tmp"), "STORAGE_EMULATOR_HOST": place.url}
    tempfile.tempdir = None  # asked for anew
    torch.set_num_threads(1)
    disable_progress_bar()
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    gcsfs.retry.asyncio = SimpleNamespace(sleep=lambda seconds: asyncio.sleep(seconds * PACE))
    keepers.DELAYS = tuple(delay * PACE for delay in keepers.DELAYS)
    book = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    save_checkpoint = _overwrite if place.kind == "naive" else keepers.save_checkpoint

    def note(**entry: Any) -> None:
        os.write(book, json.dumps(entry).encode() + b"\n")
        os.fsync(book)

    def announced(store: Store, run: str, weights: Any, moments: Any, progress: Progress, told: Any, newest: int) -> None:
        os.write(mouth, BEGUN)
        save_checkpoint(store, run, weights, moments, progress, told, newest)
        note(sealed=progress.step)
        os.write(mouth, SEALED)

    def take_over(state: State) -> None:
        states.append(state)
        if place.kind == "naive":
            _believe(store, state)
        else:
            resume(store, RUN, state, TOLD)
        note(began=state.progress.step)

    def watch(moment: Moment) -> None:
        if not moment.look:
            note(step=moment.step, loss=moment.loss.hex(), clips=moment.clips)

    keepers.save_checkpoint = announced
    states: list[State] = []
    section, store = _section(place.steps), Store(place.root)
    keeper = Keeper(store, RUN, TOLD, section.checkpoints.newest)
    whisper = load_whisper(place.start, "sv", "cpu")
    progress = train(whisper, _clips(), tones()[:2], section, _scattered, keeper, take_over, watch)
    note(end=_outcome(place, store, states[0], progress))


def _outcome(place: Place, store: Store, state: State, progress: Progress) -> dict[str, Any]:
    """Return all that must be as if nothing had happened, and what the time went into."""
    _, moments = state.tensors()
    history = [{what: value for what, value in look.items() if what != "seconds"} for look in progress.history]
    outcome: dict[str, Any] = {
        "last state": hashlib.sha256(save({**dict(state.model.named_parameters()), **moments})).hexdigest(),
        "looks": history,
        "spent": progress.spent,
    }
    if place.kind != "naive":
        for name, step in (("last", progress.step), ("best", progress.best_step)):
            folder = fetch(store, load(store, KIND, f"{RUN}/{step:08d}"))
            files = {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in (WEIGHTS, OPTIMIZER)}
            outcome[f"{name} checkpoint"] = {"step": step} | files
    return outcome


def wrongs(attempts: list[Attempt], true: Attempt) -> list[str]:
    """Return what is wrong with a training that was killed; `true` is one that was not."""
    found, steps = [], []
    for number, attempt in enumerate(attempts):
        if attempt.code and not attempt.was_hit:
            found.append(
                f"attempt {number} ended by itself, with {attempt.code}, after {attempt.seconds:.0f} s: {attempt.words.splitlines()[-1:]}"
            )
        if attempt.code == ASKED and attempt.steps and (attempt.sealed or [0])[-1] < attempt.steps[-1]["step"]:
            found.append(f"attempt {number} was asked to stop, and did not keep what it learnt")
        if attempt.code == -signal.SIGTERM and 0 < len(attempt.steps) < len(true.steps) - (attempt.began or 0):
            found.append(f"attempt {number} died in the middle when it was asked to stop")
        if attempt.stopping > GRACE:
            found.append(f"attempt {number} took {attempt.stopping:.0f} s to stop")
        other = next((each["step"] for each in attempt.steps if each != true.steps[each["step"] - 1]), None)
        if other:
            found.append(f"attempt {number}: step {other} has another loss or other clips")
        if attempt.began is not None:
            steps = steps[: attempt.began] + attempt.steps
    found += [f"{lost} steps were lost, of {at_risk} that no checkpoint held" for lost, at_risk in lost_steps(attempts)
              if not 0 <= lost <= at_risk]  # fmt: skip
    if [each["step"] for each in steps] != list(range(1, len(true.steps) + 1)):
        found.append("steps are missing, or taken twice")
    found += _wrong_epochs([clip for each in steps for clip in each["clips"]])
    return found + [f"another {what}" for what, value in attempts[-1].end.items() if what != "spent" and value != true.end[what]]


def _wrong_epochs(heard: list[str]) -> list[str]:
    """Return what is wrong with the order of the clips: each must come once before any comes again."""
    ids = sorted(each.id for each in _clips())
    epochs = [heard[start : start + len(ids)] for start in range(0, len(heard), len(ids))]
    wrong = [number for number, epoch in enumerate(epochs) if len(set(epoch)) < len(epoch) or not set(epoch) <= set(ids)]
    return [f"epoch {wrong[0]} has a clip twice, or not at all"] if wrong else []


def lost_steps(attempts: list[Attempt]) -> list[tuple[int, int]]:
    """Return for each start after a kill how many steps were taken again, and how many no sealed checkpoint held."""
    found, reached, sealed = [], 0, 0
    for attempt, following in pairwise(attempts):
        if attempt.began is not None:
            reached = attempt.steps[-1]["step"] if attempt.steps else attempt.began
        sealed = max([sealed, *attempt.sealed]) if attempt.was_hit else 0  # after an error there may be nothing left to go on from
        if following.began is not None:
            found.append((reached - following.began, reached - sealed))
    return found


def _section(steps: int) -> Training:
    """Return settings in which all that is random is turned on, and checkpoints are more frequent than looks."""
    return settings(
        steps=steps, batch=2, accumulate=2, warmup=10, evaluate_every=20, schedule="cosine", keep={"no_speech": 0.2},
        augment={"mask_time": 0.3, "mask_bins": 10, "bpe_dropout": 0.2}, checkpoints={"minutes": MINUTES},
    )  # fmt: skip


def _clips() -> list[Example]:
    return [replace(tone, id=f"{tone.id}-{number}") for number in range(3) for tone in tones()]


def _scattered(references: list[str], hypotheses: list[str]) -> float:
    """Stand for a WER: it follows from what was heard, and any look may be the best one."""
    return zlib.crc32("\n".join(hypotheses).encode()) / 2**32


def _overwrite(store: Store, run: str, weights: Any, moments: Any, progress: Progress, *_: Any) -> None:
    """Write a checkpoint over the one before, file after file, as most programs do; at 20 MB/s."""
    folder = Path(store.root) / KIND / run
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in ((WEIGHTS, save(weights)), (OPTIMIZER, save(moments)), (PROGRESS, json.dumps(asdict(progress)).encode())):
        with (folder / name).open("wb", buffering=0) as file:
            for start in range(0, len(data), 40_000):
                file.write(data[start : start + 40_000])
                time.sleep(0.002)


def _believe(store: Store, state: State) -> None:
    """Go on from whatever stands there."""
    folder = Path(store.root) / KIND / RUN
    if folder.exists():
        state.load(Path(shutil.copytree(folder, tempfile.mkdtemp(), dirs_exist_ok=True)))  # what is mapped into memory must not change


def _spoil_leftovers(folder: Path) -> None:
    """Put noise into what a killed process left in the making: nobody may ever read it."""
    for path in list(folder.rglob("*")):
        if path.is_file() and (STAGING in path.parts or path.name.startswith((TEMPORARY, ".download-"))):
            path.unlink()  # it may be the same file as a whole one
            path.write_bytes(random.randbytes(1_000))


def _fork(work: Callable[[], Any], words: Path) -> int:
    """Start a process that does `work` and writes its words to a file; return its number."""
    paper = os.open(words, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    process = os.fork()
    if process:
        os.close(paper)
        return process
    code = BROKEN
    try:
        os.dup2(paper, 2)
        work()
        code = 0
    except Stopped:
        code = ASKED
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _wait(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


if __name__ == "__main__":
    main(Order(**json.loads(sys.argv[1])))
