"""Release: from a checkpoint and its report to a model page with a demo, if it beats what is published. CPU work."""

from prefect import flow
from prefect.client.schemas import State
from prefect.states import Completed

from flows.prepare import prepare_all
from flows.score import score
from flows.train import train
from tasks.check import check_published
from tasks.contracts.errors import RecipeError
from tasks.contracts.recipe import Recipe
from tasks.contracts.values import Artifact, SplitOf
from tasks.decide import Decision, decide, done
from tasks.demo import compose_space, hub_start, open_demo
from tasks.dispatch import on_gpu
from tasks.export import export_model
from tasks.judge import judge_challenger, show_verdict
from tasks.policy import sealed, store_of
from tasks.push import compose_page, push_model, stage_page
from tasks.record import Challenger, Turn, challenger, claim_version, published_page, record_release, turn
from tasks.report import normalisers_of

Released = tuple[str, str, str]


@flow(flow_run_name="release-{recipe.name}", persist_result=False)
def release(recipe: Recipe, checkpoint: str = "", report: str = "") -> Released | State[Released]:
    """Publish the recipe's model with its card and its demo if it wins; else end as Rejected, which is no failure.

    Args:
        recipe: Everything this run can be told.
        checkpoint: Key of the sealed checkpoint; empty, with report empty: train it first.
        report: Key of its sealed report.

    Returns:
        Where model and demo lie, empty if nothing was published, and the report's key.
    """
    root = store_of(recipe)
    if bool(checkpoint) != bool(report):
        raise RecipeError("checkpoint and report go together: which model, and what is known of it")
    made = challenger(root, recipe, *((checkpoint, report) if report else on_gpu(train, recipe, *prepare_all(recipe))))
    now = turn(root, recipe, made)
    verdict = _judge(root, recipe, made, now)
    show_verdict(root, verdict)
    decision = decide(root, recipe, made, now, verdict)
    if not decision.publish:
        return Completed(name=decision.name, message=decision.words, data=("", "", made.report.key))
    version = claim_version(root, recipe, made, now)
    page = _compose(root, recipe, made, now, version, verdict, decision)
    if not now.is_done:
        staged = stage_page(root, page, recipe.release)
        check_published(root, page, staged, recipe.release, made.checkpoint, made.subject.data, recipe.token)
    placed = push_model(root, page, recipe.release, version)
    record_release(root, recipe, made, now, version, verdict, decision.told, page, placed)
    space = compose_space(root, recipe.release.name, recipe.language)
    demo = open_demo(root, space, recipe.release, hub_start(recipe))
    return done(now, version, placed, made, (placed.where, str(demo), made.report.key))


def _judge(root: str, recipe: Recipe, made: Challenger, now: Turn) -> Artifact:
    """Return the verdict on the challenger: against its opponent, or against the model it started from."""
    if now.champion and now.is_done:
        return sealed(root, "verdict", now.champion.verdict)
    of, other = made.subject, now.opponent
    further = [each.key for each in of.others]
    before = on_gpu(score, recipe, other.checkpoint, of.data.key, further, now.against, other.token) if other else of.before
    told, packs, gate = recipe.up_to_the_report(), normalisers_of(recipe), recipe.release.gate
    return judge_challenger(root, told, packs, gate, now.against, of.data, of.data.digest, of.others, before, of.after, made.report)


def _compose(root: str, recipe: Recipe, made: Challenger, now: Turn, version: int, verdict: Artifact, decision: Decision) -> Artifact:
    """Return the page: the one that is published, or a new one, with the exports that are wished for."""
    if page := published_page(root, now):
        return page
    test = SplitOf(made.subject.data, "test")
    exports = [export_model(root, made.checkpoint, test, recipe.token, each) for each in sorted(recipe.release.exports)]
    return compose_page(root, recipe.up_to_the_page(), made.checkpoint, made.report, verdict, exports, version, now.history, decision.told)
