"""A Prefect server for the time of one command, where no other is named.

Prefect can start one itself, but only after importing its whole server into the client (3 s, 100 MB), and in the terminal's process group:
Ctrl-C kills it before the run can say that it was interrupted. This one starts while the client is still importing.
"""

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path
from secrets import token_urlsafe

START_SECONDS = 120.0  # on a busy machine
# uvicorn, which stops when whoever holds the other end of its stdin is gone: who is killed by force has no time to stop it.
UVICORN = """
import os, runpy, signal, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os.kill(os.getpid(), signal.SIGTERM)), daemon=True).start()
runpy.run_module("uvicorn", run_name="__main__", alter_sys=True)
"""


class Server:
    """Prefect's API on a free port of this machine, for who knows `password`; `start` does not wait."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}/api"
        # Without one, other users of this machine may ask it anything, and so may any page in a browser here: it answers every origin.
        self.password = f"viska:{token_urlsafe(32)}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it stops when this process ends, after Prefect has sent the last log lines, or is killed."""
        command = [sys.executable, "-c", UVICORN, "--factory", "prefect.server.api.server:create_app", "--host", "127.0.0.1",
                   "--port", self.url.rsplit(":", 1)[1].split("/")[0], "--log-level", "error", "--lifespan", "on"]  # fmt: skip
        # As Prefect's own temporary server: no pages, and it may stop without having served its last subscriber.
        ours = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1",
                "PREFECT_SERVER_API_AUTH_STRING": self.password,
                "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": self.url.removesuffix("/api")}  # fmt: skip
        self._process = subprocess.Popen(command, env=os.environ | ours, process_group=0, stdin=subprocess.PIPE)
        atexit.register(self.stop)
        # A closed terminal, and whoever ends this process, must not leave it behind either.
        signal.signal(signal.SIGHUP, signal.default_int_handler)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    def wait(self) -> None:
        """Return when it answers; RuntimeError if it does not in time."""
        assert self._process
        until = time.monotonic() + START_SECONDS
        not_yet = (urllib.error.URLError, ConnectionError, TimeoutError)
        while time.monotonic() < until and self._process.poll() is None:
            with contextlib.suppress(*not_yet), urllib.request.urlopen(self.url + "/health", timeout=5):
                return
            time.sleep(0.1)
        raise RuntimeError(f"Prefect's temporary server does not answer at {self.url}; see its words above, or set PREFECT_API_URL")

    def stop(self) -> None:
        """Stop it, and wait until it has."""
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def named_server() -> str:
    """Return the server that the environment or the active profile of Prefect names; empty if none."""
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    try:
        profiles = tomllib.loads(Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml").read_text())
    except (OSError, ValueError):
        return ""
    active = os.environ.get("PREFECT_PROFILE") or profiles.get("active", "")
    return str(profiles.get("profiles", {}).get(active, {}).get("PREFECT_API_URL", ""))
