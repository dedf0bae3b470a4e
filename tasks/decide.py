"""Decide: whether a challenger is published, from the gate's verdict, what people did before, and what a person says now."""

from dataclasses import asdict, dataclass, field

from tasks.approve import ask
from tasks.contracts.recipe import Recipe
from tasks.contracts.values import Artifact
from tasks.record import Challenger, Turn, record_rejection

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
    if turn.is_same_model:
        return Decision(True, told=turn.champion.approval if turn.champion else {})
    if why := _refused(recipe, turn, verdict):
        return _rejected(root, recipe, made, turn, verdict, why)
    if not recipe.release.approval:
        return Decision(True)
    approval = ask(root, verdict)
    if approval is None:
        words = f"nobody has decided yet: viska approve {verdict.key} --store {root}, or viska reject; then run this again"
        return Decision(False, WAITING, words)
    if approval.decision == "reject":
        return _rejected(root, recipe, made, turn, verdict, [f"a person said no: {approval.comment or 'without a comment'}"])
    return Decision(True, told=asdict(approval))


def _refused(recipe: Recipe, turn: Turn, verdict: Artifact) -> list[str]:
    if recipe.release.anyway:
        return []
    return [turn.taken_back] if turn.taken_back else list(verdict.facts["reasons"])


def _rejected(root: str, recipe: Recipe, made: Challenger, turn: Turn, verdict: Artifact, why: list[str]) -> Decision:
    record_rejection(root, recipe, made, turn, verdict, why)
    return Decision(False, REJECTED, f"against {turn.against}: {'; '.join(why)}")
