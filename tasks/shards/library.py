"""What a store holds at 16 kHz already, and which recordings are still to be decoded.

Every sealed `audio` artifact is a shelf: recordings by the SHA-256 of the file as it came, whatever corpus, split or text they had. So a
corpus that grows, a new release of it, another split and another transcript decode only what nobody has decoded before.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.contracts.errors import StoreError
from tasks.contracts.values import Artifact, File, Part
from tasks.shards.format import Sound
from tasks.store.artifacts import fetch_file, find, load, peek_all
from tasks.store.objects import Store

# Where a recording lies: `row` of a pack as it came, or of the table of a shelf that is to be compacted.
PLAN = pa.schema([("recording", pa.string()), ("pack", pa.string()), ("shelf", pa.string()), ("row", pa.int32())])


@dataclass(frozen=True)
class Shelf:
    """One sealed artifact of recordings at 16 kHz."""

    audio: Artifact
    recordings: pa.Array  # [n_clips] strings, the refused ones too


def name_of(recordings: Iterable[str]) -> str:
    """Return the fingerprint of recordings in their order: what a shelf's address is made from."""
    return hashlib.sha256("".join(recordings).encode()).hexdigest()[:24]


def shelves(store: Store, version: int, wanted: pa.Array) -> list[Shelf]:
    """Return the whole shelves, made by this version of the code, that hold any of the wanted recordings.

    Args:
        store: where to look.
        version: of the step that writes them.
        wanted: [n] different strings.
    """
    held = []
    for audio, _ in peek_all(store, "audio"):
        if audio.facts.get("version") == version:
            try:
                clips = pq.read_table(fetch_file(store, audio.file("clips.parquet")), columns=["recording"])
                held.append(Shelf(audio, clips["recording"].combine_chunks()))
            except (
                StoreError,
                FileNotFoundError,
                KeyError,
                pa.ArrowInvalid,
            ):  # a shelf that cannot be read is not there: its recordings are decoded again
                continue
    number, place = places(held, wanted)
    useful = set(number[place >= 0].tolist())
    return [shelf for each, shelf in enumerate(held) if each in useful and find(store, "audio", shelf.audio.key) is not None]


def share_out(held: list[Shelf], wanted: pa.Array, fewest: int = 0) -> np.ndarray:
    """Return for each wanted recording the number of the shelf to take it from, or -1.

    Where several hold it the one with most of the wanted recordings gives it, so that few shards are read. Shelves that would give fewer
    than `fewest` are left out.
    """
    owner = np.full(len(wanted), len(held), np.int64)
    number, place = places(held, wanted)
    number, place = number[place >= 0], place[place >= 0]
    counts = np.bincount(number, minlength=len(held))
    keys = [shelf.audio.key for shelf in held]
    order = sorted(range(len(held)), key=lambda each: (-counts[each], keys[each]))
    rank = np.empty(len(held), np.int64)
    rank[order] = np.arange(len(held))
    np.minimum.at(owner, place, rank[number])
    owner = np.array([*order, -1])[owner]
    given = np.bincount(owner[owner >= 0], minlength=len(held) + 1)  # the last is for what no shelf has
    owner[given[owner] < fewest] = -1
    return owner


def places(held: list[Shelf], wanted: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return for every row of every shelf the shelf's number, and its place among the wanted recordings or -1."""
    if not held:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    number = np.repeat(np.arange(len(held)), [len(shelf.recordings) for shelf in held])
    rows = pa.chunked_array([chunk for shelf in held for chunk in pa.chunked_array(shelf.recordings).chunks], pa.string())
    return number, pc.index_in(rows, value_set=wanted).fill_null(-1).to_numpy()


def write_plan(path: Path, parts: Iterable[pa.Table]) -> None:
    """Write what is to be done, a row group for each part: which recording, and where it lies, as it came or at 16 kHz."""
    with pq.ParquetWriter(path, PLAN) as file:
        for part in parts:
            file.write_table(part, row_group_size=len(part))


@dataclass(frozen=True)
class Source:
    """A recording to be put on a shelf."""

    recording: str
    data: bytes  # the file as it came, or FLAC at 16 kHz; empty if it was refused
    known: dict[str, Any] | None  # what its shelf says of it; None: it is still to be decoded


def sources_of(part: Part, store: Store) -> Iterator[Source]:
    """Yield the recordings of a part, in order.

    Raises:
        StoreError: if the part was planned as one that the store holds.
    """
    if part.plan is None:
        raise StoreError(f"{part.name}: the store held it at 16 kHz when the run was planned, and does not now; run again to make it again")
    files = {name: File(*file) for name, file in json.loads(fetch_file(store, part.plan.file("packs.json")).read_bytes()).items()}

    @lru_cache(maxsize=2)  # they are read one after the other, and what is mapped of them stays in memory
    def pack(name: str) -> Sound:
        return Sound(fetch_file(store, files[name]))

    @cache
    def shelf(key: str) -> tuple[list[dict[str, Any]], Sound]:
        audio = load(store, "audio", key)
        return pq.read_table(fetch_file(store, audio.file("clips.parquet"))).to_pylist(), Sound(
            fetch_file(store, audio.file("audio.arrow"))
        )

    rows = pq.ParquetFile(fetch_file(store, part.plan.file("plan.parquet"))).read_row_group(part.row_group).to_pylist()
    for row in rows:
        if not row["shelf"]:
            recording, data = pack(row["pack"])[row["row"]]
            assert recording == row["recording"], (recording, row)
            yield Source(recording, data, None)
        else:
            clips, sound = shelf(row["shelf"])
            known = clips[row["row"]]
            yield Source(row["recording"], sound[known["row"]][1] if known["row"] >= 0 else b"", known)
