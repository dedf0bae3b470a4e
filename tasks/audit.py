"""Audit: rank the labels of a data set by how probably they are wrong, for a person to listen to."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.contracts.errors import StoreError
from tasks.contracts.values import Artifact
from tasks.corrections.suspects import Clip, Suspect, rank
from tasks.policy import step
from tasks.store.artifacts import Draft, fetch_file
from tasks.store.lines import to_lines

log = logging.getLogger(__name__)
MOST = 10_000  # clips that are listed: more than anybody listens to
ROWS = 2**14  # of a table as Python values at once
PLACE = ("recording", "shard", "sound_row")  # columns of the index that say where a clip's sound lies
READ = ("id", "split", "text", "language", "seconds", *PLACE)
HEARD = pa.schema({"id": pa.string(), "reference": pa.string(), "text": pa.string(), "capped": pa.bool_(), "logprob": pa.float64()})


@step("audit", version=2, task_run_name="rank-suspects")
def rank_suspects(draft: Draft, dataset: Artifact, data: str, predictions: list[Artifact], language: str) -> dict[str, Any]:
    """Write the clips whose label something speaks against, the most suspicious first.

    Args:
        draft: where to.
        dataset: the clips.
        data: the data set's key: where clips lie is told here, and another data set of the same content has them elsewhere.
        predictions: what a model heard in them, an artifact per split.
        language: of the recipe, and of the clips that say none. Others were decoded as if they were of it: nothing is said of them.
    """
    index = pq.read_table(fetch_file(draft.store, dataset.file("index.parquet")), columns=list(READ))
    heard = _read([fetch_file(draft.store, each.file("predictions.jsonl")) for each in predictions])
    clips, n_others = _join(heard, index, data, language)
    listed = [each for each in rank(_Clips(clips), MOST) if each.score]
    places = clips.select(["split", "seconds", *PLACE]).take(pa.array([each.row for each in listed], pa.int64())).to_pylist()
    draft.write("suspects.jsonl", to_lines(map(_row, listed, places)))
    log.info("%d of %d labels have something against them; %d clips of other languages left out", len(listed), len(clips), n_others)
    return {"n_clips": len(clips), "n_suspects": len(listed), "n_other_languages": n_others, "dataset": data}


@dataclass(frozen=True)
class _Clips:
    """The rows of a table as clips, made anew each time they are gone through: a million of them do not stand side by side."""

    table: pa.Table

    def __iter__(self) -> Iterator[Clip]:
        for batch in self.table.select(["id", "text", "heard", "capped", "logprob", "seconds"]).to_batches(max_chunksize=ROWS):
            yield from map(Clip, *(column.to_pylist() for column in batch.columns))


def _read(files: Sequence[Path]) -> pa.Table:
    """Return predictions as a table; of its rows only ROWS at once are Python values."""
    batches = []
    for path in files:
        with path.open(encoding="utf-8", newline="\n") as lines:
            while some := list(map(json.loads, islice(lines, ROWS))):
                batches.append(pa.RecordBatch.from_pylist(some, HEARD))
    return pa.Table.from_batches(batches, HEARD)


def _join(heard: pa.Table, index: pa.Table, data: str, language: str) -> tuple[pa.Table, int]:
    """Return the index' rows of the clips that were heard and are of the language, with what was heard, and how many are of others."""
    rows = pc.index_in(heard["id"], value_set=index["id"])
    fits = pc.fill_null(pc.equal(index["text"].take(rows), heard["reference"]), False)
    if not len(heard) or not pc.all(fits).as_py():
        strange = heard["id"].filter(pc.invert(fits))[0].as_py() if len(heard) else None
        raise StoreError(f"dataset/{data}: the predictions are of other clips or labels, for example {strange!r}; transcribe this data set")
    clips = index.take(rows).append_column("heard", heard["text"])
    for name in ("capped", "logprob"):
        clips = clips.append_column(name, heard[name])
    kept = clips.filter(pc.is_in(clips["language"].cast(pa.string()), value_set=pa.array(["", language])))
    return kept, len(clips) - len(kept)


def _row(suspect: Suspect, place: dict[str, Any]) -> dict[str, Any]:
    """Return a suspect as a line of the list: what the page shows, and where the sound lies."""
    told = asdict(suspect)
    clip, _ = told.pop("clip"), told.pop("row")
    return {"id": clip["id"], "label": clip["reference"], "heard": clip["text"], **told, **place}
