"""A training for TensorBoard: one file of events on the store, `tensorboard/<run>/`, written anew from all looks at each look.

So one that goes on after a kill has one curve, and a reader finds the old file or the new one. Times are seconds of training and not of the
day: then the file only grows, and a TensorBoard that has it open goes on reading where it was.
"""

import io
import json
import logging
from collections.abc import Iterator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tasks.model.aside import Aside
from tasks.model.checkpoint import KIND, PROGRESS
from tasks.model.loop import Moment
from tasks.model.optimise import learning_rate
from tasks.store.artifacts import fetch_file, peek
from tasks.store.objects import Store

if TYPE_CHECKING:  # pydantic is not needed to train
    from tasks.contracts.recipe import Training

log = logging.getLogger(__name__)
FOLDER, FILE = "tensorboard", "events.out.tfevents.0.viska"  # TensorBoard takes what is called so
SCALARS = {"loss": "loss", "dev_loss": "dev/loss", "dev_wer": "dev/wer", "dev_right": "dev/right"}
MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_{}[]<>|~#&!$"} | {"\n": " ", "\r": " "})  # what Markdown would take for its own


class Events:
    """Keeps the looks of a training, those of earlier attempts too, and writes them; a watcher for `fit`.

    Args:
        store: where the checkpoints are.
        run: the training's key.
        settings: with a learning rate.
    """

    def __init__(self, store: Store, run: str, settings: "Training") -> None:
        self.store, self.run, self.settings = store, run, settings
        self.looks: list[dict[str, Any]] | None = None  # unknown before the first moment
        self.aside: Aside[list[dict[str, Any]]] = Aside("TensorBoard", partial(write_events, store, run, settings))

    def __enter__(self) -> "Events":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.aside.close()

    def __call__(self, moment: Moment) -> None:
        """Note a look."""
        if self.looks is None:
            self.looks = earlier_looks(self.store, self.run, moment.step - moment.n_steps)
        if moment.look:
            self.looks = [*self.looks, moment.look]
            self.aside.leave(self.looks)


def earlier_looks(store: Store, run: str, step: int) -> list[dict[str, Any]]:
    """Return the looks of a training up to the checkpoint that it goes on from; none if that cannot be read."""
    try:
        sealed = peek(store, KIND, f"{run}/{step:08d}") if step else None
        looks: list[dict[str, Any]] = json.loads(fetch_file(store, sealed[0].file(PROGRESS)).read_bytes())["history"] if sealed else []
        return looks
    except Exception as error:  # they are only shown
        log.warning("training %s: its looks up to step %d cannot be shown: %s", run, step, error)
        return []


def write_events(store: Store, run: str, settings: "Training", looks: list[dict[str, Any]]) -> None:
    """Write all looks into the one file.

    Args:
        store: where to.
        run: the training's key.
        settings: of the training, with a learning rate.
        looks: as the history of a training has them.

    Raises:
        ImportError: if TensorBoard is not installed.
    """
    try:  # here: an image for GPUs may lack it. Not torch's SummaryWriter: it imports TensorFlow if it can, and stamps the time of day
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError as error:
        raise ImportError("not installed here: pip install tensorboard") from error
    file = io.BytesIO()
    records = RecordWriter(file)
    records.write(Event(file_version="brain.Event:2").SerializeToString())
    for look in looks:
        summary = Summary(value=_values(look, settings))
        records.write(Event(wall_time=look["seconds"], step=look["step"], summary=summary).SerializeToString())
    store.replace(f"{FOLDER}/{run}/{FILE}", file.getvalue())


def _values(look: dict[str, Any], settings: "Training") -> Iterator[dict[str, Any]]:
    """Yield the fields of each value of a look, as TensorBoard's protocol buffers name them."""
    for name, title in SCALARS.items():
        if name in look:
            yield {"tag": title, "simple_value": look[name]}
    if look["step"]:
        yield {"tag": "learning_rate", "simple_value": learning_rate(look["step"] - 1, settings)}
    rows = [f"| {escaped(each['id'])} | {escaped(each['reference'])} | {escaped(each['hypothesis'])} |" for each in look["samples"]]
    words = "\n".join(["| clip | reference | heard |", "|---|---|---|", *rows])
    shape = {"dim": [{"size": 1}]}
    tensor = {"dtype": "DT_STRING", "tensor_shape": shape, "string_val": [words.encode()]}
    yield {"tag": "samples", "metadata": {"plugin_data": {"plugin_name": "text"}}, "tensor": tensor}


def escaped(text: str) -> str:
    """Return words as Markdown that shows them as they are."""
    return text.translate(MARKS)
