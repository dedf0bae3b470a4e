"""A team's installation, broken on purpose: what was begun is ended, once, and nothing that was done is done again."""

import re
import signal
import time
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import State, StateType

from tests.support.stack import Stack, told

GPU_STEPS = ("transcribe-test-before", "train-900-steps", "transcribe-test-after", "write-report")


def weights(stack: Stack, name: str) -> set[str]:
    """Return the names of the trained weights in a store, which hold their SHA-256."""
    return {path.rsplit("/", 1)[1] for path in stack.objects(f"{name}/checkpoint/") if "/model-" in path}


def steps(stack: Stack, name: str) -> list[int]:
    """Return after which steps there is a checkpoint."""
    return sorted(int(path.split("/")[-2]) for path in stack.objects(f"{name}/training/") if path.endswith("/seal.json"))


def half_way(stack: Stack, run: UUID, name: str) -> Any:
    """Wait until the training that a run has sent is half-way, and return its run."""
    stack.until(lambda: bool((kept := steps(stack, name)) and kept[-1] >= 240), f"{name} is half-way")
    child = stack.children(run, "train")[-1]
    assert stack.state(child.id) == "Running" and steps(stack, name)[-1] < 900, "too late to break anything"
    return child


def test_the_gpu_leg_runs_on_the_cuda_pool_and_is_found_by_the_run_that_sent_it(stack: Stack, undisturbed: UUID) -> None:
    (child,) = stack.children(undisturbed, "train")
    assert (stack.read(undisturbed).work_pool_name, child.work_pool_name) == ("cpu", "cuda")
    assert (stack.read(undisturbed).name, child.name) == ("retrain-calm", "train-calm")
    made, found = stack.tasks(child.id), stack.tasks(undisturbed)
    assert {made[name].state_name for name in GPU_STEPS} == {"Completed"} and {found[name].state_name for name in GPU_STEPS} == {"Cached"}
    assert "WER" in str(stack.read(undisturbed).state.message)  # type: ignore[union-attr]
    keys = {each.key for each in stack.client.read_artifacts(limit=200)}
    assert {"report", "slices", "report-page", "verdict", "clips"} & keys >= {"report", "slices", "report-page", "verdict"}
    assert any(each.endswith("-progress") for each in keys)
    assert "clips of test transcribed" in stack.words(child.id), "the lines of plain modules arrive"
    assert not list(stack.folder.glob("*/prefect/storage/*")), "Prefect keeps no results"


def test_children_and_parents_may_be_killed_and_a_retry_adopts_what_goes_on(stack: Stack, undisturbed: UUID) -> None:
    run = stack.start("retrain/cpu", told("killed"))
    first = half_way(stack, run, "killed")
    reached = steps(stack, "killed")[-1]
    stack.kill(first.id)
    stack.until(lambda: len(stack.children(run, "train")) == 2, "the training gets a successor")
    assert stack.state(first.id) == "Crashed"
    second = stack.children(run, "train")[1]
    stack.until(lambda: stack.state(second.id) == "Running", "the successor runs")
    stack.kill(run)
    stack.until_begun(run, 2)  # an automation has seen its crash
    assert stack.until_ended(run) == "Released", stack.words(run)
    assert [stack.state(each.id) for each in stack.children(run, "train")] == ["Crashed", "Completed"], "not sent a third time"
    (went_on,) = re.findall(r"goes on after step (\d+)", stack.words(second.id))
    assert int(went_on) >= reached
    (parts,) = (each for each in stack.children(run, "prepare")[1:])
    done = {name: each.state_name for name, each in stack.tasks(parts.id).items()}
    assert {state for name, state in done.items() if name.startswith(("resample", "log-mel"))} == {"Cached"}, done
    assert weights(stack, "killed") == weights(stack, "calm") and len(weights(stack, "calm")) == 1


def test_a_machine_that_vanishes_is_noticed_and_another_one_goes_on(stack: Stack, undisturbed: UUID) -> None:
    run = stack.start("retrain/cpu", told("vanished"))
    child = half_way(stack, run, "vanished")
    stack.cuda.stop(signal.SIGKILL)
    stack.cuda = stack.worker("cuda")
    stack.until(lambda: stack.state(child.id) == "Crashed", "its silence is noticed", 400)
    assert stack.until_ended(run, 300) == "Released", stack.words(run)
    assert "No sign of life" in str(stack.read(child.id).state.message)  # type: ignore[union-attr]
    assert weights(stack, "vanished") == weights(stack, "calm")


def test_the_server_may_restart(stack: Stack, undisturbed: UUID) -> None:
    run = stack.start("retrain/cpu", told("restart"))
    half_way(stack, run, "restart")
    stack.server.stop()
    time.sleep(100)  # the training ends meanwhile, and cannot say so
    stack.start_server()
    state = stack.read(run).state
    assert state and state.is_running()
    lease = f"/v2/concurrency_limits/leases/{state.state_details.deployment_concurrency_lease_id}/renew"
    answer = stack.client.request("POST", lease, json={"lease_duration": 300})  # type: ignore[arg-type]
    assert answer.status_code == 204, "else the run would end when it next renews its place"
    assert stack.until_ended(run, 300) == "Released", stack.words(run)
    assert weights(stack, "restart") == weights(stack, "calm") and len(stack.children(run, "train")) == 1


def test_the_store_may_be_away_for_a_minute(stack: Stack, undisturbed: UUID) -> None:
    run = stack.start("retrain/cpu", told("outage"))
    half_way(stack, run, "outage")
    outage = stack.gcs.fail(".*", "reset", 10**9)
    time.sleep(60)
    stack.gcs.faults.remove(outage)
    assert outage.times < 10**9, "nobody wanted anything of it"
    assert stack.until_ended(run, 300) == "Released", stack.words(run)
    assert weights(stack, "outage") == weights(stack, "calm")


def test_who_cancels_a_run_cancels_what_it_has_sent_and_its_checkpoint_stays(stack: Stack, undisturbed: UUID) -> None:
    run = stack.start("retrain/cpu", told("cancelled"))
    child = half_way(stack, run, "cancelled")
    engines = stack.engines(child.id)
    stack.client.set_flow_run_state(run, State(type=StateType.CANCELLING, name="Cancelling"))
    stack.until(lambda: stack.state(run) == stack.state(child.id) == "Cancelled", "both are cancelled")
    stack.until(lambda: not any(map(stack.is_alive, engines)), "its process has ended")
    kept = steps(stack, "cancelled")
    assert kept and kept[-1] < 900 and not weights(stack, "cancelled")
    stack.retry(run)
    stack.until_begun(run, 2)
    assert stack.until_ended(run) == "Released", stack.words(run)
    assert weights(stack, "cancelled") == weights(stack, "calm"), "it went on from there"


def test_two_retrainings_of_one_model_train_once(stack: Stack, undisturbed: UUID) -> None:
    runs = [stack.start("retrain/cpu", told("twice")) for _ in range(2)]
    assert sorted(stack.until_ended(run, 300) for run in runs) == ["NothingNew", "Released"]
    assert sum(len(stack.children(run, "train")) for run in runs) == 1 and weights(stack, "twice") == weights(stack, "calm")
