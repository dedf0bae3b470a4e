"""What is loaded is whole, in float32, and says its language; what is saved can be loaded by everybody."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig, WhisperForConditionalGeneration, WhisperProcessor, WhisperTokenizer, pipeline

from tasks.contracts.errors import ModelError
from tasks.model.generate import hear
from tasks.model.transcribe import open_model
from tasks.model.whisper import add_language, load_whisper, save_whisper
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


@pytest.fixture
def sami(folder: Path, tmp_path: Path) -> Path:
    """The tiny model with a token for Northern Sami, which no Whisper knows."""
    add_language(folder, tmp_path / "sami", "se")
    return tmp_path / "sami"


def test_a_language_that_whisper_does_not_know_gets_the_last_token(folder: Path, sami: Path) -> None:
    before, after = (WhisperTokenizer.from_pretrained(each).get_vocab() for each in (folder, sami))
    assert after == before | {"<|se|>": len(before)}
    assert load_whisper(sami, "se", "cpu").prefix == [
        after[f"<|{name}|>"] for name in ("startoftranscript", "se", "transcribe", "notimestamps")
    ]
    assert load_whisper(sami, "sv", "cpu").prefix == load_whisper(folder, "sv", "cpu").prefix
    assert {path.name for path in sami.iterdir()} == {path.name for path in folder.iterdir()}


def test_its_row_begins_as_the_mean_of_all_languages_and_nothing_else_changes(folder: Path, sami: Path) -> None:
    before, after = (load_file(each / "model.safetensors") for each in (folder, sami))
    table = "model.decoder.embed_tokens.weight"
    ids = list(GenerationConfig.from_pretrained(folder).lang_to_id.values())
    assert len(ids) == 99
    assert torch.allclose(after[table][-1], before[table][ids].mean(0), atol=1e-7) and torch.equal(after[table][:-1], before[table])
    assert same_weights(
        {name: each for name, each in before.items() if name != table}, {name: each for name, each in after.items() if name != table}
    )
    assert json.loads((sami / "config.json").read_text())["vocab_size"] == len(before[table]) + 1
    whisper = load_whisper(sami, "se", "cpu")
    assert whisper.model.proj_out.weight is whisper.model.model.decoder.embed_tokens.weight


def test_every_tool_hears_the_language_of_a_saved_model(sami: Path, tmp_path: Path) -> None:
    save_whisper(load_whisper(sami, "se", "cpu"), sami, tmp_path / "saved")
    processor = WhisperProcessor.from_pretrained(tmp_path / "saved")
    model = WhisperForConditionalGeneration.from_pretrained(tmp_path / "saved")
    features = processor(np.zeros(8_000, np.float32), sampling_rate=16_000, return_tensors="pt").input_features
    ours = open_model(str(tmp_path / "saved"))
    assert ours.language == "se" and ours.model.generation_config.language == "<|se|>"
    for asked in ({}, {"language": "<|se|>", "task": "transcribe"}):
        ids = model.generate(features, return_dict_in_generate=True, **asked).sequences[0].tolist()
        assert ids[:4] == ours.prefix
        assert processor.tokenizer.decode(ids, skip_special_tokens=True).strip() == hear(ours, features)[0].text
    assert model.generate(features, language="sv", return_dict_in_generate=True).sequences[0, 1] != ours.prefix[1]
    listen = pipeline("automatic-speech-recognition", model=str(tmp_path / "saved"))
    assert isinstance(listen(np.zeros(8_000, np.float32))["text"], str), "it accepts the language of the generation config"


def test_a_token_behind_the_timestamps_is_never_among_the_words(sami: Path) -> None:
    whisper = load_whisper(sami, "se", "cpu")
    own = whisper.prefix[1]
    assert own > whisper.tokenizer.convert_tokens_to_ids("<|30.00|>") and whisper.model.generation_config.suppress_tokens == [own]
    with torch.no_grad():  # it would be the likeliest word
        whisper.model.model.decoder.layer_norm.bias.copy_(whisper.model.proj_out.weight[own].mul_(100))
    for suppressed in ([own], None):
        whisper.model.generation_config.suppress_tokens = suppressed
        ids = whisper.model.generate(torch.zeros(1, 80, 100), return_dict_in_generate=True).sequences
        assert (own in ids[0, 2:].tolist()) == (suppressed is None)


def test_a_language_borrows_the_token_of_another(folder: Path) -> None:
    whisper = load_whisper(folder, "fi", "cpu")
    assert whisper.tokenizer.convert_ids_to_tokens(whisper.prefix[1]) == "<|fi|>" and whisper.model.generation_config.language == "fi"


@pytest.mark.parametrize(("asked", "spoken"), [("", "se"), ("Northern Sami", "se"), ("fi", "fi"), ("sv", "sv")])
def test_a_model_of_ours_is_asked_for_the_language_that_borrows_a_token(folder: Path, asked: str, spoken: str) -> None:
    (folder / "recipe.json").write_text(json.dumps({"language": "se", "language_token": "fi"}))
    whisper = open_model(str(folder), asked)
    assert (whisper.borrower or whisper.language) == spoken
    assert whisper.tokenizer.convert_ids_to_tokens(whisper.prefix[1]) == ("<|sv|>" if spoken == "sv" else "<|fi|>")


@pytest.mark.parametrize("recipe", ["", "[]", "7", '{"language": "se"}', '{"language": "se", "language_token": "new"}',
                                    '{"language": ["se"], "language_token": "fi"}', '{"language": "?", "language_token": 1}'])  # fmt: skip
def test_other_recipes_beside_a_model_are_passed_over(folder: Path, recipe: str) -> None:
    (folder / "recipe.json").write_text(recipe)
    whisper = open_model(str(folder))
    assert (whisper.language, whisper.borrower) == ("sv", "")


def test_a_language_that_has_a_token_keeps_it(sami: Path, tmp_path: Path) -> None:
    rewrite(sami, lambda stored: stored | {"model.decoder.embed_tokens.weight": stored["model.decoder.embed_tokens.weight"] + 1})
    add_language(sami, tmp_path / "again", "se")
    assert same_weights(load_file(sami / "model.safetensors"), load_file(tmp_path / "again" / "model.safetensors"))
    assert load_whisper(tmp_path / "again", "se", "cpu").prefix == load_whisper(sami, "se", "cpu").prefix
    add_language(sami, tmp_path / "second", "smj")
    assert [load_whisper(tmp_path / "second", each, "cpu").prefix[1] for each in ("se", "smj")] == [1901, 1902]


def test_a_real_checkpoint_gets_a_language_and_keeps_its_precision(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "whisper-digits-from-scratch"
    half = tmp_path / "half"
    half.mkdir()
    for path in source.iterdir():
        (half / path.name).write_bytes(path.read_bytes())
    rewrite(half, lambda stored: {name: weight.half() for name, weight in stored.items()})
    config = json.loads((half / "config.json").read_text())
    (half / "config.json").write_text(json.dumps({name: value for name, value in config.items() if name not in ("dtype", "torch_dtype")}))
    add_language(half, tmp_path / "se", "se")
    assert {weight.dtype for weight in load_file(tmp_path / "se" / "model.safetensors").values()} == {torch.float16}
    assert json.loads((tmp_path / "se" / "added_tokens.json").read_text())["<|se|>"] == load_whisper(tmp_path / "se", "se", "cpu").prefix[1]
    assert {path.name for path in source.iterdir()} - {"SOURCE.md"} == {path.name for path in (tmp_path / "se").iterdir()}


def test_an_english_only_model_gets_no_language(folder: Path, tmp_path: Path) -> None:
    said = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(said | {"is_multilingual": False}))
    with pytest.raises(ModelError, match=r"English-only and has no token of a language; choose a multilingual base model$"):
        add_language(folder, tmp_path / "se", "se")


def test_a_language_is_not_added_to_a_model_that_lacks_weights(folder: Path, tmp_path: Path) -> None:
    rewrite(folder, lambda stored: {name: weight for name, weight in stored.items() if "decoder.layers.0.fc" not in name})
    with pytest.raises(ModelError, match="4 weights are missing"):
        add_language(folder, tmp_path / "se", "se")


@pytest.mark.parametrize(("said", "asked", "language"), [
    ("<|se|>", "", "se"), ("se", "", "se"), ("Swedish", "", "sv"), ("<|sv|>", "", "sv"), ("sv", "Finnish", "fi"), ("sv", "<|se|>", "se"),
    (None, "sv-SE", "sv"),
])  # fmt: skip
def test_the_language_of_a_model_is_read_as_others_write_it(sami: Path, said: str | None, asked: str, language: str) -> None:
    config = json.loads((sami / "generation_config.json").read_text())
    (sami / "generation_config.json").write_text(json.dumps(config | {"language": said}))
    whisper = open_model(str(sami), asked)
    assert whisper.language == language and whisper.tokenizer.convert_ids_to_tokens(whisper.prefix[1]) == f"<|{language}|>"


def test_what_is_no_language_is_refused_with_the_one_that_was_meant(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"tiny: language 'svenska' is not a language: Swedish is sv$"):
        open_model(str(folder), "svenska")
    with pytest.raises(ModelError, match=r"^the tokenizer has no token <\|se\|>"):
        open_model(str(folder), "se")
