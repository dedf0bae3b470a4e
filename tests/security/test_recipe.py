"""S3: a flow is told names of secrets. What is pasted where a name belongs is refused, and not repeated."""

import subprocess
import sys

import pytest

from flows.__main__ import main
from tasks.contracts.errors import RecipeError
from tasks.contracts.recipe import Recipe, read_recipe
from tests.support.canaries import canaries

TOKENS = {shape: text for shape, (text, _) in canaries().items() if " " not in text and "\n" not in text and "://" not in text}
ADDRESSES = {shape: text for shape, (text, _) in canaries().items() if "://" in text}


def test_no_field_of_a_recipe_asks_for_a_secret_but_one_for_the_name_of_one() -> None:
    fields: dict[str, dict[str, object]] = {}
    for section, schema in {"Recipe": Recipe.model_json_schema(), **Recipe.model_json_schema()["$defs"]}.items():
        fields |= {f"{section}.{name}": told for name, told in schema.get("properties", {}).items()}
    words = {"token", "secret", "password", "key", "auth", "credentials"}
    asking = {name for name in fields if words & set(name.partition(".")[2].split("_"))}
    assert len(fields) > 80 and asking == {"Release.token", "Recipe.language_token"}
    assert fields["Release.token"]["pattern"] == "^[a-z0-9-]*$", "in the schema, so that the server refuses it before it is written down"


@pytest.mark.parametrize("shape", TOKENS)
def test_a_token_in_place_of_its_name_is_refused_and_not_repeated(shape: str) -> None:
    for told in ({"release": {"token": TOKENS[shape]}}, {"training": {"steps": TOKENS[shape]}}, {"training": {"unknown": TOKENS[shape]}}):
        with pytest.raises(RecipeError, match=r"^(release\.token|training\.\w+): ") as refusal:
            read_recipe(told)
        assert canaries()[shape][1] not in str(refusal.value)


@pytest.mark.parametrize("shape", ADDRESSES)
def test_an_address_that_is_a_key_is_refused_and_not_repeated(shape: str) -> None:
    for told in ({"store": ADDRESSES[shape]}, {"corpus": {"kind": "folder", "path": ADDRESSES[shape]}}):
        with pytest.raises(RecipeError, match="an address with a password or a signature in it; give that in the environment") as refusal:
            read_recipe(told)
        assert canaries()[shape][1] not in str(refusal.value)


def test_the_command_line_repeats_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--release.token", TOKENS["Hub"]]) == 2
    said = capsys.readouterr()
    assert "release.token: got 'hf_[redacted]'" in said.err and canaries()["Hub"][1] not in said.out + said.err


def test_whoever_runs_a_step_keeps_secrets() -> None:
    program = "import logging, tasks.policy; print(hasattr(logging.getLogRecordFactory(), 'redacts'))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "True\n"
