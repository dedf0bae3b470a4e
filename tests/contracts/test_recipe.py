"""A recipe is refused with the path of the wrong setting, what was got and what is allowed; its defaults are a run."""

from itertools import pairwise
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from tasks.contracts import corpora
from tasks.contracts import recipe as module
from tasks.contracts.corpora import EspeakCorpus, FolderCorpus
from tasks.contracts.errors import RecipeError, ViskaError
from tasks.contracts.recipe import Pretrained, Recipe, Training, read_recipe
from tasks.contracts.section import Section
from tasks.contracts.values import fingerprint

SECTIONS = [
    each
    for each in {**vars(corpora), **vars(module)}.values()
    if isinstance(each, type) and issubclass(each, Section) and each is not Section
]
NEEDED = {"path": "x", "checkpoint": "0" * 24, "dataset": "x", "name": "x", "train": ["x"], "corpus": {"kind": "espeak"},
          "parts": [{"name": "x", "corpus": {"kind": "espeak"}}]}  # fmt: skip
NUMBERS = [
    (section, name, field) for section in SECTIONS for name, field in section.model_fields.items() if field.annotation in (int, float)
]


def least(section: type[Section]) -> Section:
    """Return a section with nothing but what has no default."""
    return section.model_validate({name: NEEDED[name] for name, field in section.model_fields.items() if field.is_required()})


@pytest.mark.parametrize(("values", "path", "got", "allowed"), [
    ({"trainning": {}}, "trainning", "", "there is no such setting"),
    ({"training": {"learning-rate": 1}}, "training.learning-rate", "got 1", "there is no such setting"),
    ({"training": {"steps": -1}}, "training.steps", "got -1", "greater than or equal to 1"),
    ({"splits": {"max_rejected": 0.5}}, "splits.max_rejected", "got 0.5", "there is no such setting"),
    ({"gates": {"max_clipped": 5}}, "gates.max_clipped", "got 5", "less than or equal to 1"),
    ({"gates": {"max_seconds": 31}}, "gates.max_seconds", "got 31", "less than or equal to 30"),
    ({"gates": {"same_sound": "ask"}}, "gates.same_sound", "got 'ask'", "'refuse' or 'keep'"),
    ({"splits": {"dev": 0.5}}, "splits.dev", "got 0.5", "less than or equal to 0.4"),
    ({"training": {"learning_rate": float("nan")}}, "training.learning_rate", "got nan", "less than or equal to 0.1"),
    ({"training": {"steps": "many"}}, "training.steps", "got 'many'", "valid integer"),
    ({"training": {"steps": 10.5}}, "training.steps", "got 10.5", "integer"),
    ({"training": 7}, "training", "got 7", "Training"),
    ({"training": {"schedule": "wavy"}}, "training.schedule", "got 'wavy'", "'linear', 'cosine' or 'constant'"),
    ({"training": {"steps": 50}}, "training", "warmup 100", "does not end within steps 50"),
    ({"training": {"steps": 100}}, "training", "warmup 100", "does not end within steps 100"),
    ({"corpus": {"path": "x"}}, "corpus.kind", "missing", "espeak or folder"),
    ({"model": {}}, "model.kind", "missing", "pretrained or scratch"),
    ({"corpus": {"kind": "zip"}}, "corpus", "'zip'", "'espeak', 'folder'"),
    ({"corpus": {"kind": "folder"}}, "corpus.path", "", "required"),
    ({"corpus": {"kind": "espeak", "n_train": 3}}, "corpus.n_train", "got 3", "greater than or equal to 20"),
    ({"language": "se"}, "language", "got 'se'", "se is Northern Sami; Swedish is sv. Whisper does not know it, and language_token is"),
    ({"language": "dk"}, "language", "got 'dk'", "not a language: Danish is da"),
    ({"language": "gaa"}, "language", "got 'gaa'", "such as fi, or new"),
    ({"language": "se", "language_token": "fy"}, "language_token", "got 'fy'", "not one of Whisper's: fy is Frisian; expected a language"),
    ({"language": "se", "language_token": "finish"}, "language_token", "got 'finish'", "Finnish is fi"),
    ({"language": "sv", "language_token": "fi"}, "language_token", "got 'fi'", "must be empty: Whisper knows sv"),
    ({"language_token": "new"}, "language_token", "got 'new'", "must be empty: Whisper knows sv"),
    ({"scoring": {"normaliser": "whisper-english"}}, "scoring.normaliser", "got 'whisper-english'", "knows the rules of en alone"),
    ({"model": {"kind": "scratch", "width": 128, "heads": 3}}, "model", "width 128", "not a multiple of heads 3"),
    ({"model": {"kind": "scratch", "width": 100}}, "model.width", "got 100", "multiple of 8"),
    ({"release": {"name": "a/b"}}, "release.name", "got 'a/b'", "match pattern"),
])  # fmt: skip
def test_a_refusal_names_the_path_what_was_got_and_what_is_allowed(values: dict[str, Any], path: str, got: str, allowed: str) -> None:
    with pytest.raises(RecipeError) as refusal:
        read_recipe(values)
    (line,) = str(refusal.value).splitlines()
    assert line.startswith(f"{path}: ") and got in line and allowed in line, line
    assert isinstance(refusal.value, ViskaError) and isinstance(refusal.value.__cause__, ValidationError)


def test_every_wrong_setting_has_a_line_of_its_own() -> None:
    with pytest.raises(RecipeError) as refusal:
        read_recipe({"training": {"steps": 0, "batch": 0}, "store": 3})
    assert [line.split(":")[0] for line in str(refusal.value).splitlines()] == ["training.steps", "training.batch", "store"]


@pytest.mark.parametrize("kind", ["corpus", "model"])
def test_a_setting_called_like_a_kind_is_still_named(kind: str) -> None:
    word = {"corpus": "folder", "model": "pretrained"}[kind]
    with pytest.raises(RecipeError, match=rf"^{kind}\.{word}: got 1; there is no such setting$"):
        read_recipe({kind: {"kind": {"corpus": "espeak", "model": "scratch"}[kind], word: 1}})


def test_the_defaults_are_valid_and_survive_json() -> None:
    recipe = read_recipe({})
    assert recipe == Recipe() == read_recipe(recipe.model_dump()) == Recipe.model_validate_json(recipe.model_dump_json())
    # Pydantic does not check defaults, so give each of them as a value.
    for section in SECTIONS:
        section.model_validate(least(section).model_dump())


@pytest.mark.parametrize("recipe", [
    {"corpus": {"kind": "folder", "path": "gs://bucket/corpus"}, "model": {"kind": "pretrained", "name": "openai/whisper-large-v3"}},
    {"model": {"kind": "scratch", "n_mels": 128}, "language": "yue", "training": {"steps": 1, "warmup": 0}},
])  # fmt: skip
def test_the_kind_chooses_the_section(recipe: dict[str, Any]) -> None:
    read = read_recipe(recipe)
    assert isinstance(read.model, Pretrained) == (recipe["model"]["kind"] == "pretrained")
    assert isinstance(read.corpus, FolderCorpus) == ("corpus" in recipe)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_is_frozen_and_closed(section: type[Section]) -> None:
    value = least(section)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(value, next(iter(section.model_fields)), "other")
    with pytest.raises(ValidationError, match="extra_forbidden"):
        section.model_validate(value.model_dump() | {"unknown": 1})
    assert isinstance(hash(value), int)


@pytest.mark.parametrize(("section", "name", "field"), [
    pytest.param(*each, id=f"{each[0].__name__}.{each[1]}") for each in NUMBERS
])  # fmt: skip
def test_every_number_has_bounds_and_is_finite(section: type[BaseModel], name: str, field: FieldInfo) -> None:
    assert any(hasattr(each, bound) for each in field.metadata for bound in ("ge", "gt")), f"{name} has no lower bound"
    for value in (float("inf"), float("-inf"), float("nan"), -21 if name == "min_snr" else -1):  # that is in dB
        with pytest.raises(ValidationError):
            section.model_validate(least(section).model_dump() | {name: value})


def test_every_setting_that_is_not_a_number_word_or_switch_is_a_section_or_a_choice() -> None:
    for section in SECTIONS:
        for name, field in section.model_fields.items():
            kinds = (int, float, str, bool, tuple[str, ...])
            assert field.annotation in kinds or any(
                each in str(field.annotation) for each in ("Literal", "recipe.", "corpora.", "release.", "_without_secret")
            ), f"{section}.{name}"


def test_a_setting_changes_the_fingerprint() -> None:
    names = [fingerprint(each) for each in (Training(), Training(seed=1), Training(steps=1001), EspeakCorpus(), EspeakCorpus(seed=1))]
    assert len(set(names)) == len(names)
    assert all(
        fingerprint(one) == fingerprint(other) for one, other in pairwise([Training(), Training(seed=0), Training(**{"steps": "1000"})])
    )


@pytest.mark.parametrize("gates", [{"min_seconds": 3, "max_seconds": 2}, {"min_text_rate": 50, "max_text_rate": 40}])
def test_gates_that_nothing_can_pass_are_refused(gates: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match="no clip would pass"):
        read_recipe({"gates": gates})
    assert read_recipe({"gates": {"min_text_rate": 50, "max_text_rate": 0}}), "0 is any number"


def test_where_parts_are_prepared_decides_no_bytes() -> None:
    on_cluster = read_recipe({"prepare": {"dask": "tcp://10.0.0.1:8786"}})
    assert fingerprint(on_cluster) == fingerprint(Recipe()) and on_cluster.up_to_the_report() == Recipe().up_to_the_report()
    with pytest.raises(RecipeError, match=r"^prepare\.dask: got '10\.0\.0\.1'; not the address of a Dask scheduler"):
        read_recipe({"prepare": {"dask": "10.0.0.1"}})


@pytest.mark.parametrize(("told", "language", "token"), [
    ({"language": "Swedish"}, "sv", "sv"), ({"language": "sv-SE"}, "sv", "sv"), ({"language": "cmn_hans_cn"}, "zh", "zh"),
    ({"language": "se", "language_token": "fi"}, "se", "fi"), ({"language": "se", "language_token": "Finnish"}, "se", "fi"),
    ({"language": "northern sami", "language_token": "new"}, "se", "se"), ({"language": "yue"}, "yue", "yue"),
    ({"language": "zh-HK", "language_token": "zh"}, "yue", "zh"),  # only large-v3 knows it
])  # fmt: skip
def test_the_language_of_the_recordings_and_that_of_the_token_are_codes(told: dict[str, str], language: str, token: str) -> None:
    recipe = read_recipe(told)
    assert (recipe.language, recipe.token) == (language, token)
    assert read_recipe(recipe.model_dump()) == recipe


def test_a_choice_of_kinds_is_one_that_the_form_of_the_prefect_ui_can_show() -> None:
    schema = Recipe.model_json_schema()
    fields = {f"{name}.{field}": told for name, model in {"Recipe": schema, **schema["$defs"]}.items()
              for field, told in model["properties"].items()}  # fmt: skip
    assert not [field for field, told in fields.items() if "oneOf" in told or "discriminator" in told]
    titles = [schema["$defs"][choice["$ref"].rpartition("/")[2]]["title"] for choice in fields["Recipe.corpus"]["anyOf"]]
    assert titles[:3] == ["eSpeak", "Folder", "Common Voice"] and len(titles) == 9
    assert {"Recipe.model", "MixPart.corpus"} <= {field for field, told in fields.items() if "anyOf" in told}


@pytest.mark.parametrize("address", [
    "https://me:canary@host/clips", "s3://id:canary@bucket/x", "https://host/x.tar.gz?X-Amz-Signature=canary", "https://host/x?a=1&access_token=canary",
])  # fmt: skip
@pytest.mark.parametrize("recipe", [
    lambda address: {"corpus": {"kind": "common_voice", "path": address}}, lambda address: {"corpus": {"kind": "nemo", "train": [address]}},
    lambda address: {"corpus": {"kind": "folder", "path": "x", "elsewhere": [address]}}, lambda address: {"store": address},
], ids=["path", "list", "elsewhere", "store"])  # fmt: skip
def test_an_address_that_holds_a_secret_is_refused_and_not_repeated(address: str, recipe: Any) -> None:
    with pytest.raises(RecipeError, match="an address with a password or a signature in it; give that in the environment") as refusal:
        read_recipe(recipe(address))
    assert "canary" not in str(refusal.value)


@pytest.mark.parametrize("address", ["hf://datasets/team/data@0123abc", "gs://bucket/a@b", "https://host/x?download=true", "C:/x", "./a b"])
def test_an_address_without_one_is_taken(address: str) -> None:
    assert read_recipe({"corpus": {"kind": "folder", "path": address}}).corpus.path == address  # type: ignore[union-attr]
