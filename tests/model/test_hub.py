"""Fetching a checkpoint from the Hub: the real client, in a process of its own, against the few calls of the Hub's API that it makes."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.tiny import new_folder

ROOT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FETCH = """
import sys
from tasks.contracts.errors import ModelError
from tasks.model.start import checkpoint_revision, locate_checkpoint
try:
    commit = checkpoint_revision(sys.argv[1], sys.argv[2])
    print(commit, *sorted(path.name for path in locate_checkpoint(sys.argv[1], commit).iterdir()))
except ModelError as refusal:
    print("REFUSED", refusal)
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    """A Hub with one model, team/tiny, that also holds a pickle and a script; returns its address."""
    folder = new_folder(tmp_path / "hub")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "modeling.py").write_text("print('code of a stranger')")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = self.path.partition("?")[0].strip("/").split("/")
            if parts[:4] == ["api", "models", "team", "tiny"]:
                if "tree" in parts:
                    sizes = {name: (len(data), hashlib.sha1(data).hexdigest()) for name, data in files.items()}
                    rows = [{"type": "file", "path": name, "size": size, "oid": oid} for name, (size, oid) in sizes.items()]
                    self._answer(json.dumps(rows).encode())
                else:
                    siblings = [{"rfilename": name} for name in files]
                    self._answer(json.dumps({"id": "team/tiny", "sha": COMMIT, "siblings": siblings}).encode())
            elif parts[:3] == ["team", "tiny", "resolve"] and parts[-1] in files:
                self._answer(files[parts[-1]])
            else:
                self._answer(b'{"error": "Repository not found"}', 404)

        do_HEAD = do_GET

        def _answer(self, data: bytes, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
            self.send_header("Content-Length", str(len(data)))
            if status == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _fetch(endpoint: str, home: Path, name: str = "team/tiny", revision: str = "main") -> str:
    told = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", FETCH, name, revision], env=os.environ | told, text=True, timeout=120, capture_output=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_a_checkpoint_comes_at_one_commit_without_pickles_and_code_and_a_whole_commit_needs_no_hub(hub: str, tmp_path: Path) -> None:
    words = _fetch(hub, tmp_path / "home").split()
    assert words[0] == COMMIT and "model.safetensors" in words and "tokenizer.json" in words
    assert not {"pytorch_model.bin", "modeling.py"} & set(words)
    assert _fetch("http://127.0.0.1:9", tmp_path / "home", revision=COMMIT).split() == words  # nobody answers: the copy of this machine


def test_a_model_that_is_not_there_is_refused_by_name(hub: str, tmp_path: Path) -> None:
    words = _fetch(hub, tmp_path / "home", name="team/other")
    assert words.startswith("REFUSED model 'team/other' at 'main': neither a folder here nor readable on the Hub")


def test_a_hub_out_of_reach_is_said(tmp_path: Path) -> None:
    assert "the Hub cannot be reached" in _fetch("http://127.0.0.1:9", tmp_path / "home")
