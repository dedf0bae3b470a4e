"""Train: from shards to a checkpoint, scored before and after. GPU work."""

from prefect import flow

from flows.prepare import prepare_all, prepare_others
from flows.score import hear
from tasks.contracts.recipe import Recipe
from tasks.policy import sealed, store_of
from tasks.report import normalisers_of, show_report, write_report
from tasks.train import train_model


@flow(flow_run_name="train-{recipe.name}", persist_result=False)
def train(recipe: Recipe, start: str = "", dataset: str = "", others: list[str] | None = None) -> tuple[str, str]:
    """Train on the recipe's shards, score the model before and after, and return the keys of checkpoint and report.

    Args:
        recipe: Everything this run can be told.
        start: Key of the sealed model to start from; empty, with dataset empty: prepare both first.
        dataset: Key of the sealed data set.
        others: Keys of the data sets of the recipe's further tests, in its order; not given: prepare them first.
    """
    root = store_of(recipe)
    if not dataset:
        start, dataset, others = prepare_all(recipe)
    if recipe.scoring.others and not others:
        others = prepare_others(recipe, start)
    model, data = sealed(root, "model", start), sealed(root, "dataset", dataset)
    further = [sealed(root, "dataset", each) for each in others or ()]
    before = hear(root, recipe, model, data, further, "before")
    checkpoint = train_model(root, model, data, recipe.token, recipe.training)
    after = hear(root, recipe, checkpoint, data, further, "after")
    told = recipe.up_to_the_report()
    report = write_report(root, told, normalisers_of(recipe), model, checkpoint, data, data.digest, further, before, after)
    show_report(root, report)
    return checkpoint.key, report.key
