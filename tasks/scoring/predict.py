"""What a model hears in many clips, part by part: each part is sealed, so a scoring that was killed goes on with the next one."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Protocol

from tqdm import tqdm

from tasks.contracts.values import Artifact, fingerprint
from tasks.model.generate import Heard, hear_all, longest_first
from tasks.model.whisper import Whisper
from tasks.scoring.prediction import Prediction
from tasks.shards.format import Example
from tasks.store.artifacts import Draft, fetch_file, find
from tasks.store.lines import from_lines, to_lines
from tasks.store.objects import Store

log = logging.getLogger(__name__)
HEARD = "heard"  # kind of the parts
ROWS = "heard.jsonl"
PREDICTIONS = "predictions.jsonl"
PART = 256  # clips: at most so many are transcribed again after a kill


class Clips(Protocol):
    """The examples of a split, by number."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Example]: ...


class Hear(Protocol):
    """Transcribes many clips, and yields each one's number with what was heard: `hear_all`, or another engine."""

    def __call__(self, whisper: Whisper, examples: Sequence[Example], batch: int, /) -> Iterator[tuple[int, Heard]]: ...


def predict(store: Store, key: str, whisper: Whisper, clips: Clips, batch: int, told: str, hear: Hear = hear_all) -> list[Prediction]:
    """Return what the model hears in each clip, in the clips' order.

    Args:
        store: where parts that are done lie.
        key: of what is made; it decides the model, the clips and the decoding.
        whisper: the model.
        clips: with their features.
        batch: clips heard at once.
        told: what a person reads beside the bar.
        hear: what transcribes; the key must say which.
    """
    examples = list(clips)
    heard: dict[int, Heard] = {}
    with tqdm(total=len(examples), desc=told, unit="clip", disable=None, leave=False) as bar:
        for part, numbers in enumerate(longest_first(examples, PART)):
            its = _part(store, fingerprint([key, PART, part]), whisper, [examples[each] for each in numbers], batch, hear)
            heard |= zip(numbers, its, strict=True)
            bar.update(len(numbers))
    return [
        Prediction(each.id, each.text, heard[number].text, heard[number].capped, heard[number].logprob, heard[number].n_tokens)
        for number, each in enumerate(examples)
    ]


def read_predictions(store: Store, predictions: Artifact) -> list[Prediction]:
    """Return what a model heard, in the split's order."""
    return [Prediction(**row) for row in from_lines(fetch_file(store, predictions.file(PREDICTIONS)).read_bytes())]


def _part(store: Store, key: str, whisper: Whisper, examples: Sequence[Example], batch: int, hear: Hear) -> list[Heard]:
    """Return what is heard in these clips: as it was sealed, or transcribed now."""
    if (done := find(store, HEARD, key)) is not None:
        return [Heard(**row) for row in from_lines(fetch_file(store, done.file(ROWS)).read_bytes())]
    found = dict(hear(whisper, examples, batch))
    heard = [found[number] for number in range(len(examples))]
    draft = Draft(store, HEARD, key)
    draft.write(ROWS, to_lines(map(asdict, heard)))
    draft.seal({"n_clips": len(heard)})
    return heard
