"""Steps made ready in a thread while the model computes: read, augmented, tokenised, packed.

Worker processes would copy what a thread shares, and lose to it. `benchmarks/train.py --loader` measures it against the usual data set and
collator.
"""

import queue
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count
from typing import TYPE_CHECKING

import torch

from tasks.contracts.errors import TrainingError
from tasks.model.batch import Batch, collate
from tasks.model.lessons import IGNORED, Clips, Lesson, Lessons, needs_sound
from tasks.model.order import batch_numbers
from tasks.model.whisper import Whisper

if TYPE_CHECKING:  # pydantic is not needed to train
    from tasks.contracts.recipe import Training

AHEAD = 4  # steps that wait for the model
BUCKET = 16  # labels are padded to multiples of this on a GPU: a compiled model meets few shapes, and its matrices are wide enough


@dataclass(frozen=True)
class Step:
    """One optimiser step, as far as this process does it."""

    number: int  # from 0
    n_tokens: int  # labels that count, in all passes
    passes: list[Batch]
    clips: list[str]  # ids


class Feed:
    """What a training learns, step by step, from any step on.

    Args:
        whisper: whose tokens and window it is made for.
        clips: to learn from.
        settings: the recipe's section.
        device: where the batches will go.
        rank: number of this process, which takes every `world`-th example of a step.
        world: how many processes there are.
    """

    def __init__(
        self, whisper: Whisper, clips: Clips, settings: "Training", device: torch.device | str = "cpu", rank: int = 0, world: int = 1
    ) -> None:
        if settings.batch * settings.accumulate < world:
            n = settings.batch * settings.accumulate
            raise TrainingError(f"{world} processes share out the {n} clips of a step; raise training.batch or training.accumulate")
        self.whisper, self.settings, self.rank, self.world = whisper, settings, rank, world
        self.lessons = Lessons(whisper, clips, settings)
        self.cuda = torch.device(device).type == "cuda"
        self.stalled = 0.0  # seconds in which the model waited

    def steps(self, first: int) -> Generator[Step]:
        """Yield the steps from number `first` on, for ever. What goes wrong while one is made is raised here."""
        ready: queue.Queue[Step | BaseException] = queue.Queue(AHEAD)
        left = threading.Event()
        thread = threading.Thread(target=self._make, args=(first, ready, left), name="feed", daemon=True)
        thread.start()
        try:
            while True:
                began = time.monotonic()
                step = ready.get()
                self.stalled += time.monotonic() - began
                if isinstance(step, BaseException):
                    raise step
                yield step
        finally:
            left.set()
            while not ready.empty():  # the thread may be waiting to put one more
                ready.get_nowait()
            thread.join()

    def _make(self, number: int, ready: "queue.Queue[Step | BaseException]", left: threading.Event) -> None:
        try:
            with ThreadPoolExecutor(_helpers(self.settings)) as pool:
                while not left.is_set():
                    _put(self.step(number, pool), ready, left)
                    number += 1
        except BaseException as error:  # whatever it is, it belongs into the thread that trains
            _put(error, ready, left)

    def step(self, number: int, pool: ThreadPoolExecutor | None = None) -> Step:
        """Return one step."""
        settings, weights = self.settings, self.lessons.weights
        mine = list(enumerate(batch_numbers(number, len(self.lessons), settings, weights)))[self.rank :: self.world]
        make = map if pool is None or not needs_sound(settings) else pool.map
        lessons = list(make(lambda each: self.lessons.lesson(each[1], number, each[0]), mine))
        passes = [self._pack(lessons[start : start + settings.batch]) for start in range(0, len(lessons), settings.batch)]
        n_tokens = sum(target != IGNORED for lesson in lessons for target in lesson.targets)
        return Step(number, n_tokens, passes, [clip for lesson in lessons for clip in lesson.clips])

    def _pack(self, lessons: list[Lesson]) -> Batch:
        pad: int = self.whisper.tokenizer.pad_token_id
        shape = self.whisper.shape
        batch = collate(lessons, shape.n_frames, pad, BUCKET if self.cuda else 1, shape.max_tokens)
        return batch.pinned() if self.cuda else batch


def _put(item: Step | BaseException, ready: "queue.Queue[Step | BaseException]", left: threading.Event) -> None:
    """Put an item into the queue as soon as there is room, unless nobody wants it any more."""
    while not left.is_set():
        try:
            return ready.put(item, timeout=0.1)
        except queue.Full:
            continue


def _helpers(settings: "Training") -> int:
    """Return how many threads decode and transform sound; torch and the libraries let go of the GIL."""
    return max(1, min(8, (cpu_count() or 2) - 1)) if needs_sound(settings) else 1
