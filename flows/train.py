"""Train: from shards to a checkpoint, scored before and after. GPU work."""

from prefect import flow

from flows.prepare import prepare
from tasks.contracts.recipe import Recipe
from tasks.policy import sealed, store_of
from tasks.score import transcribe_split, write_report
from tasks.train import train_model


@flow(flow_run_name="train-{recipe.name}", persist_result=False)
def train(recipe: Recipe, start: str = "", dataset: str = "") -> tuple[str, str]:
    """Train on the recipe's shards, score the model before and after, and return the keys of checkpoint and report.

    Args:
        recipe: Everything this run can be told.
        start: Key of the sealed model to start from; empty, with dataset empty: prepare both first.
        dataset: Key of the sealed data set.
    """
    root = store_of(recipe)
    start, dataset = (start, dataset) if dataset else prepare(recipe)
    model, data = sealed(root, "model", start), sealed(root, "dataset", dataset)
    hearing = ("test", recipe.token, recipe.scoring.batch)
    before = transcribe_split(root, model, data, *hearing, "before")
    checkpoint = train_model(root, model, data, recipe.token, recipe.training)
    after = transcribe_split(root, checkpoint, data, *hearing, "after")
    report = write_report(root, recipe.up_to_the_report(), model, checkpoint, data, data.digest, before, after)
    return checkpoint.key, report.key
