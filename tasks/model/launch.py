"""A training on all GPUs of this machine: a process for each, started by torchrun; this one only watches, and passes on what they say.

`tasks.model.__main__` is what runs in each. The result is the same as that of one process, within rounding: a step is as large.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.contracts.errors import TrainingError
from tasks.contracts.values import Artifact, File
from tasks.model.loop import Moment
from tasks.model.signals import Stopped, deferred
from tasks.store.artifacts import Draft

if TYPE_CHECKING:
    from tasks.contracts.recipe import Training

SETTINGS, MOMENTS, OUTCOME, WATCHER = "settings.json", "moments.jsonl", "outcome.json", "watcher.pid"
PAUSE = 0.2  # seconds between two looks at what the processes say
ORPHANED = 2.0  # seconds between two looks whether the one that watches is alive


def fit_on_all(
    draft: Draft, start: Artifact, dataset: Artifact, language: str, training: "Training", watch: Callable[[Moment], None], n_processes: int
) -> dict[str, Any]:
    """Do what `fit` does, in so many processes of this machine.

    Raises:
        TrainingError: what the processes refused.
        Stopped: if this process was asked to stop; they were asked, and kept what was learnt.
        RuntimeError: if they ended in any other way.
    """
    with tempfile.TemporaryDirectory() as folder, deferred() as stop:
        place = Path(folder)
        (place / SETTINGS).write_text(json.dumps(training.model_dump(mode="json") | {"language": language}))
        (place / WATCHER).write_text(str(os.getpid()))
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n_processes), "-m", "tasks.model"]
        process = subprocess.Popen([*command, draft.store.url, start.key, dataset.key, str(place / SETTINGS), draft.key, folder],
                                   process_group=0)  # fmt: skip  # Ctrl-C comes to them through this process alone
        told, moments = False, _moments(place / MOMENTS)
        try:
            while process.poll() is None:
                for moment in iter(moments.__next__, None):
                    watch(moment)
                if stop.signal and not told:
                    process.terminate()
                    told = True
                time.sleep(PAUSE)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        for moment in iter(moments.__next__, None):
            watch(moment)
        outcome = json.loads((place / OUTCOME).read_text()) if (place / OUTCOME).exists() else {}
    if "stopped" in outcome:
        raise Stopped(outcome["stopped"])
    if "refused" in outcome:
        raise TrainingError(outcome["refused"])
    if "facts" not in outcome and stop.signal:  # no accident, which would be tried again
        name = signal.Signals(stop.signal).name
        raise Stopped(f"asked to stop ({name}); its processes ended before they could say what they kept; run again to go on")
    if "facts" not in outcome:
        raise RuntimeError(
            f"the {n_processes} processes of the training ended with code {process.returncode}; their lines are in the log above"
        )
    for row in outcome["files"]:
        draft.adopt(File(**row))
    facts: dict[str, Any] = outcome["facts"]
    return facts


class Telling:
    """What process 0 tells the one that watches: moments as they come, and in the end what came of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        threading.Thread(target=_end_with, args=(int((folder / WATCHER).read_text()),), name="watcher", daemon=True).start()

    def __call__(self, moment: Moment) -> None:
        """Tell a moment."""
        with (self.folder / MOMENTS).open("a") as file:
            file.write(json.dumps(asdict(moment)) + "\n")

    def end(self, **outcome: Any) -> None:
        """Tell what came of it, unless another process was first."""
        try:
            with (self.folder / OUTCOME).open("x") as file:
                file.write(json.dumps(outcome))
        except FileExistsError:
            return


def _end_with(watcher: int) -> None:
    """Ask this process to stop when the one that watches is gone: the next attempt wants the GPUs, and the store."""
    while True:
        time.sleep(ORPHANED)
        try:
            os.kill(watcher, 0)
        except OSError:
            return os.kill(os.getpid(), signal.SIGTERM)


def _moments(path: Path) -> Iterator[Moment | None]:
    """Yield what is told, and None where there is nothing new yet."""
    while not path.exists():
        yield None
    with path.open() as file:
        line = ""
        while True:
            line += file.readline()
            if not line.endswith("\n"):
                yield None
                continue
            told = json.loads(line)
            yield Moment(**told | {"clips": tuple(told["clips"]), "memory": tuple(told["memory"] or ()) or None})
            line = ""
