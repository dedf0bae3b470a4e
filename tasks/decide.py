"""Decide: whether a challenger is published, from the gate's verdict, what people did before, and what a person says now."""

from dataclasses import asdict, dataclass, field

from tasks.approve import ask
from tasks.contracts.recipe import Recipe
from tasks.contracts.values import Artifact, fingerprint
from tasks.judge import read_verdict
from tasks.record import Challenger, Turn, record_rejection
from tasks.scoring.verdict import as_markdown
from tasks.store.objects import Store

REJECTED, WAITING = "Rejected", "AwaitingApproval"  # names of the states in which a run ends well and has published nothing


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
    record_rejection(root, recipe, made, turn, verdict, why)
    return Decision(False, REJECTED, f"against {turn.against}: {'; '.join(why)}")
