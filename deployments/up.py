"""Up: a Prefect server and two workers on this machine, without containers. `make up` and `make down`.

    python deployments/up.py [--port 4200]   start what does not run, register, and say where the UI is; may be repeated
    python deployments/up.py --down          stop exactly these

All lies in ~/.viska/prefect (or VISKA_UP): the database, logs, and `environment` with the password, for `source`. A process holds a lock
on its own .pid file, so a number that the system has given to another process is never taken for ours.
"""

import argparse
import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

HERE = Path(__file__).parent
WAIT = 120.0  # seconds for the server to come up; the first start makes its tables
GRACE = 180.0  # seconds for all to stop: a training saves its checkpoint
SERVER = (str(HERE / "serve.py"),)
WORKER = ("-m", "prefect", "worker", "start", "--type", "process", "--pool")


def up(home: Path, port: int) -> int:
    """Start server and workers, register, and say what to do next; the exit code is 1 if something does not start."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = os.environ.get("VISKA_STORE") or "~/.viska/store"
    told = _environment(home, port, store if "://" in store else str(Path(store).expanduser().absolute()))  # runs have folders of their own
    environment = os.environ | told | {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    if not _alive(home / "server.pid"):
        if _is_taken(port := int(told["PREFECT_UI_URL"].rpartition(":")[2])):
            return _fail(f"port {port} of this machine is taken; choose another one: make up PORT={port + 1}")
        _start(home, "server", [*SERVER, str(port)], environment | _of_server(told))
    if not _answers(told["PREFECT_API_URL"], home / "server.pid"):
        return _fail(f"the server does not answer; see {home / 'server.log'}")
    if subprocess.run([sys.executable, str(HERE / "register.py")], env=environment, check=False).returncode:
        return _fail("server runs, workers do not; put right what is said above, and repeat")
    for pool, limit in (("cpu", ()), ("cuda", ("--limit", "1"))):  # one run per GPU; without a GPU this machine does such work on its CPU
        if not _alive(home / f"{pool}.pid"):
            _start(home, pool, [*WORKER, pool, *limit], environment)
    print(f"\nThe UI is at {told['PREFECT_UI_URL']}; user and password are in {home / 'environment'}. Logs are beside it.")
    print(f"Next: source {home / 'environment'} && viska deploy --recipe deployments/recipes/demo.yaml. To stop: make down")
    return 0


def down(home: Path) -> int:
    """Stop workers and server, and wait for it; what they were doing goes on after the next start."""
    until = time.monotonic() + GRACE
    for name in ("cpu", "cuda"):  # first who waits for the other, or it would send a successor
        if pid := _alive(home / f"{name}.pid"):
            _stop_runs(pid, until)
    for name in ("cuda", "cpu", "server"):
        if pid := _alive(home / f"{name}.pid"):
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGCONT)
        while (pid := _alive(home / f"{name}.pid")) and time.monotonic() < until:
            time.sleep(0.2)
        if pid:
            os.kill(pid, signal.SIGKILL)
        (home / f"{name}.pid").unlink(missing_ok=True)
    print("stopped")
    return 0


def _stop_runs(worker: int, until: float) -> None:
    """Hold a worker still, and have its runs stop, which store what they have: Prefect's (3.8.8) would kill them when it is to stop."""
    os.kill(worker, signal.SIGSTOP)
    for run in _runs_of(worker):
        os.kill(run, signal.SIGTERM)
    while _runs_of(worker) and time.monotonic() < until:
        time.sleep(0.2)


def _runs_of(worker: int) -> list[int]:
    """Return the processes of a worker that have not ended."""
    table = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], check=True, text=True, capture_output=True).stdout
    return [int(pid) for pid, parent, state in map(str.split, table.splitlines()) if int(parent) == worker and state[0] != "Z"]


def _environment(home: Path, port: int, store: str) -> dict[str, str]:
    """Return what clients need, from the file that says so; it is made with a new password if there is none."""
    file = home / "environment"
    known = dict(line.removeprefix("export ").split("=", 1) for line in file.read_text().split("\n") if line) if file.exists() else {}
    if not known or not _alive(home / "server.pid"):
        known = {
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_UI_URL": f"http://127.0.0.1:{port}",
            "VISKA_STORE": store,
            "PREFECT_API_AUTH_STRING": known.get("PREFECT_API_AUTH_STRING", f"viska:{secrets.token_urlsafe(24)}"),
        }
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as written:
            written.write("".join(f"export {name}={value}\n" for name, value in known.items()))
    return known


def _of_server(told: dict[str, str]) -> dict[str, str]:
    """Return the settings of a server that only this machine reaches, and only with the password."""
    return {
        "PREFECT_SERVER_API_AUTH_STRING": told["PREFECT_API_AUTH_STRING"],
        "PREFECT_SERVER_UI_API_URL": told["PREFECT_API_URL"],  # else the pages ask at 4200, whatever the port is
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"{told['PREFECT_UI_URL']},{told['PREFECT_UI_URL'].replace('127.0.0.1', 'localhost')}",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",  # or a restart ends the runs
        "PREFECT__SERVER_FINAL": "1",
    }


def _start(home: Path, name: str, arguments: list[str], environment: dict[str, str]) -> None:
    """Start a process that survives this shell. It inherits the lock on its .pid file, and loses it when it ends."""
    with open(home / f"{name}.pid", "w") as pid, open(home / f"{name}.log", "ab") as log:
        fcntl.flock(pid, fcntl.LOCK_EX)
        started = subprocess.Popen([sys.executable, *arguments], env=environment, cwd=home, stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=log, start_new_session=True, pass_fds=[pid.fileno()])  # fmt: skip
        pid.write(str(started.pid))


def _alive(file: Path) -> int:
    """Return the number of the process that holds the lock on this file; 0 if none does."""
    if not file.exists():
        return 0
    with open(file) as pid:
        try:
            fcntl.flock(pid, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(pid.read())
    return 0


def _answers(url: str, pid: Path) -> bool:
    """Return whether the server answers, as soon as it does; no if it has ended, or takes too long."""
    until = time.monotonic() + WAIT
    while _alive(pid) and time.monotonic() < until:
        try:
            return httpx.get(f"{url}/health", timeout=5).is_success
        except httpx.TransportError:
            time.sleep(0.2)
    return False


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _fail(words: str) -> int:
    print(f"up: {words}", file=sys.stderr)
    return 1


def main() -> int:
    """Start or stop, and return the exit code."""
    parser = argparse.ArgumentParser(description="A Prefect server and two workers on this machine.")
    parser.add_argument("--down", action="store_true", help="stop them")
    parser.add_argument("--port", type=int, default=4200, help="of the UI; default 4200")
    options = parser.parse_args()
    home = Path(os.environ.get("VISKA_UP") or "~/.viska/prefect").expanduser().resolve()
    return down(home) if options.down else up(home, options.port)


if __name__ == "__main__":
    sys.exit(main())
