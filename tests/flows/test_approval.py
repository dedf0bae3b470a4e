"""A person approves in the Prefect UI: the run is suspended, holds no process, and goes on from the cache when it is resumed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import FlowRun
from prefect.client.schemas.responses import SetStateStatus
from prefect.settings import PREFECT_API_URL
from prefect.states import Scheduled
from prefect.testing.utilities import prefect_test_harness

from flows.retrain import retrain
from tasks.contracts.recipe import read_recipe
from tests.flows.test_release import NAME, TINY, WINS

pytestmark = pytest.mark.flow
SERVE = "from flows.retrain import retrain; retrain.serve(name='team', pause_on_shutdown=False)"


@pytest.fixture(scope="module", autouse=True)
def client() -> Iterator[SyncPrefectClient]:
    with prefect_test_harness(server_startup_timeout=120), get_client(sync_client=True) as client:
        yield client


@pytest.fixture(scope="module")
def served(client: SyncPrefectClient) -> Iterator[UUID]:
    """The deployment of `retrain`, and a process that runs what is asked of it."""
    environment = os.environ | {
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "OMP_NUM_THREADS": "1",
    }
    runner = subprocess.Popen([sys.executable, "-c", SERVE], cwd=Path(__file__).parents[2], env=environment)
    try:
        deadline = time.monotonic() + 90
        while not (there := client.read_deployments()):
            assert runner.poll() is None and time.monotonic() < deadline, "the runner did not start"
            time.sleep(0.5)
        yield there[0].id
    finally:
        runner.terminate()
        runner.wait(timeout=30)


def wait(client: SyncPrefectClient, run: UUID, *names: str) -> FlowRun:
    deadline = time.monotonic() + 150
    while True:
        found = client.read_flow_run(run)
        assert found.state is not None
        if found.state.name in names:
            return found
        assert not found.state.is_final() and time.monotonic() < deadline, found.state
        time.sleep(0.5)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, client: SyncPrefectClient) -> Path:
    """A store in which all that is slow is there; the usual gate has refused the model."""
    store = tmp_path_factory.mktemp("approval") / "store"
    retrain(read_recipe(TINY | {"store": str(store)}))
    return store


def start(client: SyncPrefectClient, served: UUID, store: Path, **release: Any) -> UUID:
    wish = TINY["release"] | {"gate": WINS, "approval": True} | release
    recipe = read_recipe(TINY | {"store": str(store), "release": wish})
    return client.create_flow_run_from_deployment(served, parameters={"recipe": recipe.model_dump(mode="json")}).id


def test_a_run_is_suspended_until_somebody_answers_and_goes_on_from_the_cache(
    store: Path, client: SyncPrefectClient, served: UUID
) -> None:  # fmt: skip
    run = start(client, served, store)
    suspended = wait(client, run, "Suspended")
    assert suspended.state is not None
    keyset = suspended.state.state_details.run_input_keyset
    assert keyset is not None and not (store / "models").exists()
    asked = json.loads(client.read_flow_run_input(run, keyset["description"]))
    assert "# The challenger wins" in asked and "WER" in asked and f"Publish **{NAME}** at the store" in asked
    schema = json.loads(client.read_flow_run_input(run, keyset["schema"]))
    assert schema["properties"]["decision"]["enum"] == ["approve", "reject"] and schema["required"] == ["decision"]
    client.resume_flow_run(run, run_input={"decision": "approve", "comment": "sounds right"})
    wait(client, run, "Completed")
    card = (store / "models" / NAME / "latest" / "README.md").read_text()
    assert "Approved by a person: sounds right." in card
    (approval,) = (store / "approvals").iterdir()
    assert json.loads(approval.read_text())["decision"] == "approve"


def test_a_question_that_nobody_answered_in_time_is_asked_again_by_a_retry(
    store: Path, client: SyncPrefectClient, served: UUID
) -> None:  # fmt: skip
    run = start(client, served, store, name="other", approval_days=3 / 86_400)
    wait(client, run, "Suspended")
    time.sleep(4)
    assert client.resume_flow_run(run, run_input={"decision": "approve"}).status != SetStateStatus.ACCEPT
    assert client.read_flow_run(run).state_name == "Failed" and not (store / "models" / "other").exists()
    client.set_flow_run_state(run, Scheduled())
    wait(client, run, "Suspended")
    client.resume_flow_run(run, run_input={"decision": "reject", "comment": "too late"})
    assert "a person said no: too late" in str(wait(client, run, "Rejected").state.message)  # type: ignore[union-attr]
