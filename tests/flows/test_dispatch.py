"""What a run sends to another machine: sent once, adopted, succeeded if it crashes, and given up if it would crash for ever.

The server is real; the other machine is this test, which says what became of each run.
"""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import TerminationSignal
from prefect.states import Cancelled, Completed, Crashed, Failed, Running, State
from prefect.testing.utilities import prefect_test_harness

from tasks import dispatch
from tasks.contracts.errors import RecipeError, RunError, StoreError
from tasks.contracts.recipe import Recipe
from tasks.dispatch import GPU, on_gpu, send, side_by_side
from tasks.policy import for_people, step
from tasks.store.artifacts import Draft
from tasks.store.objects import Store

pytestmark = pytest.mark.flow


@step("note", version=1)
def write_note(draft: Draft, words: str) -> dict[str, Any]:
    draft.write("note.txt", words.encode())
    return {"words": words}


@flow(persist_result=False)
def leg(recipe: Recipe, words: str = "") -> str:
    return write_note(recipe.store, words).key


@flow(persist_result=False)
def parent(recipe: Recipe, words: str) -> str:
    return on_gpu(leg, recipe, words)


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120), get_client(sync_client=True) as client:
        client.create_deployment(client.create_flow(leg), name="cuda")
        yield


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GPU, "cuda")
    monkeypatch.setattr(dispatch, "POLL", 0.05)


def sent() -> list[FlowRun]:
    """Return the runs that were sent, in their order."""
    with get_client(sync_client=True) as client:
        runs = [run for run in client.read_flow_runs() if run.deployment_id]
    return sorted(runs, key=lambda run: run.created)  # type: ignore[arg-type, return-value]


class Elsewhere:
    """The other machine: of each new run it says how it went."""

    def __init__(self, *ways: Callable[[FlowRun], State[Any]]) -> None:
        self.ways, self.n_before, self.thread = list(ways), len(sent()), threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> "Elsewhere":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.join(timeout=30)
        assert not self.ways, "more runs were expected"

    def _work(self) -> None:
        until = time.monotonic() + 25
        while self.ways and time.monotonic() < until:
            if len(runs := sent()) > self.n_before:
                run = runs[self.n_before]
                with get_client(sync_client=True) as client:
                    client.set_flow_run_state(run.id, Running(), force=True)
                    client.set_flow_run_state(run.id, self.ways.pop(0)(run), force=True)
                self.n_before += 1
            time.sleep(0.05)


def works(run: FlowRun) -> State[Any]:
    told = run.parameters
    write_note.fn(told["recipe"]["store"], told["words"])
    return Completed()


def test_what_is_missing_is_made_there_and_found_here(tmp_path: Path) -> None:
    recipe = Recipe(store=str(tmp_path))
    with Elsewhere(works):
        key = parent(recipe, "hej")
    assert Store(str(tmp_path)).exists(f"note/{key}/seal.json")
    (run,) = sent()[-1:]
    assert (run.name, run.parameters["words"], run.parameters["recipe"]["store"]) == ("leg-viska", "hej", str(tmp_path))
    n = len(sent())
    assert parent(recipe, "hej") == key and len(sent()) == n, "what is there is not sent for"


def test_so_many_are_sent_side_by_side_and_the_next_one_when_one_has_ended(tmp_path: Path) -> None:
    n = len(sent())
    seen: list[int] = []  # runs that were there when one was said to have ended

    def works_when_two_are_there(run: FlowRun) -> State[Any]:
        until = time.monotonic() + 10
        while len(sent()) < n + 2 and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.5)  # in which a third would be sent
        seen.append(len(sent()) - n)
        return works(run)

    with Elsewhere(works_when_two_are_there, works, works):
        side_by_side((send(leg, Recipe(store=str(tmp_path)), words) for words in ("ett", "två", "tre")), 2)
    assert seen == [2] and len(sent()) == n + 3
    with Elsewhere(lambda _: Failed(message="no")), pytest.raises(RunError, match="ended as Failed: no"):
        side_by_side((send(leg, Recipe(store=str(tmp_path)), words) for words in ("fyra", "fem")), 1)
    assert len(sent()) == n + 4, "the fifth is not sent"


def test_without_the_variable_it_is_made_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GPU, "")
    n = len(sent())
    parent(Recipe(store=str(tmp_path)), "här")
    assert len(sent()) == n


SLOT = "Deployment concurrency slot lost during provisioning - no slots available to continue execution"


@pytest.mark.parametrize("accident", [Crashed(message="killed"), Cancelled(message=SLOT)], ids=["crashed", "slot lost"])
def test_a_run_that_crashes_or_that_prefect_itself_cancels_gets_a_successor(tmp_path: Path, accident: State[Any]) -> None:
    n = len(sent())
    with Elsewhere(lambda _: accident, works):
        parent(Recipe(store=str(tmp_path)), "hej")
    assert [run.idempotency_key[-2:] for run in sent()[n:]] == [":0", ":1"]  # type: ignore[index]


def test_one_that_crashes_again_and_again_is_given_up_and_the_next_try_sends_another(tmp_path: Path) -> None:
    recipe, n = Recipe(store=str(tmp_path)), len(sent())
    with Elsewhere(*[lambda _: Crashed(message="out of memory")] * 3), pytest.raises(RunError, match="ended as Crashed: out of memory"):
        parent(recipe, "hej")
    assert len(sent()) == n + 3
    with Elsewhere(works):
        parent(recipe, "hej")
    assert sent()[-1].idempotency_key.endswith(":3")  # type: ignore[union-attr]


@pytest.mark.parametrize("state", [Failed(message="the loss is not a number"), Cancelled(message="by a person")])
def test_what_failed_or_was_cancelled_is_not_sent_again(tmp_path: Path, state: State[Any]) -> None:
    n = len(sent())
    with Elsewhere(lambda _: state), pytest.raises(RunError, match=f"{state.name}: {state.message}; look at its log"):
        parent(Recipe(store=str(tmp_path)), "hej")
    assert len(sent()) == n + 1


def test_a_run_under_way_is_adopted(tmp_path: Path) -> None:
    recipe, n, keys = Recipe(store=str(tmp_path)), len(sent()), []
    threads = [threading.Thread(target=lambda: keys.append(parent(recipe, "en"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    with Elsewhere(works):
        pass
    for thread in threads:
        thread.join(timeout=30)
    assert len(set(keys)) == 1 and len(keys) == 2 and len(sent()) == n + 1


def test_one_that_completed_and_left_nothing_is_said_to_have_another_store(tmp_path: Path) -> None:
    with (
        Elsewhere(lambda _: Completed()),
        pytest.raises(StoreError, match="the run that was to make it has ended, and it is not in the store"),
    ):
        parent(Recipe(store=str(tmp_path)), "hej")


def test_a_deployment_that_is_not_there_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GPU, "tpu")
    with pytest.raises(RecipeError, match="VISKA_GPU: there is no deployment 'leg/tpu'"):
        parent(Recipe(store=str(tmp_path)), "hej")


def test_a_server_that_is_away_for_a_while_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([httpx.ConnectError("gone"), httpx.ReadTimeout("slow")])
    real = dispatch.get_client

    def client(**options: Any) -> Any:
        if error := next(answers, None):
            raise error
        return real(**options)

    monkeypatch.setattr(dispatch, "get_client", client)
    with Elsewhere(works):
        parent(Recipe(store=str(tmp_path)), "tålamod")
    assert next(answers, None) is None


def test_who_shares_a_run_that_its_sender_cancels_sends_another(tmp_path: Path) -> None:
    recipe, n, ends = Recipe(store=str(tmp_path)), len(sent()), []

    def want() -> None:
        ends.append(parent(recipe, "hej", return_state=True))

    sender, sharer = threading.Thread(target=want), threading.Thread(target=want)
    sender.start()
    until(lambda: len(sent()) == n + 1)
    sharer.start()
    time.sleep(3)  # it has found the run, and waits for it
    with Elsewhere(works), get_client(sync_client=True) as client:
        client.set_flow_run_state(sent()[n].id, Cancelled(), force=True)
    sender.join(timeout=30)
    sharer.join(timeout=30)
    assert sorted(state.name for state in ends) == ["Completed", "Failed"] and len(sent()) == n + 2


def test_who_is_told_to_stop_while_the_server_is_away_stops_as_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(_: float) -> None:
        monkeypatch.setattr(dispatch, "get_client", away)
        raise TerminationSignal(signal=15)

    def away(**_: Any) -> Any:
        raise httpx.ConnectError("gone")

    monkeypatch.setattr(dispatch.time, "sleep", end)
    with pytest.raises(TerminationSignal):
        side_by_side(iter([dispatch._wait(sent()[-1].model_copy(update={"state": Running()}), is_ours=True)]))


def test_a_page_that_the_server_does_not_take_costs_no_run(caplog: pytest.LogCaptureFixture) -> None:
    @for_people
    def show_it() -> None:
        raise httpx.ConnectError("gone")

    @flow(persist_result=False)
    def goes_on() -> str:
        show_it()
        return "done"

    show_it()  # outside of a run there is nobody to show it to
    assert "show_it" not in caplog.text
    assert goes_on() == "done" and "show_it: Prefect's server does not take it" in caplog.text


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
