"""Files that come over HTTP(S): whole and checked, or not at all. What passes (a broken connection, 429, 5xx) is tried again.

Must not show a query, a user or a key to anybody: signed addresses are as good as keys. Redirects are followed by hand: an address that a
stranger's server or table gives must not be read from inside the network that we stand in. Source: RFC 9110, sections 10.2.3, 13 to 15.
"""

import atexit
import errno
import fcntl
import hashlib
import ipaddress
import logging
import os
import random
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tasks.contracts.errors import StoreError
from tasks.store.source import MISSING

log = logging.getLogger(__name__)
for _name in ("httpx", "httpcore"):  # they log each address with its signature at INFO, and where redirects lead at DEBUG
    logging.getLogger(_name).setLevel(logging.WARNING)

TIMEOUT = 20.0  # seconds without a byte; with the pauses between them, the tries end within two minutes
TRIES = 5  # in a row that bring less than PROGRESS
PROGRESS = 2**20  # bytes
PAUSE = 1.0  # seconds before the second try at most; doubled before each further one
LONGEST = 120.0  # seconds that a server may ask us to wait
REDIRECTS = 5
CLIP = 64 * 2**20  # bytes of a recording at most
GONE = (404, 410)
EXPIRED = (400, 401, 403)  # what buckets answer to a signature that is too old: Google Cloud Storage 400, S3 403
PASSING = (408, 425, 429)  # and 5xx
BROKEN = (httpx.TransportError, httpx.DecodingError, socket.gaierror)


@dataclass(frozen=True)
class Answer:
    """What a server said in the end."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def read(url: str, limit: int = CLIP) -> bytes:
    """Return the bytes of a small file.

    Raises:
        FileNotFoundError: if the server has none there (404, 410).
        StoreError: if it is refused, is larger than `limit` bytes, or leads where we do not follow.
        ConnectionError: if the server cannot be reached, or is not well, for TRIES tries.
    """
    answer = ask("GET", url, limit=limit)
    _must_be_there(answer.status, url)
    return answer.body


def stamp(url: str) -> str:
    """Return what changes when a file changes: ETag, or size with date; MISSING for no file, nothing if the server does not say."""
    answer = ask("HEAD", url)
    if answer.status in GONE:
        return MISSING
    headers = answer.headers if answer.status == 200 else {}  # some refuse to be asked and give the file: then it must be read
    if "etag" in headers:
        return headers["etag"]
    return f"{headers['content-length']}:{headers['last-modified']}" if {"content-length", "last-modified"} <= set(headers) else ""


def ask(method: str, url: str, headers: Mapping[str, str] | None = None, limit: int = 2**20) -> Answer:
    """Return what the server answers once that is nothing that passes. Only GET and HEAD are followed elsewhere.

    Raises:
        StoreError: if the body is larger than `limit` bytes, or leads where we do not follow.
        ConnectionError: if nothing else came for TRIES tries.
    """
    tries = _Tries(url)
    while True:
        after = ""
        try:
            with _opened(method, url, headers or {}) as response:
                if not _passes(response.status_code):
                    return Answer(response.status_code, dict(response.headers), _up_to(limit, response, url))
                why, after = f"answers {response.status_code}", response.headers.get("retry-after", "")
        except BROKEN as error:
            why = _words(error)
        tries.wait(why, after)


def fetch(url: str | Callable[[], str], target: Path, n_bytes: int, checksum: str) -> None:
    """Fetch a large file to `target`, which appears only when it is whole; if it is there and whole, nothing is asked.

    What another run left in `<target>.part` is gone on with. Of processes that want the same file, one fetches it and the others wait.

    Args:
        url: where it lies, or a function that asks for a signed address: called when one is needed, and again when it has expired.
        target: the local file.
        n_bytes: its size.
        checksum: SHA-256 or MD5 in hexadecimal; empty: unknown, then only the size is checked.

    Raises:
        FileNotFoundError: if the server has none there (404, 410).
        StoreError: if other bytes came twice, or the address is refused or leads where we do not follow.
        OSError: if there is no room; ConnectionError: if TRIES tries in a row brought nothing.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(target.with_name(f"{target.name}.part"), n_bytes, checksum)
    with _alone(target):
        if _is_whole(target, n_bytes, checksum):
            return
        if not checksum:  # nothing would show that it began as another file
            part.path.unlink(missing_ok=True)
        there, n_wrong, tries = "", 0, _Tries("", part.size)
        while not _is_whole(part.path, n_bytes, checksum):
            if part.size >= n_bytes:
                n_wrong += 1
                part.throw_away(there, last=n_wrong == 2)
            part.need_room()
            there = tries.url = there or (url() if callable(url) else url)
            why, after, status = part.add(there)
            if callable(url) and status in EXPIRED:
                there = ""
            elif status == 416:  # nothing is there at this place: what we have began as a longer file
                part.path.unlink(missing_ok=True)
            elif status and not _passes(status):
                _must_be_there(status, there)
            if part.size < n_bytes:
                tries.wait(why, after, part.size)
        os.replace(part.path, target)


@dataclass
class _Part:
    """What has come of a file."""

    path: Path
    n_bytes: int  # of the whole file
    checksum: str
    etag: str = ""  # of the file that it is a part of, if this process has seen it

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def add(self, url: str) -> tuple[str, str, int]:
        """Add what comes; return what went wrong if it ends early, how long the server asks us to wait, and its status, 0 for none."""
        have = self.size
        headers = {"Range": f"bytes={have}-"} if have else {}
        if have and self.etag:
            headers["If-Range"] = self.etag  # if it has changed since, all of it comes
        try:
            with _opened("GET", url, headers) as response:
                status, given = response.status_code, response.headers
                if status == 206 and not given.get("content-range", "").startswith(f"bytes {have}-"):
                    raise httpx.RemoteProtocolError(f"answers bytes={have}- with {given.get('content-range', '')!r:.60}")
                if status not in (200, 206):
                    return f"answers {status}", given.get("retry-after", ""), status
                etag = given.get("etag", "")
                self.etag = etag if etag.startswith('"') else ""  # a weak one does not promise the same bytes
                self._write(response, have if status == 206 else 0)
                return "the body ended early", "", status
        except BROKEN as error:
            return _words(error), "", 0

    def _write(self, response: httpx.Response, have: int) -> None:
        log.info("%s: fetching %.1f MB, from %.1f MB on", self.path.name, self.n_bytes / 1e6, have / 1e6)
        told = time.monotonic()
        with self.path.open("ab" if have else "wb") as file:
            for block in response.iter_raw():  # raw: some buckets say that a .tar.gz is a tar that they have packed
                file.write(block)
                if file.tell() > self.n_bytes:
                    return
                if time.monotonic() > told + 60:
                    told = time.monotonic()
                    log.info("%s: %.1f of %.1f MB", self.path.name, file.tell() / 1e6, self.n_bytes / 1e6)

    def throw_away(self, url: str, last: bool) -> None:
        """Remove what is not the file that was promised; StoreError if this is the last time."""
        what = f"{self.size} bytes, expected {self.n_bytes}" if self.size != self.n_bytes else f"checksum not {self.checksum[:12]}..."
        self.path.unlink()
        if last:
            raise StoreError(f"{shown(url)}: other bytes than promised came twice: {what}; run again later, or tell those who publish it")
        log.warning("%s: other bytes than promised: %s; fetched again", self.path.name, what)

    def need_room(self) -> None:
        """Raise an OSError if the disk has no room for what is still to come."""
        free, needed = shutil.disk_usage(self.path.parent).free, self.n_bytes - self.size
        if free < needed:
            why = f"{free / 1e6:.0f} MB free, {needed / 1e6:.0f} MB are still to come; make room, or name another place: VISKA_CACHE"
            raise OSError(errno.ENOSPC, why, str(self.path.parent))


def shown(url: str) -> str:
    """Return an address as it may be shown: without user, query and fragment, where signatures and keys stand."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that cannot be read"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def is_allowed(url: str) -> bool:
    """Say whether an address is https://, or http:// on this very machine."""
    try:
        address = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        return False
    return bool(address.host) and (address.scheme == "https" or (address.scheme == "http" and _is_here(address.host)))


def next_address(here: str, location: str, first: str) -> str:
    """Return where a redirect leads.

    Args:
        here: the address that answered with it.
        location: what it answered, possibly relative.
        first: the address that we were given.

    Raises:
        StoreError: if it leads from https to http, or from the internet into the network that this machine stands in.
    """
    try:
        there = httpx.URL(here).join(location)
    except (httpx.InvalidURL, ValueError):
        raise StoreError(f"{shown(here)}: leads to an address that cannot be read") from None  # its words could hold a signature
    leads = f"{shown(here)}: leads to {shown(str(there))}"
    if not is_allowed(str(there)) or (there.scheme == "http" and httpx.URL(here).scheme == "https"):
        raise StoreError(f"{leads}, expected https")
    if _is_inside(there.host) and not _is_inside(httpx.URL(first).host):
        raise StoreError(f"{leads}, into a private network; nobody outside of it may lead us there")
    return str(there)


@contextmanager
def _opened(method: str, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
    """Give the response whose body is still to come, at the end of the redirects."""
    if not is_allowed(url):
        raise StoreError(f"{shown(url)}: expected an address with https://; plain http only on this machine")
    there = url
    for _ in range(REDIRECTS + 1):
        with _client().stream(method, there, headers={"Accept-Encoding": "identity", **headers}) as response:
            if not response.has_redirect_location or method not in ("GET", "HEAD"):
                yield response
                return
            there = next_address(there, response.headers["location"], url)
    raise StoreError(f"{shown(url)}: more than {REDIRECTS} redirects, the last to {shown(there)}")


@cache
def _client() -> httpx.Client:
    client = httpx.Client(timeout=TIMEOUT, follow_redirects=False, headers={"User-Agent": "viska"})
    atexit.register(client.close)
    return client


def _is_here(host: str) -> bool:
    """Say whether a host is this machine, by its name alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_inside(host: str) -> bool:
    """Say whether any address of a host is private, of this machine or of its link; OSError if it has none."""
    addresses = [ipaddress.ip_address(str(found[4][0]).partition("%")[0]) for found in socket.getaddrinfo(host, None)]
    return any(not (getattr(address, "ipv4_mapped", None) or address).is_global for address in addresses)


class _Tries:
    """Counts tries that brought nothing, and waits longer after each."""

    def __init__(self, url: str, furthest: int = 0) -> None:
        self.url, self.furthest, self.n = url, furthest, 0

    def wait(self, why: str, after: str = "", reached: int = 0) -> None:
        """Wait before the next try, as long as the server asks if it does; ConnectionError if there shall be none."""
        if reached >= self.furthest + PROGRESS:
            self.furthest, self.n = reached, 0
        self.n += 1
        asked = _seconds(after)
        if self.n == TRIES or asked > LONGEST:
            how = f"asks us to wait {asked:.0f} s" if asked > LONGEST else f"{TRIES} tries in a row brought nothing"
            raise ConnectionError(f"{shown(self.url)}: {why}; {how}; run again later")
        pause = max(asked, random.uniform(0.5, 1) * PAUSE * 2 ** (self.n - 1))
        log.warning("%s: %s; try %d of %d in %.1f s", shown(self.url), why, self.n + 1, TRIES, pause)
        time.sleep(pause)


def _seconds(after: str) -> float:
    """Return what a Retry-After asks for: a number of seconds, or a date; 0 if it says nothing that can be read."""
    if re.fullmatch(r"\d{1,9}", after):
        return float(after)
    try:
        return max(0.0, (parsedate_to_datetime(after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # no date, or one without a zone
        return 0.0


def _passes(status: int) -> bool:
    return status in PASSING or status >= 500


def _must_be_there(status: int, url: str) -> None:
    if status in GONE:
        raise FileNotFoundError(errno.ENOENT, f"no such file ({status})", shown(url))
    if status not in (200, 206):
        raise StoreError(f"{shown(url)}: answers {status}, expected 200; may everybody read it?")


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__  # of a time-out; httpx names no address in them


def _up_to(limit: int, response: httpx.Response, url: str) -> bytes:
    body = bytearray()
    for block in response.iter_bytes():
        body += block
        if len(body) > limit:
            raise StoreError(f"{shown(url)}: larger than {limit / 2**20:.0f} MB")
    return bytes(body)


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Let one process at a time past; a killed one lets go."""
    with target.with_name(f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_whole(path: Path, n_bytes: int, checksum: str) -> bool:
    if not path.exists() or path.stat().st_size != n_bytes:
        return False
    if not checksum:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5" if len(checksum) == 32 else "sha256").hexdigest() == checksum
