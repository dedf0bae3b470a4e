"""Decoding in a process of its own, with limits: a C library that hangs, crashes or eats memory costs one recording, not the run.

    with Decoder(max_seconds=60) as decoder:
        clip = decoder.hear(data)

The child (`python -m tasks.audio.isolated`) is started, never forked, because the parent has threads. It ends when its standard input
does, so also when the parent is killed; should a library hang just then, its alarm ends it. What goes between the two is lengths, JSON
and bytes. Limits of memory need Linux.
"""

import contextlib
import errno
import fcntl
import json
import math
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar

import numpy as np

from tasks.audio import SAMPLE_RATE
from tasks.audio.decode import Decoded, encode_flac, read, to_int16
from tasks.audio.resample import resample
from tasks.contracts.errors import AudioError

CODE = Path(__file__).parents[2]  # where the child finds what the parent runs
START_SECONDS = 60.0  # for the child's imports, on a busy machine
GRACE = 5  # seconds; how much later than the parent the child's own alarm rings
LENGTHS = struct.Struct("<III")  # bytes of samples, FLAC and JSON
PIPE = 2**20  # bytes; Linux gives 2**16, and then the two wait for each other four times a clip
FULL_SCALE = 1 - 1e-3
FRAME = SAMPLE_RATE // 50  # samples, 20 ms
QUIET = 1e-4  # of the loudest frame's energy: 40 dB below
LSB_NOISE = 2.0**-30 / 12  # mean square of rounding to 16 bits: no recording here is quieter
T = TypeVar("T")
Answer = tuple[bytes | memoryview, bytes | memoryview, dict[str, Any]]  # samples, FLAC, and what is said of them


@dataclass(frozen=True)
class Figures:
    """What can be said of a recording's quality without listening to it.

    Peak, clipped and dc are of its mono signal at its own rate, silence and snr of 20-ms frames at 16 kHz. `snr` takes the frame at the
    10th percentile of energy as noise and that at the 95th as speech on noise, in the manner of NIST's stnr: it needs pauses, lies
    between -10 and 100, is below 0 for a steady sound, and 80 and more where pauses are digital zeros.
    """

    rate: int  # Hz
    channels: int
    seconds: float
    peak: float  # largest absolute sample
    clipped: float  # share of samples that lie within 1e-3 of full scale or beyond it, three or more in a row
    silence: float  # share of frames 40 dB or more below the loudest
    snr: float  # dB
    dc: float  # mean sample


@dataclass(frozen=True)
class Clip:
    """A decoded recording at 16 kHz, one channel."""

    samples: np.ndarray  # [n_samples] int16, exactly those that the FLAC holds
    flac: bytes
    figures: Figures


class _Death(Exception):
    """The child is gone; says of what."""


class Decoder:
    """One child process that decodes; for one thread at a time. It starts when it is first needed, and again after a death."""

    _module = "tasks.audio.isolated"  # what the child runs
    _inherits: tuple[int, ...] = ()  # files of ours that it may read

    def __init__(self, max_seconds: float, seconds: float = 30.0, memory: int = 2 * 2**30) -> None:
        """Limit recordings to `max_seconds` of sound, `seconds` of time and `memory` bytes of address space for the child."""
        self._max_seconds, self._seconds, self._memory = max_seconds, seconds, memory
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def hear(self, data: bytes) -> Clip:
        """Decode one recording, a whole file in any format, to 16 kHz.

        Raises:
            AudioError: what `decode.read` refuses, and what takes too long, too much memory, or crashes the decoder.
            RuntimeError: if the decoder does not start on this machine.
        """
        clip, refusal = self._ask(data, _clip)
        if clip is None:
            raise AudioError(refusal)
        return clip

    def close(self) -> None:
        """End the child, whatever it is doing."""
        if self._child:
            child, self._child = self._child, None
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                assert pipe
                pipe.close()

    def _ask(self, question: bytes, understand: Callable[..., T | None]) -> T:
        """Give `understand` the child's answers (see Answer), one after the other, until it makes something of one; return that."""
        while True:
            fresh = self._child is None
            try:
                return self._exchange(question, understand)
            except _Death as death:
                if fresh:  # else it may have died of what came before, or idle
                    raise AudioError(str(death)) from None

    def _exchange(self, question: bytes, understand: Callable[..., T | None]) -> T:
        child = self._child or self._start()
        assert child.stdin and child.stdout
        until = time.monotonic() + self._seconds
        try:
            _send(child.stdin, struct.pack("<Q", len(question)), until)
            _send(child.stdin, question, until)
            while True:
                sizes = LENGTHS.unpack(_receive(child.stdout, LENGTHS.size, until))
                if sum(sizes) > 5 * SAMPLE_RATE * (self._max_seconds + 2):  # 2 bytes a sample, about as many of FLAC at worst
                    raise ValueError
                body = _receive(child.stdout, sum(sizes), until)
                said = json.loads(bytes(body[-sizes[2] :]))
                understood = understand(body[: sizes[0]], body[sizes[0] : sizes[0] + sizes[1]], said)
                if understood is not None:
                    return understood
                until = time.monotonic() + self._seconds
        except TimeoutError:
            self.close()
            raise AudioError(f"took longer than {self._seconds:g} s") from None
        except (EOFError, BrokenPipeError):
            child.kill()  # it may have closed its pipes only; a signal it died of before stays
            code = child.wait()
            self.close()
            raise _Death(self._obituary(code)) from None
        except (ValueError, TypeError, RecursionError):
            self.close()
            raise _Death("the decoder's answer makes no sense") from None
        except BaseException:
            self.close()  # or the next recording would get this one's answer
            raise

    def _obituary(self, code: int) -> str:
        if code == errno.ENOMEM:
            return f"needed more than {self._memory / 2**30:.2g} GB"
        return f"the decoder crashed ({f'signal {-code}' if code < 0 else f'exit code {code}'})"

    def _start(self) -> subprocess.Popen[bytes]:
        limits = map(repr, (self._max_seconds, self._seconds, self._memory))
        paths = [str(CODE), *filter(None, [os.environ.get("PYTHONPATH")])]
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # more gain nothing here, and take address space
        child = self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", self._module, *limits, *map(str, self._inherits)],  # -P: the current folder may hold a numpy.py
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, **threads, "PYTHONPATH": os.pathsep.join(paths)},
            pass_fds=self._inherits,
            process_group=0,  # Ctrl-C in the terminal is the parent's to handle
        )
        assert child.stdin and child.stdout
        try:
            for pipe in (child.stdin, child.stdout):
                os.set_blocking(pipe.fileno(), False)
                with contextlib.suppress(AttributeError, OSError):  # not on macOS; or this user has too many pipes
                    fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE)
            _receive(child.stdout, LENGTHS.size, time.monotonic() + START_SECONDS)
        except (EOFError, TimeoutError):
            self.close()
            raise RuntimeError("the decoder does not start; see its words above") from None
        except BaseException:
            self.close()
            raise
        return child


def _clip(samples: memoryview, flac: memoryview, said: dict[str, Any]) -> tuple[Clip | None, str]:
    if "refused" in said:
        return None, str(said["refused"])
    return Clip(np.frombuffer(samples, np.int16), bytes(flac), Figures(**said)), ""


def _send(pipe: Any, data: bytes, until: float) -> None:
    left = memoryview(data)
    while left:
        _wait(pipe, select.POLLOUT, until)
        with contextlib.suppress(BlockingIOError):  # poll speaks of a page, a pipe may have less
            left = left[os.write(pipe.fileno(), left) :]


def _receive(pipe: Any, size: int, until: float) -> memoryview:
    data = memoryview(bytearray(size))
    place = 0
    while place < size:
        _wait(pipe, select.POLLIN, until)
        n_read = os.readv(pipe.fileno(), [data[place:]])
        if n_read == 0:
            raise EOFError
        place += n_read
    return data


def _wait(pipe: Any, event: int, until: float) -> None:
    poll = select.poll()  # select() cannot hold file numbers above 1023
    poll.register(pipe, event)
    if not poll.poll(max(0.0, until - time.monotonic()) * 1000):  # what is there is taken, however late: the parent may have been asleep
        raise TimeoutError


def serve(replies: Callable[[bytes], Iterator[Answer]], seconds: float, memory: int) -> None:
    """Be the child: give each question's replies, of which each may take `seconds`, until there are no more questions."""
    answers, nothing = os.fdopen(os.dup(1), "wb"), os.open(os.devnull, os.O_WRONLY)
    for chatty in (1, 2):  # libraries write their warnings there
        os.dup2(nothing, chatty)
    _limit(memory)
    _serve(replies, seconds, sys.stdin.buffer, answers)


def _serve(replies: Callable[[bytes], Iterator[Answer]], seconds: float, questions: BinaryIO, answers: BinaryIO) -> None:
    answers.write(bytes(LENGTHS.size))  # ready
    answers.flush()
    while size := questions.read(8):
        try:
            pending = replies(questions.read(int.from_bytes(size, "little")))
            while True:
                signal.alarm(math.ceil(seconds) + GRACE)  # the default action is to end the process, whatever a library is doing
                reply = next(pending, None)
                signal.alarm(0)
                if reply is None:
                    break
                samples, flac, said = reply
                words = json.dumps(said).encode()
                answers.write(b"".join((LENGTHS.pack(len(samples), len(flac), len(words)), samples, flac, words)))
                answers.flush()
        except MemoryError:
            os._exit(errno.ENOMEM)


def _replies(data: bytes, max_seconds: float) -> Iterator[Answer]:
    try:
        decoded = read(data, max_seconds)
        samples = resample(decoded.samples, decoded.rate)
        integers = to_int16(samples)
        yield integers.tobytes(), encode_flac(integers), asdict(figures(decoded, samples))
    except AudioError as refusal:
        yield b"", b"", {"refused": str(refusal)}
    except MemoryError:
        raise
    except Exception as error:  # a library's, of a kind that nobody foresaw; its text may hold addresses
        yield b"", b"", {"refused": f"the decoder failed: {type(error).__name__}"}


def figures(decoded: Decoded, samples: np.ndarray) -> Figures:
    """Measure a recording.

    Args:
        decoded: as it came.
        samples: [n_samples] float32, the same at 16 kHz.
    """
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME) if len(samples) >= FRAME else samples[None]
    energies = np.sort(np.einsum("ij,ij->i", frames, frames)) / frames.shape[1] + LSB_NOISE  # mean squares, quietest first
    noise, loud = (float(energies[int(share * (len(energies) - 1))]) for share in (0.10, 0.95))
    return Figures(
        rate=decoded.rate,
        channels=decoded.n_channels,
        seconds=len(decoded.samples) / decoded.rate,
        peak=decoded.peak,
        clipped=_clipped(decoded.samples) if decoded.peak >= FULL_SCALE else 0.0,
        silence=float(np.searchsorted(energies, QUIET * energies[-1], side="right")) / len(energies),
        snr=10 * math.log10(min(max((loud - noise) / noise, 0.1), 1e10)),
        dc=decoded.dc,
    )


def _clipped(samples: np.ndarray) -> float:
    at = np.abs(samples) >= FULL_SCALE
    runs = at[:-2] & at[1:-1] & at[2:]  # where three in a row begin
    inside = np.zeros(len(at), dtype=bool)
    for shift in range(3):
        inside[shift : len(runs) + shift] |= runs
    return float(inside.mean())


def _limit(memory: int) -> None:
    for what, bound in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)):
        with contextlib.suppress(ValueError):  # macOS knows no limit of address space; elsewhere one that is lower already stays
            resource.setrlimit(what, (bound, bound))


if __name__ == "__main__":
    max_seconds, seconds, memory = map(float, sys.argv[1:])
    serve(partial(_replies, max_seconds=max_seconds), seconds, int(memory))
