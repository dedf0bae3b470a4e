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
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

# gcsfs asks for a bucket's layout over gRPC, and waits 60 s where only HTTP answers; it reads this when it is imported.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")

import fsspec

from tasks.contracts.errors import StoreError

OPTIONS: dict[str, dict[str, Any]] = {
    # No call without a time-out: a server that never answers fails the step, which is retried.
    "gs": {"requests_timeout": 120, "use_listings_cache": False},
    "s3": {"config_kwargs": {"connect_timeout": 20, "read_timeout": 100}, "use_listings_cache": False},
}
MEMORY = threading.RLock()  # memory:// looks before it creates, and gives all readers of an object one cursor
BLOCK = 8 * 2**20  # bytes read at once while hashing


class Store:
    """Objects under one root: a local folder or any fsspec URL."""

    def __init__(self, root: str) -> None:
        self.url = str(root) if str(root).endswith("://") else str(root).rstrip("/")  # "memory:" alone would be a local folder
        protocol = fsspec.utils.get_protocol(self.url)
        try:
            self.fs, self.root = fsspec.core.url_to_fs(self.url, **_options(protocol))
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
            StoreError: if other bytes stand there.
        """
        try:
            if self.local:
                _link(Path(self._at(path)), data)
                return
            with self.alone:
                if isinstance(data, Path):
                    self.fs.put_file(str(data), self._at(path), mode="create")
                else:
                    self.fs.pipe_file(self._at(path), data, mode="create")
        except FileExistsError:
            if not self.holds(path, *_measure(data), read=True):
                raise StoreError(f"{self.uri(path)} holds other bytes than the ones being written; nothing was overwritten") from None

    def replace(self, path: str, data: bytes) -> None:
        """Put `data` at `path`, over whatever stands there; a reader sees the old bytes or the new ones."""
        if self.local:
            target = Path(self._at(path))
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(_temporary(target, data), target)
        else:
            self.fs.pipe_file(self._at(path), data)

    def delete(self, path: str) -> None:
        """Remove the object at `path`; it may be gone already."""
        try:
            self.fs.rm_file(self._at(path))
        except FileNotFoundError:
            pass

    def holds(self, path: str, n_bytes: int, sha256: str, crc32c: str = "", read: bool = False) -> bool:
        """Say whether the object at `path` is whole, at the least cost that is sure.

        Local and memory objects are hashed. A bucket that reports a CRC32C is asked for it; one that does not (S3) is asked for the size,
        and the SHA-256 is checked when the object is read: here and now if `read`.
        """
        try:
            info = self.fs.info(self._at(path))
        except FileNotFoundError:
            return False
        if int(info["size"]) != n_bytes:
            return False
        if self.local:
            return sha256_of(Path(self._at(path))) == sha256
        if "crc32c" in info:
            return not crc32c or info["crc32c"] == crc32c
        return ("ETag" in info and not read) or hashlib.sha256(self.read(path)).hexdigest() == sha256

    def download(self, path: str, target: Path, sha256: str) -> None:
        """Copy the object at `path` to the local file `target`, which appears only when it is whole.

        Raises:
            StoreError: if the bytes are not those promised, three times; the object is then removed, so that it is made again.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(3):  # a body can arrive cut or altered without an error from gcsfs or s3fs
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=".download-")
            os.close(handle)
            try:
                with self.alone:
                    self.fs.get_file(self._at(path), name)
                if sha256_of(Path(name)) == sha256:
                    os.replace(name, target)
                    return
            finally:
                Path(name).unlink(missing_ok=True)
        self.delete(path)
        raise StoreError(f"{self.uri(path)} is damaged: its SHA-256 is not {sha256[:12]}...; it was removed, run again to make it again")

    def names(self, folder: str) -> list[str]:
        """Return the names of what lies directly in `folder`, sorted."""
        try:
            return sorted(entry.rstrip("/").rsplit("/", 1)[-1] for entry in self.fs.ls(self._at(folder), detail=False))
        except FileNotFoundError:
            return []

    def _at(self, path: str) -> str:
        if ".." in path.split("/"):
            raise StoreError(f"{path!r} leads outside the store {self.url}")
        return f"{self.root}/{path}"


class Source:
    """Files of other people, read-only: a folder of recordings, an archive, a checkpoint."""

    def __init__(self, url: str) -> None:
        self.url = str(url)
        try:
            self.fs, self.root = fsspec.core.url_to_fs(os.path.expanduser(self.url), **_options(fsspec.utils.get_protocol(self.url)))
        except (ImportError, ValueError) as error:
            raise StoreError(f"{self.url}: {error}") from error

    def is_file(self) -> bool:
        """Say whether the address itself is a file."""
        return bool(self.fs.isfile(self.root))

    def names(self) -> list[str]:
        """Return the names of the files directly in the folder, sorted."""
        try:
            entries = self.fs.ls(self.root, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(entry["name"].rsplit("/", 1)[-1] for entry in entries if entry["type"] == "file")

    def read(self, name: str = "") -> bytes:
        """Return the bytes of the file `name` of the folder, or of the address itself.

        Raises:
            FileNotFoundError: if it is missing, or is not a regular file (a named pipe would wait for ever).
        """
        path = f"{self.root}/{name}" if name else self.root
        if not self.fs.isfile(path):
            raise FileNotFoundError(path)
        data: bytes = self.fs.cat_file(path)
        return data

    def stamp(self, name: str) -> str:
        """Return what changes when the file changes: size with modification time, or the bucket's own checksum."""
        try:
            info = self.fs.info(f"{self.root}/{name}" if name else self.root)
        except OSError as error:
            if isinstance(error, FileNotFoundError | NotADirectoryError) or error.errno == errno.ENAMETOOLONG:
                return "missing"
            raise
        version = next((info[key] for key in ("crc32c", "md5Hash", "ETag", "mtime", "created") if info.get(key)), "")
        return f"{info['size']}:{version}"


def _options(protocol: str) -> dict[str, Any]:
    """Return how fsspec is to talk to stores of this protocol."""
    if protocol in ("gs", "gcs") and os.environ.get("STORAGE_EMULATOR_HOST"):
        return OPTIONS["gs"] | {"token": "anon"}  # an emulator has no accounts, and looking for one waits for the network
    return OPTIONS.get({"gcs": "gs", "s3a": "s3"}.get(protocol, protocol), {})


def crc32c_of(data: bytes) -> str:
    """Return the CRC32C of `data` as Google Cloud Storage writes it: base64 of four big-endian bytes."""
    import google_crc32c  # here: only a bucket that reports CRC32C needs it

    return base64.b64encode(google_crc32c.Checksum(data).digest()).decode()


def _measure(data: bytes | Path) -> tuple[int, str, str]:
    """Return size, SHA-256 and CRC32C of bytes or of a local file."""
    whole = data.read_bytes() if isinstance(data, Path) else data
    return len(whole), hashlib.sha256(whole).hexdigest(), crc32c_of(whole)


def _link(target: Path, data: bytes | Path) -> None:
    """Create a local file atomically and exclusively: a rename would overwrite, a link refuses."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(target, data)
    try:
        os.link(temporary, target)
    finally:
        os.unlink(temporary)
    _sync_folder(target.parent)


def _temporary(target: Path, data: bytes | Path) -> str:
    """Write a durable temporary file beside `target`, on the same device, and return its name."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".tmp-")
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


def _sync_folder(folder: Path) -> None:
    """Make the new name itself durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
