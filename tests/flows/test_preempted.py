"""A machine that is taken away during a training: what Prefect says of the run, what is on the store, and that the next run goes on."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness

from flows.train import train
from tasks.contracts.recipe import read_recipe

pytestmark = [pytest.mark.flow, pytest.mark.slow]  # others: tests/model/test_train_killed.py, tests/stack
ROOT = Path(__file__).parents[2]
RECIPE = {
    "name": "preempted",
    "corpus": {"kind": "espeak", "n_train": 24, "n_dev": 4, "n_test": 4},
    "gates": {"max_rejected": 1.0},
    "model": {"kind": "scratch", "width": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "window": 4, "vocabulary": 300},
    "training": {"steps": 240, "batch": 4, "warmup": 1, "learning_rate": 1e-3, "evaluate_every": 60, "dev_clips": 2},
    "scoring": {"resamples": 100},
}


@pytest.fixture(autouse=True)
def _server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


def start(tmp_path: Path) -> subprocess.Popen[str]:
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    environment = os.environ | {"VISKA_STORE": str(tmp_path / "store"), "PYTHONPATH": str(ROOT), "PREFECT_API_URL": PREFECT_API_URL.value()}
    return subprocess.Popen([sys.executable, "-m", "flows", "train", "--recipe", str(tmp_path / "recipe.yaml")], env=environment, text=True,
                            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip


def runs_of_tasks() -> dict[str, TaskRun]:
    """Return the task runs by name, the newest of each; Prefect hears of their states by and by."""
    with get_client(sync_client=True) as client:
        return {run.name: run for run in sorted(client.read_task_runs(), key=lambda run: run.expected_start_time)}


def runs_of_flows(name: str) -> list[FlowRun]:
    with get_client(sync_client=True) as client:
        return sorted((run for run in client.read_flow_runs() if run.name == name), key=lambda run: run.expected_start_time)


def test_a_training_that_is_told_to_stop_keeps_its_step_says_so_and_goes_on_the_next_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = start(tmp_path)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "store" / "training").glob("*/00000060/seal.json")):
        assert run.poll() is None and time.monotonic() < deadline, run.communicate()[0]
        time.sleep(0.02)
    run.terminate()
    words, _ = run.communicate(timeout=30)
    assert run.returncode == -signal.SIGTERM, words

    until = time.monotonic() + 10
    while (task := runs_of_tasks().get("train-240-steps")) is None or not task.state.is_final():
        assert time.monotonic() < until, f"Prefect was not told how the step ended: {task and task.state}\n{words}"
        time.sleep(0.2)
    assert (task.state.name, task.state.type, task.run_count) == ("Preempted", "CRASHED", 1)
    told = re.fullmatch(
        r"asked to stop \(SIGTERM\) after step (\d+) of 240; its checkpoint is on the store; run again to go on", task.state.message
    )
    assert told, task.state.message
    step = int(told[1])
    assert 60 <= step < 240 and list((tmp_path / "store" / "training").glob(f"*/{step:08d}/seal.json"))
    assert [each.state.name for each in runs_of_flows("train-preempted")] == ["Crashed"]
    assert not list((tmp_path / "store").rglob(".tmp-*")) and not list((tmp_path / "store" / "checkpoint").glob("*/seal.json"))
    assert set(runs_of_tasks()) >= {"transcribe-test-before"} and not set(runs_of_tasks()) & {"transcribe-test-after", "write-report"}

    train(read_recipe(RECIPE | {"store": str(tmp_path / "store")}))
    assert f"goes on after step {step}" in caplog.text
    assert [each.state.name for each in runs_of_flows("train-preempted")] == ["Crashed", "Completed"]
    (checkpoint,) = (tmp_path / "store" / "checkpoint").glob("*/training-*.jsonl")
    assert [json.loads(line)["step"] for line in checkpoint.read_text().splitlines()] == [0, 60, 120, 180, 240]
