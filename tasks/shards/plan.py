"""Which clip goes into which split and part: decided by the clip and the seed alone, so that a growing corpus keeps its old parts."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, TypeVar

Row = TypeVar("Row")
SPLITS = ("train", "dev", "test")
SMALLEST = 256  # clips; a part of 5-second clips then has 20 MB of features and takes a second or two to make
MOST_PARTS = 256  # of one split: a run stays within a few hundred tasks


def draw(seed: int, *words: object) -> float:
    """Return a number in [0, 1) that depends on the seed and the words alone, on every machine and for ever."""
    digest = hashlib.sha256(repr((seed, *map(str, words))).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def choose_split(id: str, speaker: str, given: str, dev: float, test: float, by: Literal["speaker", "clip"], seed: int) -> str:
    """Return the split of a clip: the given one, or a share of all, by the hash of its speaker or of its id."""
    if given:
        return given
    place = draw(seed, "split", speaker if by == "speaker" and speaker else id)
    return "test" if place < test else "dev" if place < test + dev else "train"


def sample(ids: Sequence[str], most: int, seed: int) -> set[str]:
    """Return at most `most` of these ids (all, if 0): those the seed draws first, wherever they stand."""
    if not most or len(ids) <= most:
        return set(ids)
    return set(sorted(ids, key=lambda id: draw(seed, "sample", id))[:most])


def cut(rows: Iterable[Row], ids: Sequence[str], smallest: int = SMALLEST) -> Iterator[list[Row]]:
    """Cut rows into parts, in order, at places that the ids decide.

    A row ends a part when its hash says so, once the part has `smallest` rows, and at the latest at four times that. So new clips at the
    end, or a clip removed in the middle, change the parts around them and no other.
    """
    size = smallest
    while len(ids) > MOST_PARTS * 2 * size:
        size *= 2
    part: list[Row] = []
    for row, id in zip(rows, ids, strict=True):
        part.append(row)
        if len(part) >= size and (draw(0, "cut", id) * size < 1 or len(part) >= 4 * size):
            yield part
            part = []
    if part:
        yield part
