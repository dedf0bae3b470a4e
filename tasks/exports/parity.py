"""Whether an export hears what the model hears, in the same clips: else it is no export of this model."""

from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path
from typing import Protocol

import numpy as np

from tasks.contracts.errors import ModelError
from tasks.exports.clips import Clip
from tasks.exports.formats import format_of, open_listener
from tasks.model.ctranslate import agree
from tasks.model.generate import hear_all
from tasks.model.whisper import Whisper
from tasks.shards.format import Example

COMPARED = 50  # clips, spread over the split
BATCH = 8  # clips heard at once


class Sounds(Protocol):
    """The clips of a split with their sound, by number."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> Example: ...
    def samples(self, number: int, /) -> np.ndarray: ...


def some_of(split: Sounds, most: int = COMPARED) -> list[Clip]:
    """Return so many clips at most, spread evenly over the split."""
    numbers = range(0, len(split), ceil(len(split) / most))
    examples = [(split[number], split.samples(number)) for number in numbers]
    return [Clip(each.id, each.text, each.n_samples, each.features, each.fill, samples) for each, samples in examples]


def compare(format: str, target: Path, whisper: Whisper, clips: Sequence[Clip], wer: Callable[[list[str], list[str]], float]) -> float:
    """Return the WER between what the model and its export hear, the model's words as the reference.

    Args:
        format: one of FORMATS.
        target: where `tasks.exports.formats.write` wrote the export.
        whisper: the model.
        clips: in which both are heard.
        wer: word error rate of (references, hypotheses).

    Raises:
        ModelError: if it is higher than the format's tolerance; it names the first clips that were heard differently. Or if the model
            hears nothing, which anything else would hear as well.
    """
    ours = dict(hear_all(whisper, clips, BATCH))
    if not any(each.text for each in ours.values()):
        raise ModelError(f"the model hears no word in {len(clips)} clips, so that nothing tells its {format} export from another; train it")
    theirs = dict(open_listener(format, target, whisper)(clips, BATCH))
    order, ids = range(len(clips)), [each.id for each in clips]
    return agree(
        [ours[each] for each in order], [theirs[each] for each in order], ids, wer, format_of(format).tolerance,
        name=f"the export {format}", advice="leave this format out",
    )  # fmt: skip
