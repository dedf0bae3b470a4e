"""Release: from a checkpoint and its report to a model page with a demo. CPU work."""

from prefect import flow

from flows.train import train
from tasks.contracts.recipe import Recipe
from tasks.demo import compose_space, open_demo
from tasks.policy import sealed, store_of
from tasks.push import compose_page, push_model


@flow(flow_run_name="release-{recipe.name}", persist_result=False)
def release(recipe: Recipe, checkpoint: str = "", report: str = "") -> tuple[str, str]:
    """Publish the recipe's model with its card and its demo, and return where they lie.

    Args:
        recipe: Everything this run can be told.
        checkpoint: Key of the sealed checkpoint; empty, with report empty: train it first.
        report: Key of its sealed report.
    """
    root = store_of(recipe)
    checkpoint, report = (checkpoint, report) if report else train(recipe)
    page = compose_page(root, recipe, sealed(root, "checkpoint", checkpoint), sealed(root, "report", report))
    model = push_model(root, page)
    space = compose_space(root, recipe.release.name, recipe.language)
    demo = open_demo(root, space)
    return str(model), str(demo)
