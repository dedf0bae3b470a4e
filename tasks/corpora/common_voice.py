"""Common Voice, releases 5 to 26: the archive as it was downloaded, read in one pass and never unpacked, or the folder it unpacks to.

In an archive the tables may lie anywhere; Mozilla's have them behind the clips. Clips wait on disk until every table that can matter was
seen (those used, reported.tsv, clip_durations.tsv) or, in releases without one of these, until the archive's end. Then they are yielded
from there, and what follows from memory. A clip's id is the name of its file, which no release changes.
"""

import io
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import IO, Any, NamedTuple, cast

from tasks.contracts.corpora import CommonVoiceCorpus, CommonVoiceTables
from tasks.contracts.errors import CorpusError
from tasks.contracts.values import Reject
from tasks.corpora import Recording
from tasks.corpora.archive import Member, Spool, Unsafe, check_room, members
from tasks.corpora.release import CLIPS, DURATIONS, REPORTED, SPARE, TABLES, Release, needed
from tasks.store.source import MISSING, Source

HOLDS_MORE = True  # validated.tsv has the clips that a release drew into no split
MAX_CLIP, MAX_TABLE = 64 * 2**20, 4 * 2**30  # bytes


def read_release(where: Source, tables: CommonVoiceTables, also: frozenset[str] = frozenset()) -> Iterator[Recording | Reject]:
    """Yield a row per clip of the tables that are used, and a reject per member of the archive that is refused.

    Args:
        where: a .tar.gz or .tar, the locale's folder, or one above it.
        tables: which locale and tables.
        also: ids of clips that are wanted from whichever table they stand in now, but invalidated.tsv; they come in test.

    Raises:
        CorpusError: if the locale, a table or a column is missing, or the archive is not whole; of that its end tells, after the clips.
    """
    yield from (_from_archive if where.is_file() else _from_folder)(where, tables, also)


def recordings(spec: CommonVoiceCorpus, also: frozenset[str] = frozenset()) -> Iterator[Recording | Reject]:
    """Yield the rows of the release at `spec.path`, as `read_release`."""
    yield from read_release(Source(spec.path), spec, also)


def revision(spec: CommonVoiceCorpus) -> Any:
    """Return an archive's stamp; of a folder what its rows say, with the size and date of each clip. No clip is read."""
    where = Source(spec.path)
    if where.is_file():
        return {"archive": where.stamp("")}
    rows = sha256()
    for row in read_release(where, spec):
        rows.update(repr(row if isinstance(row, Reject) else replace(row, read=bytes)).encode())
    return {"rows": rows.hexdigest()}


def _from_folder(where: Source, tables: CommonVoiceTables, also: frozenset[str]) -> Iterator[Recording | Reject]:
    """Yield the rows of an unpacked release."""
    if CLIPS.isdisjoint(where.names()):
        root = _only({place.root for path in where.walk() if (place := _place(path))}, tables.locale, where.url)
        where = Source(f"{where.url.rstrip('/')}/{root}")
    else:
        _only({str(where.root).rstrip("/").rpartition("/")[2]}, tables.locale, where.url)
    with ExitStack() as opened:
        found = TABLES.intersection(where.names())
        files = {name: cast(IO[bytes], opened.enter_context(io.BufferedReader(cast(Any, where.open(name))))) for name in found}
        release = Release(where.url, tables, files, also)
        yield from release.choose()
    stamps = {} if where.is_local else where.stamps("clips")  # here each is quick, and a link is followed
    for clip in list(release.rows):
        if (stamp := where.stamp(f"clips/{clip}") if where.is_local else stamps.get(clip, MISSING)) != MISSING:
            yield from release.take(clip, partial(where.read, f"clips/{clip}"), stamp)
    yield from release.left()


def _from_archive(where: Source, tables: CommonVoiceTables, also: frozenset[str]) -> Iterator[Recording | Reject]:
    """Yield the rows of an archive in one pass."""
    expected = needed(tables) | {DURATIONS} | ({REPORTED} if tables.reported == "drop" else set()) | (set(SPARE) if also else set())
    roots: set[str] = set()
    ours: set[str] = set()
    files: dict[str, IO[bytes]] = {}
    waiting = Spool()
    release: Release | None = None
    with where.open() as file, ExitStack() as opened:
        for member in members(file, where.url):
            if isinstance(member, Unsafe):
                yield _unsafe(where, member.name, member.why)
                continue
            if not (place := _place(member.name)):
                continue
            roots.add(place.root)
            ours.update({place.root} if _is_ours(place.root, tables.locale) else ())
            if place.root not in ours or len(ours) > 1:  # more than one is refused, when all are known
                continue
            if not place.is_clip:
                files[place.name] = opened.enter_context(_set_aside(member, where))
            elif member.size > MAX_CLIP:
                yield _unsafe(where, member.name, f"{member.size} bytes, expected at most {MAX_CLIP} in a clip")
            elif release:
                yield from release.take(place.name, partial(bytes, member.read() if place.name in release.rows else b""))
            else:
                waiting.add(place.name, member.read())
            if not release and expected <= files.keys():
                release = Release(where.url, tables, files, also)
                yield from _settle(release, waiting)
        _only(roots, tables.locale, where.url)
        if not release:
            release = Release(where.url, tables, files, also)
            yield from _settle(release, waiting)
    yield from release.left()


def _settle(release: Release, waiting: Spool) -> Iterator[Recording | Reject]:
    """Choose the rows, and yield those whose clips have waited."""
    yield from release.choose()
    for clip, read in waiting.files():
        yield from release.take(clip, read)


class _Place(NamedTuple):
    """What a path in a release stands for."""

    root: str  # the locale's folder
    name: str
    is_clip: bool


def _place(path: str) -> _Place | None:
    """Return what a file is to us; None if it is neither a clip nor a table."""
    above, _, name = path.rpartition("/")
    root, _, folder = above.rpartition("/")
    if folder == "clips":
        return _Place(root, name, True)
    return _Place(above, name, False) if name in TABLES else None


def _is_ours(root: str, locale: str) -> bool:
    return not (locale and root) or root.rpartition("/")[2] == locale


def _only(roots: set[str], locale: str, name: str) -> str:
    """Return the one folder that is the locale's; CorpusError with all there are, if there is none or more."""
    ours = [root for root in roots if _is_ours(root, locale)]
    if len(ours) == 1:
        return ours[0]
    there = ", ".join(sorted(roots)[:200]) or "nothing"
    if not ours:
        raise CorpusError(f"{name}: no locale {locale or 'of Common Voice'}; expected <locale>/clips and <locale>/train.tsv, found {there}")
    raise CorpusError(f"{name}: {len(ours)} locales, {there}; name one in corpus.locale, or give the folder or archive of one")


def _set_aside(table: Member, where: Source) -> IO[bytes]:
    """Return a temporary file with the bytes of a table."""
    if table.size > MAX_TABLE:
        raise CorpusError(f"{where.url}: {table.name} has {table.size} bytes, expected at most {MAX_TABLE} in a table")
    check_room(table.size)
    file = tempfile.TemporaryFile(prefix="viska-")
    file.writelines(table.pieces())
    return file


def _unsafe(where: Source, name: str, why: str) -> Reject:
    return Reject(name, "download", "unsafe member", f"{where.url}: {name}: {why}")
