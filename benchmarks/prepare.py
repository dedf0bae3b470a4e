"""From audio files to features one can train on: the Hugging Face Whisper tutorial against `viska prepare`, on the same clips, in turn.

    python benchmarks/prepare.py [--clips 2000] [--tutorial-clips 300] [--rounds 3] [--kind mp3|wav|both]
                                 [--folder FOLDER] [--language sv] [--model FOLDER] [--num-proc 2] [--decoder auto] [--work FOLDER]

  A  the data preparation of the blog "Fine-Tune Whisper For Multilingual ASR with Transformers" as people run it: audio files and texts,
     `cast_column("audio", Audio(sampling_rate=16000))`, `prepare_dataset` with WhisperFeatureExtractor and WhisperTokenizer,
     `dataset.map(prepare_dataset, remove_columns=..., num_proc=2)` into a fresh cache folder
  B  the same with OMP_NUM_THREADS=1
  C  `viska prepare` as a command: new process, Prefect's temporary server, empty store; reading the folder, 16 kHz FLAC, log-Mel, index

Of A and B only the call of `map` counts, without imports and without loading the table; of C everything counts, from typing the command
to its end. The tutorial may use fewer clips, because it is slow and its time is per clip; its memory then comes out too small, since it
holds up to 1,000 clips a process before it writes. A short run of each side, which is not counted, comes first.

`datasets` decodes with torchcodec. Where that does not load (it needs FFmpeg's libraries), A and B do what people do then: `Audio(decode=
False)`, and soundfile and soxr HQ, as librosa has them, inside `prepare_dataset`; that is faster than torchcodec. The output says which.

Clips are eSpeak's Swedish sentences, 1.5 to 10 s and 5 s on average: MP3 of 48 kHz and 64 kbit/s as in Common Voice, and WAV of 16, 22.05
and 48 kHz, half each; or those of --folder, whose manifest.csv has columns path and text. --model is a checkpoint with weights; without
it a small one is made: its tokenizer, 80 bins and 30 s are what matters here. CPU seconds are those of all processes a side started, also
detached ones; memory is summed over them every 0.2 s, shared pages counted once (PSS). Linux only.

In the end features and labels of both sides are compared, for 16 kHz clips without loss only: resamplers differ, so others cannot be equal.
"""

import argparse
import contextlib
import csv
import ctypes
import io
import json
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

ROOT = Path(__file__).resolve().parents[1]
RATES = (16_000, 22_050, 48_000)  # Hz, of the WAV files in turn
MP3 = {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": 0.889}  # libsndfile's way to say 64 kbit/s
EVERY = 0.2  # seconds between two looks at memory
SUBREAPER = 36  # prctl: orphans below us become our children, so that their CPU time is handed to us when they end
PATIENCE = 20  # seconds that a side's left-behind processes have to end by themselves
N_COMPARED = 8  # clips
N_WARM = 40  # clips
KINDS = {"features": "ready", "dataset": "ready", "audio": "16 kHz FLAC", "corpus": "recordings as they came"}  # folders of the store
SIDES = {"A": "tutorial", "B": "1 thread", "C": "viska"}


@dataclass(frozen=True)
class Clip:
    path: Path
    text: str
    seconds: float
    rate: int  # Hz


@dataclass
class Cost:
    """What one run of one side took."""

    n_clips: int
    hours: float  # of audio
    wall: float  # seconds
    cpu: float  # seconds, user and system, all processes
    pss: int = 0  # bytes, the highest sum
    anonymous: int = 0  # bytes, the highest sum without mapped files
    stored: dict[str, tuple[int, int]] = field(default_factory=dict)  # bytes and objects by what they are for


def main(options: argparse.Namespace) -> None:
    """Make the clips, run the sides in turn, print the table, compare the results."""
    with tempfile.TemporaryDirectory(prefix="viska-bench-") as temporary:
        work = Path(options.work or temporary).resolve()
        clips = folder_clips(Path(options.folder), options.clips) if options.folder else espeak_clips(work, options.clips, options.kind)
        corpus = write_corpus(work, clips)
        model = Path(options.model).resolve() if options.model else new_model(work, corpus, options.language)
        some = clips[: options.tutorial_clips or min(len(clips), 300)]
        hours = sum(clip.seconds for clip in clips) / 3600
        print(f"{len(clips)} clips, {hours:.2f} h, {dict(Counter((c.path.suffix, c.rate) for c in clips))}; the tutorial takes {len(some)}")
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
        bench = Bench(work, corpus, model, options)
        bench.tutorial("B", clips[:N_WARM], [])
        bench.viska(clips[:N_WARM], "warm.csv")
        compared = [n for n, clip in enumerate(some) if clip.rate == 16_000 and clip.path.suffix != ".mp3"][:N_COMPARED]
        sides: dict[str, Callable[[], Cost]] = {
            "A": lambda: bench.tutorial("A", some, compared),
            "B": lambda: bench.tutorial("B", some, compared),
            "C": lambda: bench.viska(clips, "manifest.csv"),
            "again": lambda: bench.viska(clips, "manifest.csv", fresh=False),
        }
        costs: dict[str, list[Cost]] = {side: [] for side in sides}
        for number in range(options.rounds):
            for side, run in sides.items():
                costs[side].append(cost := run())
                words = f"{cost.n_clips / cost.wall:7.1f} clips/s  {cost.wall:6.1f} s  {cost.cpu:6.1f} CPU-s  {cost.pss / 1e6:5.0f} MB"
                print(f"round {number + 1} {side:5} {words}", flush=True)
        print_table(costs)
        print(f"A and B decode with {bench.decoder}; looking at memory took at most {bench.watching:.0%} of a core beside each")
        print(compare(bench, clips, compared))


def espeak_clips(work: Path, n_clips: int, kind: str) -> list[Clip]:
    """Make clips of one to three sentences each, no two equal; those of an earlier run in the same folder are taken as they are."""
    from tasks.contracts.corpora import EspeakCorpus
    from tasks.corpora.espeak import recordings

    folder = work / f"clips-{n_clips}-{kind}"
    listed = folder / "clips.json"
    if listed.exists():
        return [Clip(Path(path), *rest) for path, *rest in json.loads(listed.read_text())]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    spoken = list(recordings(EspeakCorpus(n_train=min(2000, 3 * n_clips + 20), n_dev=4, n_test=4)))
    sentences = [(each.text, soundfile.read(io.BytesIO(each.read()), dtype="float32")) for each in spoken]
    dice = random.Random(0)
    plans = [(n, dice.sample(sentences, dice.choice((1, 2, 2, 3, 3))), dice.uniform(0.5, 1.0)) for n in range(n_clips)]

    def make(plan: tuple[int, list[tuple[str, tuple[np.ndarray, int]]], float]) -> Clip:
        number, said, gain = plan
        is_mp3 = kind == "mp3" or (kind == "both" and number % 2 == 0)
        rate = 48_000 if is_mp3 else RATES[number // 2 % len(RATES)]
        samples = soxr.resample(gain * np.concatenate([sound for _, (sound, _) in said]), said[0][1][1], rate)
        path = folder / f"{number:06d}.{'mp3' if is_mp3 else 'wav'}"
        soundfile.write(path, samples, rate, **(MP3 if is_mp3 else {"subtype": "PCM_16"}))
        return Clip(path, " ".join(text for text, _ in said), len(samples) / rate, rate)

    with ThreadPoolExecutor(2) as threads:
        clips = list(threads.map(make, plans))
    listed.write_text(json.dumps([(str(clip.path), clip.text, clip.seconds, clip.rate) for clip in clips]))
    return clips


def folder_clips(folder: Path, n_clips: int) -> list[Clip]:
    """Return the first clips of a folder with a manifest.csv of path and text."""
    with (folder / "manifest.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row, _ in zip(csv.DictReader(file), range(n_clips), strict=False)]
    infos = [soundfile.info(folder / row["path"]) for row in rows]
    return [Clip(folder / r["path"], r["text"], i.duration, i.samplerate) for r, i in zip(rows, infos, strict=True)]


def write_corpus(work: Path, clips: list[Clip]) -> Path:
    """Return a folder with these clips under short names, a table of all and one of the first few, both with all splits."""
    corpus = work / "corpus"
    shutil.rmtree(corpus, ignore_errors=True)
    corpus.mkdir(parents=True)
    rows = [(_name(n, clip), clip.text, {0: "dev", 1: "test"}.get(n % 20, "train")) for n, clip in enumerate(clips)]
    for clip, (name, _, _) in zip(clips, rows, strict=True):
        shutil.copyfile(clip.path, corpus / name)
    for table, some in (("manifest.csv", rows), ("warm.csv", rows[:N_WARM])):
        _write_csv(corpus / table, [("path", "text", "split"), *some])
    return corpus


def new_model(work: Path, corpus: Path, language: str) -> Path:
    """Return a folder with a checkpoint for these texts; made by another process, for pages shared with this one would count half."""
    task = {"folder": f"{work}/model", "table": f"{corpus}/manifest.csv", "language": language}
    subprocess.run([sys.executable, __file__, "as-model", json.dumps(task)], cwd=ROOT, env=_environment(), check=True)
    return work / "model"


def as_model(task: dict[str, str]) -> None:
    """Make a small checkpoint with Whisper's own bins and window, so that nothing has to be fetched."""
    from transformers.utils.logging import disable_progress_bar

    from tasks.contracts.recipe import Scratch
    from tasks.model.start import new_checkpoint

    disable_progress_bar()
    settings = Scratch(window=30, vocabulary=1000, max_tokens=448).model_dump(exclude={"kind"})
    with open(task["table"], encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    new_checkpoint(Path(task["folder"]), texts, language=task["language"], seed=0, **settings)


class Bench:
    """Runs a side in a process tree of its own and says what it took."""

    def __init__(self, work: Path, corpus: Path, model: Path, options: argparse.Namespace) -> None:
        self.work, self.corpus, self.model, self.options = work, corpus, model, options
        self.compared = work / "compared.json"
        self.store = work / "store"
        self.decoder = ""
        self.homes = {name: str(work / "home" / name) for name in ("PREFECT_HOME", "HF_HOME", "VISKA_CACHE")}
        for home in self.homes.values():  # Prefect makes its own only if the folder above is there
            Path(home).mkdir(parents=True, exist_ok=True)
        self.watching = 0.0  # CPU seconds a second that the looks at memory take

    def tutorial(self, side: str, clips: list[Clip], compared: list[int]) -> Cost:
        """Run the tutorial's `map` over these clips; the features and labels of the compared ones are kept."""
        cache = self.work / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        lines = [json.dumps({"audio": str(clip.path), "sentence": clip.text}) for clip in clips]
        (self.work / "tutorial.jsonl").write_text("\n".join(lines))
        task = {"table": f"{self.work}/tutorial.jsonl", "cache": str(cache), "model": str(self.model), "out": str(self.compared)}
        task |= {name: getattr(self.options, name) for name in ("language", "num_proc", "decoder")} | {"compared": compared}
        cost = self._measure([__file__, "as-tutorial", json.dumps(task)], {"OMP_NUM_THREADS": "1"} if side == "B" else {}, clips)
        result = json.loads(self.compared.read_text())
        self.decoder = result["decoder"]
        cost.wall, cost.cpu = result["wall"], result["cpu"]
        cost.stored["ready"] = _sizes(cache.rglob("cache-*.arrow"))
        return cost

    def viska(self, clips: list[Clip], table: str, fresh: bool = True) -> Cost:
        """Run `viska prepare` over a table of the corpus, into an empty store or into the last one."""
        if fresh:
            shutil.rmtree(self.store, ignore_errors=True)
        recipe = {"language": self.options.language, "store": str(self.store), "model": {"kind": "pretrained", "name": str(self.model)},
                  "corpus": {"kind": "folder", "path": str(self.corpus), "table": table}}  # fmt: skip
        (self.work / "recipe.yaml").write_text(json.dumps(recipe))  # JSON is YAML
        cost = self._measure(["-m", "flows", "prepare", "--recipe", f"{self.work}/recipe.yaml"], {}, clips)
        for folder in self.store.iterdir():
            name, (n_bytes, n_objects) = KINDS.get(folder.name, "all else"), _sizes(folder.rglob("*"))
            before = cost.stored.get(name, (0, 0))
            cost.stored[name] = (before[0] + n_bytes, before[1] + n_objects)
        return cost

    def _measure(self, arguments: list[str], extra: dict[str, str], clips: list[Clip]) -> Cost:
        """Run Python with these arguments to its end, and that of all it started."""
        environment = _environment() | self.homes | extra
        os.sync()  # what the last side wrote is not this one's to wait for
        stop, peaks = threading.Event(), {"Pss": 0, "Pss_Anon": 0, "watching": 0.0}
        watcher = threading.Thread(target=_watch, args=(stop, peaks))
        with (self.work / "log.txt").open("w+") as log:
            began, cpu = time.perf_counter(), 0.0
            child = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
            watcher.start()
            try:
                while child.returncode is None:
                    pid, status, used = os.wait4(-1, 0)
                    cpu += used.ru_utime + used.ru_stime
                    child.returncode = os.waitstatus_to_exitcode(status) if pid == child.pid else None
            except BaseException:  # Ctrl-C: nothing of this side may outlive us
                _end_all()
                raise
            finally:
                wall = time.perf_counter() - began
                stop.set()
                watcher.join()
            cpu += _reap()
            if child.returncode:
                log.seek(0)
                raise SystemExit(f"{arguments} ended with {child.returncode}:\n{log.read()[-4000:]}")
        self.watching = max(self.watching, peaks["watching"] / wall)
        return Cost(len(clips), sum(clip.seconds for clip in clips) / 3600, wall, cpu, int(peaks["Pss"]), int(peaks["Pss_Anon"]))


def as_tutorial(task: dict[str, Any]) -> None:
    """Be the tutorial: everything up to `map` is its preparation, `map` is what is timed."""
    from datasets import Audio, load_dataset
    from transformers import WhisperFeatureExtractor, WhisperTokenizer

    feature_extractor = WhisperFeatureExtractor.from_pretrained(task["model"])
    tokenizer = WhisperTokenizer.from_pretrained(task["model"], language=task["language"], task="transcribe")
    files = load_dataset("json", data_files=task["table"], cache_dir=task["cache"], split="train")
    decoder = task["decoder"]
    dataset = files.cast_column("audio", Audio(sampling_rate=16_000))
    if decoder == "auto":
        try:
            dataset[0]["audio"]["array"]  # installed is not enough: it looks for FFmpeg when the first clip comes
            decoder = "torchcodec"
        except (ImportError, OSError, RuntimeError):
            decoder = "soundfile"
    if decoder == "soundfile":
        dataset = files.cast_column("audio", Audio(decode=False))

    def prepare_dataset(batch: dict[str, Any]) -> dict[str, Any]:
        audio = batch["audio"]
        if decoder == "soundfile":
            samples, rate = soundfile.read(audio["path"], dtype="float32", always_2d=True)
            samples = samples.mean(axis=1)
            samples = samples if rate == 16_000 else soxr.resample(samples, rate, 16_000, quality="HQ")
            audio = {"array": samples, "sampling_rate": 16_000}
        batch["input_features"] = feature_extractor(audio["array"], sampling_rate=audio["sampling_rate"]).input_features[0]
        batch["labels"] = tokenizer(batch["sentence"]).input_ids
        return batch

    began, used = time.perf_counter(), _cpu()
    dataset = dataset.map(prepare_dataset, remove_columns=dataset.column_names, num_proc=task["num_proc"])
    wall, cpu = time.perf_counter() - began, _cpu() - used
    rows = [dataset[n] for n in task["compared"]]
    result = {"wall": wall, "cpu": cpu, "decoder": decoder, "labels": [row["labels"] for row in rows]}
    Path(task["out"]).write_text(json.dumps(result))
    np.save(Path(task["out"]).with_suffix(".npy"), np.array([row["input_features"] for row in rows], np.float32))


def compare(bench: Bench, clips: list[Clip], numbers: list[int]) -> str:
    """Say for how many of these clips the last round's sides hold the same: every frame, cast to what viska stores, and every label."""
    from transformers import WhisperTokenizer

    from tasks.audio.log_mel import restore
    from tasks.model.tokens import label_ids, prefix_ids
    from tasks.shards.dataset import open_split
    from tasks.shards.plan import SPLITS
    from tasks.store.artifacts import load
    from tasks.store.objects import Store

    store = Store(str(bench.store))
    (key,) = store.names("dataset")
    dataset = load(store, "dataset", key)
    n_prepared = sum(dataset.facts["splits"].values())
    text = f"{n_prepared} of {len(clips)} clips are in viska's data set, {dataset.facts['n_rejected']} in quarantine\n"
    ours = {each.id: each for split in SPLITS for each in open_split(store, dataset, split)}
    features, labels = np.load(bench.compared.with_suffix(".npy")), json.loads(bench.compared.read_text())["labels"]
    mine = [ours.get(_name(number, clips[number])) for number in numbers]
    pairs = [(own, theirs, label) for own, theirs, label in zip(mine, features, labels, strict=True) if own]
    if not pairs:
        return text + "nothing compared: no clip is 16 kHz without loss, and from other rates the two resamplers give different samples"
    tokenizer = WhisperTokenizer.from_pretrained(bench.model)
    prefix = prefix_ids(tokenizer, bench.options.language, True)
    equal = sum(
        label_ids(tokenizer, prefix, own.text) == label
        and np.array_equal(restore(own.features, own.fill, theirs.shape[1]), theirs.astype(own.features.dtype))
        for own, theirs, label in pairs
    )
    return text + f"features (as {pairs[0][0].features.dtype}) and labels of {equal} of {len(pairs)} clips of 16 kHz are equal to the bit"


def print_table(costs: dict[str, list[Cost]]) -> None:
    """Print medians, and how many times better C is than A and B, round by round: the middle ratio, the lowest and the highest."""
    lines: list[tuple[str, Callable[[Cost], float], bool]] = [
        ("clips/s, wall", lambda cost: cost.n_clips / cost.wall, True),
        ("clips per CPU-s", lambda cost: cost.n_clips / cost.cpu, True),
        ("CPU-s per hour of audio", lambda cost: cost.cpu / cost.hours, False),
        ("peak PSS, MB", lambda cost: cost.pss / 1e6, False),
        ("of it anonymous, MB", lambda cost: cost.anonymous / 1e6, False),
        ("ready to train, kB a clip", lambda cost: cost.stored["ready"][0] / cost.n_clips / 1e3, False),
        ("ready to train, objects", lambda cost: cost.stored["ready"][1], False),
    ]
    heads = "".join(f"{f'{side} {name}':>13}" for side, name in SIDES.items())
    print(f"\n{'median of the rounds':27}{heads}{'C against A':>27}{'C against B':>27}")
    for name, value, more_is_better in lines:
        cells = {side: [value(cost) for cost in costs[side]] for side in SIDES}
        text = "".join(f"{statistics.median(cells[side]):13.1f}" for side in SIDES)
        for side in "AB":
            ratios = [(c / other if more_is_better else other / c) for c, other in zip(cells["C"], cells[side], strict=True)]
            text += f"{f'{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})':>27}"
        print(f"{name:27}{text}" if name != "ready to train, objects" else f"{name:27}{text[:39]}")
    last = costs["C"][-1]
    for name, (n_bytes, n_objects) in sorted(last.stored.items()):
        if name != "ready":
            print(f"C also keeps {name}: {n_bytes / last.n_clips / 1e3:.1f} kB a clip, {n_objects} objects")
    again, wall = (statistics.median(cost.wall for cost in costs[side]) for side in ("again", "C"))
    again_cpu, cpu = (statistics.median(cost.cpu for cost in costs[side]) for side in ("again", "C"))
    print("of C, start-up: a second `viska prepare`, which finds everything, takes", end=" ")
    print(f"{again:.1f} of {wall:.1f} s and {again_cpu:.1f} of {cpu:.1f} CPU-s")
    if wall - again > 1 and cpu - again_cpu > 1:  # with fewer clips the difference is noise
        print(f"  beyond it C goes at {last.n_clips / (wall - again):.0f} clips/s, {last.n_clips / (cpu - again_cpu):.0f} clips per CPU-s")


def _environment() -> dict[str, str]:
    """Return this process' environment without settings that would decide the race, and with this checkout's code first."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "MKL_", "PREFECT_", "HF_", "VISKA_"))}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return inherited | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": path}


def _watch(stop: threading.Event, peaks: dict[str, float]) -> None:
    """Keep the highest sums over all processes below this one."""
    while not stop.wait(EVERY):
        sums = Counter[str]()
        for pid in _below(os.getpid()):
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:  # it ended
                continue
            sums.update({name: int(value.split()[0]) * 1024 for name, _, value in (line.partition(":") for line in lines[1:])})
        for name in ("Pss", "Pss_Anon"):
            peaks[name] = max(peaks[name], sums[name])
    peaks["watching"] = time.thread_time()


def _below(pid: int) -> list[int]:
    """Return the processes that descend from `pid`."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            children.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
        except OSError:
            continue
    found, new = [], [pid]
    while new:
        new = [child for parent in new for child in children.get(parent, [])]
        found += new
    return found


def _reap() -> float:
    """Wait for the processes that a side left behind, end those that stay, and return the CPU seconds they took."""
    cpu, began = 0.0, time.monotonic()
    while True:
        try:
            pid, _, used = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return cpu
        if pid:
            cpu += used.ru_utime + used.ru_stime
        elif time.monotonic() - began > PATIENCE:
            _end_all()
        else:
            time.sleep(0.02)


def _end_all() -> None:
    """End every process below this one: all of them were started here."""
    for each in _below(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def _cpu() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in both)


def _sizes(paths: Iterator[Path]) -> tuple[int, int]:
    """Return bytes and number of these files; seals count too."""
    sizes = [path.stat().st_size for path in paths if path.is_file()]
    return sum(sizes), len(sizes)


def _name(number: int, clip: Clip) -> str:
    return f"{number:06d}{clip.path.suffix}"


def _write_csv(path: Path, rows: list[Any]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--clips", type=int, default=2000, help="clips that viska prepares; default 2000")
    parser.add_argument("--tutorial-clips", type=int, default=0, help="the first of them, which the tutorial prepares; default 300")
    parser.add_argument("--rounds", type=int, default=3, help="A B C, so many times; default 3")
    parser.add_argument("--kind", choices=("mp3", "wav", "both"), default="both", help="of the clips made; default both")
    parser.add_argument("--folder", default="", help="take clips from here instead: manifest.csv with path and text")
    parser.add_argument("--language", default="sv", help="of the folder's texts; default sv")
    parser.add_argument("--model", default="", help="a checkpoint in a folder, with weights; default: a small one is made")
    parser.add_argument("--num-proc", type=int, default=2, help="of the tutorial's map; default 2")
    parser.add_argument("--decoder", choices=("auto", "torchcodec", "soundfile"), default="auto", help="of the tutorial; default auto")
    parser.add_argument("--work", default="", help="a folder to work in; its clips are kept for the next run")
    return parser.parse_args()


if __name__ == "__main__":
    if (role := {"as-tutorial": as_tutorial, "as-model": as_model}.get("".join(sys.argv[1:2]))) is not None:
        role(json.loads(sys.argv[2]))
    else:
        main(_options())
