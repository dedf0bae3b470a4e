"""The model that training starts from has a token for the recipe's language, and is made again only if something in it changes."""

import json
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas import State

from tasks import start as module
from tasks.contracts.recipe import Recipe, read_recipe
from tasks.contracts.values import Artifact, fingerprint
from tasks.model.start import checkpoint_revision
from tasks.model.whisper import load_whisper
from tasks.start import fetch_and_add, fetch_model, fit_of, start
from tasks.store.artifacts import fetch
from tasks.store.objects import Store
from tests.support.tiny import new_folder

SAMI = {"language": "se", "language_token": "new"}


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint; steps run without Prefect's engine."""
    for each in (fetch_model, fetch_and_add):
        monkeypatch.setattr(module, each.name.replace("-", "_"), lambda *inputs, step=each: value_of(step.fn(*inputs)))
    return new_folder(tmp_path / "base")


def value_of(result: Any) -> Any:
    return result.data if isinstance(result, State) else result


def begin(base: Path, **told: Any) -> tuple[Artifact, Recipe]:
    """Return the starting model of a recipe, and the recipe."""
    recipe = read_recipe({"model": {"kind": "pretrained", "name": str(base)}} | told)
    is_added = recipe.language_token == "new"
    return start(str(base.parent / "store"), recipe.model, recipe.token, 0, None, is_added), recipe  # type: ignore[arg-type]  # not read


@pytest.mark.parametrize("told", [{}, {"language": "fi"}, {"language": "se", "language_token": "fi"}])
def test_a_checkpoint_that_has_the_token_is_taken_as_it_is_under_one_address(base: Path, told: dict[str, str]) -> None:
    model, recipe = begin(base, **told)
    inputs = {"version": 1, "model": recipe.model.model_dump(), "commit": checkpoint_revision(str(base), "main")}
    assert model.key == fingerprint(["model", inputs]), "as before languages could have tokens of their own"
    assert model.file("tokenizer.json").sha256 == begin(base)[0].file("tokenizer.json").sha256
    assert load_whisper(fetch(Store(str(base.parent / "store")), model), recipe.token, "cpu").language == recipe.token


def test_a_checkpoint_without_it_gets_one_under_an_address_of_its_own(base: Path) -> None:
    model, _ = begin(base, **SAMI)
    plain, _ = begin(base)
    other, _ = begin(base, language="fy-NL", language_token="new")
    assert len({each.key for each in (model, plain, other)}) == len({fit_of(each).tokenizer for each in (model, plain, other)}) == 3
    assert model.key == begin(base, **SAMI)[0].key
    assert {**model.facts, "added": ""} == {**plain.facts, "added": ""} and model.facts["added"] == "se"
    folder = fetch(Store(str(base.parent / "store")), model)
    assert load_whisper(folder, "se", "cpu").tokenizer.convert_ids_to_tokens(1901) == "<|se|>"
    assert json.loads((folder / "generation_config.json").read_text())["lang_to_id"]["<|se|>"] == 1901
