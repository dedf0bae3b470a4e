"""S2, S3, S4 on a real Prefect server with a password: who may ask it, and what a run that says secrets leaves in it."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.support.canaries import canaries
from tests.support.leaky import TRACER
from tests.support.stack import free_port

pytestmark = pytest.mark.flow
ROOT = Path(__file__).parents[2]
AUTH = "viska:canary-password-1b7d"
ORIGIN = "https://prefect.team.example"
PASSWORD = "plain-words-that-only-the-environment-knows"
READY = 120  # seconds in which the server must answer


@dataclass(frozen=True)
class Server:
    url: str
    home: Path
    user: tuple[str, str]

    def env(self) -> dict[str, str]:
        return dict(PREFECT_API_URL=f"{self.url}/api", PREFECT_API_AUTH_STRING=AUTH, PREFECT_HOME=str(self.home / "client"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Prefect server as docs/security.md has it started."""
    home, port = tmp_path_factory.mktemp("server"), free_port()
    env = os.environ | dict(
        PREFECT_HOME=str(home), PREFECT_SERVER_API_AUTH_STRING=AUTH, PREFECT_SERVER_CORS_ALLOWED_ORIGINS=ORIGIN,
        PREFECT_SERVER_ANALYTICS_ENABLED="false", PREFECT_UI_ENABLED="false",
    )  # fmt: skip
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
        env.pop(name, None)
    app = "prefect.server.api.server:create_app"  # what `prefect server start` runs, a second interpreter earlier
    command = [sys.executable, "-m", "uvicorn", "--factory", app, "--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    with (home / "words").open("wb") as words, subprocess.Popen(command, env=env, stdout=words, stderr=words) as process:
        there = Server(f"http://127.0.0.1:{port}", home, ("viska", AUTH.partition(":")[2]))
        try:
            _until_ready(there, process)
            yield there
        finally:
            process.terminate()


def _until_ready(there: Server, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + READY
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(f"{there.url}/api/health").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError((there.home / "words").read_text()[-2_000:])


@pytest.fixture(scope="module")
def leaked(server: Server) -> subprocess.CompletedProcess[str]:
    """A run on it that says every secret in every way."""
    env = os.environ | server.env() | {"LEAKY_PASSWORD": PASSWORD}
    command = [sys.executable, "-m", "tests.support.leaky"]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=200, check=False)


def secrets() -> list[str]:
    """Return what must not be found: each secret, and each line of a key; what became of line ends in JSON does not matter then."""
    parts = [line for _, secret in canaries().values() for line in secret.split("\n")]
    return [*parts, PASSWORD, "given-by-a-block-77ae", AUTH, AUTH.partition(":")[2]]


def test_a_run_that_says_secrets_tells_none_to_the_terminal(leaked: subprocess.CompletedProcess[str]) -> None:
    for where, said in (("stdout", leaked.stdout), ("stderr", leaked.stderr)):
        assert not [each for each in secrets() if each in said], where
    assert leaked.returncode == 1 and f"Quoting: {TRACER} quoting hf_[redacted] ya29.[redacted] " in leaked.stderr.split("Traceback")[-1]
    for way in ("module", "formatted", "mapping", "run logger", "foreign", "print"):
        assert leaked.stderr.count(f"{TRACER} {way} ") >= len(canaries()) + 2, "all of them were said"


def test_it_tells_none_to_the_server_in_any_table_of_its_database(server: Server, leaked: subprocess.CompletedProcess[str]) -> None:
    least = {"log": 6 * (len(canaries()) + 2), "artifact": 3, "flow_run_state": 2, "task_run_state": 3}  # rows in which secrets were said
    with sqlite3.connect(server.home / "prefect.db") as database:
        until = time.monotonic() + 30  # states of tasks are written down a little later
        for table, n in least.items():
            wish = f"SELECT {'data' if table == 'artifact' else 'message'} AS words FROM {table} WHERE words LIKE '%{TRACER}%[redacted]%'"
            while len(rows := database.execute(wish).fetchall()) < n and time.monotonic() < until:
                time.sleep(0.2)
            assert len(rows) >= n, table
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        assert len(tables) > 30
        for table in tables:
            told = repr(database.execute(f'SELECT * FROM "{table}"').fetchall())
            assert not [each for each in secrets() if each in told], table
    for path in server.home.glob("**/*"):
        if path.is_file():
            data = path.read_bytes()
            assert not [each for each in secrets() if each.encode() in data], path


def test_no_run_keeps_a_result(server: Server, leaked: subprocess.CompletedProcess[str]) -> None:
    assert not [path for path in server.home.rglob("storage/*")], "whoever can write a result runs code in the next run"
    with sqlite3.connect(server.home / "prefect.db") as database:
        for table in ("flow_run_state", "task_run_state"):
            rows = database.execute(f"SELECT data FROM {table} WHERE data IS NOT NULL AND data != 'null'").fetchall()
            assert rows == [], table


def test_who_does_not_know_the_password_is_told_nothing(server: Server) -> None:
    for method, path in (("POST", "flow_runs/filter"), ("POST", "block_documents/filter"), ("GET", "admin/settings"), ("POST", "flows/")):
        for user in (None, ("viska", "wrong"), ("", "")):
            answer = httpx.request(method, f"{server.url}/api/{path}", auth=user, json={})
            assert (answer.status_code, answer.json()) == (401, {"exception_message": "Unauthorized"}), path
    for path in ("docs", "openapi.json"):
        assert "paths" not in httpx.get(f"{server.url}/api/{path}").text
    assert httpx.post(f"{server.url}/api/flow_runs/filter", auth=server.user, json={}).status_code == 200
    assert httpx.get(f"{server.url}/api/health").json() is True, "open, for whoever watches over it"


def test_a_page_of_a_stranger_may_not_read_its_answers(server: Server) -> None:
    for origin, allowed in (("https://evil.example", None), ("null", None), (ORIGIN, ORIGIN)):
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        answer = httpx.options(f"{server.url}/api/flow_runs/filter", headers=asked)
        assert answer.headers.get("access-control-allow-origin") == allowed
        answer = httpx.post(f"{server.url}/api/flow_runs/filter", auth=server.user, json={}, headers={"Origin": origin})
        assert answer.headers.get("access-control-allow-origin") == allowed


@pytest.mark.parametrize("path", ["events/out", "logs/out"])
def test_who_does_not_know_the_password_hears_no_events(server: Server, path: str) -> None:
    address = f"{server.url.replace('http', 'ws')}/api/{path}"
    for word, welcome in (("viska:wrong", False), (None, False), (AUTH, True)):
        try:
            with connect(address, subprotocols=["prefect"]) as socket:  # type: ignore[list-item]
                socket.send(f'{{"type": "auth", "token": {"null" if word is None else chr(34) + word + chr(34)}}}')
                heard = socket.recv(timeout=10)
                assert welcome and '"auth_success"' in str(heard)
        except (ConnectionClosed, InvalidStatus) as refusal:
            assert not welcome, refusal
