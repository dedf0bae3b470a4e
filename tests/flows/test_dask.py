"""`prepare` on a Dask cluster: a Prefect server, a scheduler and two workers on loopback, against the same recipe on threads."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

distributed = pytest.importorskip("distributed")
pytestmark = [pytest.mark.flow, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
RECIPE = {
    "name": "dask",
    "corpus": {"kind": "espeak", "n_train": 60, "n_dev": 8, "n_test": 12},
    "gates": {"max_rejected": 1.0},
    "model": {"kind": "scratch", "width": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "window": 4, "vocabulary": 300},
}
PREPARE = """
import json, sys
from flows.prepare import prepare
from tasks import policy
from tasks.contracts.recipe import read_recipe

for recipe in json.loads(sys.argv[1]):
    policy.made.clear()
    policy.cached.clear()
    prepare(read_recipe(recipe))
    print("COUNT", json.dumps([policy.made, policy.cached]))
"""


@dataclass
class Cluster:
    address: str
    environment: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What every process here gets: a Prefect of its own that tells nobody, and no threads that fight for two cores."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DASK_"))} | {
        "PREFECT_HOME": str(tmp_path_factory.mktemp("prefect")),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture(scope="module")
def cluster(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    file = folder / "scheduler.json"  # the scheduler chooses its port and writes it here, the workers read it
    join = [f"--scheduler-file={file}", "--no-dashboard", "--host=127.0.0.1"]
    work = ["distributed.cli.dask_worker", *join, "--nthreads=1", "--no-nanny", f"--local-directory={folder / 'scratch'}"]
    commands = {
        "server": ["prefect", "server", "start", "--host=127.0.0.1", "--no-ui", "--no-services"],
        "scheduler": ["distributed.cli.dask_scheduler", *join, "--port=0"],
        "worker-1": [*work, "--name=worker-1"],
        "worker-2": [*work, "--name=worker-2"],
    }
    with _running(commands, environment, folder) as processes:
        health = f"{environment['PREFECT_API_URL']}/health"
        _until(lambda: bool(file.read_text()) and urllib.request.urlopen(health, timeout=5).status == 200, folder)
        yield Cluster(json.loads(file.read_text())["address"], environment, processes)


@contextlib.contextmanager
def _running(commands: dict[str, list[str]], environment: dict[str, str], logs: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Run Python modules while inside; none of them, nor of those they started, outlives it."""
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, module in commands.items():
            with (logs / f"{name}.log").open("wb") as log:
                processes[name] = subprocess.Popen([sys.executable, "-m", *module], env=environment, stdout=log, stderr=subprocess.STDOUT,
                                                   start_new_session=True)  # fmt: skip
        yield processes
    finally:
        for process in processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # nothing they hold is needed, and polite ends take ten seconds
                process.wait()


def _until(is_ready: Callable[[], bool], logs: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if is_ready():
                return
        assert time.monotonic() < deadline, "\n".join(f"{log.name}\n{log.read_text()[-2000:]}" for log in logs.glob("*.log"))
        time.sleep(0.1)


@contextlib.contextmanager
def _client(cluster: Cluster) -> Iterator[Any]:
    with distributed.Client(cluster.address, timeout=30, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        yield client


def _recipe(store: Path, dask: str = "") -> dict[str, object]:
    return RECIPE | {"store": str(store), "prepare": {"dask": dask}}


def _start(environment: dict[str, str], *recipes: dict[str, object]) -> subprocess.Popen[str]:
    """Prepare one recipe after another in a process of its own; after each it prints what was made and what was found."""
    command = [sys.executable, "-c", PREPARE, json.dumps(recipes)]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _counts(words: str) -> list[Any]:
    return [json.loads(line.removeprefix("COUNT ")) for line in words.splitlines() if line.startswith("COUNT ")]


def _sealed(store: Path) -> dict[str, list[tuple[str, str]]]:
    """Return what a store holds: name and SHA-256 of each file behind every seal, by the seal's place."""
    seals = {str(path.parent.relative_to(store)): json.loads(path.read_text()) for path in store.glob("*/*/seal.json")}
    return {place: [(file[0], file[3]) for file in seal["files"]] for place, seal in seals.items()}


def test_a_dask_cluster_makes_the_same_bytes_as_threads(cluster: Cluster, tmp_path: Path) -> None:
    with _client(cluster) as client:
        client.get_task_stream()  # from here on the scheduler keeps who did what
        on_cluster = _recipe(tmp_path / "dask", cluster.address)
        run = _start(cluster.environment, _recipe(tmp_path / "threads"), on_cluster, on_cluster)
        words, _ = run.communicate(timeout=120)
        assert run.returncode == 0, words
        stream = client.get_task_stream(start=0)
    expected = _sealed(tmp_path / "threads")
    assert any(place.startswith("dataset/") for place in expected) and _sealed(tmp_path / "dask") == expected
    assert len({each["worker"] for each in stream}) == 2, stream
    threads, dask, again = _counts(words)
    assert threads == dask == [again[1], {}] and again[0] == {}  # steps are counted wherever they ran


def test_a_worker_that_dies_at_its_part_is_replaced_by_another(cluster: Cluster, tmp_path: Path) -> None:
    victim = cluster.processes["worker-2"]
    with _client(cluster) as client:
        (address,) = (each for each, about in client.scheduler_info()["workers"].items() if about["name"] == "worker-2")
        os.killpg(victim.pid, signal.SIGSTOP)  # it gets a part, and does not finish it
        run = _start(cluster.environment, _recipe(tmp_path / "killed", cluster.address), _recipe(tmp_path / "threads"))
        _until(lambda: run.poll() is not None or bool(client.processing().get(address)), tmp_path)
        os.killpg(victim.pid, signal.SIGKILL)
        victim.wait()
        words, _ = run.communicate(timeout=120)
    assert run.returncode == 0, words
    assert _sealed(tmp_path / "killed") == _sealed(tmp_path / "threads") != {}


def test_a_cluster_without_a_server_is_refused_before_anything_starts(environment: dict[str, str], tmp_path: Path) -> None:
    alone = environment | {"VISKA_STORE": str(tmp_path / "store"), "PREFECT_HOME": str(tmp_path / "prefect")}
    del alone["PREFECT_API_URL"]
    command = [sys.executable, "-m", "flows", "prepare", "--prepare.dask", "tcp://127.0.0.1:8786"]
    run = subprocess.run(command, env=alone, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert run.returncode == 2 and run.stdout.startswith("viska: prepare.dask: got 'tcp://127.0.0.1:8786', and PREFECT_API_URL is not set")
    assert not (tmp_path / "store").exists() and not (tmp_path / "prefect" / "prefect.db").exists()  # no temporary server either
