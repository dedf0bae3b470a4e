"""A team's whole installation on this machine: PostgreSQL, a Prefect server with a password, workers that share nothing but a bucket.

What containers would run, as processes: each worker has a folder, a Prefect home and a cache of its own, as machines do.

    with Stack(folder) as stack:
        worker = stack.worker("cuda")
        run = stack.start("retrain/cpu", {"recipe": ...})
        stack.until_ended(run)
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, State, StateType, TaskRun
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from tests.support.fake_gcs import FakeGcs
from tests.support.recipe import RECIPE

ROOT = Path(__file__).parents[2]
PASSWORD = "viska:only-on-this-machine"
PATIENCE = 180.0  # seconds that anything may take


def told(name: str, **changes: Any) -> dict[str, Any]:
    """Return a recipe with a place of its own in the bucket, of a training of some twenty seconds."""
    training = RECIPE["training"] | {"steps": 900, "evaluate_every": 60}
    return RECIPE | {"name": name, "store": f"gs://viska/{name}", "training": training, "release": {"anyway": True}} | changes


def postgres() -> Path | None:
    """Return the folder of PostgreSQL's programs; None if it is not installed."""
    found = [Path(each).resolve().parent for each in [shutil.which("initdb")] if each]
    return next(iter([*found, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]), None)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass
class Process:
    """One process of the installation, in a group of its own, and where it writes its words."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    def stop(self, by: signal.Signals = signal.SIGTERM) -> None:
        """End it, and with SIGKILL all that it has started, as when the machine goes away."""
        if self.popen.poll() is None:
            if by == signal.SIGKILL:
                for pid in [*_children(self.popen.pid), self.popen.pid]:
                    with suppress(ProcessLookupError):
                        os.kill(pid, by)
            else:
                self.popen.send_signal(by)
            self.popen.wait(timeout=60)


class Stack:
    """The installation. Everything in it ends with the block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gcs = FakeGcs()
        self.gcs.buckets |= {"viska": {}}
        self.database_port, self.port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.processes: list[Process] = []
        self.stack = ExitStack()
        self.n_workers = 0
        self.cpu: Process
        self.cuda: Process

    def __enter__(self) -> Self:
        try:
            self.stack.enter_context(self.gcs)
            self.stack.callback(self._end)
            self._start_database()
            self.start_server()
            self._run([sys.executable, "deployments/register.py"], self.environment("register"))
            self.stack.enter_context(temporary_settings({PREFECT_API_URL: self.url, PREFECT_API_AUTH_STRING: PASSWORD}))
            self.client = self.stack.enter_context(get_client(sync_client=True))
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def _end(self) -> None:
        for process in reversed(self.processes):
            with suppress(subprocess.TimeoutExpired):
                process.stop(signal.SIGINT if process.name == "postgres" else signal.SIGTERM)
            process.stop(signal.SIGKILL)

    def environment(self, name: str, **more: str) -> dict[str, str]:
        """Return that of a machine called `name`: nobody's settings but those that docs/operations.md names."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "VISKA", "PYTEST"))}
        machine = self.folder / name
        (machine / "tmp").mkdir(parents=True, exist_ok=True)
        return kept | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(machine),
            "TMPDIR": str(machine / "tmp"),
            "PREFECT_HOME": str(machine / "prefect"),
            "PREFECT_API_URL": self.url,
            "PREFECT_API_AUTH_STRING": PASSWORD,
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "VISKA_STORE": "gs://viska/store",
            "STORAGE_EMULATOR_HOST": self.gcs.url,
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # else gcsfs waits a minute for gRPC, which no stand-in speaks
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),  # for flows of the tests themselves
        } | more  # fmt: skip

    def spawn(self, name: str, command: list[str], environment: dict[str, str], **options: Any) -> Process:
        log = self.folder / f"{name}.log"
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        with log.open("ab") as words:
            popen = subprocess.Popen(command, env=environment, stdout=words, stderr=words, cwd=folder, process_group=0, **options)
        self.processes.append(Process(name, popen, log))
        return self.processes[-1]

    def _run(self, command: list[str], environment: dict[str, str], **options: Any) -> None:
        done = subprocess.run(command, env=environment, cwd=ROOT, text=True, capture_output=True, timeout=PATIENCE, **options)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"

    def _start_database(self) -> None:
        programs = postgres()
        assert programs, "PostgreSQL is not installed"
        data, somebody = self.folder / "database", {}
        data.mkdir()
        if os.getuid() == 0:  # PostgreSQL will not run as root
            somebody = {"user": "nobody", "group": "nogroup"}
            self.folder.chmod(0o755)
            shutil.chown(data, "nobody", "nogroup")
        self._run([str(programs / "initdb"), "-D", str(data), "-U", "prefect", "--auth=trust", "--no-sync"], dict(os.environ), **somebody)
        options = ["-c", "listen_addresses=127.0.0.1", "-p", str(self.database_port), "-k", str(data)]
        self.spawn("postgres", [str(programs / "postgres"), "-D", str(data), *options], dict(os.environ), **somebody)
        self.until(lambda: self._answers(self.database_port), "PostgreSQL answers")

    def _answers(self, port: int) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    def start_server(self) -> Process:
        """Start Prefect's server, and return it when it answers."""
        environment = self.environment(
            "server",
            PREFECT_SERVER_DATABASE_CONNECTION_URL=f"postgresql+asyncpg://prefect@127.0.0.1:{self.database_port}/postgres",
            PREFECT_SERVER_API_AUTH_STRING=PASSWORD,
            PREFECT_SERVER_CORS_ALLOWED_ORIGINS=self.url.removesuffix("/api"),
            PREFECT_SERVER_UI_API_URL=self.url,
            PREFECT_UI_URL=self.url.removesuffix("/api"),
            PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE="prefect.server.concurrency.lease_storage.filesystem",
            PREFECT_SERVER_ANALYTICS_ENABLED="false",
        )
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        server = self.spawn("server", command, environment)
        self.until(lambda: _is_up(self.url), "Prefect's server answers", 120)
        return server

    @property
    def server(self) -> Process:
        """The server that runs now."""
        return [each for each in self.processes if each.name == "server"][-1]

    def objects(self, prefix: str) -> list[str]:
        """Return the names in the bucket that begin so."""
        with self.gcs.lock:
            return [name for name in self.gcs.buckets["viska"] if name.startswith(prefix)]

    def worker(self, pool: str, **more: str) -> Process:
        """Start a worker on a machine of its own."""
        self.n_workers += 1
        name = f"{pool}-{self.n_workers}"
        command = ["sh", str(ROOT / "docker" / "entry.sh"), "prefect", "worker", "start", "--pool", pool, "--name", name]
        return self.spawn(name, command + (["--limit", "1"] if pool == "cuda" else []), self.environment(name, **more))

    @contextmanager
    def as_worker(self) -> Iterator[None]:
        """Have this process see the bucket as workers do."""
        told = {name: value for name, value in self.environment("here").items() if name.startswith(("STORAGE", "GCSFS"))}
        before = dict(os.environ)
        os.environ |= told
        try:
            yield
        finally:
            os.environ.clear()
            os.environ |= before

    def viska(self, *arguments: str) -> None:
        """Call the command line as somebody of the team does."""
        self._run([sys.executable, "-m", "flows", *arguments], self.environment("person"))

    def start(self, deployment: str, recipe: dict[str, Any], **more: Any) -> UUID:
        """Start a run of a deployment, as the button in the UI does."""
        told = {"recipe": recipe} | more
        return self.client.create_flow_run_from_deployment(self.client.read_deployment_by_name(deployment).id, parameters=told).id

    def retry(self, run: UUID) -> None:
        """Press Retry."""
        answer = self.client.set_flow_run_state(run, State(type=StateType.SCHEDULED, name="AwaitingRetry", message="Retry from the UI"))
        assert answer.status.value == "ACCEPT", answer

    def read(self, run: UUID) -> FlowRun:
        return self.client.read_flow_run(run)

    def state(self, run: UUID) -> str:
        state = self.read(run).state
        return str(state.name) if state else ""

    def until_ended(self, run: UUID, seconds: float = PATIENCE) -> str:
        """Return the name of the state in which a run ends."""
        self.until(lambda: bool((state := self.read(run).state) and state.is_final()), f"run {run} ends", seconds)
        return self.state(run)

    def all_tasks(self, run: UUID) -> list[TaskRun]:
        """Return the task runs of a run; its server gives 200 at once."""
        wish, found = FlowRunFilter(id=FlowRunFilterId(any_=[run])), list[TaskRun]()
        while more := self.client.read_task_runs(flow_run_filter=wish, limit=200, offset=len(found)):
            found += more
        return found

    def tasks(self, run: UUID) -> dict[str, TaskRun]:
        """Return the task runs of a run by name, the newest of each."""
        found = self.all_tasks(run)
        return {each.name: each for each in sorted(found, key=lambda each: each.created or each.expected_start_time)}  # type: ignore[arg-type, return-value]

    def children(self, run: UUID, name: str) -> list[FlowRun]:
        """Return the runs below a run whose flow has this name, in the order of their making."""
        tasks = self.client.read_task_runs(task_run_filter=TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[run])), limit=200)
        found = [self.read(each.state.state_details.child_flow_run_id) for each in tasks
                 if each.state and each.state.state_details.child_flow_run_id]  # fmt: skip
        flows = {each.flow_id: self.client.read_flow(each.flow_id).name for each in found}
        return sorted((each for each in found if flows[each.flow_id] == name), key=lambda each: each.created)  # type: ignore[arg-type, return-value]

    def words(self, run: UUID) -> str:
        """Return the log of a run."""
        wish = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))
        return "\n".join(each.message for each in self.client.read_logs(wish, limit=200))

    def until(self, true: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        """Wait until it is true."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f"never true: {what}\n{self._last_words()}"
            time.sleep(0.3)

    def _last_words(self) -> str:
        return "\n".join(f"--- {each.name}\n{each.log.read_text(errors='replace')[-2000:]}" for each in self.processes)

    def until_begun(self, run: UUID, times: int) -> None:
        """Wait until a run has begun so many times."""
        self.until(lambda: self.read(run).run_count >= times, f"run {run} has begun {times} times")

    def kill(self, run: UUID) -> None:
        """Kill the process that works on a run, and what that has started."""
        for pid in self.engines(run):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def is_alive(self, pid: int) -> bool:
        return bool(_environ(pid))

    def engines(self, run: UUID) -> list[int]:
        """Return the process that works on a run, and its children."""

        def found() -> list[int]:
            return [pid for pid in _all() if f"PREFECT__FLOW_RUN_ID={run}".encode() in _environ(pid)]

        self.until(lambda: bool(found()), f"run {run} has a process")
        return found()


def _is_up(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{url}/health", timeout=2).status_code == 200
    return False


def _all() -> list[int]:
    return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]


def _environ(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes()
    return b""


def _children(pid: int) -> list[int]:
    """Return all processes below a process."""
    parents = {}
    for each in _all():
        with suppress(OSError, IndexError):
            parents[each] = int(Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[1])
    below = [each for each, parent in parents.items() if parent == pid]
    return [*below, *(further for each in below for further in _children(each))]
