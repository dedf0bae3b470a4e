"""What sources share whose tables name spans of long recordings.

A long recording is decoded for all its clips when the first is read (`tasks/audio/cut.py`); in the order of a shuffled table it would be
decoded for each. So the sources give its clips one after the other; `Recording.place` says where they stood.
"""

import posixpath
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache, partial
from hashlib import sha256
from itertools import groupby, islice
from os.path import abspath, expanduser
from typing import NamedTuple

from tasks.audio.cut import TO_THE_END, VERSION, Long, Scissors, stamp_of
from tasks.contracts.languages import code_of
from tasks.contracts.values import Reject
from tasks.corpora import Recording
from tasks.store.source import MISSING, Source

LOCAL = ("", "file", "local")
LONGEST = 1e7  # seconds, beyond any recording
AT_ONCE = 16  # files that a bucket is asked about


class Clip(NamedTuple):
    """A row of a table, before anybody has looked for its file."""

    line: str  # for people: table and line
    place: int  # among all rows
    id: str
    folder: Source
    path: str  # in it
    text: str
    split: str = ""
    speaker: str = ""
    language: str = ""
    seconds: float = 0.0
    span: tuple[float, float] | None = None  # seconds; None: the whole file
    about: tuple[tuple[str, str], ...] = ()


@lru_cache(maxsize=4)  # neighbours are often cut out of one file
def inside(path: str, folder: Source) -> str:
    """Return a table's path, relative or absolute, from the folder on; empty if it leads out of the folder."""
    scheme, _, root = folder.url.rpartition("://")
    theirs, is_address, name = path.rpartition("://")
    if (is_address and theirs != scheme) or (path.startswith("/") and scheme not in LOCAL) or "\0" in path:
        return ""
    root = posixpath.normpath(root if scheme else abspath(expanduser(root)))
    whole = posixpath.normpath(name if is_address else posixpath.join(root, name))
    root = root.rstrip("/") + "/"
    return whole.removeprefix(root) if whole.startswith(root) else ""


def revision_of(clips: Iterable[Clip | Reject]) -> dict[str, str | int]:
    """Return what changes when a recording does, or the way it is cut."""
    stamps = sha256()
    for _, stamp in _stamped(clips):
        stamps.update(f"{stamp}\n".encode())
    return {"cut": VERSION, "recordings": stamps.hexdigest()}


def recordings_of(clips: Iterable[Clip | Reject]) -> Iterator[Recording | Reject]:
    """Yield a recording for each clip, or a reject if its file is missing."""
    scissors = Scissors()
    for group, stamp in _stamped(clips):
        if isinstance(group, Reject):
            yield group
            continue
        first = group[0]
        long = Long(partial(first.folder.open, first.path), tuple(clip.span for clip in group if clip.span))
        for clip in group:
            if stamp == MISSING:
                yield Reject(clip.id, "download", "missing file", f"{clip.line}: no file {clip.path!r} in {clip.folder.url}")
                continue
            read, its, seconds = partial(clip.folder.read, clip.path), stamp, clip.seconds
            if clip.span:
                start, end = clip.span
                read, its = partial(scissors.read, long, start, end), stamp_of(stamp, start, end)
                seconds = seconds if end == TO_THE_END else end - start
            yield Recording(clip.id, read, clip.text, clip.speaker, clip.split, its, seconds, clip.language, place=clip.place,
                            about=dict(clip.about))  # fmt: skip


def _stamped(clips: Iterable[Clip | Reject]) -> Iterator[tuple[list[Clip] | Reject, str]]:
    """Yield the clips of each file with its stamp. A bucket is asked about some files ahead."""
    with ThreadPoolExecutor(AT_ONCE) as pool:

        def ask(group: list[Clip] | Reject) -> tuple[list[Clip] | Reject, Callable[[], str]]:
            if isinstance(group, Reject):
                return group, str
            stamp = partial(group[0].folder.stamp, group[0].path)
            return group, stamp if group[0].folder.is_local else pool.submit(stamp).result

        groups = _grouped(clips)
        waiting = deque(map(ask, islice(groups, AT_ONCE)))
        while waiting:
            group, stamp = waiting.popleft()
            yield group, stamp()
            waiting.extend(map(ask, islice(groups, 1)))


def _grouped(clips: Iterable[Clip | Reject]) -> Iterator[list[Clip] | Reject]:
    """Yield neighbours that are cut out of one file together."""
    for _, group in groupby(clips, lambda clip: (clip.folder, clip.path) if isinstance(clip, Clip) and clip.span else object()):
        first, *rest = group
        yield first if isinstance(first, Reject) else [first, *(clip for clip in rest if isinstance(clip, Clip))]


def seconds_of(told: str) -> float | None:
    """Return a number of seconds; None if it is none, or an impossible one."""
    try:
        number = float(told)
    except ValueError:
        return None
    return number if 0 <= number <= LONGEST else None


@cache
def language_of(told: str) -> tuple[str, str]:
    """Return a language's code, and what is wrong if there is none."""
    try:
        return code_of(told) if told.strip() else "", ""
    except ValueError as error:
        return "", f"{told!r}: {error}"
