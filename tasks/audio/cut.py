"""Clips cut out of long recordings: each becomes a recording of its own, 16 kHz, one channel, FLAC of 16 bits; equal spans, equal bytes.

    scissors = Scissors()
    talk = Long(open=..., spans=((12.34, 15.02), ...))
    flac = scissors.read(talk, 12.34, 15.02)

A long recording is decoded once, for all its spans, when the first of them is asked for: in a child (`isolated`), block by block
(`stream`). The child reads a temporary file of ours, because FFmpeg wants to seek. Where decoding fails, the recording ends; the clips
before that are sound.
"""

import atexit
import json
import os
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from tasks.audio import SAMPLE_RATE
from tasks.audio.decode import encode_flac
from tasks.audio.isolated import Answer, Decoder, serve
from tasks.audio.stream import Useless, at_16_khz
from tasks.contracts.errors import AudioError

VERSION = 1  # of the bytes; part of a clip's stamp
TO_THE_END = -1.0  # as the end of a span
MAX_CLIP = 60.0  # seconds; `resample` takes no more
MAX_SECONDS, MAX_BYTES = 24 * 3600, 4 * 2**30  # of a long recording
OVERSHOOT = 0.5  # seconds that a clip may go on when its recording has ended, as in Kaldi: people round, and subtitles linger
COPIED = 2**20  # bytes copied at once
KEPT = 2  # long recordings whose clips are kept: readers are a few clips ahead, in order
Span = tuple[int, int]  # samples at 16 kHz; the end may be -1

busy = threading.BoundedSemaphore(os.cpu_count() or 1)
idle: list["_Cutter"] = []  # started, and used by no thread just now


@dataclass(frozen=True, eq=False)
class Long:
    """A recording of which clips are cut out."""

    open: Callable[[], BinaryIO]  # FileNotFoundError if there is none
    spans: tuple[tuple[float, float], ...]  # all that may be asked for: seconds; the end may be TO_THE_END


def called(start: float, end: float) -> str:
    """Return a span as it stands in ids and stamps: milliseconds."""
    return f"{round(start * 1000)}-{'end' if end == TO_THE_END else round(end * 1000)}"


def stamp_of(stamp: str, start: float, end: float) -> str:
    """Return the stamp of a clip out of a file with this stamp."""
    return f"{stamp}#{called(start, end)}/{VERSION}"


class Scissors:
    """Cuts, for many threads at once. Keeps the clips of the recordings that were asked for last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent: dict[Long, Future[dict[Span, bytes | str]]] = {}  # asked for last at the end

    def read(self, long: Long, start: float, end: float) -> bytes:
        """Return the clip as FLAC.

        Raises:
            FileNotFoundError: if the recording is not there.
            AudioError: if it cannot be decoded as far as the clip goes, or the clip is longer than MAX_CLIP.
        """
        with self._lock:
            clips = self._recent.pop(long, None)
            is_first = clips is None
            clips = self._recent[long] = clips or Future()
            for old in [each for each, future in self._recent.items() if each is not long and future.done()][: 1 - KEPT]:
                del self._recent[old]  # who waits for one of its clips holds it still
        if is_first:
            try:
                clips.set_result(_cut(long))
            except BaseException as error:
                clips.set_exception(error)
        clip = clips.result()[_in_samples(start, end)]
        if isinstance(clip, str):
            raise AudioError(clip)
        return clip


def _in_samples(start: float, end: float) -> Span:
    return round(start * SAMPLE_RATE), -1 if end == TO_THE_END else round(end * SAMPLE_RATE)


def _cut(long: Long) -> dict[Span, bytes | str]:
    with _cutter() as cutter:
        return cutter.cut(long.open, sorted({_in_samples(*span) for span in long.spans}))


@contextmanager
def _cutter() -> Iterator["_Cutter"]:
    """Lend a child, at most one per processor; it is kept for the next recording."""
    with busy:
        try:
            cutter = idle.pop()
        except IndexError:
            cutter = _Cutter()
        try:
            yield cutter
        finally:
            idle.append(cutter)


@atexit.register
def _close() -> None:
    while idle:
        idle.pop().close()


class _Cutter(Decoder):
    """A child that cuts, and the file that it reads."""

    _module = "tasks.audio.cut"

    def __init__(self, seconds: float = 30.0, memory: int = 2 * 2**30) -> None:
        """Limit the child to `seconds` for each block of sound (a second), and `memory` bytes of address space."""
        super().__init__(MAX_CLIP, seconds, memory)
        self._file = tempfile.TemporaryFile()
        self._inherits = (self._file.fileno(),)

    def cut(self, open: Callable[[], BinaryIO], spans: list[Span]) -> dict[Span, bytes | str]:
        """Return each span's FLAC, or why there is none."""
        clips: dict[Span, bytes | str] = {}

        def keep(_: memoryview, flac: memoryview, said: dict[str, Any]) -> dict[str, Any] | None:
            if flac:
                clips[spans[said["span"]]] = bytes(flac)
            return said if "n_samples" in said else None

        try:
            self._copy(open)
            end = self._ask(json.dumps(spans).encode(), keep)
        finally:
            self._file.truncate(0)
        if end["useless"]:
            raise AudioError(end["why"])
        return {span: clips.get(span) or _why_not(span, end["n_samples"], end["why"]) for span in spans}

    def _copy(self, open: Callable[[], BinaryIO]) -> None:
        self._file.seek(0)
        with open() as source:
            while block := source.read(COPIED):
                if self._file.tell() + len(block) > MAX_BYTES:
                    raise AudioError(f"larger than {MAX_BYTES / 2**30:g} GB; split it")
                self._file.write(block)
        self._file.flush()


def _why_not(span: Span, n_samples: int, why: str) -> str:
    """Return why a recording of `n_samples` did not give this clip."""
    start, end = (each / SAMPLE_RATE for each in span)
    end = n_samples / SAMPLE_RATE if span[1] < 0 else end
    if end - start > MAX_CLIP:
        return f"the clip is {end - start:.1f} s long, expected at most {MAX_CLIP:g}"
    if span[1] >= 0 and not 0 <= start < end:
        return f"the clip has no length: it goes from {start:.3f} s to {end:.3f}"
    until = f"to {end:.1f}" if span[1] >= 0 else f"from {start:.1f}"
    reason = f"the recording ends at {n_samples / SAMPLE_RATE:.1f} s, the clip goes on {until}" if n_samples else ""
    return "; ".join(filter(None, [reason, why])) or "no samples in the recording"


# What follows runs in the child.


@dataclass
class _Cut:
    """A clip that has begun."""

    number: int
    start: int
    end: int  # that of the longest clip and one more, if it goes on to the end of the recording
    wanted: int  # samples; 0: all there are
    pieces: list[np.ndarray]


def _replies(question: bytes, file: BinaryIO) -> Iterator[Answer]:
    """Yield each span's FLAC when it is decoded, a sign of life after each block, and at the end how long the recording was."""
    longest = round(MAX_CLIP * SAMPLE_RATE)
    waiting: deque[_Cut] = deque()
    for number, (start, end) in enumerate(json.loads(question)):
        if end < 0 <= start:
            waiting.append(_Cut(number, start, start + longest + 1, 0, []))
        elif 0 <= start < end <= start + longest:
            waiting.append(_Cut(number, start, end, end - start, []))
    begun: list[_Cut] = []
    n_samples, why, useless = 0, "", False
    try:
        for block in at_16_khz(file):
            first, n_samples = n_samples, n_samples + len(block)
            while waiting and waiting[0].start < n_samples:
                begun.append(waiting.popleft())
            for cut in begun:
                cut.pieces.append(block[max(0, cut.start - first) : cut.end - first])
                if cut.end <= n_samples and cut.wanted:
                    yield b"", encode_flac(np.concatenate(cut.pieces)), {"span": cut.number}
            begun = [cut for cut in begun if cut.end > n_samples]
            yield b"", b"", {}
            if n_samples > MAX_SECONDS * SAMPLE_RATE:
                raise AudioError(f"longer than {MAX_SECONDS / 3600:g} hours; split it")
    except AudioError as error:
        why, useless = str(error), isinstance(error, Useless)
    except MemoryError:
        raise
    except Exception as error:  # a library's, of a kind that nobody foresaw; its text may hold addresses
        why = f"the decoder failed: {type(error).__name__}"
    overshoot = 0 if why else OVERSHOOT * SAMPLE_RATE  # what is damaged went on
    for cut in begun:
        if (cut.wanted or not why) and n_samples - cut.start >= max(cut.wanted - overshoot, cut.wanted / 2):
            yield b"", encode_flac(np.concatenate(cut.pieces)), {"span": cut.number}
    yield b"", b"", {"n_samples": n_samples, "why": why, "useless": useless}


def _main(_: str, seconds: str, memory: str, number: str) -> None:
    def replies(question: bytes) -> Iterator[Answer]:
        with os.fdopen(os.dup(int(number)), "rb") as file:  # anew each time: the last one's buffer holds another recording
            file.seek(0)
            yield from _replies(question, file)

    serve(replies, float(seconds), int(memory))


if __name__ == "__main__":
    _main(*sys.argv[1:])
