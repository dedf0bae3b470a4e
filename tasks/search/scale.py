"""Where the values of a field stand on an axis of a picture, and how they are called there. No drawing here."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tasks.search.space import Values, name

SPAN = 30.0  # largest by smallest: beyond, an axis is logarithmic
FEW = 8  # numbers that are all named on an axis, if there is room
LONGEST = 24  # letters of a category
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)  # between ticks, times a power of ten


@dataclass(frozen=True)
class Scale:
    """The axis of one field: from 0, its first value, to 1, its last."""

    field: str
    kind: Literal["linear", "log", "categories"]
    values: tuple[Any, ...]  # that were tried, each once, in order
    names: tuple[str, ...]  # of the values

    def at(self, value: Any) -> float:
        """Return where a value stands; a number may lie between those that were tried."""
        if self.kind == "categories":
            return (self.values.index(_known(value, self.values)) + 0.5) / len(self.values)
        low, high, here = (math.log(each) if self.kind == "log" else each for each in (self.values[0], self.values[-1], value))
        return float((here - low) / (high - low)) if high > low else 0.5

    def called(self, value: Any) -> str:
        """Return the name of a value that was tried."""
        return self.names[self.values.index(_known(value, self.values))]

    def ticks(self, letters: int = 60, most: int = 5) -> list[tuple[float, str]]:
        """Return places with their names: of categories, of the numbers if they are few, or else of round ones.

        Args:
            letters: that have room side by side; categories of more stand in two lines, by turns, and numbers give way to each other.
            most: numbers of a range.
        """
        if self.kind == "categories":
            return list(zip(map(self.at, self.values), _fitted(self.names, letters), strict=True))
        low, high = self.values[0], self.values[-1]
        if len(self.values) <= FEW:
            numbers = self.values
        elif self.kind == "linear":
            numbers = tuple(_round(low, high, most))
        else:
            numbers = (low, *_tens(low, high, most - 2), high)
        return _apart([(self.at(number), shown(number)) for number in numbers], letters)


def scales(result: Mapping[str, Any]) -> dict[str, Scale]:
    """Return the axis of each field for which more than one value was tried, in the order of the search."""
    found: dict[str, list[Any]] = {}
    for values in (result.get("as_it_is") or {}, *(each["values"] for each in (*result["places"], *result["trials"]))):
        for field, value in values.items():
            found.setdefault(field, []).append(value)
    distinct = {field: {name(value): value for value in values} for field, values in found.items()}
    return {field: _scale(field, list(values.values())) for field, values in distinct.items() if len(values) > 1}


def values_of(result: Mapping[str, Any], tried: Mapping[str, Any]) -> Values:
    """Return the values of a place or a trial; those of the recipe as it is where `as_it_is` tells them."""
    found: Values = tried["values"] or result.get("as_it_is") or {}
    return found


def shown(value: Any) -> str:
    """Return a value in a few letters."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return excerpt(name(value), LONGEST)
    return f"{value:,d}" if isinstance(value, int) else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def short_fields(fields: Sequence[str]) -> dict[str, str]:
    """Return the last part of each path; more of it where two end alike."""
    lasts = [field.rpartition(".")[2] for field in fields]
    return {field: ".".join(field.split(".")[-2:]) if lasts.count(last) > 1 else last for field, last in zip(fields, lasts, strict=True)}


def short_names(values: Sequence[Any]) -> list[str]:
    """Return a name for each value: of a section its kind, or in what it differs from others of that. Only numbers may be called alike."""
    sections = [each for each in values if isinstance(each, Mapping)]

    def told(value: Any) -> str:
        if not isinstance(value, Mapping):
            return shown(value)
        alike = [each for each in sections if each.get("kind") == value.get("kind")]
        if len(alike) == 1 and value.get("kind"):
            return str(value["kind"])
        differ = [field for field in value if len({name(each.get(field)) for each in alike}) > 1]
        return ", ".join(value[field] if isinstance(value[field], str) else f"{field} {shown(value[field])}" for field in differ) or name(
            value
        )

    full = [told(value) for value in values]
    lasts = [text.rpartition("/")[2] if isinstance(value, str | Mapping) else text for text, value in zip(full, values, strict=True)]
    texts = [excerpt(text, LONGEST) for text in (lasts if len(set(lasts)) == len(set(full)) else full)]
    return [
        f"{text} ({texts[: place + 1].count(text)})" if texts.count(text) > 1 and not is_number(value) else text
        for place, (text, value) in enumerate(zip(texts, values, strict=True))
    ]


def names_of(values: Sequence[Any]) -> dict[str, str]:
    """Return what each of these values is called, by its JSON."""
    distinct = {name(value): value for value in values}
    return dict(zip(distinct, short_names(list(distinct.values())), strict=True))


def is_number(value: Any) -> bool:
    """Return whether a value is a number, which true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _scale(field: str, values: list[Any]) -> Scale:
    if not all(is_number(value) for value in values):
        ordered = sorted(values, key=lambda value: (not is_number(value), value if is_number(value) else 0, name(value)))
        return Scale(field, "categories", tuple(ordered), tuple(short_names(ordered)))
    ordered = sorted(values)
    is_wide = ordered[0] > 0 and ordered[-1] / ordered[0] > SPAN
    return Scale(field, "log" if is_wide else "linear", tuple(ordered), tuple(shown(value) for value in ordered))


def _known(value: Any, values: Sequence[Any]) -> Any:
    """Return the one of the values that is written alike: 1 and true are equal, and not the same."""
    return next(each for each in values if name(each) == name(value) and type(each) is type(value))


def _round(low: float, high: float, most: int) -> list[float]:
    """Return round numbers within a range, at equal distances."""
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in STEPS if each * power >= rough * 0.999)
    count = math.floor(high / step + 1e-9) - math.ceil(low / step - 1e-9)
    found = [step * (math.ceil(low / step - 1e-9) + place) for place in range(count + 1)]
    return [int(each) if each == int(each) else each for each in found]


def _tens(low: float, high: float, most: int) -> list[float]:
    """Return powers of ten within a range."""
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    return [10.0**power for power in range(first, last + 1, max(1, math.ceil((last - first + 1) / most)))]


def _apart(ticks: Sequence[tuple[float, str]], letters: int) -> list[tuple[float, str]]:
    """Return the ticks without those whose name would touch the one before, or the last."""

    def touch(one: tuple[float, str], other: tuple[float, str]) -> bool:
        return other[0] - one[0] < (len(one[1]) / 2 + len(other[1]) / 2 + 1) / letters

    kept = list(ticks[:1])
    for tick in ticks[1:]:
        if not touch(kept[-1], tick) and (tick is ticks[-1] or not touch(tick, ticks[-1])):
            kept.append(tick)
    return kept


def _fitted(names: Sequence[str], letters: int) -> list[str]:
    room = letters // len(names) - 1
    if all(len(text) <= room for text in names):
        return list(names)
    return [("\n" if place % 2 else "") + excerpt(text, max(5, 2 * room)) for place, text in enumerate(names)]


def excerpt(text: str, longest: int) -> str:
    """Return the beginning and the end of a text that is too long."""
    half = (longest - 1) // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"
