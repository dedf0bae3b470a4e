"""A signal that asks to stop waits until a step is whole: then there is something to keep."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """A training that was asked to stop, and has kept what it learnt. No Exception: what goes on after errors may not go on after it."""


class Interrupted(BaseException):
    """What was asked to stop had nothing half done."""


class Stop:
    """What a training was asked."""

    def __init__(self) -> None:
        self.signal = 0  # the one that came; 0: none
        self.is_urgent = False  # whether it is to be heard at once

    def note(self, number: int, frame: FrameType | None) -> None:
        """Remember the signal; a second Ctrl-C stops at once."""
        if self.signal == signal.SIGINT == number:
            raise KeyboardInterrupt
        self.signal = number
        if self.is_urgent:
            raise Interrupted

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Raise `Interrupted` in this block as soon as a signal comes, or if one has come: it takes long, and changes nothing."""
        self.is_urgent = True
        try:
            if self.signal:
                raise Interrupted
            yield
        finally:
            self.is_urgent = False


@contextmanager
def deferred() -> Iterator[Stop]:
    """Note SIGTERM (a preempted machine, a cancelled run) and SIGINT (Ctrl-C) instead of dying of them; afterwards all is as before.

    Only the main thread can; elsewhere nothing is noted. Prefect's own handler is set aside meanwhile: it would raise amid a step.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
