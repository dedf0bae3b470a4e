"""The file for whisper.cpp says what whisper.cpp would take for granted, and a model that it would mistake for another is refused.

About six seconds, four of which train a model.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import WhisperTokenizer

from tasks.contracts.errors import ModelError
from tasks.contracts.languages import LANGUAGES
from tasks.exports.formats import open_listener, write
from tasks.exports.ggml import SIZES, expected_prefix, pieces
from tasks.model.start import new_checkpoint
from tasks.model.tokens import prefix_ids
from tasks.model.whisper import add_language, load_whisper
from tests.support.spoken import N_PIECES, rare_words
from tests.support.tiny import new_folder


@pytest.mark.parametrize(("changes", "reason"), [
    ({"window": 3}, "a window of 3 s; it has 30 s"),
    ({"window": 30}, r"a vocabulary of 1,9\d\d entries; it knows Whisper's, of 51,864, 51,865, 51,866"),
])  # fmt: skip
def test_a_model_that_whisper_cpp_would_mistake_for_another_is_refused(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "model", **changes)
    with pytest.raises(ModelError, match=f"whisper.cpp cannot run this model as f16: {reason}.*leave its formats out"):
        write("ggml-f16", folder, tmp_path, "sv")
    assert not list((tmp_path / "ggml").iterdir()), "before anything is written"


@pytest.fixture(scope="module")
def like_whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with Whisper's vocabulary and window that nobody has taught, of a width that does not divide by 32."""
    folder = tmp_path_factory.mktemp("like-whisper")
    new_checkpoint(folder, rare_words(), language="sv", width=40, encoder_layers=1, decoder_layers=1, heads=2, n_mels=80, window=30,
                   vocabulary=N_PIECES, max_tokens=48, dropout=0.0, seed=0)  # fmt: skip
    return folder


def test_a_width_that_cannot_be_quantised_is_refused_and_float16_is_not(like_whisper: Path, tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="the optional package gguf is not installed")
    with pytest.raises(ModelError, match="as q5_0: a width of 40; q5_0 needs a multiple of 32"):
        write("ggml-q5_0", like_whisper, tmp_path, "sv")
    write("ggml-f16", like_whisper, tmp_path, "sv")


def test_a_language_that_was_added_is_refused(like_whisper: Path, tmp_path: Path) -> None:
    add_language(like_whisper, tmp_path / "more", "rm")  # the entry with which large-v3 has Cantonese
    with pytest.raises(ModelError, match=r"the prefix .* of 'rm'; with 51,866 entries it expects"):
        write("ggml-f16", tmp_path / "more", tmp_path, "rm")


def test_an_output_layer_of_its_own_is_refused(like_whisper: Path, tmp_path: Path) -> None:
    whisper = load_whisper(like_whisper, "sv", "cpu")
    whisper.model.proj_out.weight = torch.nn.Parameter(whisper.model.proj_out.weight.detach() + 1)
    whisper.model.config.tie_word_embeddings = False
    folder = tmp_path / "model"
    whisper.model.save_pretrained(folder)
    for path in like_whisper.glob("*.json"):
        if not (folder / path.name).exists():
            (folder / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ModelError, match="an output layer of its own"):
        write("ggml-f16", folder, tmp_path, "sv")


def test_the_file_is_laid_out_as_whisper_cpp_reads_it(like_whisper: Path, tmp_path: Path) -> None:
    write("ggml-f16", like_whisper, tmp_path, "sv")
    data = (tmp_path / "ggml" / "ggml-model-f16.bin").read_bytes()
    assert data[:4] == b"lmgg", "the magic number, little-endian"
    assert struct.unpack_from("<11i", data, 4) == (51_865, 1500, 40, 2, 1, 48, 40, 2, 1, 80, 1)
    assert struct.unpack_from("<2i", data, 48) == (80, 201)
    filters = np.frombuffer(data, "<f4", 80 * 201, 56).reshape(80, 201)
    assert np.all(filters >= 0) and np.all(filters.sum(1) > 0) and filters[0].argmax() < filters[-1].argmax()
    at = 56 + filters.nbytes
    assert struct.unpack_from("<i", data, at) == (N_PIECES,)
    tensors = walk(data, at + 4)
    whisper = load_whisper(like_whisper, "sv", "cpu")
    assert len(tensors) == len(whisper.model.model.state_dict()), "every weight is there once, and the file ends with the last one"
    assert tensors["encoder.conv1.weight"] == (1, [3, 80, 40]) and tensors["encoder.conv1.bias"] == (0, [1, 40])
    assert tensors["decoder.token_embedding.weight"] == (1, [40, 51_865])
    assert tensors["decoder.positional_embedding"] == (0, [40, 48])
    assert tensors["decoder.blocks.0.cross_attn.key.weight"] == (1, [40, 40])
    assert tensors["decoder.blocks.0.mlp_ln.bias"] == (0, [40])


def walk(data: bytes, at: int) -> dict[str, tuple[int, list[int]]]:
    """Return type and shape of each tensor of a file of float16, by name, from the vocabulary on."""
    for _ in range(N_PIECES):
        at += 4 + struct.unpack_from("<i", data, at)[0]
    tensors: dict[str, tuple[int, list[int]]] = {}
    while at < len(data):
        n_dims, n_letters, kind = struct.unpack_from("<3i", data, at)
        shape = list(struct.unpack_from(f"<{n_dims}i", data, at + 12))
        at += 12 + 4 * n_dims
        tensors[data[at : at + n_letters].decode()] = kind, shape
        at += n_letters + int(np.prod(shape)) * (2 if kind else 4)
    assert at == len(data)
    return tensors


def test_languages_stand_where_whisper_cpp_looks_for_them() -> None:
    package = pytest.importorskip("pywhispercpp.model", reason="the optional package pywhispercpp is not installed")
    assert package.Model.available_languages() == list(LANGUAGES)


def test_a_real_tokenizer_has_the_prefixes_and_pieces_that_whisper_cpp_expects(real_data: Path) -> None:
    tokenizer = WhisperTokenizer.from_pretrained(real_data / "whisper-tiny-no-weights")
    for language in list(LANGUAGES)[:99]:
        assert prefix_ids(tokenizer, language, True) == expected_prefix(51_865, language)
    assert expected_prefix(51_865, "yue") == [] and expected_prefix(51_866, "yue") == [50_258, 50_358, 50_360, 50_364]
    assert expected_prefix(51_864, "en") == [50_257, 50_362] and set(SIZES) == {51_864, 51_865, 51_866}
    entries = pieces(tokenizer)
    assert len(entries) == N_PIECES and entries[50_256] == b""
    assert b"".join(entries[id] for id in tokenizer.encode(" Hälsö, 日本!", add_special_tokens=False)).decode() == " Hälsö, 日本!"


def test_a_file_that_was_cut_off_is_refused(whole: Path, tmp_path: Path) -> None:
    pytest.importorskip("pywhispercpp", reason="the optional package pywhispercpp is not installed")
    write("ggml-f16", whole, tmp_path, "sv")
    path = tmp_path / "ggml" / "ggml-model-f16.bin"
    path.write_bytes(path.read_bytes()[:-1_000_000])
    with pytest.raises(ModelError, match=r"whisper.cpp cannot open it: .*not all tensors loaded"):
        open_listener("ggml-f16", tmp_path, load_whisper(whole, "sv", "cpu"))
