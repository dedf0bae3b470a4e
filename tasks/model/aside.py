"""Work beside a training: in a thread of its own, the newest of it only, and never in the training's way.

What is written to a slow server or store is worth less than a step. So the training leaves what is to be shown in a slot and goes on; what
it leaves there before the last is done with replaces what lies there.
"""

import contextvars
import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

log = logging.getLogger(__name__)
LAST = 3.0  # seconds that the end of a training waits for what was left last; a machine that is taken away has few
T = TypeVar("T")


class Aside(Generic[T]):
    """Does work with what it is left.

    Args:
        what: the work is for, in the one line that is logged if it fails.
        work: is called with one thing at a time.
    """

    def __init__(self, what: str, work: Callable[[T], None]) -> None:
        self.what, self.work = what, work
        self.wake = threading.Condition()
        self.left: T | None = None
        self.thread: threading.Thread | None = None
        self.is_closed = self.has_failed = False

    def leave(self, thing: T) -> None:
        """Leave something to be done, instead of what was left before and not begun; return at once."""
        if self.thread is None:  # in the context of the caller, so that log lines and settings are those of its run
            self.thread = threading.Thread(target=contextvars.copy_context().run, args=(self._run,), name="aside", daemon=True)
            self.thread.start()
        with self.wake:
            self.left = thing
            self.wake.notify()

    def close(self) -> None:
        """Wait until what was left last is done, but not for long."""
        with self.wake:
            self.is_closed = True
            self.wake.notify()
        if self.thread:
            self.thread.join(LAST)

    def _run(self) -> None:
        while (thing := self._next()) is not None:
            try:
                self.work(thing)
            except Exception as error:  # whatever it is, the training is worth more
                if not self.has_failed:
                    log.warning(
                        "%s: %s: %s; the training goes on without it", self.what, type(error).__name__, " ".join(str(error).split())
                    )
                self.has_failed = True

    def _next(self) -> T | None:
        """Wait for something to do; None: there will be nothing more."""
        with self.wake:
            self.wake.wait_for(lambda: self.left is not None or self.is_closed)
            thing, self.left = self.left, None
            return thing
