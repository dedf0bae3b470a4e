"""Which weights move, how fast, and in which precision."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.contracts.errors import TrainingError
from tasks.model.optimise import DTYPES, freeze, learning_rate, make_optimizer, precision_of, trained, usual_rate
from tasks.model.whisper import Whisper, load_whisper
from tests.support.tiny import new_folder, settings


@pytest.fixture
def whisper(tmp_path: Path) -> Whisper:
    return load_whisper(new_folder(tmp_path, encoder_layers=3), "sv", "cpu")


@pytest.mark.parametrize(
    "schedule, middle, last", [("linear", 0.5, 1 / 16), ("cosine", 0.5, (1 + np.cos(np.pi * 15 / 16)) / 2), ("constant", 1.0, 1.0)]
)
def test_the_learning_rate_rises_and_falls_as_the_schedule_says(schedule: str, middle: float, last: float) -> None:
    section = settings(steps=20, warmup=4, learning_rate=0.01, schedule=schedule)
    rates = [learning_rate(step, section) for step in range(20)]
    assert rates[:5] == pytest.approx([0.002, 0.004, 0.006, 0.008, 0.01]), "no step is wasted on a rate of nothing"
    assert rates[12] == pytest.approx(0.01 * middle) and rates[19] == pytest.approx(0.01 * last)
    assert rates[4:] == sorted(rates[4:], reverse=True) and min(rates) > 0
    assert learning_rate(0, settings(warmup=0, learning_rate=0.01)) == 0.01


@pytest.mark.parametrize(
    ("changes", "still"),
    [
        ({}, ["embed_positions"]),
        ({"freeze_encoder": True}, [".encoder."]),
        ({"freeze_layers": 2}, ["embed_positions", ".encoder.conv", "encoder.layers.0.", "encoder.layers.1."]),
    ],
)
def test_what_is_frozen_is_not_trained(whisper: Whisper, changes: dict, still: list[str]) -> None:
    freeze(whisper.model, settings(**changes))
    everything = {name for name, _ in whisper.model.named_parameters()}
    frozen = everything - set(trained(whisper.model))
    assert frozen == {name for name in everything if ".encoder." in name and any(part in name for part in still)} and frozen
    optimizer = make_optimizer(whisper.model, settings(**changes))
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(everything - frozen)


def test_more_frozen_layers_than_there_are_is_refused(whisper: Whisper) -> None:
    with pytest.raises(TrainingError, match=r"^training.freeze_layers 4: the encoder has 3 layers$"):
        freeze(whisper.model, settings(freeze_layers=4))


def test_biases_and_norms_do_not_decay(whisper: Whisper) -> None:
    decaying, others = make_optimizer(whisper.model, settings(weight_decay=0.1)).param_groups
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert all(weight.ndim >= 2 for weight in decaying["params"]) and all(weight.ndim == 1 for weight in others["params"])


def test_the_usual_rate_falls_with_the_size_of_a_trained_model() -> None:  # pitfall 26
    rates = [usual_rate(width, is_new=False) for width in (384, 512, 768, 1024, 1280)]
    assert rates == sorted(rates, reverse=True) and rates[2] == 1.25e-5
    assert usual_rate(128, is_new=True) == 1.2e-3 and usual_rate(768, is_new=False, lora=True) == 1e-3


def test_a_cpu_computes_in_float32_unless_told_otherwise() -> None:
    cpu = torch.device("cpu")
    assert precision_of(settings(), cpu) is None and precision_of(settings(precision="fp32"), cpu) is None
    assert precision_of(settings(precision="bf16"), cpu) is torch.bfloat16 and set(DTYPES) == {"bf16", "fp16", "fp32"}
    with pytest.raises(TrainingError, match=r"^training.precision fp16: a CPU does not train with it"):
        precision_of(settings(precision="fp16"), cpu)


@pytest.mark.parametrize(("has_bf16", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_a_gpu_computes_in_what_it_is_fast_at(monkeypatch: pytest.MonkeyPatch, has_bf16: bool, expected: torch.dtype) -> None:  # pitfall 24
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: has_bf16 or including_emulation)
    assert precision_of(settings(), torch.device("cuda")) is expected
