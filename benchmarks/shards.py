"""How large a shard should be: features of 8 to 512 MB a file, written, and read through a store that answers late.

    python benchmarks/shards.py [N_CLIPS]

Every clip has 5 s: 80 bins of float16, 80 kB. The store is a folder behind a wrapper that sleeps: 30 ms for a request, then 100 MB/s for
each of four at a time, as a bucket gives to one machine. Objects are fetched whole and in order, as `tasks.shards.dataset` does, and read
into ragged batches of 32. Prints for each size the samples/s, the seconds to the first batch, how many objects 18,000 clips (25 h) become,
and how much memory a new process took to write them. The default of 18,000 clips takes 1.5 GB of disk; sizes beyond N_CLIPS are left out.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from tasks.audio.log_mel import n_frames_with_sound
from tasks.shards.format import Features, Shard, write_features

SIZES = (8, 32, 64, 128, 256, 512)  # MB
LATENCY, SPEED, AT_ONCE, BATCH = 0.03, 100e6, 4, 32  # seconds, bytes/s of one request, requests, clips
SECONDS = 5
CLIP = np.random.default_rng(0).normal(size=(80, n_frames_with_sound(SECONDS * 16_000))).astype(np.float16)


def main(n_clips: int = 18_000) -> None:
    """Measure and print."""
    print(f"{n_clips} clips of {SECONDS} s, {n_clips * CLIP.nbytes / 1e6:.0f} MB")
    print("MB a shard  clips a shard  objects per 18,000  samples/s  first batch, s  written at MB/s  peak memory of writing, MB")
    for size in SIZES:
        a_shard = int(size * 1e6 / CLIP.nbytes)
        if a_shard > n_clips:
            break
        folder = Path(tempfile.mkdtemp(prefix="viska-shards-"))
        try:
            # A process each: the highest mark of its memory is then that of this size.
            with ProcessPoolExecutor(1, get_context("spawn")) as process:
                seconds, peak = process.submit(write, folder, n_clips, a_shard).result()
            began = time.perf_counter()
            arrivals = [time.perf_counter() - began for _ in batches(sorted(folder.iterdir()))]
            rates = f"{n_clips / arrivals[-1]:9.0f}  {arrivals[0]:14.2f}  {n_clips * CLIP.nbytes / seconds / 1e6:15.0f}  {peak / 1e6:28.0f}"
            print(f"{size:10d}  {a_shard:13d}  {-(-18_000 // a_shard):18d}  {rates}", flush=True)
        finally:
            shutil.rmtree(folder)


def write(folder: Path, n_clips: int, a_shard: int) -> tuple[float, int]:
    """Write all shards of one size; return the seconds, and the bytes by which this process' memory was ever larger than before."""
    before, began = _highest("VmRSS"), time.perf_counter()
    for first in range(0, n_clips, a_shard):
        rows = (Features(f"{clip:064x}", SECONDS * 16_000, CLIP, -0.5) for clip in range(first, min(first + a_shard, n_clips)))
        write_features(folder / f"{first:09d}.arrow", rows, CLIP.shape[0], "float16")
    return time.perf_counter() - began, _highest("VmHWM") - before


def batches(shards: list[Path]) -> Iterator[np.ndarray]:
    """Yield ragged batches of all clips, shard by shard; the next shards are under way meanwhile."""
    with ThreadPoolExecutor(AT_ONCE) as requests:
        clips = (shard[row].features.ravel() for shard in map(Shard, requests.map(fetch, shards)) for row in range(len(shard)))
        while some := list(islice(clips, BATCH)):
            yield np.concatenate(some)


def fetch(path: Path) -> Path:
    """Return the object's local copy after as long as a store takes; it lies here already, so nothing is copied."""
    time.sleep(LATENCY + path.stat().st_size / SPEED)
    return path


def _highest(what: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
