"""Trial: one training of a sweep. GPU work."""

from prefect import flow
from prefect.client.schemas import State

from tasks.contracts.recipe import Recipe
from tasks.contracts.search import Search
from tasks.policy import sealed, store_of
from tasks.sweep import try_out


@flow(flow_run_name="trial-{number}-of-{recipe.name}", persist_result=False)
def trial(recipe: Recipe, search: Search, study: str, number: int, start: str, dataset: str) -> State[str] | str:
    """Train as one trial of a sweep, tell the sweep how it went, and return the key of the checkpoint; none if it was ended early.

    Args:
        recipe: The trial's: the sweep's with other values.
        search: What the sweep varies.
        study: Name of the sweep in the store.
        number: Of the trial.
        start: Key of the sealed model to start from.
        dataset: Key of the sealed data set.
    """
    root = store_of(recipe)
    return try_out(root, study, number, recipe, search, sealed(root, "model", start), sealed(root, "dataset", dataset))
