"""A stand-in for the Hugging Face Hub on 127.0.0.1: as much of its API as the clients need to read, and faults on request.

    with FakeHub() as hub:  # hub.url goes into HF_ENDPOINT, with HF_HUB_DISABLE_XET=1 (no chunk store) and an HF_HOME of its own
        commit = hub.commit("datasets/team/digits", {"README.md": b"...", "en/train/0000.parquet": parquet}, ref="refs/convert/parquet")
        hub.fail("GET .*parquet", "cut", times=2)

A repository is named as in addresses: team/model, datasets/team/data, spaces/team/demo. Each commit holds all files of its ref.
Writing is in `fake_hub_writes`. Not here: pages of listings. Source: https://huggingface.co/docs/hub/api, huggingface_hub's requests.
"""

import hashlib
import itertools
import json
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

# Refused; the connection breaks before the reply, or in the middle of its body; one byte of a file is another; no reply comes at all.
Kind = Literal["403", "429", "500", "503", "reset", "cut", "flip", "silence"]
PLACE = r"(?P<repo>(?:(?:datasets|spaces)/)?[^/]+/[^/]+)"
API = r"/api/(?P<repo>(?:models|datasets|spaces)/[^/]+/[^/]+)"
REF = r"(?P<ref>[^/]+)"


class Refusal(Exception):
    """An answer that is an error: status, the code that the client reads, and words."""


@dataclass
class Fault:
    match: str  # regular expression on "METHOD /path range", unquoted
    kind: Kind
    times: int = 1
    after: bool = False  # the request is carried out, and its reply lost
    retry_after: str = ""  # seconds, said with a refusal


@dataclass
class Commit:
    files: dict[str, bytes]  # all that the repository holds at it
    large: dict[str, str] = field(default_factory=dict)  # those in large-file storage: the SHA-256 they were announced with
    parent: str = ""
    title: str = ""


@dataclass
class Repository:
    refs: dict[str, str] = field(default_factory=dict)  # branch or other ref: commit
    tags: dict[str, str] = field(default_factory=dict)  # the same
    commits: dict[str, Commit] = field(default_factory=dict)
    is_private: bool = False  # without a token it looks as if it were not there
    is_gated: bool = False  # seen by all, read with a token of `FakeHub.accepted`
    sdk: str = ""  # of a Space
    settings: dict[str, dict[str, str]] = field(default_factory=lambda: {"secrets": {}, "variables": {}})  # of a Space


class FakeHub:
    """The server, its repositories and its faults. `requests` logs what came in."""

    def __init__(self, answers: "type[Handler] | None" = None) -> None:
        self.repositories: dict[str, Repository] = {}
        self.accepted = {"hf_accepted"}  # tokens of accounts that may read all
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.lock = threading.RLock()
        self.numbers = itertools.count(1)
        self.is_over = threading.Event()  # nobody waits for a reply any more
        self.server = _Server(("127.0.0.1", 0), type("Handler", (answers or Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self.server.shutdown()
        self.server.server_close()

    def commit(self, repo: str, files: Mapping[str, bytes], ref: str = "main", **about: Any) -> str:
        """Make `files` all that `ref` of a repository holds, which is made if need be, and return the commit."""
        with self.lock:
            there = self.repositories.setdefault(repo, Repository())
            commit = hashlib.sha1(f"{repo} {next(self.numbers)}".encode()).hexdigest()
            there.commits[commit], there.refs[ref] = Commit(dict(files), parent=there.refs.get(ref, ""), **about), commit
        return commit

    def fail(self, match: str, kind: Kind, *told: Any, **also: Any) -> Fault:
        """Answer the next requests that match with a fault; `times` of what is returned counts down to 0."""
        self.faults.append(Fault(match, kind, *told, **also))
        return self.faults[-1]

    def find(self, repo: str, ref: str, token: str, to_read: bool = False) -> tuple[Repository, str]:
        """Return a repository and the commit that `ref` stands for, as far as the token's account may see it."""
        there = self.repositories.get(repo)
        may = token in self.accepted
        if not there or (there.is_private and not may):
            raise Refusal(404 if may else 401, "RepoNotFound", "Repository not found")
        if there.is_gated and to_read and not may:
            raise Refusal(403 if token else 401, "GatedRepo", f"Access to {repo} is restricted")
        if (commit := there.refs.get(ref) or there.tags.get(ref, ref)) not in there.commits:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {ref}")
        return there, commit


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, *where: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # clients hang up whenever they like
            super().handle_error(*where)


class Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None: ...

    def answer(self) -> None:
        url = urlsplit(self.path)
        self.query = dict(parse_qsl(url.query))
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))  # read also before a fault, or the next request is garbled
        self.token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.fault = self._next_fault(f"{self.command} {unquote(url.path)} {self.headers.get('Range', '')}".strip())
        if self.fault and not self.fault.after and self._fails(self.fault):
            return
        try:
            self._route(url.path)
        except Refusal as refusal:
            status, code, words = refusal.args
            self._send(status, json.dumps({"error": words}).encode(), {"X-Error-Code": code, "X-Error-Message": words})

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def routes(self) -> Iterable[tuple[str, Callable[..., None]]]:
        """Return what answers which path."""
        return (
            (rf"{API}(?:/revision/{REF})?", self._info),
            (rf"{API}/tree/{REF}(?:/(?P<folder>.+))?", self._tree),
            (rf"{API}/paths-info/{REF}", self._paths_info),
            (rf"{API}/refs", self._refs),
            (rf"/{PLACE}/resolve/{REF}/(?P<name>.+)", self._file),
        )

    def _route(self, path: str) -> None:
        for pattern, route in self.routes():
            if found := re.fullmatch(pattern, path):
                return route(**{key: unquote(value or "").removeprefix("models/") for key, value in found.groupdict().items()})
        raise Refusal(404, "", f"not implemented: {self.command} {self.path}")

    def _info(self, repo: str, ref: str) -> None:
        there, commit = self.hub.find(repo, ref or "main", self.token)
        self._json({"id": repo.removeprefix("datasets/").removeprefix("spaces/"), "sha": commit, "private": there.is_private,
                    "gated": "manual" if there.is_gated else False, "disabled": False, "tags": [], "downloads": 0, "likes": 0,
                    "siblings": [{"rfilename": name} for name in sorted(there.commits[commit].files)]})  # fmt: skip

    def _refs(self, repo: str) -> None:
        there, _ = self.hub.find(repo, "main", self.token)
        listed = {kind: [{"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": commit} for name, commit in refs.items()]
                  for kind, folder, refs in (("branches", "heads", there.refs), ("tags", "tags", there.tags))}  # fmt: skip
        self._json(listed | {"converts": []})

    def _tree(self, repo: str, ref: str, folder: str) -> None:
        there, commit = self.hub.find(repo, ref, self.token)
        prefix = f"{folder}/" if folder else ""
        below = [name for name in sorted(there.commits[commit].files) if name.startswith(prefix)]
        if not below:
            raise Refusal(404, "EntryNotFound", f"{folder} does not exist on {ref!r}")
        deep = self.query.get("recursive", "").lower() in ("true", "1")
        parts = [name.removeprefix(prefix).split("/") for name in below]
        folders = {prefix + "/".join(part[:depth]) for part in parts for depth in range(1, len(part)) if deep or depth == 1}
        entries = [_entry(name, there.commits[commit]) for name in below if deep or "/" not in name.removeprefix(prefix)]
        self._json([{"type": "directory", "path": each, "oid": "0" * 40, "size": 0} for each in sorted(folders)] + entries)

    def _paths_info(self, repo: str, ref: str) -> None:
        there, commit = self.hub.find(repo, ref, self.token)
        names = (json.loads if "json" in self.headers.get("Content-Type", "") else parse_qs)(self.body.decode())["paths"]
        self._json([_entry(name, there.commits[commit]) for name in there.commits[commit].files if name in names])

    def _file(self, repo: str, ref: str, name: str) -> None:
        there, commit = self.hub.find(repo, ref, self.token, to_read=True)
        if name not in there.commits[commit].files:
            raise Refusal(404, "EntryNotFound", f"{name} does not exist on {ref!r}")
        data, sha256 = there.commits[commit].files[name], there.commits[commit].large.get(name, "")
        etag, size = f'"{sha256 or oid(data)}"', str(len(data))
        headers = {"X-Repo-Commit": commit, "ETag": etag, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        headers |= {"X-Linked-Etag": etag, "X-Linked-Size": size} if sha256 else {}
        data = flipped(data) if self.fault and self.fault.kind == "flip" and self.command == "GET" else data
        if not (wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))):
            return self._send(200, data, headers)
        start, end = int(wanted[1]), min(int(wanted[2]) + 1, len(data)) if wanted[2] else len(data)
        if start >= len(data):
            raise Refusal(416, "", f"range {wanted[0]} of {len(data)} bytes")
        self._send(206, data[start:end], headers | {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"})

    def _next_fault(self, request: str) -> Fault | None:
        with self.hub.lock:
            self.hub.requests.append(request)
            fault = next((each for each in self.hub.faults if each.times > 0 and re.search(each.match, request)), None)
            if fault:
                fault.times -= 1
        return fault

    def _fails(self, fault: Fault) -> bool:
        """Answer as the fault would have it; False: it concerns the body of an answer that is yet to come."""
        if fault.kind == "reset":
            self._reset()
        elif fault.kind == "silence":
            self.hub.is_over.wait()
        elif fault.kind.isdigit():
            self.fault = None
            self._send(int(fault.kind), b"<html>injected</html>", {"Content-Type": "text/html", "Retry-After": fault.retry_after})
        return fault.kind not in ("cut", "flip")

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # so that closing sends RST
        self.connection.close()

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        if self.fault and self.fault.after and self._fails(self.fault):
            return
        is_cut = self.fault and self.fault.kind == "cut"
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if is_cut else body)
        if is_cut:
            self._reset()


def oid(data: bytes) -> str:
    """Return the name that git gives to a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def flipped(data: bytes) -> bytes:
    """Return the data with one bit of its middle turned over."""
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]


def _entry(name: str, commit: Commit) -> dict[str, Any]:
    data, sha256 = commit.files[name], commit.large.get(name)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(data)}\n".encode()
    large = {"lfs": {"oid": sha256, "size": len(data), "pointerSize": len(pointer)}} if sha256 else {}
    return {"type": "file", "path": name, "size": len(data), "oid": oid(pointer if sha256 else data)} | large
