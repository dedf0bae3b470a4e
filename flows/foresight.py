"""What `viska plan` prints before anything heavy runs: which clips a recipe would use and why not the others, and what it would cost.

It reads tables; where the source does not say how long its clips are, it decodes a few of them. Nothing is written into the store. An
archive of the Mozilla Data Collective has to be fetched to be known, and a data set of the Hub is streamed once.
"""

import random
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.audio.isolated import Decoder
from tasks.contracts.errors import AudioError
from tasks.contracts.recipe import Pretrained, Recipe, Scratch, Trained
from tasks.contracts.values import Artifact, Reject, plain
from tasks.corpora import Recording, recordings, revision
from tasks.corpora.choose import ROWS, Choice, choose, rules_of
from tasks.corrections.decisions import newest, read_log
from tasks.download import VERSION
from tasks.index import CHOSEN, frozen_test, ids_of
from tasks.model.cost import Counts, config_of, estimate, need_device
from tasks.model.cost_table import lines
from tasks.policy import store_of
from tasks.resample import MAX_SECONDS
from tasks.store.artifacts import fetch, fetch_file, load, peek_all
from tasks.store.lines import from_lines
from tasks.store.objects import Store

SAMPLE = 64  # recordings that are decoded to learn how long the others are
NUMBERS = {"seconds": pa.float32(), "weight": pa.float32(), "place": pa.int64()}
COLUMNS = pa.schema({name: NUMBERS.get(name, pa.string()) for name in CHOSEN})


def foresee(recipe: Recipe, device: str, hourly_price: float | None) -> list[str]:
    """Return as lines what a run of this recipe would use and take.

    Args:
        recipe: everything the run would be told.
        device: where it would train, a name of `tasks.model.cost.DEVICES`.
        hourly_price: of the device, in any currency.
    """
    need_device(device)
    store = Store(store_of(recipe))
    rejects: list[Reject] = []
    heard = _Sample(recipe.splits.seed)
    rules, frozen = rules_of(recipe), frozen_test(store, recipe.test_name)
    guarded = ids_of(store, frozen) if frozen else None
    known = None if frozen else _downloaded(store, recipe)
    rows = _sealed_rows(store, known, rejects) if known else _rows(recipe, guarded or (), rejects, heard)
    choice = choose(rows, rules, guarded, rejects, newest(read_log(store, recipe.name)))
    usual = heard.seconds()
    clips = {split: choice.clips.take(rows) for split, rows in choice.rows.items()}
    counts = {split: _count(table, usual) for split, table in clips.items()}
    known_of = [*_describe(recipe, choice, clips, counts, rejects, frozen), *heard.describe()]
    if not counts["train"].n_clips:
        return [*known_of, "", "warning  there is nothing to train on: see what was refused, and the settings that are named there"]
    config = config_of(_model(store, recipe))
    told = estimate(config, counts, recipe.training, recipe.scoring, device=device, dtype=recipe.features.dtype, hourly_price=hourly_price)
    return [*known_of, "", *lines(told)]


def _model(store: Store, recipe: Recipe) -> Pretrained | Scratch:
    """Return the recipe's model; a checkpoint of this store is a folder like any other."""
    if isinstance(recipe.model, Trained):
        return Pretrained(name=str(fetch(store, load(store, "checkpoint", recipe.model.checkpoint))))
    return recipe.model


def _downloaded(store: Store, recipe: Recipe) -> Artifact | None:
    """Return the corpus as the store holds it already, at its present revision."""
    spec, now = plain(recipe.corpus), plain(revision(recipe.corpus))
    wanted = {"version": VERSION, "corpus": spec, "revision": now}
    return next((each for each, told in peek_all(store, "corpus") if told == wanted), None)


def _sealed_rows(store: Store, corpus: Artifact, rejects: list[Reject]) -> Iterator[pa.RecordBatch]:
    rejects += [Reject(**row) for row in from_lines(fetch_file(store, corpus.file("rejects.jsonl")).read_bytes())]
    yield from pq.ParquetFile(fetch_file(store, corpus.file("clips.parquet"))).iter_batches(ROWS, columns=list(CHOSEN))


def _rows(recipe: Recipe, also: Collection[str], rejects: list[Reject], heard: "_Sample") -> Iterator[pa.RecordBatch]:
    """Yield the rows of the source; no recording is read but those of the sample, and which file has which sound is not known."""
    some: list[dict[str, Any]] = []
    for row in recordings(recipe.corpus, also):
        if isinstance(row, Reject):
            rejects.append(row)
            continue
        heard.add(row)
        some.append(dict.fromkeys(CHOSEN, "") | {name: getattr(row, name) for name in CHOSEN if hasattr(row, name)} | row.about)
        if len(some) == ROWS:
            yield pa.RecordBatch.from_pylist(some, COLUMNS)
            some.clear()
    yield pa.RecordBatch.from_pylist(some, COLUMNS)


class _Sample:
    """Some recordings of a source that does not say how long they are, each as likely as any other."""

    def __init__(self, seed: int) -> None:
        self.dice, self.n_seen = random.Random(seed), 0
        self.drawn: list[Recording] = []
        self.lengths: list[float] = []

    def add(self, row: Recording) -> None:
        """Take the row into the sample, perhaps (reservoir sampling)."""
        if row.seconds:
            return
        self.n_seen += 1
        place = len(self.drawn) if len(self.drawn) < SAMPLE else self.dice.randrange(self.n_seen)
        if place < SAMPLE:
            self.drawn[place : place + 1] = [row]

    def seconds(self) -> float:
        """Return the mean length of the recordings in the sample that can be used; 0 without any."""
        with Decoder(MAX_SECONDS) as decoder:
            for row in self.drawn:
                try:
                    self.lengths.append(decoder.hear(row.read()).figures.seconds)
                except (AudioError, FileNotFoundError):
                    continue
        return sum(self.lengths) / len(self.lengths) if self.lengths else 0.0

    def describe(self) -> list[str]:
        """Say how the hours were estimated."""
        if not self.n_seen:
            return []
        n_drawn, n_used = len(self.drawn), len(self.lengths)
        return [f"hours     estimated: of {self.n_seen:,} clips without a length {n_drawn} were decoded, {n_used} can be used"]


def _count(clips: pa.Table, usual: float) -> Counts:
    """Return clips, hours and bytes of text of a split; a clip of unknown length has the usual one."""
    seconds = clips["seconds"].to_numpy()
    n_bytes = pc.sum(pc.binary_length(clips["text"])).as_py() or 0
    return Counts(len(clips), float(seconds.sum() + usual * (seconds == 0).sum()) / 3600, n_bytes)


def _describe(
    recipe: Recipe, choice: Choice, clips: dict[str, pa.Table], counts: dict[str, Counts], rejects: list[Reject], frozen: Artifact | None
) -> Iterator[str]:
    yield f"{'split':8}  {'clips':>10}  {'hours':>8}  {'speakers':>8}"
    for split, count in counts.items():
        speakers = set(clips[split]["speaker"].unique().to_pylist()) - {""}
        yield f"{split:8}  {count.n_clips:>10,}  {count.hours:>8.2f}  {len(speakers) or 'unknown':>8}"
    refused = Counter(each.reason for each in (*rejects, *choice.rejects))
    for reason, n in refused.most_common():
        example = next(each for each in (*rejects, *choice.rejects) if each.reason == reason)
        yield f"refused   {n:>10,}  {reason}, for example {example.id}: {example.detail:.100}"
    if not refused:
        yield "refused            0"
    yield from (f"leak      {each['clips']:>10,}  clips of {each['split']} share their {each['what']} with {each['with']}: "
                f"{'taken out' if each['removed'] else 'kept'}" for each in choice.leaks)  # fmt: skip
    if choice.n_left:
        yield f"not drawn {choice.n_left:>10,}"
    name = recipe.test_name
    yield f"test      {f'frozen as {name!r}' if frozen else f'would be frozen as {name!r}'}"
