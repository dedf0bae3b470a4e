"""Clips where a model said what nobody said, found by their looks: said over and over, far too long, or out of silence.

These are signs, not proofs; a person reads the clips. What was really said twice is no hallucination, so every sign that a text can show by
itself is held against the reference. Whisper's kinds: Radford et al. 2022, section 4.5; Koenecke et al. 2024, "Careless Whisper".
"""

import zlib
from collections.abc import Callable, Sequence
from typing import Any

from tasks.scoring.prediction import Prediction

LONGEST_UNIT = 6  # words; longer ones that come again are dense too
TIMES, TIMES_LONG = 4, 3  # in a row; "ja ja ja" is speech, three times the same three words is not. Ours
LONG_UNIT = 3  # words, from which on TIMES_LONG is enough
DENSE = 2.4  # compression ratio; Radford et al. 2022, section 4.5, decode again above it
DENSE_BYTES = 48  # below, zlib's own 8 to 11 bytes of frame decide the ratio
LONGER, MORE_WORDS = 2, 5  # times the words, and words more, than were said: the sentence, and another one. Ours
N_SHOWN = 20  # clips


def hallucinations(predictions: Sequence[Prediction], normaliser: Callable[[str], str]) -> dict[str, Any]:
    """Return how many clips show which sign, and those that show most, as JSON values. `n_clips` show any.

    Args:
        predictions: of one model.
        normaliser: decides what is a word.
    """
    signs = [(each, _signs(each, normaliser)) for each in predictions]
    found = sorted(((each, why) for each, why in signs if why), key=lambda pair: (-len(pair[1]), pair[0].id))
    counts = {sign: sum(sign in why for _, why in found) for sign in ("repeats", "dense", "on silence", "too long", "capped")}
    return {
        "n_clips": len(found),
        **{f"n_{sign.replace(' ', '_')}": n for sign, n in counts.items()},
        "clips": [{"id": each.id, "text": each.text, "why": why} for each, why in found[:N_SHOWN]],
    }


def repeats(said: Sequence[str], heard: Sequence[str]) -> bool:
    """Tell whether words come again and again in a row that were not said so: one or two words 4 times, three to six 3 times.

    Where they were said more than once in a row, they have to be heard twice as often.
    """
    for size in range(1, LONGEST_UNIT + 1):
        limit = TIMES if size < LONG_UNIT else TIMES_LONG
        really = _in_a_row(said, size)
        if any(n >= limit and n >= 2 * really.get(words, 0) for words, n in _in_a_row(heard, size).items()):
            return True
    return False


def is_dense(text: str) -> bool:
    """Tell whether zlib makes the text so much smaller that it must repeat itself; this also finds what has no spaces."""
    data = text.strip().encode()
    return len(data) >= DENSE_BYTES and len(data) / len(zlib.compress(data)) > DENSE


def _signs(prediction: Prediction, normaliser: Callable[[str], str]) -> list[str]:
    said, heard = normaliser(prediction.reference).split(), normaliser(prediction.text).split()
    shown = {
        "repeats": repeats(said, heard),
        "dense": is_dense(prediction.text) and not is_dense(prediction.reference),
        "on silence": bool(heard) and not said,
        "too long": bool(said) and len(heard) >= max(LONGER * len(said), len(said) + MORE_WORDS),
        "capped": prediction.capped,
    }
    return [sign for sign, shows in shown.items() if shows]


def _in_a_row(words: Sequence[str], size: int) -> dict[tuple[str, ...], int]:
    """Return how often each run of `size` words comes in a row, at most; "b a b a" counts for "a b" as well, as it depends on the start."""
    found: dict[tuple[str, ...], int] = {}
    n_same = 0  # words, up to here, that are equal to those `size` before
    for place in range(size, len(words)):
        n_same = n_same + 1 if words[place] == words[place - size] else 0
        if n_same and n_same % size == 0:
            unit = tuple(words[place - size + 1 : place + 1])
            turned = min(unit[shift:] + unit[:shift] for shift in range(size))
            found[turned] = max(found.get(turned, 0), n_same // size + 1)
    return found
