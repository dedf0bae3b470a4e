"""Which clip goes into which split, decided by the clip and the seed so that none moves when a corpus grows; and how many into a part."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Literal

SPLITS = ("train", "dev", "test")


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


def sample(ids: Sequence[str], most: int, seed: int, speakers: Sequence[str] | None = None) -> set[str]:
    """Return at most `most` of these ids (all, if 0), drawn by the seed wherever they stand; more of them hold the fewer.

    With `speakers`, one to an id, each speaker gives the same share: the k-th drawn of a speaker's m clips stands at (k + u) / m of the
    way, u drawn once a speaker, and the clips that stand first are taken (systematic sampling).
    """
    if not most or len(ids) <= most:
        return set(ids)
    drawn = sorted((draw(seed, "sample", id), id, speakers[number] if speakers else "") for number, id in enumerate(ids))
    if not speakers:
        return {id for _, id, _ in drawn[:most]}
    n_clips, n_before = Counter(speakers), Counter[str]()
    start = {speaker: draw(seed, "speaker", speaker) for speaker in n_clips}
    places = []
    for dice, id, speaker in drawn:
        places.append(((n_before[speaker] + start[speaker]) / n_clips[speaker], dice, id))
        n_before[speaker] += 1
    return {id for _, _, id in sorted(places)[:most]}


def part_size(n_clips: int) -> int:
    """Return how many of a corpus' clips are prepared together and become one shard.

    1,024 clips of 4 to 30 s are shards of 64 to 490 MB at 80 bins, what object stores and readers like (benchmarks/shards.py). Small
    corpora have smaller ones, so that several cores have work; very large ones larger ones, so that a run stays within 256 parts.
    """
    return max(64, min(n_clips // 8, 1_024), n_clips // 256)
