"""Retrain: corpus to published model in one run. What is scheduled, and what `make demo` runs. CPU work, but for what it sends away."""

from prefect import flow
from prefect.client.schemas import State

from flows.prepare import prepare_all
from flows.release import Released, release
from flows.train import train
from tasks.contracts.recipe import Recipe
from tasks.dispatch import on_gpu


@flow(flow_run_name="retrain-{recipe.name}", persist_result=False)
def retrain(recipe: Recipe = Recipe()) -> Released | State[Released]:  # noqa: B008  (frozen)
    """Prepare, train, score and release; what is done already is found, not repeated. Return what `release` does.

    Args:
        recipe: Everything this run can be told.
    """
    checkpoint, report = on_gpu(train, recipe, *prepare_all(recipe))
    return release.fn(recipe, checkpoint, report)  # in this run: a run within a run cannot wait for a person
