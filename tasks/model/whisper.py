"""Load a checkpoint to train or to listen with, and save it so that every Whisper tool can load it."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import WhisperForConditionalGeneration, WhisperTokenizer

from tasks.contracts.errors import ModelError
from tasks.contracts.languages import LANGUAGES
from tasks.model.shape import Shape, read_shape
from tasks.model.tokens import for_generate, prefix_ids, token_of

OLDER = "added_tokens.json"  # what says the same as tokenizer.json to older tools


@dataclass(frozen=True)
class Whisper:
    """A model with everything that fits it."""

    model: WhisperForConditionalGeneration
    tokenizer: WhisperTokenizer
    shape: Shape
    language: str  # in whose token labels are written
    prefix: list[int]  # the ids before the words of every label
    borrower: str = ""  # the language that is spoken, if it has no token and borrows that one


def load_whisper(folder: Path, language: str, device: str) -> Whisper:
    """Load a checkpoint in float32, with language and task fixed for decoding.

    float32 whatever the file holds: float16 weights cannot be trained, and a CPU is slow and inexact with them. Only safetensors are
    read, and no code of the checkpoint is run.

    Raises:
        ModelError: if a file or a weight is missing or damaged, or the model does not know the language.
    """
    shape = read_shape(folder)
    model, tokenizer = _load(folder, torch.float32)
    prefix = prefix_ids(tokenizer, language, shape.multilingual)
    _fix_generation(model, language, shape)
    return Whisper(model.to(device), tokenizer, shape, language, prefix)


def save_whisper(whisper: Whisper, source: Path, target: Path) -> None:
    """Write the model to `target` with the tokenizer and preprocessor of `source`, the folder it was loaded from."""
    whisper.model.save_pretrained(target)
    _copy_the_rest(source, target)


def add_language(source: Path, target: Path, language: str) -> None:
    """Write the checkpoint in `source` to `target` with a token for a language that it does not know.

    The token is the last one, so that no other id moves. It begins as the mean of all languages, and is never among the words: behind
    the timestamps it would be taken for one. A checkpoint that has the token keeps it as it is.

    Raises:
        ModelError: if the model is English-only, or cannot be loaded.
    """
    if not read_shape(source).multilingual:
        raise ModelError(f"{source}: the model is English-only and has no token of a language; choose a multilingual base model")
    model, tokenizer = _load(source, "auto")
    token, settings = token_of(language), model.generation_config
    languages = [id for id in map(tokenizer.get_vocab().get, map(token_of, LANGUAGES)) if id is not None]
    if token not in tokenizer.get_vocab():
        tokenizer.add_special_tokens({"additional_special_tokens": [token]}, replace_extra_special_tokens=False)
        id = tokenizer.convert_tokens_to_ids(token)
        model.resize_token_embeddings(max(len(tokenizer), model.config.vocab_size), mean_resizing=False)
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):  # one matrix, where they are tied
            with torch.no_grad():
                layer.weight[id] = layer.weight[languages].float().mean(0)
        settings.lang_to_id = {**(getattr(settings, "lang_to_id", None) or {}), token: id}
        settings.suppress_tokens = [*(settings.suppress_tokens or []), id]
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    _copy_the_rest(source, target)
    if (target / OLDER).exists():
        (target / OLDER).write_text(json.dumps(tokenizer.get_added_vocab(), indent=2, ensure_ascii=False))


def _copy_the_rest(source: Path, target: Path) -> None:
    for path in [*source.glob("*.json"), *source.glob("*.txt")]:
        if not path.name.endswith(".index.json") and not (target / path.name).exists():
            (target / path.name).write_bytes(path.read_bytes())


def _load(folder: Path, dtype: torch.dtype | str) -> tuple[WhisperForConditionalGeneration, WhisperTokenizer]:
    try:
        tokenizer = WhisperTokenizer.from_pretrained(folder)
        model, report = WhisperForConditionalGeneration.from_pretrained(folder, dtype=dtype, use_safetensors=True, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{folder}: cannot be loaded as a Whisper: {error!s:.300}") from error
    if report["missing_keys"]:  # transformers would go on with random ones
        raise ModelError(f"{folder}: {len(report['missing_keys'])} weights are missing, for example {min(report['missing_keys'])}")
    return model, tokenizer


def _fix_generation(model: WhisperForConditionalGeneration, language: str, shape: Shape) -> None:
    """Say language and task in the generation config, and take the older way of saying it out of both configs."""
    settings = model.generation_config
    settings.forced_decoder_ids = None
    if hasattr(model.config, "forced_decoder_ids"):
        model.config.forced_decoder_ids = None
    if shape.multilingual:
        settings.language, settings.task = for_generate(language), "transcribe"
    settings.return_timestamps = False
