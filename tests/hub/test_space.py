"""The demo, for real: the app of a Space in a process of its own, with nothing of ours on its path but what the Space carries."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import soundfile
from gradio_client import Client, handle_file

from tasks.hub.space import space_files
from tests.support.tiny import new_folder

LAUNCH = """
import sys
from app import build
from tasks.model.transcribe import open_model
build(open_model(sys.argv[1], "sv"), "tiny").launch(server_name="127.0.0.1", server_port=int(sys.argv[2]), footer_links=[])
"""


def test_a_space_carries_all_it_needs_and_transcribes_an_upload(tmp_path: Path) -> None:
    space = tmp_path / "space"
    for name, data in space_files("tiny", "sv").items():
        (space / name).parent.mkdir(parents=True, exist_ok=True)
        (space / name).write_bytes(data)
    model = new_folder(tmp_path / "model")
    soundfile.write(tmp_path / "long.wav", np.sin(np.arange(44_100 * 5) * 0.06) * 0.3, 44_100)  # five windows long, 44.1 kHz
    port = 18_000 + os.getpid() % 2_000
    environment = os.environ | {"PYTHONPATH": str(space), "GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(tmp_path / "uploads")}
    app = subprocess.Popen([sys.executable, "-c", LAUNCH, str(model), str(port)], cwd=space, env=environment, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    try:
        client = _connect(f"http://127.0.0.1:{port}", app)
        assert "Speak Swedish, or upload" in json.dumps(client.config)
        text, table = client.predict(handle_file(tmp_path / "long.wav"), api_name="/transcribe")
        assert isinstance(text, str)
        assert len(table["data"]) >= 5 and table["data"][0][0] == "0.0" and float(table["data"][-1][1]) == pytest.approx(5, abs=0.1)
        with pytest.raises(Exception, match="cannot be decoded"):
            (tmp_path / "noise.wav").write_bytes(b"this is no sound at all")
            client.predict(handle_file(tmp_path / "noise.wav"), api_name="/transcribe")
    finally:
        app.terminate()
        app.communicate(timeout=20)


def _connect(url: str, app: subprocess.Popen[str]) -> Client:
    deadline = time.monotonic() + 90
    while True:
        try:
            urllib.request.urlopen(f"{url}/config", timeout=10).close()
            return Client(url, verbose=False)
        except OSError:  # nobody listens yet
            if app.poll() is not None or time.monotonic() > deadline:
                app.kill()
                raise AssertionError(app.communicate()[0]) from None
            time.sleep(0.5)
