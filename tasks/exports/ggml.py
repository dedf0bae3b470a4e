"""One file for whisper.cpp: sizes, Mel filters, vocabulary, weights, in that order, all little-endian.

It has no specification. The layout is that of whisper.cpp 1.8 (https://github.com/ggml-org/whisper.cpp): `whisper_model_load` in
src/whisper.cpp reads it, models/convert-h5-to-ggml.py writes it in float16, examples/quantize tells which tensors are quantised.

whisper.cpp takes much for granted that a checkpoint says: `refuse` compares that.
"""

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from transformers import WhisperFeatureExtractor, WhisperTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

from tasks.contracts.errors import ModelError
from tasks.contracts.languages import LANGUAGES
from tasks.exports.packages import load
from tasks.model.whisper import Whisper, load_whisper

Precision = Literal["f16", "q8_0", "q5_0"]
MAGIC = 0x67676D6C  # "ggml"
N_FRAMES = 3000  # of its window, 30 s
FIRST = 50_257  # `<|endoftext|>` of a multilingual model; one less in an English-only one
SIZES = {51_864: 0, 51_865: 99, 51_866: 100}  # entries of the vocabulary, and the languages among them: Whisper's, up to v1, v2 and v3
FLOAT32, FLOAT16 = 0, 1  # enum ggml_type
TYPES: dict[Precision, int] = {"f16": FLOAT16, "q8_0": 8, "q5_0": 6}  # enum ggml_type, of most weights
FILES: dict[Precision, int] = {"f16": 1, "q8_0": 2007, "q5_0": 2008}  # enum ggml_ftype, and 1000 times the version of quantisation
BLOCK = 32  # weights in a row that share a scale
NEVER = ("encoder.positional_embedding", "decoder.positional_embedding")  # matrices that stay float32
NAMES = [  # ours, and those of OpenAI, that whisper.cpp has kept
    (r"layers\.", "blocks."), (r"encoder_attn_layer_norm", "cross_attn_ln"), (r"self_attn_layer_norm", "attn_ln"),
    (r"encoder_attn\.", "cross_attn."), (r"self_attn\.", "attn."), (r"q_proj", "query"), (r"k_proj", "key"), (r"v_proj", "value"),
    (r"out_proj", "out"), (r"fc1", "mlp.0"), (r"fc2", "mlp.2"), (r"final_layer_norm", "mlp_ln"),
    (r"^encoder\.layer_norm", "encoder.ln_post"), (r"^decoder\.layer_norm", "decoder.ln"),
    (r"embed_positions\.weight", "positional_embedding"), (r"embed_tokens", "token_embedding"),
]  # fmt: skip


def write_ggml(folder: Path, target: Path, language: str, precision: Precision) -> None:
    """Write the checkpoint in `folder` as `ggml-model-<precision>.bin` into `target`.

    Raises:
        ModelError: if whisper.cpp would take the model for something else, or a package is not installed.
    """
    quants = load("gguf", "gguf") if precision != "f16" else None
    whisper = load_whisper(folder, language, "cpu")
    refuse(whisper, precision)
    with (target / file_name(precision)).open("wb") as file:
        _write_sizes(file, whisper, precision)
        _write_filters(file, WhisperFeatureExtractor.from_pretrained(folder).mel_filters.T)
        _write_pieces(file, pieces(whisper.tokenizer))
        for name, weight in _weights(whisper):
            _write_weight(file, name, weight, precision, quants)


def file_name(precision: Precision) -> str:
    """Return what the file is called."""
    return f"ggml-model-{precision}.bin"


def refuse(whisper: Whisper, precision: Precision) -> None:
    """Raise a ModelError if whisper.cpp would take the model for something else than it is."""
    config, shape = whisper.model.config, whisper.shape
    reason = ""
    if shape.n_frames != N_FRAMES:
        reason = f"a window of {shape.n_frames / 100:g} s; it has 30 s in every model"
    elif config.vocab_size not in SIZES:
        reason = f"a vocabulary of {config.vocab_size:,} entries; it knows Whisper's, of {', '.join(f'{each:,}' for each in SIZES)}"
    elif whisper.prefix != expected_prefix(config.vocab_size, whisper.language):
        reason = (
            f"the prefix {whisper.prefix} of {whisper.language!r}; with {config.vocab_size:,} entries it expects "
            f"{expected_prefix(config.vocab_size, whisper.language)}"
        )
    elif whisper.model.proj_out.weight is not whisper.model.model.decoder.embed_tokens.weight:
        reason = "an output layer of its own; it uses the token embedding"
    elif precision != "f16" and shape.width % BLOCK:
        reason = f"a width of {shape.width}; {precision} needs a multiple of {BLOCK}"
    if reason:
        raise ModelError(f"whisper.cpp cannot run this model as {precision}: {reason}; leave its formats out")


def expected_prefix(n_vocabulary: int, language: str) -> list[int]:
    """Return the ids before the words as whisper.cpp counts them; none of an unknown language is ever equal to a model's."""
    n_languages = SIZES[n_vocabulary]
    if not n_languages:
        return [FIRST, FIRST + 105]  # start, no timestamps
    start, codes = FIRST + 1, list(LANGUAGES)[:n_languages]
    if language not in codes:
        return []
    return [start, start + 1 + codes.index(language), start + n_languages + 2, start + n_languages + 6]


def pieces(tokenizer: WhisperTokenizer) -> list[bytes]:
    """Return the bytes of each entry before `<|endoftext|>`, by id; whisper.cpp names the others itself."""
    vocabulary: dict[str, int] = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["vocab"]
    byte_of = {letter: byte for byte, letter in bytes_to_unicode().items()}
    ids = {id: piece for piece, id in vocabulary.items() if id < tokenizer.eos_token_id}
    return [bytes(byte_of[letter] for letter in ids[id]) for id in range(tokenizer.eos_token_id)]


def _write_sizes(file: BinaryIO, whisper: Whisper, precision: Precision) -> None:
    config = whisper.model.config
    file.write(struct.pack("<I", MAGIC))
    encoder = (config.max_source_positions, config.d_model, config.encoder_attention_heads, config.encoder_layers)
    decoder = (config.max_target_positions, config.d_model, config.decoder_attention_heads, config.decoder_layers)
    file.write(struct.pack("<11i", config.vocab_size, *encoder, *decoder, config.num_mel_bins, FILES[precision]))


def _write_filters(file: BinaryIO, filters: np.ndarray) -> None:
    """Write [n_mels, n_fft // 2 + 1]."""
    file.write(struct.pack("<2i", *filters.shape))
    file.write(np.ascontiguousarray(filters, "<f4").tobytes())


def _write_pieces(file: BinaryIO, pieces: list[bytes]) -> None:
    file.write(struct.pack("<i", len(pieces)))
    for piece in pieces:
        file.write(struct.pack("<i", len(piece)) + piece)


def _weights(whisper: Whisper) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each weight's name in whisper.cpp, and its values in float32."""
    for name, weight in whisper.model.model.state_dict().items():
        for ours, theirs in NAMES:
            name = re.sub(ours, theirs, name)
        values = weight.float().numpy()
        yield name, values[:, None] if re.fullmatch(r"encoder\.conv\d\.bias", name) else values


def _write_weight(file: BinaryIO, name: str, values: np.ndarray, precision: Precision, quants: Any) -> None:
    """Write one weight: vectors and what NEVER names in float32, convolutions in float16, other matrices as told."""
    kind = FLOAT32 if values.ndim == 1 or values.shape[-1] == 1 or name in NEVER else FLOAT16 if values.ndim == 3 else TYPES[precision]
    file.write(struct.pack("<3i", values.ndim, len(name), kind))
    file.write(struct.pack(f"<{values.ndim}i", *values.shape[::-1]) + name.encode())
    if kind in (FLOAT32, FLOAT16):
        file.write(np.ascontiguousarray(values, "<f4" if kind == FLOAT32 else "<f2").tobytes())
    else:
        file.write(quants.quantize(np.ascontiguousarray(values), quants.GGMLQuantizationType(kind)).tobytes())
