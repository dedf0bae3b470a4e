"""What a search for better settings is told: which fields of the recipe it may change, how, and how much it may cost."""

from typing import Any, Literal

from pydantic import Field, JsonValue, ValidationError, field_validator, model_validator

from tasks.contracts.errors import RecipeError
from tasks.contracts.recipe import Recipe, read_recipe
from tasks.contracts.section import Section

FIXED = ("name", "store", "release", "scoring", "prepare", "splits.dev", "splits.test", "splits.by", "splits.frozen", "splits.seed",
         "training.seed", "training.dev_clips", "training.extend", "language")  # fmt: skip  # else dev WERs would not compare


class Axis(Section):
    """One field of the recipe, and what is tried for it: listed values, or a range."""

    field: str
    """Path of the field, such as training.learning_rate, or of a whole section, such as model"""
    values: tuple[JsonValue, ...] = ()
    """What is tried; empty: the range from low to high"""
    low: float = 0.0
    """Smallest value"""
    high: float = 0.0
    """Largest value"""
    log: bool = False
    """Try 0.001 to 0.01 as often as 0.01 to 0.1"""

    @model_validator(mode="after")
    def _something_is_tried(self) -> "Axis":
        if not self.values and self.low >= self.high:
            raise ValueError(f"{self.field}: nothing to try; give values, or low ({self.low:g}) below high ({self.high:g})")
        if self.values and (self.low or self.high or self.log):
            raise ValueError(f"{self.field}: values and a range; give one of them")
        if self.log and self.low <= 0:
            raise ValueError(f"{self.field}: low is {self.low:g}, and a logarithmic range begins above 0")
        return self

    @field_validator("field")
    @classmethod
    def _scores_still_compare(cls, field: str) -> str:
        if any(f"{field}.".startswith(f"{each}.") for each in FIXED):
            raise ValueError(f"{field} must be the same in all trials, or their dev WERs would not compare")
        return field


class Repeats(Section):
    """The best ones are trained again with other seeds, so that luck is not mistaken for gain."""

    best: int = Field(3, ge=0, le=100)
    """So many of the best settings, and the recipe as it is; 0: none"""
    seeds: int = Field(3, ge=1, le=20)
    """Further trainings of each of them. A few are chosen by the luck of their first one too, which then does not count"""


class Search(Section):
    """Which settings are tried, how they are chosen, and when it ends."""

    axes: tuple[Axis, ...] = Field((Axis(field="training.learning_rate", low=1e-5, high=3e-3, log=True),), min_length=1)
    """What is varied; everything else is as in the recipe, which is the first trial as it is"""
    method: Literal["tpe", "random", "grid"] = "tpe"
    """tpe: where good ones were found; grid: every combination of listed values"""
    trials: int = Field(20, ge=1, le=10_000)
    """At most so many, repeats not counted"""
    gpu_hours: float = Field(0.0, ge=0)
    """No further trial begins once they have trained for so long, on whatever device; 0: no limit"""
    pruning: Literal["median", "halving", "none"] = "median"
    """median: a trial ends early whose dev WER is worse than half of the others' at the same step"""
    repeats: Repeats = Repeats()
    at_once: int = Field(1, ge=1, le=1000)
    """So many trials side by side, where they are sent to a pool with as many GPUs; a machine that does them itself does one at a time"""
    seed: int = Field(0, ge=0)
    """Decides what is tried"""

    @model_validator(mode="after")
    def _axes_fit(self) -> "Search":
        fields = [axis.field for axis in self.axes]
        if len(set(fields)) < len(fields):
            raise ValueError(f"axes: a field twice: {', '.join(fields)}")
        if self.method == "grid" and (without := [axis.field for axis in self.axes if not axis.values]):
            raise ValueError(f"axes: a grid needs listed values, and {', '.join(without)} has a range")
        return self

    def identity(self) -> dict[str, Any]:
        """Stand for this where a search is named: with a larger budget it is the same one, which goes on."""
        return self.model_dump(mode="json", exclude={"trials", "gpu_hours", "repeats", "at_once"})


def read_search(values: dict[str, Any]) -> Search:
    """Return the search with these values; RecipeError if one is not allowed."""
    try:
        return Search.model_validate(values)
    except ValidationError as error:
        lines = (f"{'.'.join(map(str, ('search', *each['loc'])))}: {each['msg'].removeprefix('Value error, ')}" for each in error.errors())
        raise RecipeError("\n".join(lines)) from error


def with_values(recipe: Recipe, values: dict[str, Any]) -> Recipe:
    """Return the recipe with the fields at these paths set.

    Raises:
        RecipeError: if there is no such field, or the value is not allowed.
    """
    told = recipe.model_dump(mode="json")
    for path, value in values.items():
        *above, last = path.split(".")
        section = told
        for step in above:
            section = section.get(step) if isinstance(section, dict) else None  # type: ignore[assignment]
        if not isinstance(section, dict) or last not in section:
            raise RecipeError(f"search.axes: {path}: there is no such setting in this recipe")
        section[last] = value
    return read_recipe(told)


def is_whole(recipe: Recipe, path: str) -> bool:
    """Return whether the field holds whole numbers."""
    value: Any = recipe
    for step in path.split("."):
        value = getattr(value, step)
    return isinstance(value, int) and not isinstance(value, bool)


def check(recipe: Recipe, search: Search) -> None:
    """Refuse a search of which some value is not allowed alone, before anything is trained.

    Raises:
        RecipeError: naming the field, what was got and what is allowed.
    """
    for axis in search.axes:
        for value in axis.values or (axis.low, axis.high):
            with_values(recipe, {axis.field: int(value) if not axis.values and _whole_at(recipe, axis.field) else value})  # type: ignore[arg-type]


def _whole_at(recipe: Recipe, path: str) -> bool:
    try:
        return is_whole(recipe, path)
    except AttributeError:
        return False
