"""Flags on top of a file: each field of the recipe, however deep its section lies."""

import argparse
from pathlib import Path

import pytest

from flows.flags import recipe_from, told_to_sweep
from tasks.contracts.errors import RecipeError
from tasks.contracts.recipe import Trained

KEY = "0123456789abcdef01234567"


def test_a_flag_reaches_a_section_within_a_section(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("training: {steps: 300, augment: {mask_bins: 8}}")
    recipe = recipe_from(str(file), {"training.augment.speed": 0.1, "training.lora.rank": 8, "training.batch": 2})
    assert recipe.training.augment.model_dump(exclude_defaults=True) == {"mask_bins": 8, "speed": 0.1}
    assert (recipe.training.lora.rank, recipe.training.steps, recipe.training.batch) == (8, 300, 2)


def test_another_kind_has_other_fields() -> None:
    recipe = recipe_from("", {"model.kind": "trained", "model.checkpoint": KEY})
    assert recipe.model == Trained(checkpoint=KEY)
    assert recipe_from("", {"model.width": 64}).model.width == 64, "of the default kind"


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        ("", {"training.lora.rank": -1}, r"^training\.lora\.rank: got -1; input should be greater than or equal to 0$"),
        ("training: 3", {"training.lora.rank": 1}, r"^training: "),
        ("training: {lora: 3}", {"training.lora.rank": 1}, r"^training\.lora: "),
        ("", {"training.extend": "somewhere"}, r"^training\.extend: got 'somewhere'; string should match pattern"),
    ],
)
def test_what_is_wrong_is_refused_with_its_path(tmp_path: Path, text: str, flags: dict[str, object], message: str) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        recipe_from(str(tmp_path / "recipe.yaml"), flags)


def test_lora_and_frozen_layers_do_not_go_together() -> None:
    with pytest.raises(
        RecipeError, match=r"^training: with lora all weights stay as they are; leave out freeze_encoder and freeze_layers$"
    ):
        recipe_from("", {"training.lora.rank": 8, "training.freeze_layers": 2})


def test_a_sweeps_file_has_a_recipe_or_its_files_name_and_a_search_and_flags_come_on_top(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("name: base\ntraining: {steps: 300}\n")
    file = tmp_path / "sweep.yaml"
    options = argparse.Namespace(file=str(file), trials=7, **{"training.batch": 4})
    file.write_text("recipe: base.yaml\nsearch: {method: random}\n")
    recipe, search = told_to_sweep(options)
    assert (recipe.name, recipe.training.steps, recipe.training.batch) == ("base", 300, 4)
    assert (search.method, search.trials) == ("random", 7)
    file.write_text("recipe: {name: own}\n")
    assert told_to_sweep(options)[0].name == "own"
    file.write_text("name: base\n")
    with pytest.raises(RecipeError, match="name: there is no such part; expected recipe and search"):
        told_to_sweep(options)
    file.write_text("search: {method: luck, repeats: {seeds: 0}}\n")
    with pytest.raises(RecipeError, match=r"search\.method: .*\nsearch\.repeats\.seeds: "):
        told_to_sweep(options)
