"""Approve: ask a person before anything is published. The run is suspended meanwhile and holds no worker."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput, keyset_from_base_key
from prefect.input.actions import delete_flow_run_input, read_flow_run_input

from tasks.contracts.errors import ReleaseError
from tasks.store.objects import Store

DAY = 24 * 3600  # seconds
Answer = Literal["approve", "reject"]


class Answered(RunInput):
    """What is asked in the Prefect UI."""

    decision: Answer
    comment: str = ""


@dataclass(frozen=True)
class Approval:
    """What a person decided."""

    decision: Answer
    comment: str
    at: str


def ask(store: Store, key: str, question: dict[str, Any], days: float) -> Approval | None:
    """Return what a person has decided; None if nobody has, and this run cannot be suspended: it has no deployment.

    Args:
        store: where questions and answers are kept.
        key: of the question: whoever has answered it is not asked again.
        question: what it is about; `words` is shown.
        days: in which somebody must answer; then the run fails, and asks again when it is retried.

    Raises:
        ReleaseError: if the UI's answer is not the one that was given by `viska approve` or `viska reject`.
        Pause: if this run is suspended now. When it is resumed, it starts again and comes here with the answer.
    """
    if not store.exists(f"questions/{key}.json"):
        store.create(f"questions/{key}.json", json.dumps(question, indent=1, ensure_ascii=False).encode())
    run, given = FlowRunContext.get(), read_approval(store, key)
    if run is None or run.flow_run is None or run.flow_run.deployment_id is None:
        return given
    if answer := _answer(run.flow_run.id, key):
        return answered(store, key, answer.decision, answer.comment)
    if given:
        return given
    shown = Answered.with_initial_data(description=question["words"])
    answer = suspend_flow_run(wait_for_input=shown, timeout=round(days * DAY), key=key)
    return answered(store, key, answer.decision, answer.comment)


def _answer(run: UUID, key: str) -> Answered | None:
    """Return what the UI was told in this run; if it was not, what it asked before and nobody answered in time is taken away."""
    keys = keyset_from_base_key(f"suspended-{key}")
    if read_flow_run_input(keys["response"], flow_run_id=run) is not None:
        return Answered.load(keys, flow_run_id=run)  # type: ignore[return-value]  # it is no coroutine here
    for name in (keys["schema"], keys["description"]):
        with suppress(ObjectNotFound, PrefectHTTPStatusError):
            delete_flow_run_input(name, flow_run_id=run)
    return None


def answered(store: Store, key: str, decision: Answer, comment: str) -> Approval:
    """Keep what somebody decided about the question with this key, and return it.

    Raises:
        ReleaseError: if there is no such question, or somebody has decided otherwise before.
    """
    if not store.exists(f"questions/{key}.json"):
        raise ReleaseError(f"{store.uri('questions')} has no {key!r}; the run that asks says its key")
    approval = Approval(decision, comment, datetime.now(UTC).isoformat(timespec="seconds"))
    if before := read_approval(store, key):
        if before.decision != decision:
            raise ReleaseError(f"{key}: somebody said {before.decision} at {before.at} ({before.comment}); that stands")
        return before
    store.create(_at(key), json.dumps(asdict(approval), indent=1, ensure_ascii=False).encode())
    return approval


def read_approval(store: Store, key: str) -> Approval | None:
    """Return what was decided about the question with this key, if somebody has."""
    try:
        told = json.loads(store.read(_at(key)))
    except FileNotFoundError:
        return None
    if not isinstance(told, dict) or told.get("decision") not in ("approve", "reject"):
        raise ReleaseError(f"{store.uri(_at(key))} is no decision; viska did not write it")
    return Approval(told["decision"], str(told.get("comment", "")), str(told.get("at", "")))


def _at(key: str) -> str:
    return f"approvals/{key}.json"
