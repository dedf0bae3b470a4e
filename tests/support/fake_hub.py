"""A stand-in for the Hugging Face Hub on 127.0.0.1: as much of its API as the clients need to read, and faults on request.

    with FakeHub() as hub:  # hub.url goes into HF_ENDPOINT, with HF_HUB_DISABLE_XET=1 (no chunk store) and an HF_HOME of its own
        commit = hub.commit("datasets/team/digits", {"README.md": b"...", "data/train-00000.parquet": parquet})
        hub.commit("datasets/team/digits", {"en/train/0000.parquet": parquet}, ref="refs/convert/parquet")
        hub.fail("GET .*parquet", "cut", times=2)

A repository is named as in addresses: team/model, datasets/team/data, spaces/team/demo. Each commit holds all files of its ref.
Not here: writing, large-file storage, pages of listings. Source: https://huggingface.co/docs/hub/api, huggingface_hub's requests.
"""

import hashlib
import itertools
import json
import re
import socket
import struct
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

Kind = Literal["503", "429", "reset", "cut"]  # refused; the connection breaks before the reply, or in the middle of its body
PLACE = r"(?P<repo>(?:(?:datasets|spaces)/)?[^/]+/[^/]+)"
API = r"/api/(?P<repo>(?:models|datasets|spaces)/[^/]+/[^/]+)"
REF = r"(?P<ref>[^/]+)"


class Refusal(Exception):
    """An answer that is an error: status, the code that the client reads, and words."""


@dataclass
class Fault:
    match: str  # regular expression on "METHOD /path range", unquoted
    kind: Kind
    times: int


@dataclass
class Repository:
    refs: dict[str, str] = field(default_factory=dict)  # branch, tag or other ref: commit
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    is_private: bool = False  # without a token it looks as if it were not there
    is_gated: bool = False  # seen by all, read with a token of `FakeHub.accepted`


class FakeHub:
    """The server, its repositories and its faults. `requests` logs what came in."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.accepted = {"hf_accepted"}  # tokens of accounts that may read all
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.lock = threading.RLock()
        self.numbers = itertools.count(1)
        self.server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def commit(self, repo: str, files: Mapping[str, bytes], ref: str = "main") -> str:
        """Make `files` all that `ref` of a repository holds, which is made if need be, and return the commit."""
        with self.lock:
            there = self.repositories.setdefault(repo, Repository())
            commit = hashlib.sha1(f"{repo} {next(self.numbers)}".encode()).hexdigest()
            there.commits[commit], there.refs[ref] = dict(files), commit
        return commit

    def fail(self, match: str, kind: Kind, times: int = 1) -> Fault:
        """Answer the next `times` requests that match with a fault; `times` of what is returned counts down to 0."""
        self.faults.append(Fault(match, kind, times))
        return self.faults[-1]

    def find(self, repo: str, ref: str, token: str, to_read: bool = False) -> tuple[Repository, str]:
        """Return a repository and the commit that `ref` stands for, as far as the token's account may see it."""
        there = self.repositories.get(repo)
        may = token in self.accepted
        if there is None or (there.is_private and not may):
            raise Refusal(404 if may else 401, "RepoNotFound", "Repository not found")
        if there.is_gated and to_read and not may:
            raise Refusal(403 if token else 401, "GatedRepo", f"Access to {repo} is restricted")
        commit = there.refs.get(ref, ref)
        if commit not in there.commits:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {ref}")
        return there, commit


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, *where: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # clients hang up whenever they like
            super().handle_error(*where)


class _Handler(BaseHTTPRequestHandler):
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
        try:
            if self.fault == "reset":
                return self._reset()
            if self.fault in ("503", "429"):
                raise Refusal(int(self.fault), "", "injected")
            self._route(url.path)
        except Refusal as refusal:
            status, code, words = refusal.args
            self._send(status, json.dumps({"error": words}).encode(), {"X-Error-Code": code, "X-Error-Message": words})

    do_GET = do_HEAD = do_POST = answer

    def _route(self, path: str) -> None:
        for pattern, route in (
            (rf"{API}(?:/revision/{REF})?", self._info),
            (rf"{API}/tree/{REF}(?:/(?P<folder>.+))?", self._tree),
            (rf"{API}/paths-info/{REF}", self._paths_info),
            (rf"{API}/refs", self._refs),
            (rf"/{PLACE}/resolve/{REF}/(?P<name>.+)", self._file),
        ):
            if found := re.fullmatch(pattern, path):
                return route(**{key: unquote(value or "").removeprefix("models/") for key, value in found.groupdict().items()})
        raise Refusal(404, "", f"not implemented: {self.command} {self.path}")

    def _info(self, repo: str, ref: str) -> None:
        there, commit = self.hub.find(repo, ref or "main", self.token)
        siblings = [{"rfilename": name} for name in sorted(there.commits[commit])]
        gated = "manual" if there.is_gated else False
        name = repo.removeprefix("datasets/").removeprefix("spaces/")
        self._json({"id": name, "sha": commit, "private": there.is_private, "gated": gated, "disabled": False,
                    "tags": [], "downloads": 0, "likes": 0, "siblings": siblings})  # fmt: skip

    def _refs(self, repo: str) -> None:
        there, _ = self.hub.find(repo, "main", self.token)
        self._json({"branches": [{"name": ref, "ref": f"refs/heads/{ref}", "targetCommit": commit} for ref, commit in there.refs.items()],
                    "tags": [], "converts": []})  # fmt: skip

    def _tree(self, repo: str, ref: str, folder: str) -> None:
        there, commit = self.hub.find(repo, ref, self.token)
        files = there.commits[commit]
        prefix = f"{folder}/" if folder else ""
        below = [name for name in sorted(files) if name.startswith(prefix)]
        if not below:
            raise Refusal(404, "EntryNotFound", f"{folder} does not exist on {ref!r}")
        deep = self.query.get("recursive", "").lower() in ("true", "1")
        parts = [name.removeprefix(prefix).split("/") for name in below]
        folders = {prefix + "/".join(part[:depth]) for part in parts for depth in range(1, len(part)) if deep or depth == 1}
        entries = [{"type": "directory", "path": each, "oid": "0" * 40, "size": 0} for each in sorted(folders)]
        self._json(entries + [_entry(name, files[name]) for name in below if deep or "/" not in name.removeprefix(prefix)])

    def _paths_info(self, repo: str, ref: str) -> None:
        there, commit = self.hub.find(repo, ref, self.token)
        as_json = "json" in self.headers.get("Content-Type", "")
        names = json.loads(self.body)["paths"] if as_json else parse_qs(self.body.decode())["paths"]
        self._json([_entry(name, data) for name, data in there.commits[commit].items() if name in names])

    def _file(self, repo: str, ref: str, name: str) -> None:
        there, commit = self.hub.find(repo, ref, self.token, to_read=True)
        if name not in there.commits[commit]:
            raise Refusal(404, "EntryNotFound", f"{name} does not exist on {ref!r}")
        data = there.commits[commit][name]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{_oid(data)}"', "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            return self._send(200, data, headers)
        start, end = int(wanted[1]), min(int(wanted[2]) + 1, len(data)) if wanted[2] else len(data)
        if start >= len(data):
            raise Refusal(416, "", f"range {wanted[0]} of {len(data)} bytes")
        self._send(206, data[start:end], headers | {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"})

    def _next_fault(self, request: str) -> str:
        with self.hub.lock:
            self.hub.requests.append(request)
            for fault in self.hub.faults:
                if fault.times > 0 and re.search(fault.match, request):
                    fault.times -= 1
                    return fault.kind
        return ""

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # so that closing sends RST
        self.connection.close()

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if self.fault == "cut" else body)
        if self.fault == "cut":
            self._reset()


def _oid(data: bytes) -> str:
    """Return the name that git gives to a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _entry(name: str, data: bytes) -> dict[str, Any]:
    return {"type": "file", "path": name, "size": len(data), "oid": _oid(data)}
