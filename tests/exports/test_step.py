"""The step seals what was written with its folder's name, does nothing twice, and seals nothing that hears something else.

About eight seconds, most of which train a model and prepare a corpus of tones.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks import export
from tasks.contracts.errors import ModelError
from tasks.contracts.recipe import Pretrained
from tasks.contracts.values import SplitOf
from tasks.exports.formats import write
from tasks.model.whisper import load_whisper
from tasks.start import fetch_model
from tasks.store.artifacts import fetch
from tasks.store.objects import STAGING, Store
from tests.steps.chain import prepare, value_of, write_corpus


@pytest.fixture
def inputs(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """A model, and clips in which it hears something."""
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "model"
    model.mkdir()
    for path in own.glob("*.*"):
        shutil.copyfile(path, model / path.name)
    write_corpus(range(60))
    run = prepare(model="model")
    start = value_of(fetch_model.fn("store", Pretrained(kind="pretrained", name="model"), "main"))
    return start, SplitOf(run.dataset, "test"), "sv", "float16"


def test_an_export_is_sealed_in_its_folder_once(inputs: tuple[Any, ...]) -> None:
    made = export.export_model.fn("store", *inputs)
    names = {file.name for file in made.files}
    assert {"float16/model.safetensors", "float16/config.json", "float16/tokenizer.json", "float16/preprocessor_config.json"} <= names
    n_clips = inputs[1].dataset.facts["splits"]["test"]
    assert made.facts == {"format": "float16", "n_clips": min(n_clips, 50), "wer": 0.0, "tolerance": 0.005,
                          "n_bytes": sum(file.n_bytes for file in made.files)}  # fmt: skip
    assert made.kind == "export" and n_clips > 0
    folder = fetch(Store("store"), made) / "float16"
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float16"
    assert load_whisper(folder, "sv", "cpu").language == "sv"
    assert list(Path("store", STAGING).iterdir()) == []
    again = export.export_model.fn("store", *inputs)
    assert again.name == "Cached" and again.data == made


def test_what_hears_something_else_is_not_sealed(inputs: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def write_worse(format: str, folder: Path, target: Path, language: str) -> None:
        write(format, folder, target, language)
        whisper = load_whisper(target / "float16", language, "cpu")
        with torch.no_grad():
            whisper.model.model.decoder.layer_norm.weight.neg_()
        whisper.model.save_pretrained(target / "float16")

    monkeypatch.setattr(export, "write", write_worse)
    with pytest.raises(ModelError, match=r"the export float16 hears .* differently"):
        export.export_model.fn("store", *inputs)
    assert not list(Path("store").glob("export/*/*"))
