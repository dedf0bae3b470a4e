"""Sweep: trainings with other settings over one set of shards; dev chooses the best, and that meets the test, once. CPU work."""

from prefect import flow

from flows.prepare import prepare, prepare_others
from flows.train import train
from flows.trial import trial
from tasks.contracts.recipe import Recipe
from tasks.contracts.search import Search
from tasks.dispatch import on_gpu
from tasks.policy import store_of
from tasks.sweep import best_recipe, open_study, run_trials, show_ranking, standings, write_ranking


@flow(flow_run_name="sweep-{recipe.name}", persist_result=False)
def sweep(recipe: Recipe = Recipe(), search: Search = Search()) -> tuple[str, str]:  # noqa: B008  (frozen)
    """Try other settings, rank them by dev WER, and score the best on the test; return the keys of the ranking and of that report.

    Args:
        recipe: What is varied, as it is.
        search: Which settings are tried, how they are chosen, and when it ends.
    """
    root = store_of(recipe)
    start, dataset = prepare(recipe)
    study = open_study(root, recipe, search, start, dataset)
    run_trials(root, recipe, search, study, (start, dataset), prepare, trial)
    result = standings(root, recipe, search, study, start)
    found = write_ranking(root, recipe, search, result)
    show_ranking(root, found)
    best = best_recipe(recipe, result)
    start, dataset = prepare(best)
    _, report = on_gpu(train, best, start, dataset, prepare_others(best, start) if best.scoring.others else [])
    return found.key, report
