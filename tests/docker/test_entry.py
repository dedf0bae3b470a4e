"""The entry script as a process: secrets in files become variables, and a worker that is told to stop tells its runs."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness

ROOT = Path(__file__).parents[2]
ENTRY = ROOT / "docker/entry.sh"
# As Prefect 3.8.8's process worker: its run has a session of its own; on SIGTERM it sends itself SIGINT, kills the run, and ends.
WORKER = """
import signal, subprocess, sys
def stop(*_):
    print("worker told", flush=True)
    run.kill()
    run.wait()
    sys.exit(7)
signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    signal.signal(signal.SIGINT, stop)
run = subprocess.Popen([sys.executable, "-c", '''
import signal, sys, time
def stop(*_):
    time.sleep(0.5)
    print("run stored", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
print("run started", flush=True)
time.sleep(60)
'''], start_new_session=True)
signal.pause()
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "secrets").mkdir()
    return os.environ | {"VISKA_SECRETS": str(tmp_path / "secrets"), "TMPDIR": str(tmp_path / "made/here")}


def variables(environment: dict[str, str]) -> dict[str, str]:
    show = "import json, os; print(json.dumps(dict(os.environ)))"
    told = subprocess.run([ENTRY, sys.executable, "-c", show], env=environment, capture_output=True, text=True, check=True)
    return json.loads(told.stdout)


def test_a_file_with_a_name_in_capitals_becomes_a_variable_and_no_other_does(tmp_path: Path, environment: dict[str, str]) -> None:
    for name, text in {"HF_TOKEN": "hf_x y$z\n", "MDC_API_KEY": "", "s3.json": "{}", "9LIVES": "no"}.items():
        (tmp_path / "secrets" / name).write_text(text)
    seen = variables(environment)
    assert seen["HF_TOKEN"] == "hf_x y$z"
    assert not {"MDC_API_KEY", "s3.json", "9LIVES"} & set(seen)
    assert (tmp_path / "made/here").is_dir()


def test_without_secrets_the_command_runs_all_the_same(tmp_path: Path, environment: dict[str, str]) -> None:
    assert variables(environment | {"VISKA_SECRETS": str(tmp_path / "none")})["TMPDIR"].endswith("made/here")


def test_the_status_of_a_command_is_the_containers(environment: dict[str, str]) -> None:
    assert subprocess.run([ENTRY, "sh", "-c", "exit 3"], env=environment, check=False).returncode == 3


def test_a_worker_is_told_to_stop_when_its_run_has_stored_what_it_has(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "bin").mkdir()
    prefect = tmp_path / "bin/prefect"
    prefect.write_text(f"#!{sys.executable}\n{WORKER}")
    prefect.chmod(0o755)
    path = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    with subprocess.Popen([ENTRY, "prefect", "worker", "start"], env=environment | path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "run started\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read().splitlines() == ["run stored", "worker told"]
    assert process.returncode == 7


def test_the_passwords_are_made_once_and_nobody_else_can_read_them(tmp_path: Path) -> None:
    script = tmp_path / "secrets.sh"
    script.write_bytes((ROOT / "docker/secrets.sh").read_bytes())
    script.chmod(0o755)
    subprocess.run([script], check=True, capture_output=True)
    folder = tmp_path / "secrets"
    first = {path.name: path.read_text() for path in folder.iterdir()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o444 == 0o444 for path in folder.iterdir()), "the containers run as other users"
    assert len(first["POSTGRES_PASSWORD"]) == 48 and first["PREFECT_AUTH"].startswith("viska:") and first["HF_TOKEN"] == ""
    (identity,) = json.loads(first["s3.json"])["identities"]
    assert identity["credentials"] == [{"accessKey": first["AWS_ACCESS_KEY_ID"], "secretKey": first["AWS_SECRET_ACCESS_KEY"]}]

    (folder / "HF_TOKEN").write_text("hf_mine")
    subprocess.run([script], check=True, capture_output=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == first | {"HF_TOKEN": "hf_mine"}


FLOW = """
import time
from pathlib import Path
from prefect import flow

@flow
def slow():
    Path("{folder}/begun").touch()
    try:
        time.sleep(120)
    finally:
        time.sleep(3)
        Path("{folder}/stored").touch()
"""
DEPLOYMENT = {"name": "test", "pull": [], "deployments": [{"name": "cuda", "entrypoint": "slow.slow", "work_pool": {"name": "cuda"}}]}


@pytest.mark.slow
@pytest.mark.flow
def test_a_run_of_a_real_worker_stores_what_it_has_and_is_known_to_have_crashed(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "slow.py").write_text(FLOW.format(folder=tmp_path))
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump(DEPLOYMENT))
    with prefect_test_harness(server_startup_timeout=120):
        ours = environment | {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "PYTHONPATH": str(tmp_path)}
        ours["PATH"] = f"{Path(sys.executable).parent}:{ours['PATH']}"
        for words in (
            ["work-pool", "create", "cuda", "--type", "process"],
            ["--no-prompt", "deploy", "--all"],
            ["deployment", "run", "slow/cuda"],
        ):
            subprocess.run(["prefect", *words], env=ours, cwd=tmp_path, check=True, capture_output=True)
        with subprocess.Popen([ENTRY, "prefect", "worker", "start", "--pool", "cuda"], env=ours, cwd=tmp_path) as worker:
            wait_for(lambda: (tmp_path / "begun").exists())
            worker.send_signal(signal.SIGTERM)
            worker.wait(60)
        assert (tmp_path / "stored").exists()
        with get_client(sync_client=True) as client:
            (run,) = client.read_flow_runs()
    assert run.state and run.state.is_crashed()


def wait_for(condition: Callable[[], bool], seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.2)
