"""Retrain: corpus to published model in one run. What is scheduled, and what `make demo` runs."""

from prefect import flow

from flows.prepare import prepare, prepare_others
from flows.release import release
from flows.train import train
from tasks.contracts.recipe import Recipe


@flow(flow_run_name="retrain-{recipe.name}", persist_result=False)
def retrain(recipe: Recipe = Recipe()) -> tuple[str, str, str]:  # noqa: B008  (frozen)
    """Prepare, train, score and release; what is done already is found, not repeated. Return model, demo and the report's key.

    Args:
        recipe: Everything this run can be told.
    """
    start, dataset = prepare(recipe)
    others = prepare_others(recipe, start) if recipe.scoring.others else []
    checkpoint, report = train(recipe, start, dataset, others)
    model, demo = release(recipe, checkpoint, report)
    return model, demo, report
