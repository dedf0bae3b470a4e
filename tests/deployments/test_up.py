"""`make up` for real: server, workers and a webhook; machines that die, and a person who is asked. Thirteen minutes on two busy cores."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.recipe import RECIPE

if TYPE_CHECKING:
    from tests.deployments.conftest import Stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]
UP = str(Path(__file__).parents[2] / "deployments" / "up.py")
SLOW = RECIPE | {"name": "slow", "release": {"name": "slow", "anyway": True}}
SLOW["training"] = RECIPE["training"] | {"steps": 2000, "evaluate_every": 200}
ASKS = RECIPE | {"name": "asks", "release": {"name": "asks", "anyway": True, "approval": True}}


def test_the_server_wants_the_password_and_answers_only_its_own_pages(stack: "Stack") -> None:
    url = stack.environment["PREFECT_API_URL"]
    assert httpx.post(f"{url}/flow_runs/count").status_code == 401
    assert httpx.post(f"{url}/flow_runs/count", auth=("viska", "guess")).status_code == 401
    assert (stack.home / "environment").stat().st_mode & 0o777 == 0o600 and stack.home.stat().st_mode & 0o777 == 0o700
    assert stack.api.get(f"{url.removesuffix('/api')}/ui-settings").json()["api_url"] == url
    for origin, answer in ((url.removesuffix("/api"), url.removesuffix("/api")), ("https://elsewhere.example", None)):
        assert stack.api.get("/version", headers={"Origin": origin}).headers.get("access-control-allow-origin") == answer


def test_up_again_changes_nothing(stack: "Stack") -> None:
    before = _pids(stack), _count(stack)
    assert before[1] == {"deployments": 5, "work_pools": 2, "automations": 6}
    again = stack.up("--port", "1")  # the port of a server that runs stays
    assert again.returncode == 0 and f"The UI is at {stack.environment['PREFECT_UI_URL']}" in again.stdout
    assert (_pids(stack), _count(stack)) == before


def test_a_schedule_makes_runs(stack: "Stack") -> None:
    stack.deploy(RECIPE | {"name": "timed"}, "--cron", "0 3 * * 0", "--timezone", "Europe/Stockholm")
    wish = {"deployments": {"name": {"any_": ["timed"]}}, "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    planned = _wait(lambda: stack.ask("/flow_runs/filter", **wish), 60)
    assert len(planned) >= 3 and all(run["auto_scheduled"] for run in planned)


def test_new_recordings_start_a_run_which_asks_a_person_and_is_left_in_peace(stack: "Stack") -> None:
    stack.deploy(ASKS)
    assert "sent    viska.corpus.updated for asks" in stack.run("-m", "flows", "arrived", "asks").stdout
    (run,) = _wait(lambda: stack.runs("retrain/asks"), 30)
    _wait(lambda: stack.state("asks") == "Suspended", 180)
    told = _wait(lambda: stack.heard("asks", "Suspended"), 30)[0]
    assert told["url"] == f"{stack.environment['PREFECT_UI_URL']}/runs/flow-run/{run['id']}" and told["text"].startswith("retrain-asks is")


def test_a_machine_that_dies_is_noticed_and_another_one_goes_on(stack: "Stack") -> None:
    stack.deploy(SLOW)
    stack.run("-m", "flows", "arrived", "slow")
    _wait(lambda: stack.runs("train/cuda") and stack.runs("train/cuda")[0]["state_name"] == "Running", 180)
    worker = int((stack.home / "cpu.pid").read_text())
    doomed = [worker, *_children(worker)]
    for pid in doomed:
        os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    _wait(lambda: stack.state("slow") == "AwaitingRetry", 360)
    assert time.monotonic() - began < 330, "180 s after the last sign of life and 60 more, and what a busy server takes"
    assert stack.up().returncode == 0  # another machine
    _wait(lambda: stack.state("slow") == "Released", 240)
    (run,) = stack.runs("retrain/slow")
    assert run["run_count"] == 2 and "Crashed" in stack.states(run)
    assert len([each for each in stack.runs("train/cuda") if each["parameters"]["recipe"]["name"] == "slow"]) == 1, (
        "adopted, not sent twice"
    )
    assert _wait(lambda: stack.heard("slow", "Released"), 30) and "No sign of life" in stack.heard("slow", "Crashed")[0]["message"]
    assert stack.state("asks") == "Suspended" and "Crashed" not in stack.states(stack.runs("retrain/asks")[0]), "whoever waits is not dead"


def test_a_process_that_is_killed_goes_on_and_a_release_that_is_done_says_so(stack: "Stack") -> None:
    stack.run("-m", "flows", "arrived", "slow")
    worker = int((stack.home / "cpu.pid").read_text())
    (engine, *_) = _wait(lambda: _children(worker), 60)
    _wait(lambda: stack.state("slow") == "Running", 60)
    os.kill(engine, signal.SIGKILL)
    _wait(lambda: stack.state("slow") == "NothingNew", 240)
    assert stack.runs("retrain/slow")[0]["run_count"] == 2 and len(stack.runs("retrain/slow")) == 2


def test_down_leaves_nothing_behind_and_up_finds_everything_again(stack: "Stack") -> None:
    pids = _pids(stack)
    assert stack.up("--down").stdout == "stopped\n"
    assert not [pid for pid in pids if _runs(pid)] and not list(stack.home.glob("*.pid"))
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (stack.home / "cpu.pid").write_text(str(other.pid))  # a number that the system has given to somebody else
        assert stack.up("--down").returncode == 0 and other.poll() is None
        port = stack.environment["PREFECT_UI_URL"].rpartition(":")[2]
        assert stack.up("--port", port).returncode == 0 and other.poll() is None
    finally:
        other.kill()
        other.wait()
    assert stack.state("slow") == "NothingNew" and stack.state("asks") == "Suspended"


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run([sys.executable, UP, "--port", str(port)], env=os.environ | {"VISKA_UP": str(tmp_path / "home")}, text=True,
                              capture_output=True)  # fmt: skip
    assert (
        done.returncode == 1 and done.stderr == f"up: port {port} of this machine is taken; choose another one: make up PORT={port + 1}\n"
    )


def _pids(stack: "Stack") -> list[int]:
    return [int((stack.home / f"{name}.pid").read_text()) for name in ("server", "cpu", "cuda")]


def _count(stack: "Stack") -> dict[str, int]:
    return {kind: len(stack.ask(f"/{kind}/filter")) for kind in ("deployments", "work_pools", "automations")}


def _children(pid: int) -> list[int]:
    return [int(each) for file in Path(f"/proc/{pid}/task").glob("*/children") for each in file.read_text().split()]


def _runs(pid: int) -> bool:
    """Return whether a process is there, and no zombie that nobody has asked about."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def _wait(look: Callable[[], Any], seconds: float) -> Any:
    until = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < until, f"not within {seconds:.0f} s"
        time.sleep(0.5)
    return found
