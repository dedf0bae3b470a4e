"""Approve: ask a person before anything is published. The run is suspended meanwhile and holds no worker."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

from prefect.context import FlowRunContext
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput

from tasks.contracts.errors import ReleaseError
from tasks.contracts.values import Artifact
from tasks.judge import read_verdict
from tasks.scoring.verdict import as_markdown
from tasks.store.objects import Store

PATIENCE = 14 * 24 * 3600  # seconds in which somebody must answer; then the run fails, and can be started again
Answer = Literal["approve", "reject"]


class Question(RunInput):
    """What is asked in the Prefect UI."""

    decision: Answer
    comment: str = ""


@dataclass(frozen=True)
class Approval:
    """What a person decided about a verdict."""

    decision: Answer
    comment: str
    at: str


def ask(root: str, verdict: Artifact) -> Approval | None:
    """Return what a person has decided; None if nobody has, and this run cannot be suspended: it has no deployment.

    Raises:
        Pause: if this run is suspended now. When it is resumed, it starts again and comes here with the answer.
    """
    store = Store(root)
    if decided := read_approval(store, verdict.key):
        return decided
    run = FlowRunContext.get()
    if run is None or run.flow_run is None or run.flow_run.deployment_id is None:
        return None
    told = as_markdown(read_verdict(root, verdict)) + "\n\nThe whole report is the artifact `report-page` of this run."
    question = Question.with_initial_data(description=told)
    answer = suspend_flow_run(wait_for_input=question, timeout=PATIENCE, key=f"approve-{verdict.key}")
    return answered(store, verdict.key, answer.decision, answer.comment)


def answered(store: Store, verdict: str, decision: Answer, comment: str) -> Approval:
    """Keep what somebody decided about the verdict with this key, and return it.

    Raises:
        ReleaseError: if somebody has decided otherwise before.
    """
    approval = Approval(decision, comment, datetime.now(UTC).isoformat(timespec="seconds"))
    if before := read_approval(store, verdict):
        if before.decision != decision:
            raise ReleaseError(f"verdict {verdict}: somebody said {before.decision} at {before.at} ({before.comment}); that stands")
        return before
    store.create(_at(verdict), json.dumps(asdict(approval), indent=1, ensure_ascii=False).encode())
    return approval


def read_approval(store: Store, verdict: str) -> Approval | None:
    """Return what was decided about the verdict with this key, if somebody has."""
    try:
        told = json.loads(store.read(_at(verdict)))
    except FileNotFoundError:
        return None
    if not isinstance(told, dict) or told.get("decision") not in ("approve", "reject"):
        raise ReleaseError(f"{store.uri(_at(verdict))} is no decision; viska did not write it")
    return Approval(told["decision"], str(told.get("comment", "")), str(told.get("at", "")))


def _at(verdict: str) -> str:
    return f"approvals/{verdict}.json"
