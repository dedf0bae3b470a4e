"""Other people's files, read-only: a folder of recordings, an archive, a table; on this machine or at any fsspec address."""

import errno
import os
from typing import Any, BinaryIO

from fsspec.implementations.local import LocalFileSystem

from tasks.contracts.errors import StoreError
from tasks.store.objects import open_url

MISSING = "missing"  # the stamp of a file that is not there
# What fsspec calls a file's version, the surest first.
VERSIONS = ("crc32c", "md5Hash", "ETag", "etag", "blob_id", "mtime", "Last-Modified", "last_modified", "created")


class Source:
    """Files of other people, read-only: a folder of recordings, an archive, a checkpoint."""

    def __init__(self, url: str) -> None:
        self.url = str(url)
        try:
            self.fs, self.root = open_url(os.path.expanduser(self.url))
        except (ImportError, ValueError) as error:
            raise StoreError(f"{self.url}: {error}") from error

    @property
    def is_local(self) -> bool:
        """Whether it lies on this machine."""
        return isinstance(self.fs, LocalFileSystem)

    def is_file(self) -> bool:
        """Say whether the address itself is a file."""
        return bool(self.fs.isfile(self.root))

    def names(self) -> list[str]:
        """Return the names of the files directly in the folder, sorted."""
        try:
            entries = self.fs.ls(self.root, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        files = (each["name"] for each in entries if each["type"] == "file" or (each.get("islink") and self.fs.isfile(each["name"])))
        return sorted(name.rsplit("/", 1)[-1] for name in files)

    def read(self, name: str = "") -> bytes:
        """Return the bytes of the file `name` of the folder, or of the address itself.

        Raises:
            FileNotFoundError: if it is missing, or is not a regular file (a named pipe would wait for ever).
        """
        data: bytes = self.fs.cat_file(self._regular(name))
        return data

    def open(self, name: str = "") -> BinaryIO:
        """Return the file `name` of the folder, or the address itself, to be read from its beginning on.

        Raises:
            FileNotFoundError: if it is missing, or is not a regular file (a named pipe would wait for ever).
        """
        ahead = {} if self.is_local else {"block_size": 16 * 2**20, "cache_type": "readahead"}
        file: BinaryIO = self.fs.open(self._regular(name), "rb", **ahead)
        return file

    def walk(self) -> list[str]:
        """Return the paths of all files in the folder and in folders of it, from it on, sorted."""
        try:
            found = self.fs.find(self.root)
        except (FileNotFoundError, NotADirectoryError):
            return []
        root = str(self.fs._strip_protocol(self.root)).rstrip("/") + "/"
        return sorted(str(path).removeprefix(root) for path in found)

    def stamps(self, folder: str) -> dict[str, str]:
        """Return the stamp of each file directly in a folder of the folder, by its name: a listing is a request for a thousand of them."""
        try:
            entries = self.fs.ls(f"{self.root}/{folder}", detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        return {entry["name"].rsplit("/", 1)[-1]: _stamp(entry) for entry in entries if entry["type"] == "file"}

    def stamp(self, name: str) -> str:
        """Return what changes when the file changes: size with modification time, or the bucket's own checksum; MISSING for no file."""
        try:
            info = self.fs.info(f"{self.root}/{name}" if name else self.root)
        except OSError as error:
            if isinstance(error, FileNotFoundError | NotADirectoryError) or error.errno == errno.ENAMETOOLONG:
                return MISSING
            raise
        if info["type"] != "file":
            return MISSING
        return _stamp(info)

    def _regular(self, name: str) -> str:
        path = f"{self.root}/{name}" if name else self.root
        if not self.fs.isfile(path):
            raise FileNotFoundError(path)
        return path


def _stamp(info: dict[str, Any]) -> str:
    version = next((info[key] for key in VERSIONS if info.get(key)), "")
    return f"{info['size']}:{version}"
