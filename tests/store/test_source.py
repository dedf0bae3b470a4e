"""Other people's files: links to files are files, and what changes a file changes its stamp."""

import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tasks.store.source import MISSING, Source


def test_a_link_to_a_file_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_bytes(b"a a.wav")
    (tmp_path / "folder").mkdir()
    for name, target in (("text", "wav.scp"), ("link", "folder"), ("broken", "gone")):
        (tmp_path / name).symlink_to(tmp_path / target)
    os.mkfifo(tmp_path / "pipe")
    there = Source(str(tmp_path))
    assert there.names() == ["text", "wav.scp"], "Kaldi's recipes link tables; a pipe would wait for ever"
    assert there.read("text") == b"a a.wav" and there.stamp("text") == there.stamp("wav.scp")
    for name in ("link", "broken", "pipe", "folder", "gone"):
        assert there.stamp(name) == MISSING
        with pytest.raises(FileNotFoundError):
            there.read(name)


def test_a_server_without_checksums_tells_a_change_by_its_date(tmp_path: Path) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / "a.wav").write_bytes(b"one")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        there = Source(f"http://127.0.0.1:{server.server_port}")
        before = there.stamp("a.wav")
        (tmp_path / "a.wav").write_bytes(b"two")
        os.utime(tmp_path / "a.wav", (1e9, 1e9))
        assert before.startswith("3:") and there.stamp("a.wav") == "3:Sun, 09 Sep 2001 01:46:40 GMT" != before
        assert there.stamp("gone.wav") == MISSING
        server.shutdown()
