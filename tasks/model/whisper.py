"""Load a checkpoint to train or to listen with, and save it so that every Whisper tool can load it."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import WhisperForConditionalGeneration, WhisperTokenizer

from tasks.contracts.errors import ModelError
from tasks.model.shape import Shape, read_shape
from tasks.model.tokens import prefix_ids


@dataclass(frozen=True)
class Whisper:
    """A model with everything that fits it."""

    model: WhisperForConditionalGeneration
    tokenizer: WhisperTokenizer
    shape: Shape
    language: str
    prefix: list[int]  # the ids before the words of every label


def load_whisper(folder: Path, language: str, device: str) -> Whisper:
    """Load a checkpoint in float32, with language and task fixed for decoding.

    float32 whatever the file holds: float16 weights cannot be trained, and a CPU is slow and inexact with them. Only safetensors are
    read, and no code of the checkpoint is run.

    Raises:
        ModelError: if a file or a weight is missing or damaged, or the model does not know the language.
    """
    shape = read_shape(folder)
    try:
        tokenizer = WhisperTokenizer.from_pretrained(folder)
        model, report = WhisperForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{folder}: cannot be loaded as a Whisper: {error!s:.300}") from error
    if report["missing_keys"]:  # transformers would go on with random ones
        raise ModelError(f"{folder}: {len(report['missing_keys'])} weights are missing, for example {min(report['missing_keys'])}")
    prefix = prefix_ids(tokenizer, language, shape.multilingual)
    _fix_generation(model, language, shape)
    return Whisper(model.to(device), tokenizer, shape, language, prefix)


def save_whisper(whisper: Whisper, source: Path, target: Path) -> None:
    """Write the model to `target` with the tokenizer and preprocessor of `source`, the folder it was loaded from."""
    whisper.model.save_pretrained(target)
    for path in [*source.glob("*.json"), *source.glob("*.txt")]:
        if not path.name.endswith(".index.json") and not (target / path.name).exists():
            (target / path.name).write_bytes(path.read_bytes())


def _fix_generation(model: WhisperForConditionalGeneration, language: str, shape: Shape) -> None:
    """Say language and task in the generation config, and take the older way of saying it out of both configs."""
    settings = model.generation_config
    settings.forced_decoder_ids = None
    if hasattr(model.config, "forced_decoder_ids"):
        model.config.forced_decoder_ids = None
    if shape.multilingual:
        settings.language, settings.task = language, "transcribe"
    settings.return_timestamps = False
