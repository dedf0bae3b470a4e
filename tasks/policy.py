"""What every step has in common: its address is its cache, accidents are retried, refusals are not. Said once.

A step is written as a function of a draft and its inputs; it is called with the store's root and the same inputs:

    @step("audio", version=1)
    def resample(draft: Draft, part: Part) -> dict[str, Any]: ...

    audio = resample("gs://bucket/viska", part)   # an Artifact; the task run ends in Completed, or in Cached

The address is the fingerprint of kind, version and inputs; the developer bumps `version` when code changes the bytes. Prefect's own
result cache is not used: whoever can write a Prefect result runs code in the flow, and it believes a record whose artifact is gone.
"""

import contextlib
import functools
import inspect
import logging
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import httpx
from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas import State
from prefect.client.schemas.objects import TaskRun
from prefect.context import FlowRunContext, TaskRunContext
from prefect.events.worker import EventsWorker
from prefect.exceptions import PrefectHTTPStatusError, TerminationSignal
from prefect.futures import PrefectFutureList
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Crashed

from tasks.contracts.errors import Pruned, RecipeError, StoreError, ViskaError
from tasks.contracts.recipe import Recipe
from tasks.contracts.values import Artifact, fingerprint, plain
from tasks.model.signals import Stopped
from tasks.redact import install
from tasks.store.artifacts import Draft, find, load
from tasks.store.objects import Store

log = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")

DELAYS: list[float] = [2, 10]  # seconds before an accident is tried again
PREEMPTED = "Preempted"  # the state of a step that was told to stop, and kept what it had done
PRUNED = "Pruned"  # the state of a training that was ended early: all is well, and it has made nothing
FAREWELL = 3  # seconds in which a process that was told to stop sends its last events
PATIENCE = 30  # seconds in which a Dask cluster must show a worker
made: Counter[str] = Counter()  # steps this run did, by kind, in whichever process; for the closing words of the command line
cached: Counter[str] = Counter()  # steps it found done
_elsewhere: ContextVar[Callable[[], None] | None] = ContextVar("elsewhere", default=None)  # has missing steps made on another machine

install()  # here for the reason below: whoever runs a step has imported this file

# The lines of plain modules, and the warnings of transformers, reach the log of their run. Here, because a Dask worker imports this file.
_lines = APILogHandler()
_lines.addFilter(lambda _: (TaskRunContext.get() or FlowRunContext.get()) is not None)
logging.getLogger("tasks").addHandler(_lines)
logging.getLogger("transformers").addHandler(_lines)
logging.getLogger("tasks").setLevel(logging.INFO)


def is_accident(_task: object, _run: TaskRun, state: State[Any]) -> bool:
    """Retry what the network or the machine did to us, never what we refused on purpose."""
    return not isinstance(state.result(raise_on_failure=False), ViskaError)


class Step(Task[P, R]):
    """A task that may end in the state named Cached; a direct call gives the value in either case."""

    kind: str
    look: "Callable[P, Artifact | None] | None" = None  # whether it is done; None: not to be told before it runs

    if not TYPE_CHECKING:  # for the type checker it is called as any task is

        def __call__(self, *args: Any, return_state: bool = False, **kwargs: Any) -> Any:
            """Run the step in this thread."""
            make = _elsewhere.get()
            if make and self.look and self.look(*args, **kwargs) is None:
                make()
                if self.look(*args, **kwargs) is None:
                    raise StoreError(f"{self.name}: the run that was to make it has ended, and it is not in the store {args[0]}")
            state = super().__call__(*args, return_state=True, **kwargs)
            _count(self.kind, state)
            if state.name == PREEMPTED:
                _leave()
            return state if return_state else state.result()

        def map(self, *args: Any, **kwargs: Any) -> Any:
            """Run the step for each item, where the flow's runner has it run."""
            return _Mapped(super().map(*args, **kwargs), self.kind)


class _Mapped(PrefectFutureList[R]):
    """Steps under way. They are counted when their results are fetched, because they may run in other processes."""

    def __init__(self, futures: Any, kind: str) -> None:
        super().__init__(futures)
        self.kind = kind

    def result(self, *args: Any, **kwargs: Any) -> list[R]:
        """Return what the steps made, in order."""
        values = super().result(*args, **kwargs)
        for future in self:
            _count(self.kind, future.state)
        return values


def _leave() -> None:
    """End the flow run as the signal would have that the step has noted: as crashed, or as cancelled if a person wanted that.

    Raises:
        TerminationSignal: always; no step that follows may begin.
    """
    EventsWorker.drain_all(timeout=FAREWELL)  # Prefect ends the process by the signal itself, and the state of the step is on its way
    raise TerminationSignal(signal.SIGTERM)


def _count(kind: str, state: State[Any]) -> None:
    if state.is_completed() and state.name != PRUNED:
        (cached if state.name == "Cached" else made)[kind] += 1


def step(
    kind: str, version: int, neutral: tuple[str, ...] = (), **options: Any
) -> Callable[[Callable[Concatenate[Draft, P], dict[str, Any]]], Step[Concatenate[str, P], Artifact]]:
    """Make a Prefect task of a function that fills a draft and returns facts about it.

    Args:
        kind: the folder of its artifacts in the store.
        version: bumped when code changes the bytes that equal inputs give.
        neutral: inputs that decide speed or names and no bytes, left out of the address.
        options: further options of the Prefect task, such as its name and `task_run_name`.
    """

    def decorate(function: Callable[Concatenate[Draft, P], dict[str, Any]]) -> Step[Concatenate[str, P], Artifact]:
        signature = _with_root(inspect.signature(function))

        def address(*args: Any, **kwargs: Any) -> tuple[Store, str, dict[str, Any], dict[str, Any]]:
            inputs = dict(signature.bind(*args, **kwargs).arguments)
            store = Store(inputs.pop("root"))
            made_from = {"version": version, **{name: plain(value) for name, value in inputs.items() if name not in neutral}}
            return store, fingerprint([kind, made_from]), made_from, inputs

        def look(*args: Any, **kwargs: Any) -> Artifact | None:
            store, key, _, _ = address(*args, **kwargs)
            return find(store, kind, key)

        @functools.wraps(function)
        def body(*args: Any, **kwargs: Any) -> Any:
            store, key, made_from, inputs = address(*args, **kwargs)
            if (artifact := find(store, kind, key)) is not None:
                return found(store.uri(f"{kind}/{key}"), artifact)
            draft = Draft(store, kind, key)
            try:
                return draft.seal(function(draft, **inputs), made_from)  # type: ignore[call-arg]  # bound above
            except Stopped as stopped:  # no accident: what took the machine away would take it again
                return Crashed(name=PREEMPTED, message=str(stopped))
            except Pruned as pruned:
                return Completed(name=PRUNED, message=str(pruned), data=None)

        body.__signature__ = signature  # type: ignore[attr-defined]  # what Prefect shows and templates names from
        task: Step[Concatenate[str, P], Artifact] = task_of(body, kind, **options)
        task.look = look
        return task

    return decorate


@contextlib.contextmanager
def made_elsewhere(make: Callable[[], None]) -> Iterator[None]:
    """Inside, a step that is not done is not done here: `make` has another machine do it, and then it is found.

    Raises:
        StoreError: inside, if it is not there then either.
    """
    token = _elsewhere.set(make)
    try:
        yield
    finally:
        _elsewhere.reset(token)


def task_of(function: Callable[P, R | State[R]], kind: str, **options: Any) -> Step[P, R]:
    """Make a Prefect task of a function that may return `found(...)`: the artifact's address is the cache, accidents are retried."""
    name = function.__name__.replace("_", "-")
    task: Step[P, R] = Step(
        function,  # type: ignore[arg-type]  # a state gives its value too
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(DELAYS),
        retry_delay_seconds=DELAYS,
        retry_condition_fn=is_accident,
        **{"name": name, "task_run_name": name, **options},
    )
    task.kind = kind
    return task


def for_people(show: Callable[P, None]) -> Callable[P, None]:
    """Make a function that shows something in the Prefect UI, if there is a flow run. A server that is away costs a page, not the run."""

    @functools.wraps(show)
    def quietly(*args: P.args, **kwargs: P.kwargs) -> None:
        if FlowRunContext.get() is None:
            return
        try:
            show(*args, **kwargs)
        except (httpx.TransportError, PrefectHTTPStatusError) as error:
            log.warning("%s: Prefect's server does not take it (%r); the store has it all the same", show.__name__, error)

    return quietly


def need_server(dask: str) -> None:
    """Refuse a Dask cluster without a Prefect server that its workers can report to: the temporary one is this process' alone.

    Raises:
        RecipeError: naming the field and what to do.
    """
    if dask and not PREFECT_API_URL.value():
        raise RecipeError(
            f"prepare.dask: got {dask!r}, and PREFECT_API_URL is not set; the workers of a cluster report to a Prefect server: "
            "start one with `prefect server start` and set PREFECT_API_URL, or leave prepare.dask empty"
        )


@contextlib.contextmanager
def mapped_on(dask: str) -> Iterator[None]:
    """Run the steps that are mapped inside on the Dask cluster at this address; empty: on the flow's own runner.

    Raises:
        RecipeError: if no Prefect server is named, or no worker answers at the address.
    """
    if not dask:
        yield
        return
    need_server(dask)
    try:
        from prefect_dask import DaskTaskRunner  # here: it takes a second to import
    except ImportError as error:
        raise RecipeError(f"prepare.dask: got {dask!r}, and prefect-dask is not installed here: pip install 'viska[dask]'") from error

    flow_run = FlowRunContext.get()
    assert flow_run is not None, "only inside a flow"
    with DaskTaskRunner(address=dask, client_kwargs={"timeout": PATIENCE}) as cluster:
        try:
            cluster.client.wait_for_workers(1, timeout=PATIENCE)
        except OSError as error:
            raise RecipeError(f"prepare.dask: got {dask!r}, and no worker of a Dask cluster answers there: {error}") from error
        with flow_run.model_copy(update={"task_runner": cluster}):
            yield


def store_of(recipe: Recipe) -> str:
    """Return the root of the store this run works in: the recipe's, else this machine's VISKA_STORE, else ~/.viska/store."""
    root = recipe.store or os.environ.get("VISKA_STORE") or "~/.viska/store"
    return root if "://" in root else str(Path(root).expanduser().absolute())


def sealed(root: str, kind: str, key: str) -> Artifact:
    """Return a sealed artifact by its key; StoreError if it is not there."""
    return load(Store(root), kind, key)


def found(where: str, value: Any) -> State[Any]:
    """Return the state of work that was found done: its task run is shown as Cached."""
    return Completed(name="Cached", message=f"{where} is whole", data=value)


def _with_root(signature: inspect.Signature) -> inspect.Signature:
    """Return the signature with the draft replaced by the store's root."""
    _, *rest = signature.parameters.values()
    root = inspect.Parameter("root", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=str)
    return signature.replace(parameters=[root, *rest], return_annotation=Artifact)
