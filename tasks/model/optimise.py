"""How a model is moved by what it got wrong: which weights, by which rate, in which precision."""

import math
from typing import TYPE_CHECKING, Any

import torch

from tasks.contracts.errors import TrainingError

if TYPE_CHECKING:  # pydantic is not needed to train
    from tasks.contracts.recipe import Training

LORA_RATE = 1e-3  # the usual one, for any size: the matrices begin at zero
RATES = {384: 3.75e-5, 512: 2.5e-5, 768: 1.25e-5, 1024: 6.25e-6, 1280: 4.4e-6}  # by width (d_model)
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": None}


def usual_rate(width: int, is_new: bool, lora: bool = False) -> float:
    """Return the highest learning rate that suits a model of this width (d_model).

    For a trained one a fortieth of what OpenAI trained that size with (Radford et al. 2022, table 17); new small ones want a hundred times
    as much.
    """
    if lora:
        return LORA_RATE
    if is_new:
        return 1.2e-3 * math.sqrt(128 / width)
    return next((rate for size, rate in RATES.items() if width <= size), RATES[1280])


def learning_rate(step: int, settings: "Training") -> float:
    """Return the rate of optimiser step number `step`, from 0."""
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / (settings.warmup + 1)
    share = (step - settings.warmup) / max(1, settings.steps - settings.warmup)  # of the way down
    falls = {"linear": 1 - share, "cosine": (1 + math.cos(math.pi * share)) / 2, "constant": 1.0}
    return settings.learning_rate * falls[settings.schedule]


def freeze(model: Any, settings: "Training") -> None:
    """Leave out of the training what the recipe says, and the encoder's positions, which are a formula.

    Raises:
        TrainingError: if the encoder has fewer layers than are to be frozen.
    """
    encoder = model.model.encoder
    encoder.embed_positions.requires_grad_(False)  # loading a checkpoint makes them trainable
    if settings.freeze_encoder:
        encoder.requires_grad_(False)
    if settings.freeze_layers > len(encoder.layers):
        raise TrainingError(f"training.freeze_layers {settings.freeze_layers}: the encoder has {len(encoder.layers)} layers")
    if settings.freeze_layers:
        for module in (encoder.conv1, encoder.conv2, *encoder.layers[: settings.freeze_layers]):
            module.requires_grad_(False)


def trained(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Return the weights that are trained, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def make_optimizer(model: torch.nn.Module, settings: "Training") -> torch.optim.AdamW:
    """Return AdamW as Whisper was trained with, without decay on biases and norms."""
    weights = list(trained(model).values())
    groups = [
        {"params": [weight for weight in weights if weight.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [weight for weight in weights if weight.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98), eps=1e-6, fused=True)


def precision_of(settings: "Training", device: torch.device) -> torch.dtype | None:
    """Return the type of the arithmetic under autocast; None: float32 throughout.

    Raises:
        TrainingError: if this machine is not made for what the recipe says.
    """
    if settings.precision == "auto":
        if device.type != "cuda":
            return None
        return torch.bfloat16 if _has_bf16() else torch.float16  # a T4 would compute bfloat16 without its tensor cores
    if settings.precision == "fp16" and device.type != "cuda":
        raise TrainingError("training.precision fp16: a CPU does not train with it; use auto, bf16 or fp32")
    return DTYPES[settings.precision]


def _has_bf16() -> bool:
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))
