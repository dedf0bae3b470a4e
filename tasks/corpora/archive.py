"""Tar archives, read in one pass and never extracted: no name in them ever becomes a path of ours.

`tarfile` ends without a word at a damaged header, where an archive was cut between two members, and before a second archive behind the
first; and it reads as much as a header claims. So it is given a reader that counts, goes forward only, and shows how the archive ended.
"""

import gzip
import io
import os
import shutil
import struct
import tarfile
import tempfile
import weakref
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import IO, Any, BinaryIO, cast

from tasks.contracts.errors import CorpusError

GZIP = b"\x1f\x8b"  # how a gzip file begins
BLOCK = tarfile.BLOCKSIZE  # bytes; an archive ends with two of zeros
PIECE = 2**20  # bytes read at once
GRACE, RATIO = 2**26, 50  # bytes: so much may come out, and this many times what went in. MP3 packs to 0.99, tables to 0.2
MAX_HEADERS = 2**16  # bytes of headers before one member
MAX_MEMBERS = 10_000_000  # English has 3 million
MAX_NAME = 255  # bytes, of each folder and file
RESERVE = 2**28  # bytes of the temporary disk that are left to others
HEAD = struct.Struct("<HI")  # of a file in the spool: bytes of its name, and its own
KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a FIFO",
}


@dataclass(frozen=True)
class Member:
    """A regular file in an archive; it can be read until the next one is asked for."""

    name: str  # relative, without "." and ".."
    size: int  # bytes
    pieces: Callable[[], Iterator[bytes]]

    def read(self) -> bytes:
        """Return all of it."""
        return b"".join(self.pieces())


@dataclass(frozen=True)
class Unsafe:
    """A member that is refused."""

    name: str  # printable
    why: str


def members(file: BinaryIO, name: str) -> Iterator[Member | Unsafe]:
    """Yield each member of a .tar or .tar.gz but folders, in its order, reading `file` once from where it stands; `name` is for messages.

    Raises:
        CorpusError: if the archive is not whole, which may show only after its last member, or unpacks to far more than it holds.
    """
    stream = _Stream(file, name)
    seen: set[int] = set()  # hashes: three million names would take 400 MB
    for number, info in enumerate(_headers(stream)):
        if number == MAX_MEMBERS:
            raise CorpusError(f"{name}: more than {MAX_MEMBERS} members; no corpus has so many")
        if info.isdir():
            continue
        parts = [part for part in info.name.split("/") if part not in ("", ".")]
        why = _why_unsafe(info, parts) or ("the same name twice" if (key := hash(tuple(parts))) in seen else "")
        if why:
            yield Unsafe(repr(info.name)[1:-1][:300], why)
        else:
            seen.add(key)
            yield Member("/".join(parts), info.size, partial(stream.pieces, info.offset_data, info.size))
    stream.check_end()


def _headers(stream: "_Stream") -> Iterator[tarfile.TarInfo]:
    """Yield what tarfile makes of each header, up to where it stops."""
    tar = None
    try:
        tar = tarfile.TarFile(fileobj=cast(Any, stream), encoding="utf-8")
        while info := tar.next():
            tar.members = []  # type: ignore[attr-defined]  # it would keep them all
            if info.size < 0 or (info.isreg() and not info.issparse() and tar.offset - info.offset_data != -(-info.size // BLOCK) * BLOCK):
                raise stream.broken(f"a member claims {info.size} bytes, its header another size")
            yield info
            stream.allowed = MAX_HEADERS
    except (tarfile.TarError, ValueError, LookupError, OverflowError) as error:
        raise stream.broken(f"{'a damaged header' if tar else 'no .tar or .tar.gz begins there'} ({error})") from error


def _why_unsafe(info: tarfile.TarInfo, parts: list[str]) -> str:
    """Return what is wrong with a member, or nothing."""
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.issparse():
        return f"{KINDS.get(info.type, 'a file of a rare kind')}, expected a regular file"
    if info.name.startswith("/"):
        return "an absolute name"
    if not parts or ".." in parts:
        return "a name that leads elsewhere"
    try:
        longest = max(len(part.encode()) for part in parts)
    except UnicodeEncodeError:
        return "a name that is not UTF-8"
    if longest > MAX_NAME:
        return f"a name of {longest} bytes, expected at most {MAX_NAME}"
    return "" if all(each >= " " and each != "\x7f" for each in info.name) else "a control character in its name"


class _Stream:
    """What an archive unpacks to, for tarfile: it goes forward only, and within budgets."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name, self.place, self.last, self.allowed = name, 0, b"", MAX_HEADERS
        self.packed = _Counted(file)
        plain = io.BufferedReader(self.packed, PIECE)
        self.file: IO[bytes] = cast(IO[bytes], gzip.GzipFile(fileobj=plain)) if plain.peek(2)[:2] == GZIP else plain

    def broken(self, why: str) -> CorpusError:
        """Return the refusal of an archive that is damaged where we stand."""
        return CorpusError(f"{self.name}: archive is not whole: {why}, at byte {self.place} of the unpacked tar; fetch it again")

    def take(self, n_bytes: int) -> bytes:
        """Return the next `n_bytes`, fewer only at the end."""
        try:
            data = self.file.read(n_bytes)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise self.broken(str(error)) from error
        self.place += len(data)
        if self.place > GRACE + RATIO * self.packed.n_bytes:
            raise CorpusError(
                f"{self.name}: {self.packed.n_bytes} bytes unpack to more than {self.place}, expected at most {RATIO} times as many; "
                "recordings do not, so this archive holds something else"
            )
        return data

    def pieces(self, start: int, n_bytes: int) -> Iterator[bytes]:
        """Yield the data of a member piece by piece."""
        if self.place != start:
            raise self.broken(f"a member's data were expected at byte {start}")
        while n_bytes:
            piece = self.take(min(PIECE, n_bytes))
            if not piece:
                raise self.broken(f"a member lacks {n_bytes} bytes")
            n_bytes -= len(piece)
            yield piece

    def check_end(self) -> None:
        """Raise CorpusError unless tarfile stopped at the first of two blocks of zeros, with nothing but zeros behind."""
        if self.last != bytes(BLOCK):
            raise self.broken("a damaged header" if len(self.last) == BLOCK else "it was cut, two blocks of zeros are its end")
        n_zeros = BLOCK
        while piece := self.take(PIECE):
            n_zeros += len(piece)
            if piece.strip(b"\0"):
                raise self.broken("something follows its end")
        if n_zeros < 2 * BLOCK:
            raise self.broken(f"{n_zeros} bytes of zeros at its end, expected {2 * BLOCK}")

    def tell(self) -> int:
        """Return where we stand, for tarfile."""
        return self.place

    def read(self, n_bytes: int) -> bytes:
        """Return the next bytes of a header, for tarfile."""
        self.allowed -= n_bytes
        if n_bytes < 0 or self.allowed < 0:
            raise self.broken(f"a header claims more than {MAX_HEADERS} bytes")
        self.last = self.take(n_bytes)
        return self.last

    def seek(self, place: int) -> int:
        """Pass over what nobody reads, for tarfile."""
        if place < self.place:
            raise self.broken(f"a header sends us back to byte {place}")
        for _ in self.pieces(self.place, place - self.place):
            pass
        return self.place


class _Counted(io.RawIOBase):
    """A file that counts what is read of it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.n_bytes = file, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.file.read(len(buffer))
        buffer[: len(data)] = data
        self.n_bytes += len(data)
        return len(data)


class Spool:
    """Files that wait on disk, in a temporary one without a name: it goes with its last reader."""

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile(prefix="viska-")
        weakref.finalize(self, self.file.close)

    def add(self, name: str, data: bytes) -> None:
        """Set a file aside; CorpusError if the disk is full."""
        check_room(len(data))
        self.file.write(HEAD.pack(len(name.encode()), len(data)) + name.encode())
        self.file.write(data)

    def files(self) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Yield each file's name, and a function that reads it in any thread, also when this object is gone."""
        self.file.flush()
        place = 0
        while head := self._read(place, HEAD.size):
            n_name, n_bytes = HEAD.unpack(head)
            start = place + HEAD.size + n_name
            yield self._read(place + HEAD.size, n_name).decode(), partial(self._read, start, n_bytes)
            place = start + n_bytes

    def _read(self, place: int, n_bytes: int) -> bytes:
        return os.pread(self.file.fileno(), n_bytes, place)


def check_room(n_bytes: int) -> None:
    """Raise CorpusError if `n_bytes` would fill the disk that temporary files lie on."""
    folder = tempfile.gettempdir()
    if (free := shutil.disk_usage(folder).free) < n_bytes + RESERVE:
        raise CorpusError(
            f"{folder}: {free / 1e9:.1f} GB free, not enough for clips that lie before their tables in the archive; set TMPDIR to a folder "
            "of a larger disk, or unpack the archive and give its folder"
        )
