"""The estimates of `viska plan` against the real training loop, on this CPU: seconds a step and a look, said and measured.

    python benchmarks/cost.py [ROUNDS]

Two models with random weights: the demo's (3 s window), and one with the layers and the 30 s window of whisper-tiny. A model that is not
trained runs into the longest label, so a look is estimated with that. The quickest of all steps and looks counts: on a shared machine two
threads that wait for each other take ten times as long. First what the device's row is made of: matrix products, reading.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import transformers

from tasks.contracts.recipe import Scratch, Training
from tasks.model import loop
from tasks.model.cost import DEVICES, config_of, flops, look_seconds
from tasks.model.start import new_checkpoint
from tasks.model.tokens import label_ids
from tasks.model.whisper import load_whisper
from tasks.shards.format import Example

TEXTS = ["pojken köper sju röda båtar", "min syster målar två små hästar", "bonden säljer tre gröna äpplen hemma"]
SIZES = {
    "demo": (Scratch(), 16, 48),
    "whisper-tiny": (Scratch(width=384, encoder_layers=4, decoder_layers=4, heads=6, window=30, max_tokens=48), 4, 8),
}


def main(rounds: int = 3) -> None:
    """Measure and print."""
    transformers.utils.logging.disable_progress_bar()
    products, reading = _device()
    print(f"{torch.get_num_threads()} threads: {products / 1e9:.0f} GFLOP/s in products of 1024 x 1024, reads {reading / 1e9:.0f} GB/s")
    for name, (model, batch, n_dev) in SIZES.items():
        steps, looks = zip(*(_run(model, batch, n_dev) for _ in range(rounds)), strict=True)
        config, device = config_of(model), DEVICES["cpu"]
        assert config
        n_tokens = _n_tokens(model)
        n_flops = batch * flops(config, n_tokens).trained(False)
        rate = device.fp32 * device.fp32_share
        look = look_seconds(config, device, n_dev, n_tokens, batch, autocast=False)
        print(f"{name}: {n_flops / 1e9:.0f} GFLOP a step of {batch} clips, {rounds} rounds")
        for what, said, took in (("step", n_flops / rate, steps), ("look", look, looks)):
            print(f"  {what}: said {said:.3f} s; took {min(took):.3f} s at best, {statistics.median(took):.3f} s in the median")
        best = n_flops / min(steps)
        print(f"  {best / 1e9:.0f} GFLOP/s in training, {best / products:.0%} of the products")


def _device() -> tuple[float, float]:
    square, much = torch.randn(1024, 1024), torch.randn(64 * 2**20)
    products = min(_seconds(lambda: square @ square) for _ in range(20))
    return 2 * 1024**3 / products, much.nbytes / min(_seconds(much.sum) for _ in range(5))


def _seconds(call: object) -> float:
    began = time.perf_counter()
    call()  # type: ignore[operator]
    return time.perf_counter() - began


def _folder(model: Scratch, folder: str) -> Path:
    sizes = model.model_dump(exclude={"kind"})
    new_checkpoint(Path(folder), TEXTS * 10, language="sv", seed=0, **sizes)
    return Path(folder)


def _n_tokens(model: Scratch) -> int:
    """Inputs of the decoder in a batch: the longest label without its end."""
    with tempfile.TemporaryDirectory() as folder:
        whisper = load_whisper(_folder(model, folder), "sv", "cpu")
        return max(len(label_ids(whisper.tokenizer, whisper.prefix, text)) for text in TEXTS) - 1


def _run(model: Scratch, batch: int, n_dev: int, n_steps: int = 12) -> tuple[float, float]:
    """Return seconds a step and a look."""
    random, n_frames = np.random.default_rng(0), min(250, model.window * 100)
    clips = [Example(str(number), TEXTS[number % 3], n_frames * 160, random.normal(size=(80, n_frames)).astype(np.float16), -1.0)
             for number in range(64)]  # fmt: skip
    steps: list[float] = []
    looks: list[float] = []

    def watch(moment: loop.Moment) -> None:
        if moment.look:
            looks.append(moment.seconds - max(steps, default=0.0))
        else:
            steps.append(moment.seconds)

    with tempfile.TemporaryDirectory() as folder:
        settings = Training(steps=n_steps, batch=batch, warmup=1, evaluate_every=n_steps, learning_rate=1e-6)
        whisper = load_whisper(_folder(model, folder), "sv", "cpu")
        loop.train(whisper, clips, clips[:n_dev], settings, lambda *_: 1.0, lambda *_: True, lambda _: None, watch)
    return float(np.diff(steps)[1:].min()), looks[-1]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
