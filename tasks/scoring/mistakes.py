"""What a model gets wrong: which words it takes for which, which it misses and makes up, and which letters.

Texts are aligned as the error rates count them (jiwer, fewest edits), so the numbers here add up to those of the word error rate.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import jiwer

from tasks.scoring.rates import aligned

N_LISTED = 20  # of each list
SIMILAR = 0.5  # edits a letter, at most, between two words that were taken for one another; beyond, their letters tell nothing. Ours
SPLIT = 0.25  # the same between words that were split or joined: "i dag" and "idag"; beyond, it is rather a word that was missed. Ours

Stretch = tuple[list[str], list[str]]  # words that were said, words that were heard


def mistakes(references: Sequence[str], hypotheses: Sequence[str]) -> dict[str, Any]:
    """Return the counts and the commonest mistakes of all clips as JSON values.

    `characters` compares words that were taken for one another and are spelt alike. "" stands for no letter, and " " is a word boundary
    that was lost or made up.

    Args:
        references: what was said, normalised.
        hypotheses: what was heard, normalised.
    """
    n_right = 0
    confused, missed, made_up, characters = (Counter[Any]() for _ in range(4))
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        said, heard = reference.split(), hypothesis.split()
        chunks = aligned(said, heard)
        n_right += sum(len(first) for first, second in chunks if first == second)
        for first, second in chunks:
            if first and second:
                confused.update(pair for pair in zip(first, second, strict=True) if pair[0] != pair[1])
            else:
                missed.update(first)
                made_up.update(second)
        for stretch in _stretches(chunks):
            characters.update(_letters(stretch))
    return {
        "n_right": n_right,
        "n_substituted": confused.total(),
        "n_deleted": missed.total(),
        "n_inserted": made_up.total(),
        "confused": [{"said": said, "heard": heard, "n": n} for (said, heard), n in _commonest(confused)],
        "missed": [{"word": word, "n": n} for word, n in _commonest(missed)],
        "made_up": [{"word": word, "n": n} for word, n in _commonest(made_up)],
        "characters": [{"said": said, "heard": heard, "n": n} for (said, heard), n in _commonest(characters)],
    }


def _stretches(chunks: Sequence[Stretch]) -> Iterator[list[Stretch]]:
    """Yield the runs between those that were right, so that "bil verkstad" stands against "bilverkstad"."""
    stretch: list[Stretch] = []
    for first, second in [*chunks, ([], [])]:
        if first != second:
            stretch.append((first, second))
        elif stretch:
            yield stretch
            stretch = []


def _letters(stretch: Sequence[Stretch]) -> Iterator[tuple[str, str]]:
    """Yield the letters that differ: of the whole stretch where words seem to have been split or joined, else word by word."""
    said, heard = (" ".join(word for each in stretch for word in each[side]) for side in (0, 1))
    if said.count(" ") != heard.count(" ") and (joined := list(_different(said, heard, SPLIT))):
        yield from joined
        return
    for first, second in stretch:
        if first and second:
            for pair in zip(first, second, strict=True):
                yield from _different(*pair, SIMILAR)


def _different(said: str, heard: str, limit: float) -> Iterator[tuple[str, str]]:
    """Yield the letters that differ, unless there are more than `limit` of them to a letter."""
    if not said:  # jiwer refuses it
        return
    result = jiwer.process_characters(said, heard)
    if result.substitutions + result.deletions + result.insertions > limit * max(len(said), len(heard)):
        return
    for each in result.alignments[0]:
        first, second = said[each.ref_start_idx : each.ref_end_idx], heard[each.hyp_start_idx : each.hyp_end_idx]
        if each.type == "substitute":
            yield from zip(first, second, strict=True)
        elif each.type != "equal":
            yield from ((letter, "") for letter in first)
            yield from (("", letter) for letter in second)


def _commonest(counted: Counter[Any]) -> list[tuple[Any, int]]:
    """Return the commonest, of equals by the alphabet, so that one run is like another."""
    return sorted(counted.items(), key=lambda each: (-each[1], each[0]))[:N_LISTED]
