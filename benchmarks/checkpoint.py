"""What a checkpoint costs the training: the wait until its copy is made, against the time until it is on the store.

    python benchmarks/checkpoint.py [SIZE] [ROUNDS]

SIZE is one of OpenAI's (tiny, base, small, ...), with random weights, all of them trained, on whatever device this machine has. The store
is a folder for temporary files. The share is that of a training that keeps one checkpoint in `training.checkpoints.minutes`, by default.
"""

import copy
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration

from tasks.contracts.recipe import Checkpoints, Pretrained, Training
from tasks.model.checkpoint import State
from tasks.model.cost import config_of
from tasks.model.fit import device
from tasks.model.keeper import Keeper
from tasks.model.optimise import freeze, make_optimizer, trained
from tasks.store.objects import Store


def main(size: str = "small", rounds: str = "3") -> None:
    """Measure and print."""
    state = _state(size)
    weights, moments = state.tensors()
    n_bytes = sum(each.nbytes for each in (*weights.values(), *moments.values()))
    waits, whole = [], []
    with tempfile.TemporaryDirectory() as folder:
        keep = Keeper(Store(folder), "benchmark", {}, newest=1)
        for number in range(int(rounds) + 1):  # the first one also asks for the memory
            state.progress = copy.deepcopy(state.progress)
            state.progress.step = number + 1
            began = time.monotonic()
            keep(state)
            waits.append(time.monotonic() - began)
            keep.close()
            whole.append(time.monotonic() - began)
    wait, minutes = statistics.median(waits[1:]), Checkpoints().minutes
    print(f"whisper-{size} on {device()}: {n_bytes / 1e9:.2f} GB a checkpoint")
    print(
        f"the training waits {wait:.2f} s ({waits[0]:.2f} s the first time); it is on the store after {statistics.median(whole[1:]):.1f} s"
    )
    print(f"one in {minutes:g} minutes: {wait / (60 * minutes):.2%} of the time")


def _state(size: str) -> State:
    config = config_of(Pretrained(name=f"openai/whisper-{size}"))
    assert config
    says = WhisperConfig(
        vocab_size=config.vocabulary, num_mel_bins=config.n_mels, d_model=config.width, encoder_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers, encoder_attention_heads=config.width // 64, decoder_attention_heads=config.width // 64,
        encoder_ffn_dim=config.encoder_ffn, decoder_ffn_dim=config.decoder_ffn,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(says).to(device())
    freeze(model, Training())
    optimizer = make_optimizer(model, Training())
    for weight in trained(model).values():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    optimizer.zero_grad()
    return State(model, optimizer, torch.amp.GradScaler(device(), enabled=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
