"""Rollback: an older release becomes the current one again, where it was published; its checkpoint's successor stays away."""

from prefect import flow

from tasks.contracts.recipe import Recipe
from tasks.policy import sealed, store_of
from tasks.push import push_model
from tasks.record import earlier, record_rollback


@flow(flow_run_name="rollback-{recipe.release.name}-to-v{version}", persist_result=False)
def rollback(recipe: Recipe, version: int, comment: str = "") -> tuple[str]:
    """Make an older release of the recipe's model the current one, and return where it lies.

    Args:
        recipe: Everything this run can be told; its release and store count.
        version: Number of the release.
        comment: Why, for the log and the next card.
    """
    root = store_of(recipe)
    event = earlier(root, recipe, version)
    placed = push_model(root, sealed(root, "page", event.page), recipe.release, 0)
    record_rollback(root, recipe, event, placed, comment)
    return (placed.where,)
