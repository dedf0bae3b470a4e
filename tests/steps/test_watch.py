"""A training is seen in Prefect while it runs, and a Prefect that is slow or gone costs it nothing."""

import base64
import logging
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, task
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.context import SyncClientContext
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from tasks.model.aside import LAST
from tasks.model.events import FOLDER
from tasks.model.loop import Moment
from tasks.store.objects import Store
from tasks.watch import Watch, looks_page
from tests.support.tiny import settings

pytestmark = pytest.mark.flow
RUN = "0123456789abcdef01234567"
KEY = "training-0123456789ab"
SETTINGS = settings(steps=40)


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


def look(step: int, wer: float, hypothesis: str) -> dict[str, Any]:
    samples = [
        {"id": "clip_1", "reference": "en *röd* katt | <hund>", "hypothesis": hypothesis},
        {"id": "2", "reference": "mås", "hypothesis": " "},
    ]
    seen = {"step": step, "dev_loss": 3.0 - step / 20, "dev_wer": wer, "dev_right": 0.5, "samples": samples, "seconds": 1.0 * step}
    return seen | ({"loss": 2.0} if step else {})


def moment(step: int, seen: dict[str, Any] | None = None, first: int = 0) -> Moment:
    return Moment(step, 40, 1.25, 0.0 if seen else 3e-4, ("a",), 2.0 * step, 0.5 * step, 1.0 * step, 4 * step, step - first, seen)


@task
def train(root: str, *moments: Moment) -> float:
    with Watch(Store(root), RUN, SETTINGS) as watch:
        for each in moments:
            watch(each)
        began = time.monotonic()
    return time.monotonic() - began


@flow
def attempt(root: str, *moments: Moment) -> float:
    return train(root, *moments)


def artifacts(key: str) -> list[Artifact]:
    with get_client(sync_client=True) as client:
        return sorted((each for each in client.read_artifacts() if each.key == key), key=lambda each: each.created)


def test_progress_figures_and_looks_stand_under_keys_of_the_training_with_a_version_to_each_attempt(tmp_path: Path) -> None:
    attempt(str(tmp_path), moment(0, look(0, 1.0, "")), *map(moment, range(1, 11)), moment(10, look(10, 0.5, "en rod katt")))
    for name, data, description in (
        ("progress", 25.0, r"step 10 of 40, 1 min 0 s left"),
        ("figures", r"\| step \| 10 of 40 \|\n\| loss \| 1.2500 \|\n\| learning rate \| 3.00e-04 \|", "loss 1.2500, 4.0 clips a second"),
        ("looks", r"\| step 0 \| \*nothing\* \|\n\|  \| step 10 \| en rod katt \|", "dev WER 50.0 %"),
    ):
        (only,) = artifacts(f"{KEY}-{name}")
        assert only.data == data if isinstance(data, float) else re.search(data, only.data), only.data
        assert only.description == description and only.task_run_id and only.flow_run_id

    attempt(str(tmp_path), moment(11, first=10), moment(20, look(20, 0.75, "en röd hatt"), first=10))
    for name in ("progress", "figures", "looks"):
        first, second = artifacts(f"{KEY}-{name}")
        assert first.task_run_id != second.task_run_id
    assert first.description == "dev WER 50.0 %", "what the attempt before had seen stays"
    assert (tmp_path / FOLDER / RUN).is_dir()


def test_a_page_of_looks_shows_curves_and_what_was_heard_at_first_and_last() -> None:
    page = looks_page([look(0, 1.0, ""), look(10, 0.5, "en rod"), look(20, 0.25, "en röd katt")])
    picture = base64.b64decode(re.match(r"!\[[^]]+\]\(data:image/svg\+xml;base64,([^)]+)\)\n\n\|", page)[1]).decode()  # type: ignore[index]
    assert picture.startswith('<svg xmlns="http://www.w3.org/2000/svg"') and "Dev WER, %" in picture
    assert len(re.findall(r'<path [^>]*clip-path="[^"]+" style="fill: none; [^"]*stroke: #(?!dfe4eb)', picture)) == 3, "no grid"
    assert r"| clip\_1 | reference | **en \*röd\* katt \| \<hund\>** |" in page
    assert "step 0 | *nothing* |" in page and "step 20 | en röd katt |" in page and "en rod" not in page
    assert "step 0" in looks_page([look(0, 1.0, "")])


@pytest.mark.parametrize("how", ["refuses", "hangs"])
def test_a_prefect_that_does_not_answer_costs_one_line_and_a_few_seconds_at_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    @task
    def seen(url: str) -> tuple[float, float]:
        gone = {PREFECT_API_URL: url, PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False}
        with temporary_settings(gone), SyncClientContext({"timeout": 60}):
            began = time.monotonic()
            with Watch(Store(str(tmp_path)), RUN, SETTINGS) as watch:
                for step in range(1, 41):
                    watch(moment(step))
                    watch(moment(step, look(step, 0.5, "ja")))
                    time.sleep(0.01)
                trained = time.monotonic() - began
        return trained, time.monotonic() - began

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if how == "hangs":
            server.listen()
        trained, whole = flow(lambda: seen(f"http://127.0.0.1:{server.getsockname()[1]}/api"), name="seen")()
    assert trained < 2.0 and whole < trained + 2 * LAST + 1
    lines = [record.message for record in caplog.records if record.name == "tasks.model.aside" and record.levelno == logging.WARNING]
    assert how == "hangs" or (len(lines) == 1 and re.match(r"Prefect's artifacts: \w+: .*; the training goes on without it", lines[0])), (
        lines
    )
    assert (tmp_path / FOLDER / RUN).is_dir(), "TensorBoard's file needs no Prefect"


def test_a_step_waits_for_nothing(tmp_path: Path) -> None:
    with Watch(Store(str(tmp_path)), RUN, SETTINGS) as watch:  # in no task run
        watch(moment(1))
        began = time.perf_counter()
        for _ in range(1000):
            watch(moment(2))
        assert (time.perf_counter() - began) / 1000 < 1e-3, "a hundredth of a step of 100 ms"
    assert not (tmp_path / FOLDER).exists(), "there was no look"
