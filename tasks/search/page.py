"""The result of a search as one HTML file: opens offline and loads nothing, as a report does. Pictures are SVG."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, FileSystemLoader

from tasks.scoring.html import environment
from tasks.search.pictures import importance_picture, looks_picture, parallel_picture, values_picture
from tasks.search.scale import excerpt, names_of, scales, short_fields, values_of
from tasks.search.space import name

SINGLY = 3  # seeds of which each is told; of more, from the lowest to the highest
REASON = 40  # letters of a failure in the table; the list has all
Result = Mapping[str, Any]


def render_search(result: Result, recipe: str, words: str, best_yaml: str) -> str:
    """Return the page.

    Args:
        result: what `ranking` gave, or that as JSON; with "as_it_is", the recipe's own values by field, its trial has a place on axes.
        recipe: its name.
        words: the verdict, in a sentence.
        best_yaml: the recipe with the best settings, as a file.
    """
    pages = environment()
    assert pages.loader
    pages = pages.overlay(loader=ChoiceLoader([FileSystemLoader(Path(__file__).parent), pages.loader]))
    fields = list(dict.fromkeys(field for each in (*result["places"], *result["trials"]) for field in each["values"]))
    places = {each["number"]: each for each in result["places"]}
    return pages.get_template("search.html.j2").render(
        result=result,
        recipe=recipe,
        words=words[:1].upper() + words[1:],
        best_yaml=best_yaml,
        best=places.get(result["best"]),
        before=next((each for each in result["places"] if not each["values"] and each["state"] == "complete"), None),
        fields=short_fields(fields),
        rows=_rows(result, fields),
        states=Counter(each["state"] for each in result["places"]),
        failures=[each | {"title": _title(each, places)} for each in result["trials"] if each["state"] == "fail"],
        parallel=parallel_picture(result),
        importance=importance_picture(result),
        looks=looks_picture(result),
        by_value={field: picture for field in scales(result) if (picture := values_picture(result, field))},
    )  # fmt: skip


def _rows(result: Result, fields: Sequence[str]) -> list[dict[str, Any]]:
    """Return the places as a table shows them."""
    names = {field: _names(result, field) for field in fields}
    looks: dict[int, list[int]] = {each["number"]: sorted(int(step) for step in each["looks"]) for each in result["trials"]}
    rows = []
    for each in result["places"]:
        values, steps = values_of(result, each), looks.get(each["number"], [])
        cells = [names[field].get(name(values[field]), "") if field in values else "" for field in fields]
        rows.append({**each, "cells": cells, "told_seeds": _seeds(each["seeds"]), "steps": steps, "told": _state(each)})
    return rows


def _names(result: Result, field: str) -> dict[str, str]:
    """Return what each value of a field is called, by its JSON."""
    return names_of([values[field] for each in (*result["places"], *result["trials"]) if field in (values := values_of(result, each))])


def _seeds(seeds: Sequence[float]) -> str:
    """Return the dev WERs of each seed, or, of many, their range."""
    if len(seeds) < 2:
        return ""
    told = [f"{100 * each:.1f}" for each in (seeds if len(seeds) <= SINGLY else (min(seeds), max(seeds)))]
    return ", ".join(told) if len(seeds) <= SINGLY else f"{told[0]} to {told[1]}, {len(seeds)} seeds"


def _state(place: Mapping[str, Any]) -> str:
    if place["state"] == "fail":
        return f"failed: {excerpt(place['error'] or 'no reason told', REASON)}"
    return "finished" if place["state"] == "complete" else "ended early"


def _title(trial: Mapping[str, Any], places: Mapping[int, Mapping[str, Any]]) -> str:
    """Return what a trial tried; of a repeat, with its seed."""
    if trial["repeats"] is None:
        return str(places[trial["number"]]["title"])
    first = places.get(trial["repeats"], {"title": ""})
    return f"{first['title']}, again with seed {trial['seed']}"
