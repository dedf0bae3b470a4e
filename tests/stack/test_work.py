"""A team's installation at work: the demonstration, the schedule, and as many steps at once as the largest corpora have."""

import statistics
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.many import many, write_small
from tests.support.stack import ROOT, Stack, told

N = 500  # shards


@pytest.mark.usefixtures("undisturbed")
def test_a_schedule_fires_by_itself_and_a_run_without_anything_new_costs_seconds(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "calm.yaml"
    file.write_text(yaml.safe_dump(told("calm")))
    stack.viska("deploy", "--recipe", str(file), "--cron", "* * * * *")
    deployment = stack.client.read_deployment_by_name("retrain/calm").id

    def by_itself() -> list[Any]:
        runs = [run for run in stack.client.read_flow_runs(limit=200) if run.deployment_id == deployment]
        return [run for run in runs if run.auto_scheduled and run.state and run.state.is_final()]

    stack.until(lambda: bool(by_itself()), "the schedule has made a run, and it has ended", 240)
    stack.viska("deploy", "--recipe", str(file))  # without a schedule
    (run, *_) = by_itself()
    assert run.state_name == "NothingNew" and "neither recordings nor recipe have changed" in run.state.message
    assert run.total_run_time < timedelta(seconds=10)
    assert not stack.children(run.id, "train"), "nothing was sent"
    (parts,) = stack.children(run.id, "prepare")
    states = {name: each.state_name for of in (run.id, parts.id) for name, each in stack.tasks(of).items()}
    made = {name for name, state in states.items() if state != "Cached"}
    assert len(states) > 20 and made <= {"prepare-0"}, f"recomputed: {made}"


def test_five_hundred_shards_on_two_workers_at_once_lose_no_state(stack: Stack) -> None:
    second = stack.worker("cpu")
    store = "gs://viska/many"
    flow = stack.client.create_flow(many)
    deployment = stack.client.create_deployment(
        flow, name="many", work_pool_name="cpu", entrypoint="tests.support.many.many", pull_steps=[]
    )
    runs = [stack.client.create_flow_run_from_deployment(deployment, parameters={"root": store, "n": N}).id for _ in range(2)]
    assert [stack.until_ended(run, 400) for run in runs] == ["Completed", "Completed"]
    assert sum(path.endswith("/seal.json") for path in stack.objects("many/small/")) == N

    def states(run: Any) -> list[str]:
        return [str(each.state_name) for each in stack.all_tasks(run)]

    stack.until(lambda: all(len(states(run)) == N and set(states(run)) <= {"Completed", "Cached"} for run in runs), "all states are there")
    seconds = [stack.read(run).total_run_time.total_seconds() / N for run in runs]
    began = time.monotonic()
    with stack.as_worker():
        for number in range(N):
            write_small.fn("gs://viska/alone", number)
    alone = (time.monotonic() - began) / N
    print(f"a step: {1000 * statistics.mean(seconds):.0f} ms with Prefect, two runs at once; {1000 * alone:.0f} ms without, one by one")
    second.stop()


def test_the_demonstration_is_retrained_through_the_deployments(stack: Stack) -> None:
    recipe = yaml.safe_load((ROOT / "deployments" / "recipes" / "demo.yaml").read_text())
    run = stack.start("retrain/cpu", recipe | {"store": "gs://viska/demo"})
    assert stack.until_ended(run, 1100) == "Released", stack.words(run)
    (child,) = stack.children(run, "train")
    assert child.work_pool_name == "cuda" and child.state_name == "Completed"
    print(stack.read(run).state.message)  # type: ignore[union-attr]
