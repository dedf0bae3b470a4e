"""Log-Mel features: `WhisperFeatureExtractor` against `tasks.audio.log_mel`, on the same clips, in one process, in turn.

    python benchmarks/log_mel.py [N_CLIPS] [ROUNDS]

Prints for each the median clips/s over the rounds, the ratio round by round, the bytes a clip takes, and whether all values are equal.
Clips are noise of 2 to 8 s, 5 s on average; neither side is faster or slower on speech.
"""

import statistics
import sys
import time

import numpy as np
import torch
from transformers import WhisperFeatureExtractor

from tasks.audio.log_mel import log_mel, restore

WINDOW = 480_000  # samples, 30 s


def main(n_clips: int = 60, rounds: int = 5) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    clips = [(random.normal(size=random.integers(32_000, 128_000)) * 0.1).astype(np.float32) for _ in range(n_clips)]
    for n_mels in (80, 128):
        extractor = WhisperFeatureExtractor(feature_size=n_mels)
        seconds: dict[str, list[float]] = {"extractor": [], "viska": []}
        for _ in range(rounds + 1):  # the first round is warm-up
            began = time.perf_counter()
            theirs = [extractor(clip, sampling_rate=16_000, return_tensors="np").input_features[0] for clip in clips]
            between = time.perf_counter()
            ours = [log_mel(clip, n_mels, WINDOW) for clip in clips]
            seconds["extractor"].append(between - began)
            seconds["viska"].append(time.perf_counter() - between)
        ratios = [first / second for first, second in zip(seconds["extractor"][1:], seconds["viska"][1:], strict=True)]
        equal = all((restore(*mine, WINDOW // 160) == whole).all() for mine, whole in zip(ours, theirs, strict=True))
        their_bytes, our_bytes = (sum(each.nbytes for each in side) / n_clips for side in (theirs, [f.astype(np.float16) for f, _ in ours]))
        print(f"{n_mels} bins, one thread, {n_clips} clips, {rounds} rounds:")
        for name, values in seconds.items():
            print(f"  {name:9} {n_clips / statistics.median(values[1:]):7.0f} clips/s")
        print(f"  ratio     {statistics.median(ratios):7.1f} (from {min(ratios):.1f} to {max(ratios):.1f}); equal to the bit: {equal}")
        smaller = their_bytes / our_bytes
        print(f"  bytes     {their_bytes / 1000:7.0f} kB padded float32, {our_bytes / 1000:.0f} kB stored float16: {smaller:.1f} to 1")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
