"""The three containers, all Arrow IPC files without compression: recordings as they came, 16 kHz FLAC, log-Mel features.

Writer and reader are mirror images; FORMAT.md describes the bytes. Uncompressed Arrow is read in place from a memory map, by pyarrow,
polars, DuckDB and `datasets`; a version this code does not know is refused. Files are written batch by batch, so that the memory they take
does not grow with them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.contracts.errors import StoreError

VERSION = "2"
BATCH = 4 * 2**20  # bytes of recordings or features in one record batch
DTYPES: dict[str, np.dtype[Any]] = {"float16": np.dtype("<f2"), "float32": np.dtype("<f4")}
SOUND = pa.schema([("id", pa.string()), ("audio", pa.large_binary())], {"viska.format": "sound", "viska.version": VERSION})
FEATURES = [("recording", pa.string()), ("n_samples", pa.int32()), ("n_frames", pa.int32()), ("fill", pa.float32()),
            ("features", pa.large_binary())]  # fmt: skip


@dataclass(frozen=True)
class Features:
    """The log-Mel features of one recording."""

    recording: str  # SHA-256 of the file as it came
    n_samples: int  # at 16 kHz
    features: np.ndarray  # [n_mels, n_frames], float16 or float32
    fill: float  # the value of every frame behind the sound


@dataclass(frozen=True)
class Example:
    """One clip, ready to train on."""

    id: str
    text: str
    n_samples: int  # at 16 kHz
    features: np.ndarray  # [n_mels, n_frames], float16 or float32
    fill: float  # the value of every frame behind the sound


def write_sound(path: Path, rows: Iterable[tuple[str, bytes]]) -> None:
    """Write an Arrow file of (id, bytes of a recording), in order."""
    _write(path, SOUND, rows, lambda row: len(row[1]))


def write_features(path: Path, rows: Iterable[Features], n_mels: int, dtype: str) -> None:
    """Write an Arrow file of features, in order; each is one little-endian array in C order."""
    facts = {"viska.format": "features", "viska.version": VERSION, "viska.n_mels": str(n_mels), "viska.dtype": dtype}
    values = ((each.recording, each.n_samples, each.features.shape[1], each.fill,
               np.ascontiguousarray(each.features, DTYPES[dtype]).tobytes()) for each in rows)  # fmt: skip
    _write(path, pa.schema(FEATURES, facts), values, lambda row: len(row[4]))


class Sound:
    """Recordings of one Arrow file, by row, read in place."""

    def __init__(self, path: Path) -> None:
        self._table = _Table(path, "sound")

    def __len__(self) -> int:
        return len(self._table.batch_of)

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, row: int) -> tuple[str, bytes]:
        batch, row = self._table.find(row)
        return batch["id"][row].as_py(), batch["audio"][row].as_py()


class Shard:
    """Features of one file, by row, read in place: they are views of the memory map."""

    def __init__(self, path: Path) -> None:
        self._table = _Table(path, "features")
        self.n_mels = int(self._table.facts["n_mels"])
        self.dtype = DTYPES[self._table.facts["dtype"]]
        self.recordings: list[str] = self._table.column("recording")
        self.n_samples: list[int] = self._table.column("n_samples")
        self.n_frames: list[int] = self._table.column("n_frames")
        self.fills: list[float] = self._table.column("fill")
        # Of the buffers, not of the scalars of Arrow: those are copies.
        buffers = [batch["features"].buffers() for batch in self._table.batches]
        self._ends = [np.frombuffer(ends or b"", "<i8") for _, ends, _ in buffers]  # of each batch [n_clips + 1], in bytes
        self._data = [data for _, _, data in buffers]

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, row: int) -> Features:
        start, end, data = self._place(row)
        view = np.frombuffer(data.slice(start, end - start), self.dtype).reshape(self.n_mels, self.n_frames[row])
        return Features(self.recordings[row], self.n_samples[row], view, self.fills[row])

    def offset(self, row: int) -> int:
        """Return where the row's features begin in the file, in bytes: NumPy alone can read them from there."""
        start, _, data = self._place(row)
        return int(data.address + start - self._table.address)

    def _place(self, row: int) -> tuple[int, int, pa.Buffer]:
        """Return the row's features as the bytes from start to end of a buffer."""
        batch = self._table.batch_of[row]
        row -= self._table.first_of[batch]
        start, end = self._ends[batch][row : row + 2].tolist()
        return start, end, self._data[batch]


class _Table:
    """The record batches of an Arrow file in a memory map."""

    def __init__(self, path: Path, expected: str) -> None:
        file = pa.memory_map(str(path))
        reader = pa.ipc.open_file(file)
        metadata = {key.decode(): value.decode() for key, value in (reader.schema.metadata or {}).items()}
        self.facts = {key.removeprefix("viska."): value for key, value in metadata.items()}
        got = self.facts.get("format", ""), self.facts.get("version", "")
        if got != (expected, VERSION):
            raise StoreError(f"{path.name}: format {got[0]!r} version {got[1]!r}, expected {expected!r} version {VERSION!r}; see FORMAT.md")
        self.batches: list[pa.RecordBatch] = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        sizes = [batch.num_rows for batch in self.batches]
        self.first_of = np.concatenate([[0], np.cumsum(sizes)]).tolist()  # row of the file with which each batch begins
        self.batch_of = np.repeat(np.arange(len(sizes)), sizes).tolist()
        file.seek(0)
        self.address = int(file.read_buffer().address)  # where the file begins in memory

    def find(self, row: int) -> tuple[pa.RecordBatch, int]:
        batch = self.batch_of[row]
        return self.batches[batch], row - self.first_of[batch]

    def column(self, name: str) -> list[Any]:
        return [value for batch in self.batches for value in batch[name].to_pylist()]


def _write(path: Path, schema: pa.Schema, rows: Iterable[tuple[Any, ...]], size: Any) -> None:
    """Write rows in batches of about BATCH bytes; `size` tells the bytes of one."""
    batch: list[tuple[Any, ...]] = []
    n_bytes = 0
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:

        def flush() -> None:
            columns = zip(*batch, strict=True) if batch else ([] for _ in schema)
            writer.write_batch(pa.record_batch([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)],
                                               schema=schema))  # fmt: skip

        for row in rows:
            batch.append(row)
            n_bytes += size(row)
            if n_bytes >= BATCH:
                flush()
                batch, n_bytes = [], 0
        if batch:
            flush()
