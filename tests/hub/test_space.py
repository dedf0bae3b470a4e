"""The demo, for real: the app of a Space in a process of its own, with nothing of ours on its path but what it carries. About 20 s."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from gradio_client import Client, handle_file

from tasks.hub.space import space_files
from tasks.hub.space.app import main
from tests.support.tiny import new_folder

SECONDS = 20  # of a recording, at most


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("space")
    new_folder(folder / "model")
    soundfile.write(folder / "long.wav", np.sin(np.arange(44_100 * 5) * 0.06) * 0.3, 44_100)  # five windows long, 44.1 kHz
    soundfile.write(folder / "hour.flac", np.sin(np.arange(16_000 * (SECONDS + 1)) * 0.06) * 0.3, 16_000)
    (folder / "noise.wav").write_bytes(b"this is no sound at all")
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Client]:
    """A client of the Space as `python app.py` opens it; base and model are the same."""
    space = folder / "space"
    for name, data in space_files("tiny", "sv").items():
        (space / name).parent.mkdir(parents=True, exist_ok=True)
        (space / name).write_bytes(data)
    port = 18_000 + os.getpid() % 2_000
    told = {
        "VISKA_MODEL": str(folder / "model"),
        "VISKA_BASE": str(folder / "model"),
        "VISKA_LANGUAGE": "sv",
        "VISKA_MAX_SECONDS": str(SECONDS),
    }
    environment = (
        os.environ | told | {"PYTHONPATH": str(space), "GRADIO_TEMP_DIR": str(folder / "uploads"), "GRADIO_SERVER_PORT": str(port)}
    )
    app = subprocess.Popen([sys.executable, "app.py"], cwd=space, env=environment, text=True, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT)  # fmt: skip
    try:
        yield _connect(f"http://127.0.0.1:{port}", app)
    finally:
        app.terminate()
        said = app.communicate(timeout=20)[0]
    assert "127.0.0.1" in said and "public URL" not in said, said


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


def ask(client: Client, file: Path, compare: bool = False, page: str = "en") -> tuple[str, Any]:
    """Return what the page says of a file, and the pieces."""
    status, _, _, _, rows = client.predict(None, handle_file(file), compare, page, api_name="/transcribe")
    return status, rows


def test_a_space_carries_all_it_needs_and_transcribes_an_upload(client: Client, folder: Path) -> None:
    assert "Swedish" in json.dumps(client.config) and "Compare with model" in json.dumps(client.config)
    _, rows = ask(client, folder / "long.wav")
    assert len(rows) >= 5 and rows[0]["start"] == 0 and rows[-1]["end"] == pytest.approx(5, abs=0.1)
    assert all(0 <= word["probability"] <= 1 and row["start"] <= word["start"] < word["end"] <= row["end"] + 1e-3
               for row in rows for word in row["words"])  # fmt: skip


def test_the_base_model_hears_the_same_pieces(client: Client, folder: Path) -> None:
    _, rows = ask(client, folder / "long.wav", compare=True)
    assert rows and all(row["base"] for row in rows)


def test_the_sound_of_a_video_is_heard(client: Client, folder: Path) -> None:
    with av.open(folder / "film.mp4", "w") as film:
        picture, sound = film.add_stream("mpeg4", rate=5), film.add_stream("aac", rate=16_000, layout="mono")
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        for _ in range(10):
            film.mux(picture.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 99, np.uint8), format="rgb24")))
        tone = (0.3 * np.sin(np.arange(32_000) * 0.17)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
        frame.rate = 16_000
        film.mux([*sound.encode(frame), *sound.encode(None), *picture.encode(None)])
    _, rows = ask(client, folder / "film.mp4")
    assert len(rows) >= 2 and rows[-1]["end"] == pytest.approx(2, abs=0.2)


def test_what_cannot_be_heard_is_refused_in_words_of_the_page(client: Client, folder: Path) -> None:
    status, rows = ask(client, folder / "noise.wav")
    assert "no recording, or it is damaged" in status and 'role="alert"' in status and "cannot be decoded" in rows["error"]
    assert "Traceback" not in status and str(folder) not in status
    status, _ = ask(client, folder / "hour.flac", page="sv")
    assert "Den är längre än 0 minuter" in status
    status, *_, rows = client.predict(None, None, False, "en", api_name="/transcribe")
    assert rows == {"error": "Record something, or choose a file first."}


def test_two_at_once_get_each_their_own(client: Client, folder: Path) -> None:
    soundfile.write(folder / "short.wav", np.sin(np.arange(44_100) * 0.06) * 0.3, 44_100)
    with ThreadPoolExecutor(2) as pool:
        long, short = pool.map(lambda name: ask(client, folder / name)[1], ["long.wav", "short.wav"])
    assert long[-1]["end"] > 4.5 and short[-1]["end"] <= 1


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("path", ["/etc/passwd", "model/config.json", "../model/config.json", "app.py", "http://127.0.0.1:1/x.wav"])
def test_a_path_of_the_visitors_own_choice_is_refused(client: Client, folder: Path, place: int, path: str) -> None:
    path = str(folder / path) if path.startswith("model") else path
    data: list[Any] = [None, None, False, "en"]
    data[place] = {"path": path, "url": path if path.startswith("http") else None, "meta": {"_type": "gradio.FileData"}}
    said = _call(client, "transcribe", data)
    assert "event: error" in said and "root:" not in said and "vocab_size" not in said, said


def test_no_file_but_uploads_is_served(client: Client, folder: Path) -> None:
    for path in ("/etc/passwd", str(folder / "model" / "config.json"), str(folder / "space" / "app.py")):
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(f"{client.src}gradio_api/file={path}", timeout=10)
        assert refusal.value.code in (403, 404)


def test_an_upload_that_is_too_large_is_refused(client: Client) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
    request = urllib.request.Request(f"{client.src}gradio_api/upload", head + bytes(101 * 2**20) + b"\r\n--x--\r\n",
                                     {"Content-Type": "multipart/form-data; boundary=x"})  # fmt: skip
    with pytest.raises((urllib.error.HTTPError, ConnectionError, urllib.error.URLError)) as refusal:
        urllib.request.urlopen(request, timeout=60)
    assert getattr(refusal.value, "code", 413) == 413


def test_without_somebody_to_keep_them_no_corrections_are_asked_for(client: Client) -> None:
    assert "/correct" not in client.view_api(return_format="dict")["named_endpoints"]  # type: ignore[index, call-overload]
    assert "Send the correction" not in json.dumps(client.config)


def test_a_space_without_a_model_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISKA_MODEL", "")
    with pytest.raises(SystemExit, match=r"VISKA_MODEL is not set: a model's id on the Hub, such as .*, or a folder"):
        main()


def _call(client: Client, name: str, data: list[Any]) -> str:
    """Call the API as anybody can, with whatever they like; return the events it answers with."""
    request = urllib.request.Request(f"{client.src}gradio_api/call/{name}", json.dumps({"data": data}).encode(),
                                     {"Content-Type": "application/json"})  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            event = json.load(answer)["event_id"]
        with urllib.request.urlopen(f"{client.src}gradio_api/call/{name}/{event}", timeout=30) as answer:
            said: str = answer.read().decode()
            return said
    except urllib.error.HTTPError as refusal:
        return f"event: error {refusal.code}"
