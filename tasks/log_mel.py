"""Log-Mel: 16 kHz sound to features, exactly as Whisper's own extractor makes them, stored without the padding. One shelf, one shard."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from tasks.audio.decode import decode_flac
from tasks.audio.log_mel import log_mel as features_of
from tasks.contracts.values import Artifact, Part
from tasks.policy import step
from tasks.shards.format import Features, Shard, Sound, write_features
from tasks.store.artifacts import Draft, fetch_file

log = logging.getLogger(__name__)
VERSION = 2  # bumped when code changes the bytes
THREADS = torch.get_num_threads()
CLIPS = pa.schema(
    [("recording", pa.string()), ("row", pa.int32()), ("n_frames", pa.int32()), ("fill", pa.float32()), ("offset", pa.int64())]
)


@step("features", version=VERSION, neutral=("part",), task_run_name="log-mel-{part.name}")
def log_mel(draft: Draft, part: Part, audio: Artifact, n_mels: int, window: int, dtype: str) -> dict[str, Any]:
    """Write the shard of a shelf, and a table of what is in it. Sound longer than the window is left out."""
    sound = Sound(fetch_file(draft.store, audio.file("audio.arrow")))

    def features() -> Iterator[Features]:
        for recording, flac in sound:
            samples = decode_flac(flac)
            if len(samples) <= window:
                yield Features(recording, len(samples), *features_of(samples, n_mels, window))

    with draft.staged("shard.arrow") as path:
        with _one_thread():
            write_features(path, features(), n_mels, dtype)
        shard = Shard(path)
        offsets = [shard.offset(row) for row in range(len(shard))]
        table = pa.table([shard.recordings, range(len(shard)), shard.n_frames, shard.fills, offsets], CLIPS)
    with draft.staged("clips.parquet") as path:
        pq.write_table(table, path)
    n_bytes = draft.files["shard.arrow"].n_bytes
    log.info("%s: %d clips, %.1f MB of log-Mel; %d over the window", part.name, len(shard), n_bytes / 1e6, len(sound) - len(shard))
    settings = {"version": VERSION, "n_mels": n_mels, "window": window, "dtype": dtype}
    return settings | {"audio": audio.key, "n_clips": len(shard), "n_bytes": n_bytes}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to the thread that calls it: shards are made side by side, and its own threads would fight over the cores."""
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(THREADS)  # of threads that begin later, the training's too
