"""Download a corpus: every recording as it came, packed into objects that can no longer change."""

import hashlib
import itertools
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from tasks.contracts.corpora import Corpus
from tasks.contracts.errors import AudioError, StoreError
from tasks.contracts.values import Artifact, File, Reject, plain
from tasks.corpora import ABOUT, Recording, recordings
from tasks.policy import step
from tasks.shards.format import write_sound
from tasks.store.artifacts import Draft, fetch_file, peek_all
from tasks.store.lines import to_lines
from tasks.store.objects import Store

log = logging.getLogger(__name__)
VERSION = 3  # bumped when code changes the bytes
PACK = 64 * 2**20  # bytes of recordings in one object
AHEAD = 16  # recordings asked for at once: a bucket answers each after a while
TOLD = ("id", "text", "speaker", "split", "stamp", "seconds", "language", "weight", "place")  # of a Recording
NUMBERS = {"seconds": pa.float32(), "weight": pa.float32(), "place": pa.int64(), "row": pa.int32()}
CLIPS = pa.schema({name: NUMBERS.get(name, pa.string()) for name in (*TOLD, *ABOUT, "recording", "pack", "row")})
ROW = ("id", "stamp", "recording", "pack", "row")  # what is needed of it to find a recording
ROWS = 2**14  # of that table in memory at once


@dataclass(frozen=True)
class Place:
    """Where the store holds a recording as it came."""

    recording: str  # SHA-256 of its bytes
    pack: File
    row: int


@step("corpus", version=VERSION, task_run_name="download-{corpus.kind}")
def download(draft: Draft, corpus: Corpus, revision: dict[str, Any], also: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read every row of the corpus; `revision` is what its source says would change it, `also` are clips that it should look for besides.

    Recordings that an earlier revision of this corpus brought, unchanged since, are neither read nor stored again; those that must be read
    to be known, from an archive or a stream, are not stored again if any corpus in the store has them.
    """
    earlier = _Earlier(draft.store, corpus)
    rejects: list[Reject] = []
    n_known = n_new = n_bytes = 0
    with draft.staged("clips.parquet") as path, _clips_table(path) as add:

        def fresh() -> Iterator[tuple[dict[str, Any], bytes]]:
            """Yield the new recordings with their rows; on the way there, write the rows of known ones, and keep the rejects."""
            nonlocal n_known
            for row, audio in tqdm(_read(corpus, also, earlier), desc="download", unit="clip", disable=None, leave=False):
                if isinstance(row, Reject):
                    rejects.append(row)
                    continue
                clip = {name: getattr(row, name) for name in TOLD} | {name: row.about.get(name, "") for name in ABOUT}
                place = audio if isinstance(audio, Place) else earlier.holder(hashlib.sha256(audio).hexdigest())
                if place:
                    n_known += 1
                    draft.adopt(place.pack)
                    add(clip | {"recording": place.recording, "pack": place.pack.name, "row": place.row})
                else:
                    assert isinstance(audio, bytes)
                    yield clip, audio

        def packed(name: str, clips: Iterator[tuple[dict[str, Any], bytes]]) -> Iterator[tuple[str, bytes]]:
            """Yield what goes into one pack, and write its rows."""
            nonlocal n_new, n_bytes
            size = 0
            for row, (clip, audio) in enumerate(clips):
                recording = hashlib.sha256(audio).hexdigest()
                add(clip | {"recording": recording, "pack": name, "row": row})
                n_new, n_bytes, size = n_new + 1, n_bytes + len(audio), size + len(audio)
                yield recording, audio
                if size >= PACK:
                    return

        rest = fresh()
        names = (f"raw-{draft.key[:12]}-{number:05d}.arrow" for number in itertools.count())  # packs of earlier revisions have other names,
        free = (name for name in names if name not in earlier.packs)  # but a corpus that is mended keeps those of its own that are whole
        for first, name in zip(rest, free, strict=False):
            with draft.staged(name) as pack:
                write_sound(pack, packed(name, itertools.chain([first], rest)))
    draft.write("rejects.jsonl", to_lines(asdict(reject) for reject in rejects))
    log.info("%d recordings are new, %.1f MB; %d are known; %d rows refused", n_new, n_bytes / 1e6, n_known, len(rejects))
    return {"n_clips": n_new + n_known, "n_new": n_new, "n_bytes": n_bytes, "n_rejected": len(rejects)}


def _read(corpus: Corpus, also: tuple[str, ...], earlier: "_Earlier") -> Iterator[tuple[Recording | Reject, bytes | Place]]:
    """Yield every row in order: a recording with its bytes or with where the store holds it already. Some are read ahead."""

    def read(row: Recording | Reject) -> tuple[Recording | Reject, bytes | Place]:
        if isinstance(row, Reject):
            return row, b""
        try:
            return row, earlier.place(row.id, row.stamp) or row.read()
        except FileNotFoundError:
            return Reject(row.id, "download", "missing file", f"{row.id!r} went away while the corpus was read"), b""
        except AudioError as refusal:
            return Reject(row.id, "download", "unusable audio", str(refusal)), b""

    with ThreadPoolExecutor(AHEAD) as pool:
        rows = recordings(corpus, also)
        waiting = deque(pool.submit(read, row) for row in itertools.islice(rows, AHEAD))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(read, row) for row in itertools.islice(rows, 1))


class _Earlier:
    """What is in the store already: recordings of earlier revisions of a corpus by id and stamp, those of any corpus by what they hold."""

    def __init__(self, store: Store, corpus: Corpus) -> None:
        ours = _sources(plain(corpus))
        made = [
            (artifact, [start for start, each in _sources(made_from["corpus"]).items() if ours.get(start) == each])
            for artifact, made_from in peek_all(store, "corpus")
            if made_from["version"] == VERSION
        ]
        tables = [(table, starts) for artifact, starts in made if (table := _rows(store, artifact)) is not None]
        self.packs = {file.name: file for artifact, _ in made for file in artifact.files}
        self.rows = pa.concat_tables([CLIPS.empty_table().select(ROW), *(table for table, _ in tables)])
        is_own = np.concatenate([np.empty(0, bool), *(_begins(table["id"], starts) for table, starts in tables)])
        pairs = zip(*(self.rows.filter(pa.array(is_own))[name].to_pylist() for name in ("id", "stamp")), strict=True)
        self.by_stamp = _Hashes(pairs, np.flatnonzero(is_own))
        self.by_content = _Hashes(self.rows["recording"].to_pylist(), np.arange(len(self.rows)))
        self.is_whole = cache(lambda file: store.holds(file.path, file.n_bytes, file.sha256, file.crc32c))

    def place(self, id: str, stamp: str) -> Place | None:
        """Return where this recording lies, if it has not changed since and its pack is whole."""
        return self._lies_at(self.by_stamp.rows((id, stamp)), {"id": id, "stamp": stamp}) if stamp else None

    def holder(self, recording: str) -> Place | None:
        """Return where a recording with this SHA-256 lies, if its pack is whole."""
        return self._lies_at(self.by_content.rows(recording), {"recording": recording})

    def _lies_at(self, rows: list[int], what: dict[str, str]) -> Place | None:
        for number in rows:
            row = self.rows.slice(number, 1).to_pylist()[0]
            pack = self.packs.get(row["pack"])
            if what.items() <= row.items() and pack and self.is_whole(pack):
                return Place(row["recording"], pack, row["row"])
        return None


class _Hashes:
    """Finds rows by a value of theirs. A dict of a million pairs would take 300 MB; sorted hashes take 16."""

    def __init__(self, values: Iterable[Any], rows: np.ndarray) -> None:
        hashes = np.fromiter(map(hash, values), np.int64, len(rows))
        order = np.argsort(hashes, kind="stable")
        self.hashes, self.numbers = hashes[order], rows[order]

    def rows(self, value: Any) -> list[int]:
        """Return the rows that may have this value."""
        first, last = np.searchsorted(self.hashes, [h := hash(value), h + 1])
        found: list[int] = self.numbers[first:last].tolist()
        return found


def _sources(spec: dict[str, Any]) -> dict[str, Any]:
    """Return what a corpus reads, by what its ids begin with: a part of a mix with another weight, or beside others, is read as before."""
    return {f"{part['name']}/": part["corpus"] for part in spec["parts"]} if spec["kind"] == "mix" else {"": spec}


def _begins(ids: pa.ChunkedArray, starts: list[str]) -> np.ndarray:
    """Say of each id whether it begins with one of these."""
    begins = np.zeros(len(ids), bool)
    for start in starts:
        begins |= np.asarray(pc.starts_with(ids, start))
    return begins


def _rows(store: Store, corpus: Artifact) -> pa.Table | None:
    """Return what a revision says of its recordings; None if that cannot be read, then they are read again."""
    try:
        return pq.read_table(fetch_file(store, corpus.file("clips.parquet")), columns=list(ROW))
    except (StoreError, FileNotFoundError):
        return None


@contextmanager
def _clips_table(path: Path) -> Iterator[Any]:
    """Give a function that adds a row to the table of clips at `path`."""
    rows: list[dict[str, Any]] = []
    with pq.ParquetWriter(path, CLIPS) as table:

        def add(row: dict[str, Any]) -> None:
            rows.append(row)
            if len(rows) == ROWS:
                flush()

        def flush() -> None:
            table.write_table(pa.Table.from_pylist(rows, CLIPS))
            rows.clear()

        yield add
        flush()
