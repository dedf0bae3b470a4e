"""Prepare without Prefect's engine: its steps one after the other on a small corpus of tones; what the tests of this folder share.

`python -m tests.steps.chain` prepares the corpus of the current folder twice, the second time when it is told to.
"""

import csv
import hashlib
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import soundfile
from prefect.client.schemas import State

from tasks.contracts.recipe import Pretrained, read_recipe
from tasks.contracts.values import Artifact
from tasks.corpora import revision
from tasks.corpora.choose import rules_of
from tasks.download import download
from tasks.index import draw_test, find_corrections, index
from tasks.log_mel import log_mel
from tasks.model.start import checkpoint_revision
from tasks.plan import in_order, make_plan
from tasks.resample import resample
from tasks.shard import shard
from tasks.shards.dataset import open_split
from tasks.shards.plan import SPLITS
from tasks.start import fetch_model, fit_of
from tasks.store.objects import Store

RATE = 8_000  # Hz
N = 200  # clips of the first revision of the corpus
PREPARED = ("audio", "features", "dataset")


@dataclass(frozen=True)
class Run:
    """What came of one preparation."""

    corpus: Artifact
    manifest: Artifact
    audio: list[Artifact]
    features: list[Artifact]
    dataset: Artifact
    made: list[Artifact]  # those that were not found in the store

    @property
    def n_decoded(self) -> int:
        return sum(each.facts["n_decoded"] for each in self.made if each.kind == "audio")

    @property
    def kinds(self) -> set[str]:
        return {each.kind for each in self.made}

    @property
    def content(self) -> str:
        return str(self.dataset.facts["content"])


def prepare(
    folder: str = "corpus", root: str = "store", model: str = "model-80", compact: bool = False, threads: int = 2,
    dice: Random | None = None, **sections: Any,
) -> Run:  # fmt: skip
    """Prepare the corpus in `folder` into the store at `root`; `dice` shuffles the parts, `sections` are the recipe's."""
    recipe = read_recipe({"corpus": {"kind": "folder", "path": folder}, "model": {"kind": "pretrained", "name": model}} | sections)
    assert isinstance(recipe.model, Pretrained)
    made: list[Artifact] = []

    def do(step: Any, *inputs: Any) -> Any:
        result = step.fn(root, *inputs)
        made.extend([result] if isinstance(result, Artifact) else [])
        return value_of(result)

    corpus = do(download, recipe.corpus, revision(recipe.corpus))
    rules = rules_of(recipe)
    corrections = find_corrections(root, recipe.name)
    test = value_of(draw_test.fn(root, corpus, rules, corrections))  # drawn anew for each corpus: nothing is frozen here
    manifest = do(index, corpus, test, rules, corrections)
    start = do(fetch_model, recipe.model, checkpoint_revision(model, "main"))
    n_mels, window = start.facts["n_mels"], start.facts["window"]
    parts = value_of(make_plan(root, corpus, manifest, compact))
    if dice:
        dice.shuffle(parts)
    with ThreadPoolExecutor(threads) as pool:
        audio = list(pool.map(lambda part: do(resample, part), parts))
        features = list(pool.map(lambda part, shelf: do(log_mel, part, shelf, n_mels, window, recipe.features.dtype), parts, audio))
    dataset = do(shard, manifest, *in_order(audio, features), fit_of(start), recipe.language, recipe.gates, window)
    return Run(corpus, manifest, audio, features, dataset, made)


def value_of(result: Any) -> Any:
    """Return what a step gave, made or found."""
    return result.data if isinstance(result, State) else result


def sound(number: int) -> np.ndarray:
    """0.4 s at RATE: a quarter of quiet, then a tone; no two numbers sound the same."""
    time = np.arange(int(0.4 * RATE)) / RATE
    noise = np.random.default_rng(number).normal(scale=0.003, size=time.size)
    return noise + np.where(time < 0.1, 0, 0.3 * np.sin(2 * np.pi * (200 + 3 * number) * time))


def write_corpus(
    numbers: Iterable[int], folder: str = "corpus", name: str = "clip-{:03d}.wav", texts: dict[int, str] | None = None
) -> None:
    """Write a table of these clips in this order, and the recordings that are not there yet."""
    rows = ["path\ttext"]
    Path(folder).mkdir(exist_ok=True)
    for number in numbers:
        path = Path(folder, name.format(number))
        if not path.exists():
            soundfile.write(path, sound(number), RATE, subtype="PCM_16")
        rows.append(f"{path.name}\t{(texts or {}).get(number, f'klipp {number}')}")
    Path(folder, "manifest.tsv").write_text("\n".join(rows))


def examples(run: Run, root: str = "store") -> dict[str, tuple[Any, ...]]:
    """Return all that training sees of each clip, by id, in the order in which it sees them."""
    return {each.id: (split, each.text, each.n_samples, each.fill, each.features.tobytes())
            for split in SPLITS for each in open_split(Store(root), run.dataset, split)}  # fmt: skip


def objects(root: str = "store", kinds: Iterable[str] = PREPARED) -> dict[str, str]:
    """Return the SHA-256 of every object, by path."""
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for kind in kinds for path in Path(root, kind).rglob("*") if path.is_file()}  # fmt: skip


def quarantine(run: Run) -> list[dict[str, str]]:
    with Path("store", run.dataset.file("quarantine.csv").path).open(newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    prepare(root="of-the-child")  # what is imported and started once
    print("ready", flush=True)
    sys.stdin.readline()
    run = prepare(root="shared")
    print(run.dataset.key, run.content, flush=True)
