"""One installation for all tests here: what `make up` starts, with a store, a webhook and a port of its own."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import yaml

UP = str(Path(__file__).parents[2] / "deployments" / "up.py")


class Stack(NamedTuple):
    home: Path
    environment: dict[str, str]
    api: httpx.Client
    told: list[dict[str, str]]  # what the webhook received

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *command], env=self.environment, cwd=self.home.parent, text=True, capture_output=True)

    def deploy(self, recipe: dict[str, Any], *options: str) -> None:
        file = self.home.parent / f"{recipe['name']}.yaml"
        file.write_text(yaml.safe_dump(recipe))
        done = self.run("-m", "flows", "deploy", "--recipe", str(file), *options)
        assert done.returncode == 0, done.stderr

    def up(self, *options: str) -> subprocess.CompletedProcess[str]:
        return self.run(UP, *options)

    def state(self, name: str) -> str:
        """Return the state of the newest run of a recipe."""
        return str(self.runs(f"retrain/{name}")[0]["state_name"])

    def ask(self, path: str, **body: Any) -> Any:
        answer = self.api.post(path, json=body)
        answer.raise_for_status()
        return answer.json()

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        """Return the runs of a deployment that have been started, newest first."""
        flow, name = deployment.split("/")
        wish = {"flows": {"name": {"any_": [flow]}}, "deployments": {"name": {"any_": [name]}}}
        return [run for run in self.ask("/flow_runs/filter", sort="EXPECTED_START_TIME_DESC", **wish) if not run["auto_scheduled"]]

    def states(self, run: dict[str, Any]) -> list[str]:
        states = self.api.get("/flow_run_states/", params={"flow_run_id": run["id"]}).json()
        return [each["name"] for each in sorted(states, key=lambda each: each["timestamp"])]

    def heard(self, name: str, state: str) -> list[dict[str, str]]:
        """Return what people were told; SQLite may have it told twice."""
        return [each for each in self.told if (each["deployment"], each["state"]) == (name, state)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    root = tmp_path_factory.mktemp("up")
    told: list[dict[str, str]] = []
    hook = _webhook(told)
    port = _free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | {
        "VISKA_UP": str(root / "home"), "VISKA_STORE": str(root / "store"), "VISKA_WEBHOOK": f"http://127.0.0.1:{hook.server_port}/hook",
        "PREFECT_WORKER_QUERY_SECONDS": "3",
    }  # fmt: skip
    started = subprocess.run([sys.executable, UP, "--port", str(port)], env=environment, text=True, capture_output=True)
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        lines = (root / "home" / "environment").read_text().splitlines()
        environment |= dict(line.removeprefix("export ").split("=", 1) for line in lines)
        user, password = environment["PREFECT_API_AUTH_STRING"].split(":")
        with httpx.Client(base_url=environment["PREFECT_API_URL"], auth=(user, password), timeout=60) as api:
            yield Stack(root / "home", environment, api, told)
    finally:
        subprocess.run([sys.executable, UP, "--down"], env=environment, check=True)
        hook.shutdown()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _webhook(told: list[dict[str, str]]) -> HTTPServer:
    """Start a server that keeps what it is sent, as JSON of the right type or not at all."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.headers["Content-Type"] == "application/json":
                told.append(body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
