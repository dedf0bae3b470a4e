"""Tar archives that are odd, damaged or hostile, as bytes, each with what must be read of it and what must be said.

The archive cases 116 to 138 of a catalogue on which extractors write where they should not, and readers stop early without a word, with
some more that aim at tarfile itself.
"""

import gzip
import tarfile
from collections.abc import Iterator
from typing import NamedTuple

END = bytes(2 * tarfile.BLOCKSIZE)
GOOD = {f"{number:02d}.mp3": bytes([number]) * 700 for number in range(20)}  # two blocks of data each, the second one not full
STEP = 3 * tarfile.BLOCKSIZE  # from one of their headers to the next


class Case(NamedTuple):
    data: bytes
    names: tuple[str, ...] = ()  # of the members that are given
    refused: str = ""  # the words that say why one is refused
    error: str = ""  # the words that say why the whole archive is


def member(name: str, data: bytes = b"sound", format: int = tarfile.GNU_FORMAT, **attributes: object) -> bytes:
    """Return one member: its header, and its data if it is a file."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in attributes.items():
        setattr(info, key, value)
    header = info.tobuf(format, "utf-8", "surrogateescape")
    return header + data + bytes(-len(data) % tarfile.BLOCKSIZE)


def archive(files: dict[str, bytes]) -> bytes:
    """Return a whole archive of regular files."""
    return b"".join(member(name, data) for name, data in files.items()) + END


def with_size(size: int, **attributes: object) -> bytes:
    """Return a header that claims a size its archive does not have."""
    return member("liar.mp3", b"", size=size, **attributes)[: tarfile.BLOCKSIZE]


def cases() -> Iterator[tuple[str, Case]]:
    """Yield each case with its name."""
    a, z = member("a.mp3"), member("z.mp3") + END

    def odd(why: str, *members: bytes) -> Case:
        return Case(b"".join((a, *members, z)), ("a.mp3", "z.mp3"), why)

    link = {"linkname": "/etc/passwd", "size": 0, "data": b""}
    yield "116 a way up", odd("leads elsewhere", member("../../etc/cron.d/x"))
    yield "116 a way up inside", odd("leads elsewhere", member("clips/../../x"))
    yield "117 absolute", odd("an absolute name", member("/etc/cron.d/x"))
    yield (
        "118 a link, then a file below it",
        Case(a + member("d", type=tarfile.SYMTYPE, **link) + member("d/x.mp3") + z, ("a.mp3", "d/x.mp3", "z.mp3"), "a symbolic link"),
    )
    yield "119 a symbolic link", odd("a symbolic link", member("b.mp3", type=tarfile.SYMTYPE, **link))
    yield "120 a hard link", odd("a hard link", member("b.mp3", type=tarfile.LNKTYPE, **link))
    yield "121 a character device", odd("a device", member("b.mp3", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=5))
    yield "121 a block device", odd("a device", member("b.mp3", b"", type=tarfile.BLKTYPE))
    yield "122 a FIFO", odd("a FIFO", member("b.mp3", b"", type=tarfile.FIFOTYPE))
    yield "122 a contiguous file", odd("a rare kind", member("b.mp3", type=tarfile.CONTTYPE))
    yield "122 a sparse file", odd("a rare kind", member("b.mp3", type=tarfile.GNUTYPE_SPARSE))
    sparse = {"GNU.sparse.map": "0,5", "GNU.sparse.size": "5"}
    yield "122 a sparse file in pax", odd("a rare kind", member("b.mp3", format=tarfile.PAX_FORMAT, pax_headers=sparse))
    yield "123 setuid", Case(a + member("b.mp3", mode=0o4777) + END, ("a.mp3", "b.mp3"))
    yield "124 the same name twice", odd("the same name twice", member("a.mp3", b"another"))
    yield "124 the same name in other words", odd("the same name twice", member("././/a.mp3", b"another"))
    yield "125 twins in case", Case(a + member("A.mp3") + END, ("a.mp3", "A.mp3"))
    yield "126 a long name", odd("a name of 300 bytes", member("x" * 300))
    yield "126 a long name in pax", odd("a name of 300 bytes", member("x" * 300, format=tarfile.PAX_FORMAT))
    yield "126 a long path", Case(a + member("/".join(["x" * 200] * 3)) + END, ("a.mp3", "/".join(["x" * 200] * 3)))
    yield "127 a line feed", odd("a control character", member("a\nb.mp3"))
    yield "127 a NUL", odd("a control character", member("a\0b.mp3", format=tarfile.PAX_FORMAT, pax_headers={"path": "a\0b.mp3"}))
    yield "128 not UTF-8", odd("not UTF-8", member("\udce5.mp3"))
    yield "129 twins in normal form", Case(a + member("\u00e5.mp3") + member("a\u030a.mp3") + END, ("a.mp3", "\u00e5.mp3", "a\u030a.mp3"))
    yield "folders are no members", Case(a + member("clips/", b"", type=tarfile.DIRTYPE) + END, ("a.mp3",))

    def broken(data: bytes, names: tuple[str, ...] = (), error: str = "archive is not whole: .* at byte") -> Case:
        return Case(data, names, "", error)

    good, names = archive(GOOD), tuple(GOOD)
    packed = gzip.compress(good, 1, mtime=0)
    yield "130 a bomb", broken(gzip.compress(bytes(2**28), 1), error="unpack to more than")
    yield (
        "130 a bomb in a member",
        broken(gzip.compress(a + member("b.mp3", bytes(2**28)) + END, 1), ("a.mp3", "b.mp3"), "unpack to more than"),
    )
    yield "131 a size of 8 GiB", broken(a + with_size(2**33) + END, ("a.mp3", "liar.mp3"), "a member lacks .* at byte")
    yield "131 a size of a block more", broken(a + with_size(513), ("a.mp3", "liar.mp3"), "a member lacks 513 bytes, at byte 1536")
    yield "131 a size below zero", broken(a + with_size(-1) + END, ("a.mp3",), "a member claims -1 bytes")
    yield "131 a size that leads back", broken(a + with_size(-1024) + END, ("a.mp3",), "a member claims -1024 bytes")
    sizes = tarfile.TarInfo.create_pax_global_header({"size": "600"})
    yield "131 a size for all that is none's", broken(a + sizes + z, ("a.mp3",), "claims 600 bytes, its header another size")
    back = with_size(-1024, type=tarfile.GNUTYPE_SPARSE)
    yield "131 a sparse file that leads back", broken(a + back + END, ("a.mp3",), "a header sends us back to byte")
    yield "131 a name of 1 GiB", broken(a + with_size(2**30, type=tarfile.GNUTYPE_LONGNAME) + END, ("a.mp3",), "a header claims more than")
    yield "131 a pax header of 1 GiB", broken(a + with_size(2**30, type=tarfile.XHDTYPE) + END, ("a.mp3",), "a header claims more than")
    yield "131 a pax header below zero", broken(a + with_size(-1024, type=tarfile.XHDTYPE) + END, ("a.mp3",), "a header claims more than")
    chain = with_size(1, type=tarfile.GNUTYPE_LONGNAME) + b"x".ljust(tarfile.BLOCKSIZE, b"\0")
    yield "131 a thousand headers before a member", broken(a + 1000 * chain + z, ("a.mp3",), "a header claims more than")
    yield "133 cut in half", broken(good[: len(good) // 2], names[:11], "a member lacks 700 bytes, at byte 15872")
    yield "133 a .tar.gz cut in half", broken(packed[: len(packed) // 2])
    yield "134 cut at a boundary", broken(good[: 10 * STEP], names[:10], "it was cut, .* at byte 15360")
    yield "134 cut at a boundary, and packed again", broken(gzip.compress(good[: 10 * STEP]), names[:10], "it was cut")
    yield "135 no end", broken(good.removesuffix(END), names, "it was cut")
    yield "135 half an end", broken(good.removesuffix(END) + END[:512], names, "512 bytes of zeros at its end, expected 1024")
    yield "136 a damaged header", broken(good[: 10 * STEP] + b"x" + good[10 * STEP + 1 :], names[:10], "a damaged header, at byte 15872")
    yield "137 two joined", broken(good + good, names, "something follows its end")
    yield "137 two joined .tar.gz", broken(packed + packed, names, "something follows its end")
    yield "138 empty", broken(b"", error=r"no \.tar or \.tar\.gz begins there \(empty file\), at byte 0")
    yield "138 an empty .gz", broken(gzip.compress(b""), error="empty file")
    yield "138 no members", Case(END)
    yield "a page that says 404", broken(b"<html>404</html>".ljust(2000), error=r"no \.tar or \.tar\.gz begins there")
    yield "words behind a .gz", broken(packed + b"words", names, "Not a gzipped file")
    yield "zeros behind a .gz", Case(packed + bytes(100), names)
    yield "packed in two parts", Case(gzip.compress(good[:5000]) + gzip.compress(good[5000:]), names)
    yield "one bit of a .gz", broken(packed[:-6] + bytes([packed[-6] ^ 1]) + packed[-5:], names, "CRC check failed")
