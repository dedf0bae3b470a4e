"""Audit: which labels are probably wrong, says a model that was trained on them. Listening is GPU work, judging is a person's."""

from prefect import flow

from flows.prepare import prepare
from flows.train import train
from tasks.audit import rank_suspects
from tasks.contracts.recipe import Recipe
from tasks.contracts.values import SplitOf
from tasks.policy import sealed, store_of
from tasks.score import transcribe_split


@flow(flow_run_name="audit-{recipe.name}", persist_result=False)
def audit(recipe: Recipe, checkpoint: str = "", dataset: str = "") -> tuple[str, str]:
    """Rank the labels of all three splits, and return the keys of the list and of the data set.

    Args:
        recipe: Everything this run can be told.
        checkpoint: Key of the sealed checkpoint that listens; empty: prepare and train first.
        dataset: Key of the sealed data set; empty, or without a checkpoint: prepare first.
    """
    root = store_of(recipe)
    start, dataset = ("", dataset) if checkpoint and dataset else prepare(recipe)
    checkpoint = checkpoint or train(recipe, start, dataset)[0]
    model, data = sealed(root, "checkpoint", checkpoint), sealed(root, "dataset", dataset)
    how = (recipe.scoring.batch, "audit", recipe.scoring.engine)
    heard = [
        transcribe_split(root, model, SplitOf(data, "train"), recipe.token, *how),
        transcribe_split(root, model, SplitOf(data, "dev"), recipe.token, *how),
        transcribe_split(root, model, SplitOf(data, "test"), recipe.token, *how),
    ]
    suspects = rank_suspects(root, data, data.key, heard, recipe.language)
    return suspects.key, data.key
