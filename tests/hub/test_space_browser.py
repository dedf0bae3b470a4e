"""The demo in a real Chromium: what a visitor does, from the microphone to a correction that can be trained on. About 40 s."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from tasks.contracts.corpora import FolderCorpus
from tasks.corpora import Recording, recordings
from tasks.model.whisper import save_whisper
from tasks.store.objects import Store
from tests.support.browser import Browser, Tab, browser, chromium
from tests.support.tiny import TEXTS, new_folder, settings, train_tiny

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium on the path; install chromium to try the page in it")
LAUNCH = """
import sys
from tasks.hub.space.app import build, open_page
from tasks.hub.space.keep import Keeper
from tasks.model.transcribe import open_model
from tasks.store.objects import Store
model, base = (open_model(folder) for folder in sys.argv[1:3])
open_page(build(model, "tiny <i>sv</i>", base, "base", Keeper(Store(sys.argv[3]), "tiny"), 240), "127.0.0.1", int(sys.argv[4]))
"""


class World(NamedTuple):
    """The page's address, the browser, and where files lie."""

    url: str
    browser: Browser
    folder: Path


def tones(numbers: list[int]) -> np.ndarray:
    """Return a second for each word pair of TEXTS: its tone, then silence."""
    seconds = []
    for number in numbers:
        n = 6_400 + 1_500 * number
        seconds.append(np.pad(0.3 * np.sin(2 * np.pi * 220 * 1.5**number * np.arange(n) / 16_000), (0, 16_000 - n)))
    return np.concatenate(seconds).astype(np.float32)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("demo")
    base = new_folder(folder / "base")
    taught, _ = train_tiny(
        base, Store(str(folder / "runs")), settings(steps=120, batch=6, warmup=10, evaluate_every=120, learning_rate=5e-3)
    )
    save_whisper(taught, base, folder / "model")
    soundfile.write(folder / "pairs.wav", tones([0, 1, 2]), 16_000)
    soundfile.write(folder / "other.wav", tones([5]), 16_000)
    soundfile.write(folder / "long.flac", tones([number % 3 for number in range(180)]), 16_000)
    soundfile.write(folder / "silent.wav", np.zeros(16_000), 16_000)
    (folder / "noise.mp3").write_bytes(b"this is no sound at all " * 50)
    port = 20_000 + os.getpid() % 2_000
    environment = os.environ | {"GRADIO_TEMP_DIR": str(folder / "uploads"), "GRADIO_ANALYTICS_ENABLED": "False"}
    command = [sys.executable, "-c", LAUNCH, str(folder / "model"), str(base), str(folder / "store"), str(port)]
    with open(folder / "app.log", "w") as words:
        app = subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[2], stdout=words, stderr=subprocess.STDOUT)
        try:
            with browser(folder / "profile", folder / "pairs.wav") as opened:
                until = time.monotonic() + 90
                while "Running on local URL" not in (folder / "app.log").read_text():
                    assert app.poll() is None and time.monotonic() < until, (folder / "app.log").read_text()
                    time.sleep(0.2)
                yield World(f"http://127.0.0.1:{port}", opened, folder)
        finally:
            app.terminate()
            app.wait(timeout=20)
    assert "Traceback" not in (folder / "app.log").read_text()


def upload(tab: Tab, file: Path) -> Tab:
    """Choose a file on the page, and have it transcribed."""
    tab.click("[role=tab]:nth-of-type(2)")
    tab.give("#choose input[type=file]", file)
    tab.wait(f"document.querySelector('#choose').innerText.includes('{file.suffix}')")
    tab.click("#transcribe")
    return tab


def heard(tab: Tab) -> list[str]:
    """Return the pieces as they are shown, when the page says that it is done."""
    tab.wait("document.querySelector('.files')")
    shown: list[str] = tab.run("[...document.querySelectorAll('ol.pieces p.ours')].map(each => each.innerText)")
    return shown


def test_an_upload_is_transcribed_compared_played_and_downloaded(world: World) -> None:
    tab = world.browser.visitor("en-GB").open(world.url)
    assert "Speak Swedish, or choose" in tab.text("header") and tab.text("h1") == "tiny <i>sv</i>"
    assert tab.run("document.documentElement.lang") == "en" and tab.unnamed() == []
    tab.click("#compare input")
    assert heard(upload(tab, world.folder / "pairs.wav")) == TEXTS[:3]
    assert tab.run("document.querySelectorAll('ol.pieces p.base').length") == 3
    assert re.search(r"Done: 6 words in 0:03, \d of them unsure", tab.text("#status"))
    tab.click("ol.pieces li:nth-child(2) .time")
    tab.wait("(a => a.currentTime > 0.9 && a.currentTime < 2)(document.querySelector('audio'))")
    tab.wait("document.querySelector('audio').paused")  # at the end of the piece
    assert tab.unnamed() == [], "a button or a field without a name for screen readers"
    fetched = tab.run("performance.getEntriesByType('resource').map(each => each.name)")
    assert fetched and all(each.startswith((world.url, "data:", "blob:")) for each in fetched), "nothing from elsewhere"
    downloads = world.folder / "downloads"
    tab.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
    for suffix, start in ((".txt", "röd katt\nblå hund\n"), (".srt", "1\n00:00:00,0"), (".vtt", "WEBVTT\n\n00:00:00.0")):
        tab.click(f"a[download$='{suffix}']")
        until = time.monotonic() + 10
        while not (file := downloads / f"transcript{suffix}").exists() and time.monotonic() < until:
            time.sleep(0.1)
        assert file.read_text(encoding="utf-8").startswith(start) and "grön häst" in file.read_text(encoding="utf-8")


def test_a_microphone_is_heard(world: World) -> None:
    tab = world.browser.visitor().open(world.url)
    tab.click("#record .record-button")
    tab.wait("document.querySelector('#record .stop-button')?.offsetParent")
    time.sleep(2.5)
    tab.click("#record .stop-button")
    for _ in range(20):  # until the recording has arrived; before that the page asks for one
        tab.click("#transcribe")
        tab.wait("document.querySelector('.files, [role=alert]')")
        if tab.run("Boolean(document.querySelector('.files'))"):
            break
        assert "Record something" in tab.text("#status")
        time.sleep(0.3)
    assert set(TEXTS[:3]) & set(heard(tab)), "the fake microphone plays the first three"


def test_three_minutes_appear_piece_by_piece(world: World) -> None:
    tab = upload(world.browser.visitor().open(world.url), world.folder / "long.flac")
    status, disabled = tab.run("""new Promise(seen => { const look = setInterval(() => {
        if (document.querySelectorAll('ol.pieces li').length > 3 && document.querySelector('progress')?.value > 0) {
            clearInterval(look);
            seen([document.querySelector('#status').innerText, document.querySelector('#transcribe').disabled]);
        }
    }, 5); })""")
    assert re.search(r"Listening: [012]:\d\d of 3:00", status) and disabled, "shown before all of it is heard"
    shown = heard(tab)
    assert len(shown) >= 180 and set(" ".join(shown).split()) <= set(" ".join(TEXTS).split()), "all of it, a second at most at a time"
    assert tab.text("ol.pieces li:last-child .time") == "2:59"
    tab.wait("!document.querySelector('#transcribe').disabled")


def test_a_run_can_be_stopped(world: World) -> None:
    tab = upload(world.browser.visitor().open(world.url), world.folder / "long.flac")
    tab.wait("document.querySelectorAll('ol.pieces li').length > 3")
    tab.click("#stop")
    assert 3 < len(heard(tab)) < 180 and re.search(r"Stopped at [012]:\d\d of 3:00", tab.text("#status"))


def test_what_is_no_sound_is_refused_in_words(world: World) -> None:
    tab = upload(world.browser.visitor().open(world.url), world.folder / "noise.mp3")
    tab.wait("document.querySelector('[role=alert]')")
    assert "no recording, or it is damaged" in tab.text("#status") and "Traceback" not in tab.text()
    tab.wait("!document.querySelector('#transcribe').disabled")
    tab = upload(world.browser.visitor("sv").open(world.url), world.folder / "silent.wav")
    tab.wait("document.querySelector('[role=alert]')")
    assert "Det finns inget ljud i den" in tab.text("#status")


def test_two_visitors_get_their_own_words(world: World) -> None:
    tabs = [world.browser.visitor().open(world.url) for _ in range(2)]
    for tab, name in zip(tabs, ("pairs.wav", "other.wav"), strict=True):
        upload(tab, world.folder / name)
    assert heard(tabs[0]) == TEXTS[:3] and set(heard(tabs[1])) == {TEXTS[5]}


def test_a_correction_is_kept_only_with_consent_and_can_be_trained_on(world: World) -> None:
    tab = upload(world.browser.visitor("sv-SE,sv;q=0.9,en;q=0.5").open(world.url), world.folder / "pairs.wav")
    assert heard(tab) == TEXTS[:3]
    tab.click("[data-wrong='1']")
    tab.wait("document.activeElement === document.querySelector('#text textarea')")
    assert tab.text("#correction h2") == "Vad sägs vid 0:00?" and tab.run("document.querySelector('#text textarea').value") == "blå hund"
    tab.type("#text textarea", "blå <b>hund</b>")
    tab.click("#send")
    tab.wait("document.querySelector('#answer [role=alert]')")
    assert "Inget skickades: kryssa i rutan" in tab.text("#answer") and not (world.folder / "store").exists()
    tab.click("#consent input")
    tab.click("#send")
    tab.wait("document.querySelector('#answer [role=status]')")
    receipt = re.search(r"uppge numret (\w{12})", tab.text("#answer"))
    assert receipt and "blå <b>hund</b>" in tab.text("ol.pieces li:nth-child(2)") and "rättad" in tab.text("ol.pieces li:nth-child(2)")
    assert tab.unnamed() == []
    [row] = recordings(FolderCorpus(path=str(world.folder / "store" / "visitors" / "tiny")))
    assert isinstance(row, Recording) and row.text == "blå <b>hund</b>" and row.split == "train"
    samples, rate = soundfile.read(world.folder / "store" / "visitors" / "tiny" / row.id)
    assert rate == 16_000 and 0.4 < len(samples) / rate < 0.8, "the piece alone"
    [entry] = json.loads((world.folder / "store" / "decisions" / "tiny" / "00000001.json").read_text())
    assert (entry["was"], entry["text"], entry["verdict"]) == ("blå hund", "blå <b>hund</b>", "correct")
    assert entry["recording"].startswith(receipt[1])


def test_the_page_speaks_swedish_to_who_reads_it_and_can_be_switched(world: World) -> None:
    tab = world.browser.visitor("sv-SE,sv;q=0.9,en;q=0.5").open(world.url)
    assert "Tala svenska, eller välj" in tab.text("header") and tab.run("document.documentElement.lang") == "sv"
    assert tab.text("#transcribe") == "Transkribera" and "Mikrofon" in tab.text() and "raderas där" in tab.text("#footing")
    tab.click(".switch input[value=en]")
    tab.wait("document.querySelector('#transcribe').innerText === 'Transcribe'")
    assert "Speak Swedish" in tab.text("header") and tab.run("document.documentElement.lang") == "en"
    assert "Speak Swedish" in world.browser.visitor("de-DE").open(world.url).text("header")
    assert "Tala svenska" in world.browser.visitor("de-DE").open(f"{world.url}/?lang=sv").text("header")


def test_a_narrow_page_does_not_scroll_sideways(world: World) -> None:
    tab = upload(world.browser.visitor(width=360, height=740).open(world.url), world.folder / "pairs.wav")
    assert heard(tab) == TEXTS[:3]
    assert tab.run("document.documentElement.scrollWidth") <= 360
