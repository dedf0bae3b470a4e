"""A headless Chromium, driven over the DevTools protocol (chromedevtools.github.io/devtools-protocol) with a WebSocket and nothing else."""

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 30.0  # that anything on a page may take


def chromium() -> str | None:
    """Return where a Chromium is; None if there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Tab:
    """One tab of the browser, with cookies and storage of its own."""

    def __init__(self, connection: ClientConnection, session: str = "") -> None:
        self.connection, self.session, self.number = connection, session, 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and return its answer; events that come meanwhile are passed over."""
        self.number += 1
        told = {"id": self.number, "method": method, "params": parameters} | ({"sessionId": self.session} if self.session else {})
        self.connection.send(json.dumps(told))
        while True:
            answer = json.loads(self.connection.recv(timeout=SECONDS))
            if answer.get("id") == self.number and answer.get("sessionId", "") == self.session:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression, or what its promise gives."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = SECONDS) -> None:
        """Wait until an expression is true."""
        until = time.monotonic() + seconds
        while not self.run(f"Boolean({script})"):
            assert time.monotonic() < until, f"never true: {script}\n{self.text()}"
            time.sleep(0.1)

    def open(self, url: str) -> Self:
        self.call("Page.navigate", url=url)
        self.wait("document.querySelector('footer p') && document.querySelector('#transcribe')")
        return self

    def click(self, selector: str) -> None:
        """Click what is shown at a selector, once it is there."""
        self.wait(f"(e => e && e.offsetParent !== null && !e.disabled)(document.querySelector({selector!r}))")
        self.run(f"document.querySelector({selector!r}).click()")

    def type(self, selector: str, text: str) -> None:
        """Replace the text of a field by typing."""
        self.run(f"(e => {{ e.focus(); e.select(); }})(document.querySelector({selector!r}))")
        self.call("Input.insertText", text=text)

    def give(self, selector: str, file: Path) -> None:
        """Choose a file, as a person does in the dialogue."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def text(self, selector: str = "body") -> str:
        return str(self.run(f"document.querySelector({selector!r})?.innerText ?? ''"))

    def unnamed(self) -> list[str]:
        """Return what can be worked with but has no name for a screen reader."""
        roles = {"button", "textbox", "checkbox", "radio", "combobox", "slider", "tab", "link", "spinbutton", "Audio"}
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [json.dumps(node) for node in nodes if not node.get("ignored") and node.get("role", {}).get("value") in roles
                and not node.get("name", {}).get("value", "").strip()]  # fmt: skip

    def picture(self, file: Path) -> None:
        """Write the whole page as a PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))


class Browser:
    """The browser itself; each tab it opens is a visitor of its own."""

    def __init__(self, connection: ClientConnection) -> None:
        self.root = Tab(connection)

    def visitor(self, language: str = "en", width: int = 1280, height: int = 900, dark: bool = False) -> Tab:
        """Return a tab that shares nothing with others and asks for pages in a language."""
        context = self.root.call("Target.createBrowserContext")["browserContextId"]
        target = self.root.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.root.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self.root.connection, session)
        agent = tab.run("navigator.userAgent")
        tab.call("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=language)
        tab.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
        tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        return tab


@contextmanager
def browser(profile: Path, microphone: Path, *graphics: str) -> Iterator[Browser]:
    """Start a Chromium without a screen, whose microphone is a WAV file, and end it afterwards."""
    program = chromium()
    assert program, "no Chromium; see chromium()"
    options = [
        "--headless=new", "--no-sandbox", *(graphics or ["--disable-gpu"]), "--disable-dev-shm-usage",
        "--no-first-run", "--disable-component-update",
        "--disable-background-networking", "--autoplay-policy=no-user-gesture-required", "--remote-debugging-port=0",
        "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={microphone}",
        f"--user-data-dir={profile}",
    ]  # fmt: skip
    process = subprocess.Popen([program, *options, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = _port(profile / "DevToolsActivePort", process)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/version", timeout=SECONDS) as answer:
            address = json.load(answer)["webSocketDebuggerUrl"]
        with connect(address, max_size=None, open_timeout=SECONDS, compression=None) as connection:
            yield Browser(connection)
    finally:
        process.terminate()
        process.wait(timeout=20)


def _port(file: Path, process: subprocess.Popen[bytes]) -> int:
    """Return the port that the browser chose: it writes it into its profile."""
    until = time.monotonic() + SECONDS
    while not (file.exists() and file.read_text().strip()):
        assert process.poll() is None and time.monotonic() < until, "Chromium does not start"
        time.sleep(0.1)
    return int(file.read_text().split()[0])
