"""What every step has in common: its address is its cache, accidents are retried, refusals are not. Said once.

A step is written as a function of a draft and its inputs; it is called with the store's root and the same inputs:

    @step("audio", version=1)
    def resample(draft: Draft, part: Part) -> dict[str, Any]: ...

    audio = resample("gs://bucket/viska", part)   # an Artifact; the task run ends in Completed, or in Cached

The address is the fingerprint of kind, version and inputs; the developer bumps `version` when code changes the bytes. Prefect's own
result cache is not used: whoever can write a Prefect result runs code in the flow, and it believes a record whose artifact is gone.
"""

import functools
import inspect
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas import State
from prefect.client.schemas.objects import TaskRun
from prefect.states import Completed

from tasks.contracts.errors import ViskaError
from tasks.contracts.recipe import Recipe
from tasks.contracts.values import Artifact, fingerprint, plain
from tasks.store.artifacts import Draft, find, load
from tasks.store.objects import Store

P = ParamSpec("P")
R = TypeVar("R")

DELAYS: list[float] = [2, 10]  # seconds before an accident is tried again
made: Counter[str] = Counter()  # steps this process did, by kind; for the closing words of the command line
cached: Counter[str] = Counter()  # steps it found done


def is_accident(_task: object, _run: TaskRun, state: State[Any]) -> bool:
    """Retry what the network or the machine did to us, never what we refused on purpose."""
    return not isinstance(state.result(raise_on_failure=False), ViskaError)


class Step(Task[P, R]):
    """A task that may end in the state named Cached; a direct call gives the value in either case."""

    if not TYPE_CHECKING:  # for the type checker it is called as any task is

        def __call__(self, *args: Any, return_state: bool = False, **kwargs: Any) -> Any:
            """Run the step in this thread."""
            state = super().__call__(*args, return_state=True, **kwargs)
            return state if return_state else state.result()


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

        @functools.wraps(function)
        def body(*args: Any, **kwargs: Any) -> Any:
            inputs = dict(signature.bind(*args, **kwargs).arguments)
            store = Store(inputs.pop("root"))
            made_from = {"version": version, **{name: plain(value) for name, value in inputs.items() if name not in neutral}}
            key = fingerprint([kind, made_from])
            if (artifact := find(store, kind, key)) is not None:
                return found(kind, store.uri(f"{kind}/{key}"), artifact)
            draft = Draft(store, kind, key)
            artifact = draft.seal(function(draft, **inputs), made_from)  # type: ignore[call-arg]  # bound above
            made[kind] += 1
            return artifact

        body.__signature__ = signature  # type: ignore[attr-defined]  # what Prefect shows and templates names from
        return task_of(body, **options)

    return decorate


def task_of(function: Callable[P, Any], **options: Any) -> Step[P, Any]:
    """Make a Prefect task of a function that may return `found(...)`: the artifact's address is the cache, accidents are retried."""
    name = function.__name__.replace("_", "-")
    return Step(
        function,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(DELAYS),
        retry_delay_seconds=DELAYS,
        retry_condition_fn=is_accident,
        **{"name": name, "task_run_name": name, **options},
    )


def store_of(recipe: Recipe) -> str:
    """Return the root of the store this run works in: the recipe's, else this machine's VISKA_STORE, else ~/.viska/store."""
    root = recipe.store or os.environ.get("VISKA_STORE") or "~/.viska/store"
    return root if "://" in root else str(Path(root).expanduser().absolute())


def sealed(root: str, kind: str, key: str) -> Artifact:
    """Return a sealed artifact by its key; StoreError if it is not there."""
    return load(Store(root), kind, key)


def found(kind: str, where: str, value: Any) -> State[Any]:
    """Return the state of work that was found done: its task run is shown as Cached."""
    cached[kind] += 1
    return Completed(name="Cached", message=f"{where} is whole", data=value)


def _with_root(signature: inspect.Signature) -> inspect.Signature:
    """Return the signature with the draft replaced by the store's root."""
    _, *rest = signature.parameters.values()
    root = inspect.Parameter("root", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=str)
    return signature.replace(parameters=[root, *rest], return_annotation=Artifact)
