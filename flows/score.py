"""Score: what one model hears in the recipe's tests. GPU work."""

from prefect import flow

from flows.prepare import prepare_all
from tasks.contracts.recipe import Recipe
from tasks.contracts.values import Artifact, SplitOf
from tasks.policy import sealed, store_of
from tasks.report import show_heard
from tasks.score import transcribe_long, transcribe_split
from tasks.scoring.heard import Hearing


@flow(flow_run_name="score-{recipe.name}-{name}", persist_result=False)
def score(
    recipe: Recipe, checkpoint: str, dataset: str = "", others: list[str] | None = None, name: str = "again", token: str = ""
) -> Hearing:  # fmt: skip
    """Transcribe the recipe's tests with an earlier checkpoint, and show its error rates.

    Args:
        recipe: Everything this run can be told.
        checkpoint: Key of the sealed checkpoint.
        dataset: Key of the sealed data set; empty: prepare it first.
        others: Keys of the data sets of the recipe's further tests, in its order; not given: prepare them first.
        name: What people call the model, such as v3.
        token: Code of the language it decodes with, if that is not the recipe's.
    """
    root = store_of(recipe)
    if not dataset:
        _, dataset, others = prepare_all(recipe)
    elif recipe.scoring.others and not others:
        _, _, others = prepare_all(recipe)
    further = [sealed(root, "dataset", each) for each in others or ()]
    heard = hear(root, recipe, sealed(root, "checkpoint", checkpoint), sealed(root, "dataset", dataset), further, name, token)
    show_heard(root, recipe, heard)
    return heard


def hear(
    root: str, recipe: Recipe, model: Artifact, data: Artifact, further: list[Artifact], name: str, token: str = ""
) -> Hearing:  # fmt: skip
    """Return what a model hears in the test, in long recordings if they are wished for, and in each further test.

    `token`: of the language that it decodes with, if that is not the recipe's.
    """
    wish, test, code = recipe.scoring, SplitOf(data, "test"), token or recipe.token
    heard = transcribe_split(root, model, test, code, wish.batch, name, wish.engine)
    long = transcribe_long(root, model, test, code, wish.long, name) if wish.long.recordings else None
    return Hearing(heard, long, [
        transcribe_split(root, model, SplitOf(set, "test"), recipe.about(other).token, wish.batch, f"{name}-{other.name}", wish.engine)
        for other, set in zip(wish.others, further, strict=True)
    ])  # fmt: skip
