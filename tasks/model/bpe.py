"""BPE dropout: the same words in other, smaller pieces, so that a model does not depend on the one way in which a tokenizer cuts them.

After Provilkov et al. 2020, "BPE-Dropout", algorithm 1. The `tokenizers` library has it too, with dice that nobody can seed.
"""

import json
from functools import cached_property
from heapq import heapify, heappop, heappush
from itertools import pairwise

import numpy as np
from transformers import WhisperTokenizer

GONE = -1  # in place of a piece that has become part of the one before it

Merges = dict[tuple[int, int], tuple[int, int]]  # of each pair of ids that can be merged: its rank, and what it becomes


class Pieces:
    """A tokenizer that passes over some of its merges."""

    def __init__(self, tokenizer: WhisperTokenizer) -> None:
        self._tokenizer = tokenizer

    def encode(self, text: str, dropout: float, random: np.random.Generator) -> list[int]:
        """Return the ids of a text, without prefix and end; the tokenizer's `decode` gives the text back.

        Without dropout they are the tokenizer's own, and it takes "<|endoftext|>" in a text for the special token. With dropout that is
        text like any other: the id of a special or an added token is never made.

        Args:
            text: any.
            dropout: probability that a merge is passed over, each time that it would be the next; with 1 single bytes are left.
            random: where that is drawn, a number each time.
        """
        if not dropout:
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
            return ids
        of_byte, merges = self._tables
        words = self._tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)
        return [id for word, _ in words for id in _merge([of_byte[byte] for byte in word], merges, dropout, random)]

    @cached_property
    def _tables(self) -> tuple[dict[str, int], Merges]:
        """Return the id of each piece, and the merges; read once, and only if there is dropout."""
        model = json.loads(self._tokenizer.backend_tokenizer.to_str())["model"]  # the only place where `tokenizers` shows the merges
        ids: dict[str, int] = model["vocab"]
        return ids, {(ids[one], ids[other]): (rank, ids[one + other]) for rank, (one, other) in enumerate(model["merges"])}


def _merge(ids: list[int], merges: Merges, dropout: float, random: np.random.Generator) -> list[int]:
    """Return one word's pieces, from its bytes: the next merge is the first by rank, then from the left, that is not passed over.

    Once one is made, those passed over have another chance. A heap, because a Chinese sentence is one word of 200 bytes.
    """
    pieces, end = list(ids), len(ids)  # a piece stays where it begins
    before, after = list(range(-1, end - 1)), list(range(1, end + 1))
    waiting = [(*merges[pair], place) for place, pair in enumerate(pairwise(pieces)) if pair in merges]
    heapify(waiting)
    passed_over: list[tuple[int, int, int]] = []
    while waiting:
        rank, piece, place = candidate = heappop(waiting)
        other = after[place]
        if other == end or merges.get((pieces[place], pieces[other])) != (rank, piece):
            continue  # one of the two has become part of another piece
        if random.random() < dropout:
            passed_over.append(candidate)
            continue
        pieces[place], pieces[other] = piece, GONE
        after[place] = after[other]
        if after[place] < end:
            before[after[place]] = place
        for left, right in ((before[place], place), (place, after[place])):
            if left >= 0 and right < end and (pair := (pieces[left], pieces[right])) in merges:
                passed_over.append((*merges[pair], left))
        for each in passed_over:
            heappush(waiting, each)
        passed_over.clear()
    return [piece for piece in pieces if piece != GONE]
