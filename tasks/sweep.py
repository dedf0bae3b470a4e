"""Sweep: trainings with other settings, one after another, over one set of shards; which of them was the best, and how sure that is."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
import yaml
from prefect import Flow
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.client.schemas import State
from prefect.states import Completed

from tasks.contracts.errors import TrainingError
from tasks.contracts.recipe import Recipe
from tasks.contracts.search import Search, check, with_values
from tasks.contracts.values import HISTORY, Artifact, fingerprint
from tasks.dispatch import GPU, send, side_by_side
from tasks.model.fit import with_rate
from tasks.policy import PRUNED, for_people, sealed, step
from tasks.scoring.normalise import plain
from tasks.search.page import render_search
from tasks.search.ranking import lines, ranking, verdict
from tasks.search.space import as_it_is, grid, recipe_of
from tasks.search.study import Study, Wanted
from tasks.store.artifacts import Draft, fetch_file
from tasks.store.lines import from_lines
from tasks.store.objects import Store
from tasks.train import train_model

log = logging.getLogger(__name__)
RESULT, BEST, PAGE = "search.json", "best.yaml", "search.html"
Prepare = Callable[[Recipe], tuple[str, str]]


def open_study(root: str, recipe: Recipe, search: Search, start: str, dataset: str) -> str:
    """Return the name of the search: of its recipe, what it varies, and the clips; the same one goes on where it was interrupted.

    Raises:
        RecipeError: if it asks for a value that no recipe may have.
    """
    check(recipe, search)
    model, data = sealed(root, "model", start), sealed(root, "dataset", dataset)
    return fingerprint([recipe.up_to_the_report(), search, model, data])


def run_trials(
    root: str, recipe: Recipe, search: Search, name: str, given: tuple[str, str], prepare: Prepare, trial: Flow[Any, Any]
) -> None:
    """Do every trial that is wanted. One that fails is kept as such, and the next one begins.

    Args:
        root: of the store.
        recipe: as it is.
        search: what is varied.
        name: of the search.
        given: keys of the starting model and the data set of the recipe as it is.
        prepare: makes them for a trial that changes more than the training.
        trial: the flow of one trial.
    """
    study = Study(Store(root), name, recipe, search)
    if search.method == "grid" and (n_points := len(grid(search.axes, search.seed))) >= search.trials:
        log.warning(
            "the grid has %d settings beside the recipe as it is, and search.trials is %d: not all are tried", n_points, search.trials
        )
    at_once = search.at_once if os.environ.get(GPU) else 1
    for some in (study.firsts(), study.repeats()):  # which are the best, is known when all firsts have ended
        side_by_side((_do(root, study, wanted, given, prepare, trial) for wanted in some), at_once)


def _do(root: str, study: Study, wanted: Wanted, given: tuple[str, str], prepare: Prepare, trial: Flow[Any, Any]) -> Iterator[None]:
    try:
        recipe = study.recipe_of(wanted)
        is_given = wanted.seed is None and all(field.startswith("training.") for field in wanted.values)
        own = given if is_given else _same_dev(root, given, prepare(recipe))  # another seed: a new model has other first weights
        yield from send(trial, recipe, study.search, study.name, wanted.number, *own)
    except Exception as error:
        study.give_up(wanted.number, pruned=False, error=f"{type(error).__name__}: {error}")
        log.warning("trial %d failed, and the search goes on: %s", wanted.number, error)


def _same_dev(root: str, given: tuple[str, str], own: tuple[str, str]) -> tuple[str, str]:
    """Return `own`; TrainingError if its dev split is not that of the recipe as it is: their dev WERs would not compare."""
    mine, theirs = (_dev(root, key) for _, key in (given, own))
    if mine != theirs:
        told = f"{len(theirs)} clips, expected the {len(mine)} of the recipe as it is; {len(mine & theirs)} are in both with the same words"
        raise TrainingError(f"dev split of {own[1]}: {told}; dev WERs would not compare")
    return own


def _dev(root: str, dataset: str) -> set[tuple[str, str]]:
    index = fetch_file(Store(root), sealed(root, "dataset", dataset).file("index.parquet"))
    clips = pq.read_table(index, columns=["id", "split", "text"]).filter(pc.field("split") == "dev")
    return set(zip(clips["id"].to_pylist(), map(plain, clips["text"].to_pylist()), strict=True))


def try_out(root: str, name: str, number: int, recipe: Recipe, search: Search, model: Artifact, data: Artifact) -> State[str] | str:
    """Train as one trial, tell the search what came of it, and return the checkpoint's key."""
    study = Study(Store(root), name, recipe, search)
    if not study.is_running(number):
        raise TrainingError(f"trial {number} of the search {name} has ended already; the sweep names those that are to be done")
    watch, n_devices = study.watcher(number), max(1, torch.cuda.device_count())
    try:
        state = train_model(root, model, data, recipe.token, recipe.training, also=watch, return_state=True)
        checkpoint = state.result()
    except Exception as error:
        study.give_up(number, pruned=False, error=f"{type(error).__name__}: {error}", seconds=watch.seconds, n_devices=n_devices)
        raise
    if state.name == PRUNED:
        study.give_up(number, pruned=True, error=state.message, seconds=watch.seconds, n_devices=n_devices)
        return Completed(name=PRUNED, message=state.message, data="")
    looks = from_lines(fetch_file(Store(root), checkpoint.file(HISTORY)).read_bytes())
    study.end(number, looks, **{key: checkpoint.facts[key] for key in ("dev_wer", "seconds", "n_devices")}, checkpoint=checkpoint.key)
    return checkpoint.key


def standings(root: str, recipe: Recipe, search: Search, name: str, start: str) -> dict[str, Any]:
    """Return what came of all trials so far; `start`: key of the model of the recipe as it is, by which its usual rate is known.

    Raises:
        TrainingError: if none of them came to its end.
    """
    rate = with_rate(recipe.training, sealed(root, "model", start)).learning_rate
    own = as_it_is(with_values(recipe, {"training.learning_rate": rate}), search.axes)
    result = ranking(Study(Store(root), name, recipe, search).tried()) | {"as_it_is": own}
    if result["best"] is None:
        told = "; ".join(dict.fromkeys(f"trial {each['number']}: {each['error']}" for each in result["trials"]))
        raise TrainingError(f"search {name}: no trial came to its end: {told}")
    return result


@step("search", version=1)
def write_ranking(draft: Draft, recipe: Recipe, search: Search, result: dict[str, Any]) -> dict[str, Any]:
    """Write the ranking as JSON and as a page with pictures, and the best recipe as a file for `viska retrain --recipe`."""
    best = _best(result)
    words = verdict(result)
    told = best_recipe(recipe, result).model_dump(mode="json", exclude={"store"})
    head = "".join(f"# {line}\n" for line in (words, "viska retrain --recipe THIS_FILE"))
    draft.write(RESULT, json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False).encode())
    file = head + yaml.safe_dump(told, sort_keys=False, allow_unicode=True)
    draft.write(BEST, file.encode())
    draft.write(PAGE, render_search(result, recipe.name, words, file).encode())
    return {"best": best["values"], "dev_wer": best["dev_wer"], "gain": result["gain"], "n_trials": len(result["trials"]), "verdict": words}


def best_recipe(recipe: Recipe, result: dict[str, Any]) -> Recipe:
    """Return the recipe with the best settings."""
    return recipe_of(recipe, _best(result)["values"])


def _best(result: dict[str, Any]) -> dict[str, Any]:
    best: dict[str, Any] = next(each for each in result["places"] if each["number"] == result["best"])
    return best


def read_ranking(root: str, found: Artifact) -> dict[str, Any]:
    """Return the ranking as `write_ranking` wrote it."""
    result: dict[str, Any] = json.loads(fetch_file(Store(root), found.file(RESULT)).read_text())
    return result


@for_people
def show_ranking(root: str, found: Artifact) -> None:
    """Show the ranking in the Prefect UI, and the best recipe."""
    result = read_ranking(root, found)
    rows = [
        {"place": rank, "trial": each["number"], "settings": each["title"], "state": each["state"], "seeds": len(each["seeds"]),
         "dev WER, %": None if each["dev_wer"] is None else round(100 * each["dev_wer"], 2)}
        for rank, each in enumerate(result["places"], 1)
    ]  # fmt: skip
    create_table_artifact(rows, key="sweep", description=found.facts["verdict"])
    best = fetch_file(Store(root), found.file(BEST)).read_text()
    page = Store(root).uri(found.file(PAGE).path)
    create_link_artifact(page if "://" in page else f"file://{page}", "The whole ranking, with pictures", key="sweep-page")
    create_markdown_artifact(f"{found.facts['verdict']}\n\n```yaml\n{best}```", key="best-recipe", description="Ready for retrain")


def describe(root: str, found: Artifact) -> list[str]:
    """Return the ranking as lines for a terminal."""
    where = [f"{what:7} {Store(root).uri(found.file(file).path)}" for what, file in (("ranking", PAGE), ("recipe", BEST))]
    return [*lines(read_ranking(root, found)), found.facts["verdict"], *where]
