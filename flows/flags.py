"""Flags that are the fields of the recipe, read from the model itself: `--training.steps 400`, on top of a YAML file."""

import argparse
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tasks.contracts.errors import RecipeError
from tasks.contracts.recipe import Recipe, read_recipe
from tasks.contracts.search import Search, read_search

NUMBER = re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$")


def add_recipe(command: argparse.ArgumentParser) -> None:
    """Give a command a flag for each setting."""
    command.add_argument("--recipe", metavar="FILE", help="settings as YAML; flags come on top of it")
    for path, field in _fields(Recipe).items():
        command.add_argument(f"--{path}", dest=path, metavar=_kind(field), help=_help(field), type=_value)


def told(options: argparse.Namespace) -> Recipe:
    """Return the recipe that a command was told."""
    return recipe_from(getattr(options, "recipe", ""), _flags(options))


def told_to_sweep(options: argparse.Namespace) -> tuple[Recipe, Search]:
    """Return what `viska sweep` was told: the recipe and the search of a YAML file, and flags of the recipe on top.

    The file has two parts, `recipe` and `search`; the first may be the name of a recipe's file, from the folder of this one on.

    Raises:
        RecipeError: naming the field, what was got and what is allowed.
    """
    told = _read(options.file)
    if unknown := sorted(set(told) - {"recipe", "search"}):
        raise RecipeError(f"sweep {options.file}: {', '.join(unknown)}: there is no such part; expected recipe and search")
    recipe = told.get("recipe") or {}
    values = _read(str(Path(options.file).parent / recipe)) if isinstance(recipe, str) else recipe
    more = {"trials": options.trials} if options.trials else {}
    return _with_flags(values, _flags(options)), read_search((told.get("search") or {}) | more)


def recipe_from(file: str, flags: dict[str, Any]) -> Recipe:
    """Return the recipe of a YAML file with flags on top; a flag of a section's field keeps the section's kind.

    Raises:
        RecipeError: naming the field, what was got and what is allowed.
    """
    return _with_flags(_read(file) if file else {}, flags)


def _flags(options: argparse.Namespace) -> dict[str, Any]:
    return {path: value for path, value in vars(options).items() if path in _fields(Recipe)}


def _read(file: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(Path(file).read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"recipe {file}: {error}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"recipe {file}: a {type(values).__name__}, expected settings by name")
    return values


def _with_flags(values: dict[str, Any], flags: dict[str, Any]) -> Recipe:
    for path, value in sorted(flags.items(), key=lambda flag: not flag[0].endswith(".kind")):
        values = _with(values, path.split("."), value)
    return read_recipe(values)


def _with(values: Any, path: list[str], value: Any, above: str = "") -> Any:
    """Return nested values with the one at `path` set; what is no section where one is meant is left to be refused, with its path."""
    first, *rest = path
    if not isinstance(values, dict):
        return values
    if not rest:
        if first == "kind" and values.get("kind") != value:
            return {"kind": value}  # another kind has other fields
        return values | {first: value}
    inner = values.get(first) or (_default_kind(first) if not above else {})
    return values | {first: _with(inner, rest, value, first)}


def _default_kind(section: str) -> dict[str, Any]:
    kind = getattr(getattr(Recipe(), section, None), "kind", None)
    return {"kind": kind} if kind else {}


def _fields(model: type[BaseModel], above: str = "") -> dict[str, FieldInfo]:
    """Return each setting that holds a value, by its path; a section of several kinds gives the fields of all of them."""
    found: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        types = (field.annotation,) if get_origin(field.annotation) is tuple else get_args(field.annotation) or (field.annotation,)
        sections = [each for each in types if isinstance(each, type) and issubclass(each, BaseModel)]
        for section in sections:
            found = found | {path: inner for path, inner in _fields(section, f"{above}{name}.").items() if path not in found}
        if len(sections) > 1:
            kinds = tuple(get_args(section.model_fields["kind"].annotation)[0] for section in sections)
            found[f"{above}{name}.kind"] = FieldInfo(annotation=Literal[kinds], description=f"which of these the {name} is")  # type: ignore[arg-type]
        if not sections:
            found[f"{above}{name}"] = field
    return found


def _kind(field: FieldInfo) -> str:
    """Return what a flag takes, for the help: its choices, or the name of its type."""
    if get_origin(field.annotation) is Literal:
        return "|".join(map(str, get_args(field.annotation)))
    if get_origin(field.annotation) is tuple:
        return "[A, B]"
    return getattr(field.annotation, "__name__", "VALUE").upper()


def _help(field: FieldInfo) -> str:
    words = [field.description] if field.description else []
    words += [f"default {field.default}"] if not field.is_required() and field.default != "" else []
    return "; ".join(words).replace("%", "%%")


def _value(text: str) -> Any:
    """Read a flag as YAML does, and 1e-4 as the number it is, and - as the word it is."""
    if text == "-":
        return text
    try:
        value = yaml.safe_load(text)
        return float(value) if isinstance(value, str) and NUMBER.match(value) else value
    except yaml.YAMLError:
        return text
