"""A stand-in for the Google Cloud Storage JSON API on 127.0.0.1: as much of it as gcsfs uses, and faults on request.

    with FakeGcs() as gcs:  # gcs.url goes into STORAGE_EMULATOR_HOST
        gcs.buckets["corpora"] = {}
        gcs.fail("GET .*shard", "flip", times=2)
        gcs.bad_weather(0.01, seed=1)  # one request in a hundred meets each kind of fault

Like the real one it honours ifGenerationMatch, checks it again when a resumable upload ends, and reports CRC32C and MD5 of every object.
Not here: accounts, versions, copies, batches, gRPC. Source: https://cloud.google.com/storage/docs/json_api/v1
"""

import base64
import hashlib
import itertools
import json
import random
import re
import socket
import struct
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import google_crc32c

# 503, 429: refused, nothing done. 503_after: done, but the reply says 503. reset: the connection breaks, nothing done.
# reset_after: done, then it breaks. cut: it breaks in the middle of the reply. flip: one byte of the reply's body is altered.
# truncate: only the first bytes of the body, with a Content-Length that fits them, so that no client sees it. 403: this user may not.
Kind = Literal["503", "429", "503_after", "reset", "reset_after", "cut", "flip", "truncate", "403"]
PASSING: tuple[Kind, ...] = ("503", "429", "503_after", "reset", "reset_after", "cut", "flip", "truncate")
OF_BODIES = ("cut", "flip", "truncate")
CHUNK = 256 * 1024  # bytes; every piece of a resumable upload but the last is a multiple of it


class Refusal(Exception):
    """An answer that is an error: status and reason."""


@dataclass
class Fault:
    match: str  # regular expression on "METHOD /path?query", unquoted
    kind: Kind
    times: int


@dataclass(frozen=True)
class Weather:
    """Faults that come by chance: `share` of all requests meets each kind; those of bodies come to requests that match `bodies`."""

    share: float
    kinds: tuple[Kind, ...]
    bodies: str


@dataclass(frozen=True)
class Object:
    bucket: str
    name: str
    data: bytes
    generation: int
    content_type: str

    def resource(self) -> dict[str, str]:
        """Return what the API says about it."""
        return {
            "kind": "storage#object",
            "bucket": self.bucket,
            "name": self.name,
            "size": str(len(self.data)),
            "generation": str(self.generation),
            "metageneration": "1",
            "contentType": self.content_type,
            "crc32c": base64.b64encode(google_crc32c.Checksum(self.data).digest()).decode(),
            "md5Hash": base64.b64encode(hashlib.md5(self.data).digest()).decode(),
            "updated": "2026-01-01T00:00:00.000Z",
            "timeCreated": "2026-01-01T00:00:00.000Z",
        }


@dataclass
class Upload:
    """A resumable upload under way; `done` once it is whole."""

    bucket: str
    name: str
    query: dict[str, str]
    content_type: str
    data: bytearray = field(default_factory=bytearray)
    done: Object | None = None


class FakeGcs:
    """The server, its buckets and its faults. `requests` logs what came in, to see that a fault was met and retried.

    The same buckets are served twice: at `url` with faults, at `calm_url` without any.
    """

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, Object]] = {}
        self.uploads: dict[str, Upload] = {}
        self.faults: list[Fault] = []
        self.weather: Weather | None = None
        self.met: Counter[str] = Counter()  # faults that requests have met, by kind
        self.dice = random.Random(0)
        self.requests: list[str] = []
        self.lock = threading.RLock()
        self.numbers = itertools.count(1)
        self.servers = [_Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"gcs": self, "is_calm": calm})) for calm in (False, True)]
        self.url, self.calm_url = (f"http://127.0.0.1:{server.server_address[1]}" for server in self.servers)

    def __enter__(self) -> Self:
        for server in self.servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def fail(self, match: str, kind: Kind, times: int = 1) -> Fault:
        """Answer the next `times` requests that match with a fault; `times` of what is returned counts down to 0."""
        self.faults.append(Fault(match, kind, times))
        return self.faults[-1]

    def bad_weather(self, share: float, seed: int, kinds: tuple[Kind, ...] = PASSING, bodies: str = "GET .*alt=media") -> None:
        """From now on let `share` of the requests meet each of these faults, drawn with `seed`; 0 ends it."""
        with self.lock:
            self.dice = random.Random(seed)
            self.weather = Weather(share, kinds, bodies) if share else None

    def put(self, bucket: str, name: str, data: bytes, query: dict[str, str], content_type: str) -> Object:
        with self.lock:
            self.check(bucket, name, query)
            made = Object(bucket, name, data, next(self.numbers), content_type)
            self.buckets[bucket][name] = made
            return made

    def get(self, bucket: str, name: str, query: dict[str, str]) -> Object:
        with self.lock:
            self.check(bucket, name, query)
            found = self.buckets[bucket].get(name)
        if found is None or query.get("generation", str(found.generation)) != str(found.generation):
            raise Refusal(404, f"No such object: {bucket}/{name}")
        return found

    def check(self, bucket: str, name: str, query: dict[str, str]) -> None:
        """Refuse a bucket that is not there, and a generation that is not the one expected; 0 expects none."""
        if bucket not in self.buckets:
            raise Refusal(404, f"The specified bucket does not exist: {bucket}")
        there = self.buckets[bucket].get(name)
        if int(query.get("ifGenerationMatch", there.generation if there else 0)) != (there.generation if there else 0):
            raise Refusal(412, "At least one of the pre-conditions you specified did not hold.")


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, *where: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # clients hang up whenever they like
            super().handle_error(*where)


class _Handler(BaseHTTPRequestHandler):
    gcs: FakeGcs
    is_calm: bool
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None: ...

    def answer(self) -> None:
        url = urlsplit(self.path)
        self.query = dict(parse_qsl(url.query, keep_blank_values=True))
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))  # read also before a fault, or the next request is garbled
        self.fault = self._next_fault()
        if self.fault == "reset":
            return self._reset()
        if self.fault in ("503", "429", "403"):
            return self._error(int(self.fault), "injected")
        try:
            self._route(url.path)
        except Refusal as refusal:
            self._error(*refusal.args)

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def _route(self, path: str) -> None:
        path = re.sub(r"^/(upload|download)(?=/)", "", path)
        for pattern, route in (("/b", self._buckets), ("/b/([^/]+)", self._bucket), ("/b/([^/]+)/o", self._bucket_objects),
                               ("/b/([^/]+)/o/([^/]+)", self._object)):  # fmt: skip
            if found := re.fullmatch(f"/storage/v1{pattern}", path):
                return route(*map(unquote, found.groups()))
        raise Refusal(501, f"not implemented: {self.command} {self.path}")

    def _buckets(self) -> None:
        if self.command == "GET":
            return self._json({"items": [{"name": name} for name in self.gcs.buckets]})
        name = json.loads(self.body)["name"]
        with self.gcs.lock:
            if name in self.gcs.buckets:
                raise Refusal(409, f"bucket {name} already exists")
            self.gcs.buckets[name] = {}
        self._json({"kind": "storage#bucket", "name": name})

    def _bucket(self, name: str) -> None:
        if name not in self.gcs.buckets:
            raise Refusal(404, f"The specified bucket does not exist: {name}")
        self._json({"kind": "storage#bucket", "name": name})

    def _bucket_objects(self, bucket: str) -> None:
        if self.command == "GET":
            return self._list(bucket)
        kind = self.query.get("uploadType")
        if "upload_id" in self.query:
            self._continue(self.query["upload_id"])
        elif kind == "resumable":
            self._start(bucket)
        elif kind == "multipart":
            metadata, content_type, data = _two_parts(self.body, self.headers["Content-Type"])
            self._json(self.gcs.put(bucket, metadata["name"], data, self.query, content_type).resource())
        else:
            raise Refusal(501, f"not implemented: uploadType {kind!r}")

    def _list(self, bucket: str) -> None:
        self.gcs.check(bucket, "", {})
        prefix, delimiter, token = (self.query.get(key, "") for key in ("prefix", "delimiter", "pageToken"))
        most = int(self.query.get("maxResults", 1000))
        with self.gcs.lock:
            objects = {name: there for name, there in self.gcs.buckets[bucket].items() if name.startswith(prefix)}
        entries = {_up_to(name, delimiter, len(prefix)) for name in objects}
        left = sorted(entry for entry in entries if entry > token)
        page = {"items": [objects[entry].resource() for entry in left[:most] if entry in objects],
                "prefixes": [entry for entry in left[:most] if entry not in objects]}  # fmt: skip
        self._json(page | ({"nextPageToken": left[most - 1]} if len(left) > most else {}))

    def _object(self, bucket: str, name: str) -> None:
        found = self.gcs.get(bucket, name, self.query)
        if self.command == "DELETE":
            with self.gcs.lock:
                self.gcs.buckets[bucket].pop(name, None)
            self._send(204)
        elif self.query.get("alt") == "media":
            self._media(found)
        else:
            self._json(found.resource())

    def _media(self, found: Object) -> None:
        about, size = found.resource(), len(found.data)
        headers = {"Content-Type": found.content_type, "X-Goog-Generation": about["generation"],
                   "X-Goog-Hash": f"crc32c={about['crc32c']},md5={about['md5Hash']}"}  # fmt: skip
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not wanted or not any(wanted.groups()):
            return self._send(200, found.data, headers)
        first, last = wanted.groups()
        start = int(first) if first else max(0, size - int(last))  # "-7" is the last seven bytes
        end = min(int(last) + 1, size) if first and last else size
        if start >= size:
            raise Refusal(416, f"Requested range not satisfiable: {self.headers['Range']} of {size} bytes")
        self._send(206, found.data[start:end], headers | {"Content-Range": f"bytes {start}-{end - 1}/{size}"})

    def _start(self, bucket: str) -> None:
        name = self.query.get("name") or json.loads(self.body)["name"]
        self.gcs.check(bucket, name, self.query)
        id = f"upload-{next(self.gcs.numbers)}"
        self.gcs.uploads[id] = Upload(bucket, name, self.query, self.headers.get("X-Upload-Content-Type", ""))
        where = f"{self.gcs.url}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&name={quote(name, safe='')}&upload_id={id}"
        self._send(200, b"", {"Location": where})

    def _continue(self, id: str) -> None:
        upload = self.gcs.uploads.get(id)
        if upload is None:
            raise Refusal(404, f"no upload {id}")
        if self.command == "DELETE":
            del self.gcs.uploads[id]
            raise Refusal(499, "cancelled")
        sent = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", self.headers.get("Content-Range", "bytes */*"))
        if sent is None or (sent[1] and int(sent[2]) - int(sent[1]) + 1 != len(self.body)):
            raise Refusal(400, f"Content-Range {self.headers['Content-Range']!r} does not fit {len(self.body)} bytes")
        if sent[1] and not upload.done:
            if int(sent[1]) > len(upload.data) or (sent[3] == "*" and len(self.body) % CHUNK):
                raise Refusal(400, f"Content-Range {sent[0]!r} leaves a gap, or is no multiple of 256 KiB")
            upload.data += self.body[len(upload.data) - int(sent[1]) :]  # a piece that came before is not taken twice
        if not upload.done and sent[3] == str(len(upload.data)):
            upload.done = self.gcs.put(upload.bucket, upload.name, bytes(upload.data), upload.query, upload.content_type)
        if upload.done:
            return self._json(upload.done.resource())
        self._send(308, b"", {"Range": f"bytes=0-{len(upload.data) - 1}"} if upload.data else {})

    def _next_fault(self) -> str:
        request = f"{self.command} {unquote(self.path)}"
        if self.is_calm:
            return ""
        with self.gcs.lock:
            self.gcs.requests.append(request)
            for fault in self.gcs.faults:
                if fault.times > 0 and re.search(fault.match, request):
                    fault.times -= 1
                    return fault.kind
            kind = self._drawn(request)
        return kind

    def _drawn(self, request: str) -> str:
        weather = self.gcs.weather
        place = self.gcs.dice.random()
        if weather is None or place >= weather.share * len(weather.kinds):
            return ""
        kind = weather.kinds[int(place / weather.share)]
        if kind in OF_BODIES and not re.search(weather.bodies, request):
            return ""
        self.gcs.met[kind] += 1
        return kind

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # so that closing sends RST
        self.connection.close()

    def _error(self, status: int, reason: str) -> None:
        self._json({"error": {"code": status, "message": reason, "errors": [{"message": reason}]}}, status)

    def _json(self, value: object, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        if self.fault == "503_after":
            self.fault = ""
            return self._error(503, "injected, after the request was carried out")
        if self.fault == "reset_after":
            return self._reset()
        place = self.gcs.dice.randrange(len(body)) if body and self.fault in OF_BODIES else 0
        if self.fault == "flip" and body:
            body = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        if self.fault == "truncate":
            body = body[:place]
        self.send_response_only(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.fault == "cut" and body:
            self.wfile.write(body[:place])
            return self._reset()
        self.wfile.write(body)


def _up_to(name: str, delimiter: str, start: int) -> str:
    """Return the name, or its part up to the first delimiter behind `start`: the entry of a listing it belongs to."""
    end = name.find(delimiter, start) if delimiter else -1
    return name if end < 0 else name[: end + len(delimiter)]


def _two_parts(body: bytes, content_type: str) -> tuple[dict[str, Any], str, bytes]:
    """Return metadata, type and data of a multipart upload. Lines end in CRLF, or in LF alone as gcsfs sends them."""
    mark = b"--" + re.search(r'boundary="?([^";]+)', content_type)[1].encode()  # type: ignore[index]
    newline = b"\r\n" if body.startswith(mark + b"\r\n") else b"\n"
    _, metadata, media = body.split(mark + newline, 2)
    headers, _, data = media.partition(newline * 2)
    kind = re.search(rb"(?i)content-type: *([^\r\n]+)", headers)
    return json.loads(metadata.partition(newline * 2)[2]), kind[1].decode() if kind else "", data[: data.rindex(newline + mark + b"--")]
