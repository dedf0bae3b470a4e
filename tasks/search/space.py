"""From a search's axes to recipes: what a trial changes, and what Optuna is asked."""

import functools
import itertools
import json
import random
from collections.abc import Sequence
from typing import Any

from optuna.trial import BaseTrial

from tasks.contracts.recipe import Recipe
from tasks.contracts.search import Axis, is_whole, with_values

Values = dict[str, Any]


def suggest(trial: BaseTrial, recipe: Recipe, axes: Sequence[Axis]) -> Values:
    """Return what this trial is to try, by field. Listed values are categories, named by their JSON: Optuna knows no sections."""
    found: Values = {}
    for axis in axes:
        if axis.values:
            found[axis.field] = json.loads(trial.suggest_categorical(axis.field, [name(each) for each in axis.values]))
        elif is_whole(recipe, axis.field):
            found[axis.field] = trial.suggest_int(axis.field, int(axis.low), int(axis.high), log=axis.log)
        else:
            found[axis.field] = trial.suggest_float(axis.field, axis.low, axis.high, log=axis.log)
    return found


def as_it_is(recipe: Recipe, axes: Sequence[Axis]) -> Values:
    """Return the recipe's own values, by field."""
    told = recipe.model_dump(mode="json")
    return {axis.field: functools.reduce(lambda section, step: section[step], axis.field.split("."), told) for axis in axes}


def name(value: Any) -> str:
    """Return what Optuna calls a listed value."""
    return json.dumps(value, sort_keys=True)


def grid(axes: Sequence[Axis], seed: int) -> list[dict[str, str]]:
    """Return every combination of the listed values, as Optuna calls them, shuffled: a budget that is too small sees all parts of it."""
    points = [
        dict(zip((axis.field for axis in axes), names, strict=True))
        for names in itertools.product(*([name(each) for each in axis.values] for axis in axes))
    ]
    random.Random(seed).shuffle(points)
    return points


def recipe_of(recipe: Recipe, values: Values, seed: int | None = None) -> Recipe:
    """Return the recipe of a trial; `seed`: of its training, if that is not the recipe's.

    Raises:
        RecipeError: if these values do not go together.
    """
    return with_values(recipe, values | ({} if seed is None else {"training.seed": seed}))
