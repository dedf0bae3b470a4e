"""Dispatch: send a flow to the machines with a GPU, and wait for it without losing it.

The run that waits may die: its retry finds the run it had sent, by an idempotency key of what is wanted and the number of the attempt. The
run that was sent may die: it gets a successor, which goes on from the last checkpoint. Two runs that want the same share one.
"""

import inspect
import itertools
import logging
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import httpx
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.context import FlowRunContext
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError, TerminationSignal
from prefect.states import Cancelling
from pydantic import BaseModel

from tasks.contracts.errors import RecipeError, RunError
from tasks.contracts.recipe import Recipe
from tasks.contracts.values import fingerprint
from tasks.policy import made_elsewhere, store_of

P = ParamSpec("P")
R = TypeVar("R")

GPU = "VISKA_GPU"  # environment variable: the name of the deployments on machines with a GPU; empty: this machine does such work itself
POLL = 5.0  # seconds between looks at a run
CRASHES = 3  # in a row, each within BRIEF of its start, and no successor follows: it would crash too
BRIEF = 600.0  # seconds; a run that lasted longer has come further, so a machine may be taken away any number of times
LOST = "concurrency slot lost"  # in the words of Prefect (3.8.8) when it cancels a run itself, having been away: no person wanted that
ENDED = object()

log = logging.getLogger(__name__)


def on_gpu(flow: Flow[Concatenate[Recipe, P], R], recipe: Recipe, *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a flow here; or, if VISKA_GPU names a deployment of it, there, and find here what it has made.

    Args:
        flow: what is to be run. All that it makes is made by steps.
        recipe: its first argument.
        *args: the further ones, JSON values.
        **kwargs: more of these, by name.

    Raises:
        RunError: if the run there failed, was cancelled, or crashed again and again.
        RecipeError: if there is no such deployment.
    """
    sender = _sender(flow, recipe, *args, **kwargs)
    if not sender:
        return flow(recipe, *args, **kwargs)
    with made_elsewhere(lambda: side_by_side(iter([sender()]))):
        return flow.fn(recipe, *args, **kwargs)


def send(flow: Flow[Concatenate[Recipe, P], R], recipe: Recipe, *args: P.args, **kwargs: P.kwargs) -> Iterator[None]:
    """As `on_gpu`, for a flow that says in the store itself what came of it: it is run here or there, and nothing is looked for.

    Yields:
        None, whenever others may be seen to, for `side_by_side`: the run is on another machine, and not done.
    """
    sender = _sender(flow, recipe, *args, **kwargs)
    if sender:
        yield from sender()
    else:
        flow(recipe, *args, **kwargs)


def side_by_side(sendings: Iterator[Iterator[None]], at_once: int = 1) -> None:
    """Wait for all of these, so many at once; the next is asked for when one has ended. What one raises ends all: their runs are left."""
    under_way: list[Iterator[None]] = []
    with ExitStack() as stack:
        while True:
            while len(under_way) < at_once and (one := next(sendings, None)) is not None:
                under_way.append(stack.enter_context(closing(one)))  # type: ignore[type-var]  # a generator
            if not under_way:
                return
            ended = [one for one in under_way if next(one, ENDED) is ENDED]
            under_way = [one for one in under_way if one not in ended]
            if not ended:
                time.sleep(POLL)


def _sender(
    flow: Flow[Concatenate[Recipe, P], R], recipe: Recipe, *args: P.args, **kwargs: P.kwargs
) -> Callable[[], Iterator[None]] | None:
    """Return what sends the flow to a machine with a GPU and waits for it; None if it is to run here."""
    if not (name := os.environ.get(GPU)):
        return None
    there = recipe.model_copy(update={"store": store_of(recipe)})
    told = inspect.signature(flow.fn).bind(recipe, *args, **kwargs).arguments
    title = str(flow.flow_run_name or f"{flow.name}-{recipe.name}").format(**told)
    told |= {"recipe": there.model_dump(mode="json")}
    wanted = fingerprint([flow.name, told | {"recipe": there.up_to_the_report(), "store": there.store}])
    told = {key: value.model_dump(mode="json") if isinstance(value, BaseModel) else value for key, value in told.items()}
    return partial(_send, f"{flow.name}/{name}", wanted, told, title)


def _send(deployment: str, wanted: str, parameters: dict[str, Any], title: str) -> Iterator[None]:
    """End when a run of the deployment with this wish has completed: one that is under way already, or a new one."""
    crashes = 0
    for attempt in itertools.count():
        run, is_new = _open(deployment, f"{wanted}:{attempt}", parameters, title)
        if not is_new and run.state and run.state.is_final():
            continue  # it ended before this run came, and what is wanted is not there
        log.info("%s the run %s of %s", "sent" if is_new else "found, and waiting for,", run.name, deployment)
        run = yield from _wait(run, is_new)
        assert run.state is not None
        if run.state.is_completed():
            return
        lost = run.state.is_cancelled() and LOST in (run.state.message or "")
        if run.state.is_cancelled() and not is_new and not lost:
            continue  # by whoever has sent it, and this one still wants it
        crashes = crashes + 1 if _was_brief(run) else 1
        told = f"the run {run.name} of {deployment} ended as {run.state.name}: {run.state.message or 'without a word'}"
        if not (run.state.is_crashed() or lost) or crashes >= CRASHES:
            raise RunError(f"{told}; look at its log, and run this one again: what is done is found")
        log.warning("%s; another one goes on from the last checkpoint", told)


def _open(deployment: str, key: str, parameters: dict[str, Any], title: str) -> tuple[FlowRun, bool]:
    """Return the run with this idempotency key, and whether it is new."""
    wish = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[key]))
    if runs := _patiently(lambda client: client.read_flow_runs(flow_run_filter=wish)):
        return runs[0], False
    _patiently(lambda client: _look_for_workers(client, deployment))
    told: dict[str, Any] = {"parameters": parameters, "flow_run_name": title, "idempotency_key": key}
    sent = _patiently(lambda _: run_deployment(deployment, timeout=0, **told))
    return cast(FlowRun, sent), True  # no coroutine in a thread without a loop


def _was_brief(run: FlowRun) -> bool:
    """Return whether a run that crashed would do so again: one that has waited or worked for long may come further."""
    if run.run_count:
        return run.total_run_time.total_seconds() < BRIEF
    return bool(run.created and run.end_time and (run.end_time - run.created).total_seconds() < BRIEF)


def _wait(run: FlowRun, is_ours: bool) -> Generator[None, None, FlowRun]:
    """Return the run when it has ended. If this one is cancelled meanwhile, so is what it has sent: Prefect does so, but later."""
    try:
        while not (run.state and run.state.is_final()):
            yield
            run = _patiently(lambda client, id=run.id: client.read_flow_run(id))  # type: ignore[misc]  # bound now
    except (TerminationSignal, GeneratorExit):  # the second where the signal came between two looks
        if is_ours:
            _cancel_too(run)
        raise
    return run


def _cancel_too(run: FlowRun) -> None:
    """Cancel the run if this one is being cancelled, and does not end for another reason."""
    here = FlowRunContext.get()
    with suppress(httpx.HTTPError, PrefectHTTPStatusError), get_client(sync_client=True) as client:
        if here and here.flow_run and client.read_flow_run(here.flow_run.id).state_type == StateType.CANCELLING:
            client.set_flow_run_state(run.id, Cancelling())


def _look_for_workers(client: SyncPrefectClient, deployment: str) -> None:
    try:
        pool = client.read_deployment_by_name(deployment).work_pool_name
    except ObjectNotFound as error:
        told = f"{GPU}: there is no deployment {deployment!r}; register it with `prefect deploy --all`"
        raise RecipeError(f"{told}, or leave {GPU} empty to do the work here") from error
    status = client.read_work_pool(pool).status if pool else None
    if status and status.value != "READY":
        log.warning("no worker is online in pool %s; waiting for one: prefect worker start --pool %s --limit 1", pool, pool)


def _patiently(ask: Callable[[SyncPrefectClient], R]) -> R:
    """Return the answer of Prefect's server, however long it is away: whoever waits for hours must not fail because it restarts."""
    while True:
        try:
            with get_client(sync_client=True) as client:
                return ask(client)
        except httpx.TransportError as error:
            why = repr(error)
        except PrefectHTTPStatusError as error:
            if error.response.status_code < 500:
                raise
            why = str(error.response.status_code)
        log.warning("Prefect's server does not answer (%s); asking again", why)
        time.sleep(POLL)
