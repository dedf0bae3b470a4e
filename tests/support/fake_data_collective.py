"""A stand-in for the Mozilla Data Collective and its bucket on 127.0.0.1: the API as far as we use it, any file, and faults on request.

    with FakeDataCollective() as there:  # there.api goes into MDC_API_URL
        there.publish("cv-sv", archive)
        there.files["/clips/a.wav"] = b"..."
        there.fail("GET /bucket", "cut", times=2)

Files have ETags, Range and If-Range. Signed addresses carry SIGNATURE, and are refused when they are too old, or come with a key.
"""

import hashlib
import itertools
import json
import re
import socket
import struct
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit

KEY = "canary-key-7f3a"
SIGNATURE = "canary-signature-51cc"
# Before anything is sent: 503; 429, which asks to wait `wait`; expired: the bucket's 403 for an old signature. cut: the connection ends
# after half of the body, reset: it breaks there; hold: it waits there until `release`. short: half of the body, with a Content-Length that
# fits it. ignore_range: 200 and all of it. flip: one byte is altered. shifted: another range than was asked for.
Kind = Literal["503", "429", "expired", "cut", "reset", "hold", "short", "ignore_range", "flip", "shifted"]


@dataclass
class Fault:
    match: str  # regular expression on "METHOD /path?query"
    kind: Kind
    times: int


@dataclass(frozen=True)
class Request:
    line: str
    headers: dict[str, str]


class FakeDataCollective:
    """The server, what it has, and what came in."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.datasets: dict[str, dict[str, Any]] = {}
        self.redirects: dict[str, str] = {}
        self.refusals: dict[str, tuple[int, str]] = {}  # "POST cv-sv": status, and what the API says
        self.faults: list[Fault] = []
        self.wait = "0"  # what a 429 says in Retry-After
        self.etags = True
        self.weak = False  # are ETags
        self.requests: list[Request] = []
        self.sent: list[tuple[str, int, int]] = []  # of files: the path, and which bytes went out
        self.lock = threading.RLock()
        self.held, self.release = threading.Event(), threading.Event()
        self.numbers = itertools.count()
        self.server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"there": self}))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.api = f"{self.url}/api"

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self.server.shutdown()
        self.server.server_close()

    def publish(self, id: str, archive: bytes, **about: Any) -> None:
        """Offer an archive; `about` replaces what the API says of it."""
        self.files[f"/bucket/{id}.tar.gz"] = archive
        told = {"id": id, "filename": f"{id}.tar.gz", "sizeBytes": len(archive), "checksum": hashlib.sha256(archive).hexdigest()}
        self.datasets[id] = told | {"name": "Common Voice", "licenseAbbreviation": "CC0-1.0"} | about

    def fail(self, match: str, kind: Kind, times: int = 1) -> None:
        """Answer the next `times` requests that match with a fault."""
        self.faults.append(Fault(match, kind, times))

    def lines(self, match: str) -> list[str]:
        """Return the requests that match."""
        return [request.line for request in self.requests if re.search(match, request.line)]

    def n_sent(self, path: str) -> int:
        """Return how many bytes of a file went out."""
        return sum(end - start for each, start, end in self.sent if each == path)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up; that is what is being tested."""


class _Handler(BaseHTTPRequestHandler):
    there: FakeDataCollective
    protocol_version = "HTTP/1.1"
    fault = ""

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        line = f"{self.command} {self.path}"
        self.path, self.query = unquote(urlsplit(self.path).path), parse_qs(urlsplit(self.path).query)
        with self.there.lock:
            self.there.requests.append(Request(line, {name.lower(): value for name, value in self.headers.items()}))
            fault = next((each for each in self.there.faults if each.times > 0 and re.search(each.match, line)), None)
            self.fault = fault.kind if fault else ""
            if fault:
                fault.times -= 1
        if self.fault == "hold" and self.command == "HEAD":
            self.there.release.wait(60)
        if self.fault == "503":
            self._json(503, {"message": "busy"})
        elif self.fault == "429":
            self._json(429, {"message": "too many"}, {"Retry-After": self.there.wait})
        elif self.path in self.there.redirects:
            self._send(302, b"", {"Location": self.there.redirects[self.path]})
        elif found := re.fullmatch(r"/api/datasets/([^/]+)(/download)?", self.path):
            self._dataset(found[1], bool(found[2]))
        elif self.path.startswith("/bucket/") and not self._is_signed():
            self._send(403, b"<Error><Code>AccessDenied</Code></Error>")
        elif self.path in self.there.files:
            self._file(self.there.files[self.path])
        else:
            self._json(404, {"message": "not found"})

    do_HEAD = do_POST = do_GET

    def _dataset(self, id: str, is_download: bool) -> None:
        if (is_download != (self.command == "POST")) or (is_download and self.headers["Authorization"] != f"Bearer {KEY}"):
            return self._json(401, {"message": f"bad key {self.headers['Authorization']}"})
        if refusal := self.there.refusals.get(f"{self.command} {id}"):
            return self._json(refusal[0], {"message": refusal[1]} if refusal[1] else {})
        if id not in self.there.datasets:
            return self._json(404, {"message": "Dataset not found"})
        about = self.there.datasets[id]
        if not is_download:
            return self._json(200, about)
        url = f"{self.there.url}/bucket/{about['id']}.tar.gz?X-Signature={SIGNATURE}-{next(self.there.numbers)}"
        told = {"downloadUrl": url, "sizeBytes": str(len(self.there.files[f"/bucket/{about['id']}.tar.gz"])), "checksum": about["checksum"]}
        self._json(200, told | about.get("session", {}))

    def _is_signed(self) -> bool:
        signature = self.query.get("X-Signature", [""])[0]
        return signature.startswith(SIGNATURE) and "Authorization" not in self.headers and self.fault != "expired"

    def _file(self, data: bytes) -> None:
        etag = f'{"W/" * self.there.weak}"{hashlib.sha256(data).hexdigest()[:16]}"'
        headers = {"ETag": etag, "Last-Modified": "Fri, 12 Jun 2026 10:00:00 GMT", "Accept-Ranges": "bytes"}
        if not self.there.etags:
            del headers["ETag"]
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not wanted or self.fault == "ignore_range" or self.headers.get("If-Range", etag) != etag:
            return self._send(200, data, headers)
        start = int(wanted[1])
        if start >= len(data):
            return self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        start += self.fault == "shifted"
        self._send(206, data, headers | {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}, start)

    def _json(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"} | (headers or {}))

    def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None, start: int = 0) -> None:
        end = half = (start + len(data) + 1) // 2
        if self.fault == "flip":
            data = data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :]
        if self.fault != "short":
            end = len(data)
        self.send_response_only(status)
        for name, value in {**(headers or {}), "Content-Length": str(end - start)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        is_whole = self.fault not in ("cut", "reset", "hold")
        end = end if is_whole else half
        if status in (200, 206):
            self.there.sent.append((self.path, start, end))
        self.wfile.write(data[start:end])
        if is_whole:
            return
        if self.fault == "hold":
            self.there.held.set()
            self.there.release.wait(60)
        if self.fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # so that closing sends RST
        self.close_connection = True
