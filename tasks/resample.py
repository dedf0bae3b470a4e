"""Resample: any recording to 16 kHz, one channel, FLAC. One decode serves every bin count, the report's players and augmentation."""

import atexit
import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.audio import SAMPLE_RATE
from tasks.audio.isolated import Decoder, Figures
from tasks.contracts.errors import AudioError
from tasks.contracts.values import Part
from tasks.policy import step
from tasks.shards.format import write_sound
from tasks.shards.library import sources_of
from tasks.store.artifacts import Draft

log = logging.getLogger(__name__)
VERSION = 2  # bumped when code changes the bytes; shelves of another version are not looked at
MAX_SECONDS = 60.0  # no window is longer than 30 s; this bounds the memory and the time that one recording can take
# Of each recording: the row of its FLAC (-1: refused, `detail` says why), and what was measured.
MEASURED = [field for field in fields(Figures) if field.name != "seconds"]  # that is n_samples
FIGURES = {field.name: pa.int32() if field.type in (int, "int") else pa.float32() for field in MEASURED}
CLIPS = pa.schema(
    {"recording": pa.string(), "row": pa.int32(), "n_samples": pa.int32(), "sound": pa.string(), "detail": pa.string()} | FIGURES
)
idle: list[Decoder] = []  # started, and used by no thread just now


@step("audio", version=VERSION, task_run_name="resample-{part.name}")
def resample(draft: Draft, part: Part) -> dict[str, Any]:
    """Write the part's recordings at 16 kHz, and a table of all of them with what was measured, or why one cannot be used."""
    rows: list[dict[str, Any]] = []
    n_decoded = 0

    def usable() -> Iterator[tuple[str, bytes]]:
        """Yield the recordings that can be used, and note every one in `rows`."""
        nonlocal n_decoded
        n_used = 0
        with _decoder() as decoder:
            for source in sources_of(part, draft.store):
                flac, clip = (source.data, source.known) if source.known else _hear(decoder, source.data)
                n_decoded += source.known is None
                rows.append(clip | {"recording": source.recording, "row": n_used if flac else -1})
                if flac:
                    n_used += 1
                    yield source.recording, flac

    with draft.staged("audio.arrow") as path:
        write_sound(path, usable())
    with draft.staged("clips.parquet") as path:
        pq.write_table(pa.Table.from_pylist(rows, CLIPS), path)
    n_clips = sum(row["row"] >= 0 for row in rows)
    hours = sum(row["n_samples"] for row in rows) / SAMPLE_RATE / 3600
    log.info("%s: %d clips, %.2f h at 16 kHz; %d unusable", part.name, n_clips, hours, len(rows) - n_clips)
    counts = {"n_clips": n_clips, "n_rejected": len(rows) - n_clips, "n_decoded": n_decoded, "hours": round(hours, 4)}
    return {"version": VERSION, "recordings": part.recordings} | counts


def _hear(decoder: Decoder, data: bytes) -> tuple[bytes, dict[str, Any]]:
    """Return a recording as FLAC, and what was measured; no FLAC and the reason if it cannot be used."""
    try:
        clip = decoder.hear(data)
    except AudioError as refusal:
        return b"", {"n_samples": 0, "detail": str(refusal)}
    sound = hashlib.sha256(clip.flac).hexdigest()[:24]  # equal sound gives equal FLAC, and that is half as long
    return clip.flac, {"n_samples": len(clip.samples), "sound": sound, "detail": ""} | {
        name: getattr(clip.figures, name) for name in FIGURES
    }


@contextmanager
def _decoder() -> Iterator[Decoder]:
    """Lend a decoder: a process that takes half a second to start, so it is kept for the next part."""
    try:
        decoder = idle.pop()
    except IndexError:  # not asked before: another thread may take the last one in between
        decoder = Decoder(MAX_SECONDS)
    try:
        yield decoder
    finally:
        idle.append(decoder)


@atexit.register
def _close() -> None:
    while idle:
        idle.pop().close()
