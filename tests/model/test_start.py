"""A new Whisper is a whole one, made the same each time; an old one is taken without pickles."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from tasks.contracts.errors import ModelError
from tasks.model.shape import Shape, read_shape
from tasks.model.start import checkpoint_files, checkpoint_revision, locate_checkpoint
from tests.support.tiny import TEXTS, new_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_folder(tmp_path_factory.mktemp("tiny"))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_equal_arguments_make_equal_bytes(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert content(new_folder(tmp_path)) == content(folder)
    assert torch.equal(torch.get_rng_state(), state), "nobody else's random numbers are touched"


def test_another_seed_makes_other_weights_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    other = content(new_folder(tmp_path, seed=1))
    assert {name for name, data in content(folder).items() if other[name] != data} == {"model.safetensors"}


def test_a_new_model_has_the_sizes_it_was_asked_for(folder: Path, tmp_path: Path) -> None:
    assert read_shape(folder) == Shape(width=32, n_mels=80, n_frames=100, max_tokens=16, multilingual=True)
    assert read_shape(new_folder(tmp_path, n_mels=128, window=30, max_tokens=448)) == Shape(32, 128, 3_000, 448, True)


def test_every_whisper_tool_can_load_a_new_model(folder: Path) -> None:
    model = WhisperForConditionalGeneration.from_pretrained(folder)
    processor = WhisperProcessor.from_pretrained(folder)
    assert sum(weight.numel() for weight in model.parameters()) == 103_488
    assert processor.feature_extractor.n_samples == 16_000
    features = processor(np.zeros(8_000, np.float32), sampling_rate=16_000, return_tensors="pt").input_features
    ids = model.generate(features, language="sv", task="transcribe", return_dict_in_generate=True).sequences
    assert processor.tokenizer.decode(ids[0, :4]) == "<|startoftranscript|><|sv|><|transcribe|><|notimestamps|>"
    assert processor.tokenizer.decode(processor.tokenizer(TEXTS[0]).input_ids, skip_special_tokens=True) == TEXTS[0]


def test_its_generation_config_says_language_and_task_the_new_way(folder: Path) -> None:  # pitfall 22
    said = json.loads((folder / "generation_config.json").read_text())
    assert (said["language"], said["task"], said["is_multilingual"], said["return_timestamps"]) == ("sv", "transcribe", True, False)
    assert said["max_length"] == 16 and len(said["lang_to_id"]) == 99 and said["pad_token_id"] == said["eos_token_id"]
    for name in ("generation_config.json", "config.json"):
        assert not json.loads((folder / name).read_text()).get("forced_decoder_ids")


def test_a_folder_with_a_pickle_only_is_refused(folder: Path, tmp_path: Path) -> None:
    for name, data in content(folder).items():
        (tmp_path / name.replace("model.safetensors", "pytorch_model.bin")).write_bytes(data)
    with pytest.raises(ModelError, match=r"no weights as safetensors; viska loads no pickles \(\.bin, \.pt\)$"):
        locate_checkpoint(str(tmp_path), "main")


def test_pickles_code_and_the_recipe_beside_the_weights_are_left_behind(folder: Path, tmp_path: Path) -> None:
    for name, data in content(folder).items():
        (tmp_path / name).write_bytes(data)
    for name in ("pytorch_model.bin", "modeling.py", "training_args.bin", "README.md", "recipe.json"):
        (tmp_path / name).write_bytes(b"x")
    assert locate_checkpoint(str(tmp_path), "main") == tmp_path
    assert set(checkpoint_files(tmp_path)) == set(content(folder))


def test_a_folder_without_a_description_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match=r": no config\.json; a checkpoint needs"):
        locate_checkpoint(str(tmp_path), "main")


def test_the_revision_of_a_folder_changes_with_its_files(folder: Path, tmp_path: Path) -> None:
    new_folder(tmp_path)
    before = checkpoint_revision(str(tmp_path), "main")
    assert before == checkpoint_revision(str(tmp_path), "main") and before.startswith("folder-")
    (tmp_path / "config.json").write_text((tmp_path / "config.json").read_text() + " ")
    assert checkpoint_revision(str(tmp_path), "main") != before


def test_a_commit_needs_no_network() -> None:
    commit = "973afd24965f72e36ca33b3055d56a652f456b4d"
    assert checkpoint_revision("openai/whisper-small", commit) == commit


def test_a_name_that_is_neither_a_folder_nor_of_the_hub_is_refused() -> None:
    with pytest.raises(ModelError, match=r"^model 'no such/folder/here' at 'main': neither a folder here nor readable on the Hub"):
        checkpoint_revision("no such/folder/here", "main")
    with pytest.raises(ModelError, match=r"^model 'no such/folder/here' at 'main': cannot be fetched from the Hub"):
        locate_checkpoint("no such/folder/here", "main")


def test_a_new_model_for_a_language_that_whisper_does_not_know_has_its_token(folder: Path, tmp_path: Path) -> None:
    new_folder(tmp_path, language="se")
    said = json.loads((tmp_path / "generation_config.json").read_text())
    assert said["language"] == "<|se|>" and len(said["lang_to_id"]) == 100
    model, processor = WhisperForConditionalGeneration.from_pretrained(tmp_path), WhisperProcessor.from_pretrained(tmp_path)
    features = processor(np.zeros(8_000, np.float32), sampling_rate=16_000, return_tensors="pt").input_features
    for asked in ({}, {"language": "<|se|>"}):
        ids = model.generate(features, return_dict_in_generate=True, **asked).sequences
        assert processor.tokenizer.decode(ids[0, :4]) == "<|startoftranscript|><|se|><|transcribe|><|notimestamps|>"
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in folder.iterdir()}
