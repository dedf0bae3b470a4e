"""Our counts against an edit distance written out in full, over thousands of texts: a WER is only as good as whoever counts."""

import random

import pytest

from tasks.scoring.rates import Errors, count_characters, count_words, rate

ALPHABETS = (
    ["a", "b"],
    ["ja", "nej", "hej", "hej hej", "å", "a\u030a", "é", "e\u0301"],  # composed and not: different, until somebody normalises
    ["हिन्दी", "में", "नहीं", "ß", "👍🏽", "don't", "e-post"],
)
SPACES = (" ", " ", " ", "  ", "\t", " \n ", "\u00a0")


def edit_distance(first: list[str], second: list[str]) -> int:
    """Return the fewest edits, by the whole table of Wagner and Fischer 1974."""
    row = list(range(len(second) + 1))
    for n_deleted, one in enumerate(first, 1):
        above, row = row, [n_deleted]
        for place, other in enumerate(second, 1):
            row.append(min(above[place] + 1, row[place - 1] + 1, above[place - 1] + (one != other)))
    return row[-1]


def texts(seed: int, n: int) -> list[tuple[str, str]]:
    """Return pairs: some unrelated, some one the other with words changed, some empty, with all sorts of spaces."""
    chance = random.Random(seed)
    pairs = []
    for _ in range(n):
        alphabet = chance.choice(ALPHABETS)
        said = [chance.choice(alphabet) for _ in range(chance.choice((0, 1, 2, 3, 5, 8, 13)))]
        heard = [chance.choice(alphabet) for _ in range(chance.choice((0, 1, 4, 9)))]
        if chance.random() < 0.6:
            again = [word for word in said for _ in range(chance.choice((0, 1, 1, 1, 2)))]
            heard = [word if chance.random() < 0.8 else chance.choice(alphabet) for word in again]
        pairs.append((_written(said, chance), _written(heard, chance)))
    return pairs


def _written(words: list[str], chance: random.Random) -> str:
    edge = chance.choice(("", "", "", " ", "\t"))
    return edge + "".join(word + chance.choice(SPACES) for word in words) + edge


def _agree(errors: Errors, said: list[str], heard: list[str]) -> bool:
    """Tell whether the counts are those of an alignment of the two, and of a shortest one."""
    n_right = len(said) - errors.n_substituted - errors.n_deleted
    return (
        errors.n_edits == edit_distance(said, heard)
        and errors.n_reference == len(said)
        and n_right >= 0
        and n_right + errors.n_substituted + errors.n_inserted == len(heard)
    )


def test_word_errors_are_those_of_a_second_implementation() -> None:
    pairs = texts(1, 3000)
    assert sum(not said.split() for said, _ in pairs) > 100 and sum(not heard.split() for _, heard in pairs) > 100
    wrong = [pair for pair in pairs if not _agree(count_words(*pair), *(text.split() for text in pair))]
    assert wrong == []


def test_character_errors_are_those_of_a_second_implementation() -> None:
    wrong = [pair for pair in texts(2, 1500) if not _agree(count_characters(*pair), *(list(text.strip()) for text in pair))]
    assert wrong == []


def test_the_rate_of_a_corpus_is_the_sum_of_edits_over_the_sum_of_words() -> None:  # pitfall 32
    pairs = texts(3, 500)
    n_edits = sum(edit_distance(said.split(), heard.split()) for said, heard in pairs)
    assert rate([count_words(*pair) for pair in pairs]) == pytest.approx(n_edits / sum(len(said.split()) for said, _ in pairs), rel=1e-12)
