"""A corpus of N clips through the whole `prepare` flow, to see that time and memory stay linear and small when N grows.

    python benchmarks/scale.py [N ...]        default: 10000 100000 1000000

Only what is not asked about is stubbed: a recording is 40 bytes of its own, its sound is not decoded but always the same tenth of a
second, and its features are not computed. All else is real: the corpus in packs, the manifest, splits, gates, plan, shelves, shards, index,
Prefect and its server. Each N runs in its own process, and twice: the second run finds everything.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from tasks.contracts.recipe import Gates, Pretrained, Recipe, Scratch


def main(sizes: list[int]) -> None:
    """Run each size in a process of its own."""
    print(
        f"{'clips':>9} {'parts':>6} {'first s':>8} {'us/clip':>8} {'second s':>9} {'peak MB':>8} {'over start MB':>14} {'store MB':>9}",
        flush=True,
    )
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            for what in ("--model", "--one"):
                subprocess.run([sys.executable, __file__, what, str(size), folder], check=True)


def model(root: str) -> None:
    """Make the model that the clips are prepared for, in a process of its own: it takes memory that preparing does not."""
    from tasks.model.start import new_checkpoint

    Path(f"{root}/model").mkdir()
    new_checkpoint(Path(f"{root}/model"), ["en hund och en katt"], language="sv", seed=0, **Scratch().model_dump(exclude={"kind"}))


def one(size: int, root: str) -> None:
    """Prepare `size` clips in this process and print a line."""
    quiet = {"PREFECT_LOGGING_LEVEL": "ERROR", "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    os.environ |= quiet | {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120", "PREFECT_HOME": f"{root}/prefect"}
    from flows.server import Server

    server = Server()
    server.start()
    os.environ["PREFECT_API_URL"] = server.url
    from flows.prepare import prepare
    from tasks import download, log_mel, resample
    from tasks.audio.decode import encode_flac
    from tasks.corpora import Recording

    def recordings(_corpus: object) -> Iterator[Recording]:
        for number in range(size):
            split = ("dev", "test")[number % 2] if number % 100 < 2 else "train"
            yield Recording(f"clips/common_voice_sv-SE_{number:09d}.mp3", partial(b"recording %030d".__mod__, number),
                            f"mening nummer {number} om en hund och en katt", f"talare-{number % 5000}", split, str(number))  # fmt: skip

    flac = encode_flac(np.zeros(1600, np.int16))
    __import__("logging").getLogger("tasks").setLevel("WARNING")
    measured = {"n_samples": 32_000, "detail": "", **dict.fromkeys(resample.FIGURES, 50), "clipped": 0.0, "silence": 0.0}

    def hear(_decoder: object, data: bytes) -> tuple[bytes, dict[str, object]]:
        return flac, measured | {"sound": data.decode()}

    features = np.zeros((80, 11), np.float16), -1.5
    download.recordings, resample._hear = recordings, hear  # type: ignore[assignment]
    log_mel.features_of = lambda *_: features  # type: ignore[assignment]
    recipe = Recipe(store=f"{root}/store", gates=Gates(max_silence=1.0), model=Pretrained(name=f"{root}/model"))
    server.wait()
    seconds = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(2):
        began = time.monotonic()
        prepare(recipe)
        seconds.append(time.monotonic() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    parts = len(os.listdir(f"{root}/store/audio"))
    n_bytes = sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(f"{root}/store") for name in names)
    print(f"{size:>9,} {parts:>6} {seconds[0]:>8.1f} {seconds[0] / size * 1e6:>8.0f} {seconds[1]:>9.1f} {peak / 1024:>8.0f} "
          f"{(peak - before) / 1024:>14.0f} {n_bytes / 1e6:>9.0f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(int(sys.argv[2]), sys.argv[3])
    elif sys.argv[1:2] == ["--model"]:
        model(sys.argv[3])
    else:
        main([int(size) for size in sys.argv[1:]] or [10_000, 100_000, 1_000_000])
