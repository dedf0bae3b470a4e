"""S4 where nobody has set up anything: the server of one command listens on loopback, and knows its own run from a stranger."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from flows.server import Server

pytestmark = pytest.mark.flow
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server as `viska prepare` starts it, but not for this process: Server.start also takes its signals."""
    home = tmp_path_factory.mktemp("home")
    program = "from flows.server import Server; s = Server(); s.start(); s.wait(); print(s.url, s.password, flush=True); input()"
    env = os.environ | {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL"}
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=env, stdin=pipe, stdout=pipe, text=True) as run:
        assert run.stdin and run.stdout
        there = Server()
        there.url, there.password = run.stdout.readline().split()
        yield there
        run.stdin.close()


@pytest.mark.slow
def test_another_user_of_this_machine_and_a_page_in_its_browser_are_told_nothing(server: Server) -> None:
    assert server.url.startswith("http://127.0.0.1:"), "nobody on the network"
    address = f"{server.url}/flow_runs/filter"
    simple = {"Origin": "https://evil.example", "Content-Type": "text/plain"}  # a browser sends this without asking first
    for headers in ({}, {"Origin": "https://evil.example"}, {"Host": "rebound.evil.example"}, simple):
        answer = httpx.post(address, content="{}", headers=headers)
        assert answer.status_code == 401 and answer.headers.get("access-control-allow-origin") is None, headers
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    assert httpx.options(address, headers=asked).headers.get("access-control-allow-origin") is None
    user, _, password = server.password.partition(":")
    assert httpx.post(address, json={}, auth=(user, password)).json() == []


def test_each_command_has_a_password_of_its_own() -> None:
    passwords = {Server().password for _ in range(8)}
    assert len(passwords) == 8 and all(len(each) >= 40 for each in passwords)
