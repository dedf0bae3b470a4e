"""Bytes under a root URL: written whole or not at all, checked whenever they are read.

fsspec's own writes leave partial files behind a kill on a local disk, and commit a truncated object when a `with open(...)` raises;
so nothing here streams into an open remote file. Local files are linked into place, objects are sent in one conditional request.
"""

import base64
import errno
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

# gcsfs asks for a bucket's layout over gRPC, and waits 60 s where only HTTP answers; it reads this when it is imported.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")

import fsspec
import google_crc32c

from tasks.contracts.errors import StoreError

OPTIONS: dict[str, dict[str, Any]] = {
    # No call without a time-out: a server that never answers fails the step within two minutes, and then the step is retried. gcsfs gives
    # up at the first time-out; botocore tries five times, with up to 15 s between.
    "gs": {"requests_timeout": 100, "use_listings_cache": False},
    "s3": {"config_kwargs": {"connect_timeout": 20, "read_timeout": 20}, "use_listings_cache": False},
}
NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MEMORY = threading.RLock()  # memory:// looks before it creates, and gives all readers of an object one cursor
BLOCK = 2**20  # bytes read at once while hashing: they stay in the processor's cache
TEMPORARY = ".tmp-"
STAGING = ".staging"  # files in the making; a killed process leaves its own there, `viska prune` takes them away


class Store:
    """Objects under one root: a local folder or any fsspec URL."""

    def __init__(self, root: str) -> None:
        self.url = str(root) if str(root).endswith("://") else str(root).rstrip("/")  # "memory:" alone would be a local folder
        protocol = fsspec.utils.get_protocol(self.url)
        try:
            self.fs, self.root = open_url(self.url)
        except (ImportError, ValueError) as error:
            raise StoreError(f"store {self.url}: {error}; use a folder, gs://bucket/..., s3://bucket/... or memory://...") from error
        self.local = protocol in ("file", "local")
        self.alone: AbstractContextManager[Any] = MEMORY if protocol == "memory" else nullcontext()

    def uri(self, path: str) -> str:
        """Return the address of `path` that a person can open."""
        return f"{self.root}/{path}" if self.local else f"{self.url}/{path}"

    def exists(self, path: str) -> bool:
        """Say whether an object stands at `path`."""
        return bool(self.fs.exists(self._at(path)))

    def read(self, path: str) -> bytes:
        """Return the bytes at `path`; FileNotFoundError if there are none."""
        with self.alone:
            data: bytes = self.fs.cat_file(self._at(path))
        return data

    def create(self, path: str, data: bytes | Path) -> None:
        """Make the object at `path`, whole or not at all. The same bytes standing there already are success.

        A twin that was faster, an earlier try, and a request whose reply was lost all look alike: the object is there. So look at it.

        Raises:
            StoreError: if other bytes stand there, or the store is read-only.
        """
        try:
            with self.explained(path):
                if self.local:
                    _link(Path(self._at(path)), data)
                else:
                    self._send(path, data, mode="create")
        except FileExistsError:
            if not self.holds(path, *measure(data), read=True):
                raise StoreError(f"{self.uri(path)} holds other bytes than the ones being written; nothing was overwritten") from None

    def staging(self) -> Path:
        """Return a local folder for files in the making: of the store itself if it is local, so that they are moved, not copied."""
        folder = Path(self.root if self.local else cache_folder()) / STAGING
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def replace(self, path: str, data: bytes | Path) -> None:
        """Put `data` at `path`, over whatever stands there; a reader sees the old bytes or the new ones."""
        with self.explained(path):
            if self.local:
                target = Path(self._at(path))
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(_temporary(target, data), target)
            else:
                self._send(path, data)

    def delete(self, path: str) -> None:
        """Remove the object at `path`; it may be gone already."""
        try:
            with self.explained(path):
                self.fs.rm_file(self._at(path))
        except FileNotFoundError:
            pass

    @contextmanager
    def explained(self, path: str, causes: tuple[int, ...] = NO_ACCESS + NO_ROOM, staged: bool = False) -> Iterator[None]:
        """Say of an error in this block what could not be written, and what to do about it.

        Args:
            path: of the object that is being written.
            causes: numbers of the errors to explain.
            staged: whether it is written on this machine first.

        Raises:
            StoreError: if the store is read-only: it would be so again.
            OSError: if there is no room. That is an accident: another run may be about to give back what it takes.
        """
        try:
            yield
        except OSError as error:
            number = errno.EACCES if str(error).startswith("Forbidden: ") else error.errno  # gcsfs gives it none
            if number not in causes:
                raise
            where, other = self.url, "`store` in the recipe, or VISKA_STORE"
            if staged and not self.local:
                where, other = str(cache_folder()), "VISKA_CACHE"
            why = " ".join(str(error).split())
            if error.errno in NO_ROOM:
                told = f"no room for {self.uri(path)} ({why}); make some in {where}, or name another place: {other}"
                raise OSError(error.errno, told) from error
            raise StoreError(f"{where} cannot be written ({why}); let this user write there, or name another place: {other}") from error

    def holds(self, path: str, n_bytes: int, sha256: str, crc32c: str = "", read: bool = False) -> bool:
        """Say whether the object at `path` is whole, at the least cost that is sure.

        A local file's CRC32C is computed, five times as fast as its SHA-256; a bucket that reports a CRC32C is asked for it. One that does
        not (S3) is asked for the size, and the SHA-256 is checked when the object is read: here and now if `read`.
        """
        try:
            info = self.fs.info(self._at(path))
        except FileNotFoundError:
            return False
        if int(info["size"]) != n_bytes:
            return False
        if self.local:
            local = Path(self._at(path))
            return crc32c_of(local) == crc32c if crc32c else sha256_of(local) == sha256
        if "crc32c" in info:
            return not crc32c or info["crc32c"] == crc32c
        return ("ETag" in info and not read) or hashlib.sha256(self.read(path)).hexdigest() == sha256

    def download(self, path: str, target: Path, sha256: str) -> None:
        """Copy the object at `path` to the local file `target`, which appears only when it is whole.

        Raises:
            StoreError: if the same other bytes than those promised came three times; the object is then removed, so that it is made again.
            OSError: if different ones came: then what is damaged is the way to here.
        """
        with self.explained(path, staged=True):
            target.parent.mkdir(parents=True, exist_ok=True)
        came = set()
        for _ in range(3):  # a body can arrive cut or altered without an error from gcsfs or s3fs
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=".download-")
            os.close(handle)
            try:
                with self.alone, self.explained(path, NO_ROOM, staged=True):
                    self.fs.get_file(self._at(path), name)
                came.add(sha256_of(Path(name)))
                if sha256 in came:
                    os.replace(name, target)
                    return
            finally:
                Path(name).unlink(missing_ok=True)
        if len(came) > 1:
            raise OSError(errno.EIO, f"{self.uri(path)} arrived with other bytes each of three times: something on the way alters them")
        self.delete(path)
        raise StoreError(f"{self.uri(path)} is damaged: its SHA-256 is not {sha256[:12]}...; it was removed, run again to make it again")

    def names(self, folder: str) -> list[str]:
        """Return the names of what lies directly in `folder`, sorted."""
        try:
            return sorted(entry.rstrip("/").rsplit("/", 1)[-1] for entry in self.fs.ls(self._at(folder), detail=False))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def walk(self) -> Iterator[tuple[str, int, float]]:
        """Yield path, size in bytes and age in seconds of every object."""
        try:
            entries = self.fs.find(self.root, detail=True)
        except FileNotFoundError:
            return
        for name, info in sorted(entries.items()):
            age = time.time() - _written(info)
            yield str(name).removeprefix(self.fs._strip_protocol(self.root)).lstrip("/"), int(info["size"]), age

    def written(self, path: str) -> float:
        """Return when the object at `path` was written, in seconds since 1970, as the store's clock has it."""
        return _written(self.fs.info(self._at(path)))

    def _send(self, path: str, data: bytes | Path, **options: Any) -> None:
        with self.alone:
            if isinstance(data, Path):
                self.fs.put_file(str(data), self._at(path), **options)
            else:
                self.fs.pipe_file(self._at(path), data, **options)

    def _at(self, path: str) -> str:
        if ".." in path.split("/"):
            raise StoreError(f"{path!r} leads outside the store {self.url}")
        return f"{self.root}/{path}"


def _written(info: dict[str, Any]) -> float:
    """Return the time of an entry of a listing; each kind of store calls it otherwise."""
    when = next(info[key] for key in ("mtime", "LastModified", "updated", "created") if info.get(key))
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    return when.timestamp() if isinstance(when, datetime) else float(when)


def open_url(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it."""
    fs, root = fsspec.core.url_to_fs(url, **_options(fsspec.utils.get_protocol(url)))
    if hasattr(fs, "retries"):  # s3fs would repeat botocore's five tries five times: 40 minutes of a server that never answers
        fs.retries = 1
    return fs, root


def _options(protocol: str) -> dict[str, Any]:
    """Return how fsspec is to talk to stores of this protocol."""
    if protocol in ("gs", "gcs") and os.environ.get("STORAGE_EMULATOR_HOST"):
        return OPTIONS["gs"] | {"token": "anon"}  # an emulator has no accounts, and looking for one waits for the network
    if protocol in ("s3", "s3a"):
        return OPTIONS["s3"] | {"session": _s3_session()}
    return OPTIONS.get({"gcs": "gs", "s3a": "s3"}.get(protocol, protocol), {})


@cache
def _s3_session() -> Any:
    """Return a session that sends an upload without asking first whether it is welcome: for that answer aiohttp waits for ever."""
    from aiobotocore.session import AioSession  # here: botocore takes half a second to import
    from botocore.handlers import add_expect_header  # type: ignore[import-untyped]

    session = AioSession()
    session.unregister("before-call.s3", add_expect_header)
    return session


def crc32c_of(data: bytes | Path) -> str:
    """Return the CRC32C of bytes or of a local file as Google Cloud Storage writes it: base64 of four big-endian bytes."""
    checksum = google_crc32c.Checksum()
    for block in _blocks(data):
        checksum.update(block)
    return base64.b64encode(checksum.digest()).decode()


def measure(data: bytes | Path) -> tuple[int, str, str]:
    """Return size, SHA-256 and CRC32C of bytes or of a local file, read once and in blocks."""
    n_bytes, sha256, crc32c = 0, hashlib.sha256(), google_crc32c.Checksum()
    for block in _blocks(data):
        n_bytes += len(block)
        sha256.update(block)
        crc32c.update(block)
    return n_bytes, sha256.hexdigest(), base64.b64encode(crc32c.digest()).decode()


def cache_folder() -> Path:
    """Return where this machine keeps copies of what it fetched: VISKA_CACHE, or ~/.cache/viska. Safe to delete at any time."""
    return Path(os.environ.get("VISKA_CACHE") or "~/.cache/viska").expanduser()


def _link(target: Path, data: bytes | Path) -> None:
    """Create a local file atomically and exclusively: a rename would overwrite, a link refuses."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(data, Path) and data.parent.parent.name == STAGING:  # ours, and written to its end: no copy
        _sync(data)
        os.chmod(data, 0o644)
        os.link(data, target)
    else:
        temporary = _temporary(target, data)
        try:
            os.link(temporary, target)
        finally:
            os.unlink(temporary)
    _sync(target.parent)


def _temporary(target: Path, data: bytes | Path) -> str:
    """Write a durable temporary file beside `target`, on the same device, and return its name."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=TEMPORARY)
    try:
        with os.fdopen(handle, "wb") as file:
            for block in _blocks(data):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
    except BaseException:  # a full disk, above all
        os.unlink(name)
        raise
    return name


def _blocks(data: bytes | Path) -> Iterator[bytes]:
    if isinstance(data, bytes):
        yield data
        return
    with data.open("rb") as file:
        read: Callable[[], bytes] = lambda: file.read(BLOCK)  # noqa: E731  (iter wants a callable)
        yield from iter(read, b"")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a local file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Make a file's bytes, or a folder's names, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
