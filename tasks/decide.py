"""Decide: whether a challenger is published, from the gate's verdict, what people did before, and what a person says now."""

from dataclasses import asdict, dataclass, field
from typing import Any

from prefect.client.schemas import State
from prefect.states import Completed

from tasks.approve import ask
from tasks.contracts.recipe import Recipe
from tasks.contracts.values import Artifact, fingerprint
from tasks.hub.page import Placed
from tasks.judge import read_verdict
from tasks.record import Challenger, Turn, record_rejection
from tasks.scoring.verdict import as_markdown
from tasks.store.objects import Store

# Names of the states in which a run ends well: something was published, all was as it is, the challenger lost, a person is asked.
RELEASED, NOTHING_NEW, REJECTED, WAITING = "Released", "NothingNew", "Rejected", "AwaitingApproval"


@dataclass(frozen=True)
class Decision:
    """Publish it, or end in the state with this name and these words."""

    publish: bool
    name: str = ""
    words: str = ""
    told: dict[str, str] = field(default_factory=dict)  # what a person said, if one was asked


def decide(root: str, recipe: Recipe, made: Challenger, turn: Turn, verdict: Artifact) -> Decision:
    """Return what is to be done, after asking a person if the recipe wants that; what is refused is written down.

    Raises:
        Pause: if the run is suspended until somebody has answered.
    """
    if turn.champion and turn.is_done:
        return Decision(True, told=turn.champion.approval)
    if why := _refused(recipe, turn, verdict):
        return _rejected(root, recipe, made, turn, verdict, why)
    if not recipe.release.approval:
        return Decision(True)
    key = fingerprint([verdict.key, made.of])  # of this page, and no other
    approval = ask(Store(root), key, _question(root, recipe, verdict), recipe.release.approval_days)
    if approval is None:
        words = f"nobody has decided yet: viska approve {key} --store {root}, or viska reject; then run this again"
        return Decision(False, WAITING, words)
    if approval.decision == "reject":
        return _rejected(root, recipe, made, turn, verdict, [f"a person said no: {approval.comment or 'without a comment'}"])
    return Decision(True, told=asdict(approval))


def _question(root: str, recipe: Recipe, verdict: Artifact) -> dict[str, str]:
    name, to = recipe.release.name, recipe.release.to
    about = f"Publish **{name}** at {to or 'the store'}, licence {recipe.release.licence}? The whole report is the artifact report-page."
    words = f"{about}\n\n{as_markdown(read_verdict(root, verdict))}"
    return {"name": name, "to": to, "verdict": verdict.key, "words": words}


def _refused(recipe: Recipe, turn: Turn, verdict: Artifact) -> list[str]:
    if recipe.release.anyway:
        return []
    return [turn.taken_back] if turn.taken_back else list(verdict.facts["reasons"])


def _rejected(root: str, recipe: Recipe, made: Challenger, turn: Turn, verdict: Artifact, why: list[str]) -> Decision:
    is_new = record_rejection(root, recipe, made, turn, verdict, why)
    words = f"against {turn.against}: {'; '.join(why)}"
    return Decision(False, REJECTED, words) if is_new else Decision(False, NOTHING_NEW, f"refused before, {words}")


def done(turn: Turn, version: int, placed: Placed, made: Challenger, result: tuple[str, str, str]) -> State[Any]:
    """Return the state in which a run ends whose page is published."""
    where = f"{placed.where}, v{version}"
    if turn.is_done:
        return Completed(name=NOTHING_NEW, message=f"neither recordings nor recipe have changed since {where}", data=result)
    wer = made.report.facts["after"]["wer"]["value"]
    return Completed(name=RELEASED, message=f"{where}: WER {100 * wer:.1f} %, met {turn.against}", data=result)
