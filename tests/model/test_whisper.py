"""What is loaded is whole, in float32, and says its language; what is saved can be loaded by everybody."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from tasks.contracts.errors import ModelError
from tasks.model.whisper import load_whisper, save_whisper
from tests.support.tiny import new_folder, same_weights, weights


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return new_folder(tmp_path / "tiny")


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def test_half_precision_weights_are_loaded_as_float32(folder: Path) -> None:  # pitfall 24
    rewrite(folder, lambda stored: {name: weight.half() for name, weight in stored.items()})
    whisper = load_whisper(folder, "sv", "cpu")
    assert {weight.dtype for weight in whisper.model.parameters()} == {torch.float32}
    assert all(parameter.requires_grad for name, parameter in whisper.model.named_parameters() if "embed_positions" not in name)


def test_missing_weights_are_refused_and_not_made_up(folder: Path) -> None:
    rewrite(folder, lambda stored: {name: weight for name, weight in stored.items() if "decoder.layers.0.fc" not in name})
    with pytest.raises(ModelError, match=r": 4 weights are missing, for example model\.decoder\.layers\.0\.fc1\.bias$"):
        load_whisper(folder, "sv", "cpu")


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    rewrite(folder, lambda stored: stored | {"model.encoder.conv1.weight": torch.zeros(16, 80, 3)})
    with pytest.raises(ModelError, match="cannot be loaded as a Whisper"):
        load_whisper(folder, "sv", "cpu")


def test_cut_off_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:100_000])
    with pytest.raises(ModelError, match="cannot be loaded as a Whisper"):
        load_whisper(folder, "sv", "cpu")


def test_a_pickle_is_not_loaded(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot be loaded as a Whisper"):
        load_whisper(folder, "sv", "cpu")


def test_the_older_way_of_forcing_a_language_is_taken_out(real_data: Path, tmp_path: Path) -> None:  # pitfall 22
    source = real_data / "whisper-digits-from-scratch"
    assert json.loads((source / "generation_config.json").read_text())["forced_decoder_ids"]
    whisper = load_whisper(source, "en", "cpu")
    save_whisper(whisper, source, tmp_path)
    said = json.loads((tmp_path / "generation_config.json").read_text())
    assert (said["language"], said["task"], said["return_timestamps"]) == ("en", "transcribe", False)
    for name in ("generation_config.json", "config.json"):
        assert not json.loads((tmp_path / name).read_text()).get("forced_decoder_ids")
    assert {path.name for path in source.iterdir()} - {"SOURCE.md"} == {path.name for path in tmp_path.iterdir()}


def test_a_saved_model_is_the_same_model_for_every_tool(folder: Path, tmp_path: Path) -> None:  # pitfall 43
    whisper = load_whisper(folder, "sv", "cpu")
    with torch.no_grad():
        whisper.model.model.decoder.layer_norm.weight.add_(1.0)
    save_whisper(whisper, folder, tmp_path / "saved")
    assert same_weights(weights(whisper), WhisperForConditionalGeneration.from_pretrained(tmp_path / "saved").state_dict())
    assert same_weights(weights(whisper), weights(load_whisper(tmp_path / "saved", "sv", "cpu")))
    assert WhisperProcessor.from_pretrained(tmp_path / "saved").feature_extractor.n_samples == 16_000
    assert (tmp_path / "saved" / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()


def test_a_language_the_model_does_not_know_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"no token <\|yue\|>"):
        load_whisper(folder, "yue", "cpu")
