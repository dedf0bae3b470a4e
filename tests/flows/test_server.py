"""Which Prefect server a command uses: the one that is named, wherever people name it, or its own, which ends with it."""

import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from flows.server import named_server

PROFILES = 'active = "team"\n[profiles.team]\nPREFECT_API_URL = "http://team:4200/api"\n[profiles.alone]\n'


def test_a_server_is_named_by_the_environment_or_by_the_active_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    assert named_server() == "", "no profiles yet"
    (tmp_path / "profiles.toml").write_text(PROFILES)
    assert named_server() == "http://team:4200/api"
    monkeypatch.setenv("PREFECT_PROFILE", "alone")
    assert named_server() == ""
    monkeypatch.setenv("PREFECT_API_URL", "http://here:4200/api")
    assert named_server() == "http://here:4200/api"
    (tmp_path / "profiles.toml").write_text("not toml at all [")
    monkeypatch.delenv("PREFECT_API_URL")
    assert named_server() == "", "Prefect itself says what is wrong with it"


def test_the_server_of_a_command_that_is_killed_by_force_ends_too() -> None:
    code = "from flows.server import Server; s = Server(); s.start(); s.wait(); print(s.url, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        assert answers(url)
        process.kill()
    until = time.monotonic() + 60
    while answers(url):
        assert time.monotonic() < until
        time.sleep(0.2)


def answers(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(url + "/health", timeout=5))
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
