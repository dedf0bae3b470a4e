"""The three containers, all Arrow IPC files without compression: recordings as they came, 16 kHz FLAC, log-Mel features.

Writer and reader are mirror images; FORMAT.md describes the bytes. Uncompressed Arrow is read in place from a memory map, by pyarrow,
polars, DuckDB and `datasets`; a version this code does not know is refused.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.contracts.errors import StoreError

VERSION = "1"
DTYPES: dict[str, np.dtype[Any]] = {"float16": np.dtype("<f2"), "float32": np.dtype("<f4")}
SOUND = pa.schema([("id", pa.string()), ("audio", pa.large_binary())], {"viska.format": "sound", "viska.version": VERSION})
FEATURES = [("id", pa.string()), ("text", pa.string()), ("n_samples", pa.int32()), ("n_frames", pa.int32()), ("fill", pa.float32()),
            ("features", pa.large_binary())]  # fmt: skip


@dataclass(frozen=True)
class Example:
    """One clip, ready to train on."""

    id: str
    text: str
    n_samples: int  # at 16 kHz
    features: np.ndarray  # [n_mels, n_frames], float16 or float32
    fill: float  # the value of every frame behind the sound


def encode_sound(rows: Iterable[tuple[str, bytes]]) -> bytes:
    """Return an Arrow file of (id, bytes of a recording), in order."""
    rows = list(rows)
    return _file(SOUND, [pa.array([id for id, _ in rows], pa.string()), pa.array([audio for _, audio in rows], pa.large_binary())])


class Sound:
    """Recordings of one Arrow file, by row, read in place."""

    def __init__(self, path: Path) -> None:
        self.table, _ = _open(path, "sound")

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, row: int) -> tuple[str, bytes]:
        return self.table["id"][row].as_py(), self.table["audio"][row].as_py()


def encode_features(examples: Iterable[Example], n_mels: int, dtype: str) -> bytes:
    """Return an Arrow file of examples in one record batch, features in C order and little-endian."""
    examples = list(examples)
    facts = {"viska.format": "features", "viska.version": VERSION, "viska.n_mels": str(n_mels), "viska.dtype": dtype}
    columns = [
        pa.array([each.id for each in examples], pa.string()),
        pa.array([each.text for each in examples], pa.string()),
        pa.array([each.n_samples for each in examples], pa.int32()),
        pa.array([each.features.shape[1] for each in examples], pa.int32()),
        pa.array([each.fill for each in examples], pa.float32()),
        pa.array([np.ascontiguousarray(each.features, DTYPES[dtype]).tobytes() for each in examples], pa.large_binary()),
    ]
    return _file(pa.schema(FEATURES, facts), columns)


class Shard:
    """Examples of one features file, by row, read in place: `features` is a view of the memory map."""

    def __init__(self, path: Path) -> None:
        table, self._base = _open(path, "features")
        self.n_mels = int(table.schema.metadata[b"viska.n_mels"])
        self.dtype = DTYPES[table.schema.metadata[b"viska.dtype"].decode()]
        self.ids: list[str] = table["id"].to_pylist()
        self.texts: list[str] = table["text"].to_pylist()
        self.n_samples: list[int] = table["n_samples"].to_pylist()
        self.n_frames: list[int] = table["n_frames"].to_pylist()
        self.fills: list[float] = table["fill"].to_pylist()
        _, ends, self._features = table["features"].chunk(0).buffers()  # of these, not of its scalars: those are copies
        self._ends = np.frombuffer(ends or b"", "<i8")  # [n_clips + 1], in bytes

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> Example:
        start, end = self._ends[row : row + 2].tolist()
        view = np.frombuffer(self._features.slice(start, end - start), self.dtype).reshape(self.n_mels, self.n_frames[row])
        return Example(self.ids[row], self.texts[row], self.n_samples[row], view, self.fills[row])

    def offset(self, row: int) -> int:
        """Return where the row's features begin in the file, in bytes: NumPy alone can read them from there."""
        return int(self._features.address + self._ends[row] - self._base)


def _file(schema: pa.Schema, columns: list[pa.Array]) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch(columns, schema=schema))
    return bytes(sink.getvalue())


def _open(path: Path, expected: str) -> tuple[pa.Table, int]:
    """Return the table in the file, and the address at which the file begins in memory."""
    file = pa.memory_map(str(path))
    table = pa.ipc.open_file(file).read_all()
    metadata = table.schema.metadata or {}
    got = metadata.get(b"viska.format", b"").decode(), metadata.get(b"viska.version", b"").decode()
    if got != (expected, VERSION):
        raise StoreError(f"{path.name}: format {got[0]!r} version {got[1]!r}, expected {expected!r} version {VERSION!r}; see FORMAT.md")
    file.seek(0)
    return table, file.read_buffer().address
