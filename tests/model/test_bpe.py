"""With dropout words are cut in other ways, but remain the words; without it the ids are the tokenizer's own; dice follow from the seed."""

from collections import Counter
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from transformers import WhisperTokenizer

from tasks.model.bpe import Pieces
from tasks.model.tokens import END
from tests.support.tiny import TEXTS, new_folder

NEVER = 1e-300  # a dropout at which every merge is made, but by our own hands
EVERYTHING = [
    "", " ", "  ", "a", " röd katt ", "Blåbär och Ödlor, år 1984!", "röd katt blå hund grön häst", "don't we'll I'm", "tab\tand\nline\n\n",
    "हिन्दी में यह एक वाक्य है", "中文的句子没有空格，所以一个词就是整个句子。", "日本語のテスト ひらがな", "ประเทศไทย",
    "שלום עולם", "مرحبا بالعالم", "🙂👩‍👩‍👧 naïve — 100 %", "e\u0301 å \u0000 \u00a0\u3000x", "0123456789 3,14 1 000 000",
    "a" * 32, "ĠĊ", "<|", "\U0010ffff",
]  # fmt: skip
SPECIAL = [END, f"slut {END}", "<|sv|>", "a<|startoftranscript|>b", "<|0.00|> hej <|1.00|>", "<|notimestamps|>"]


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> WhisperTokenizer:
    return WhisperTokenizer.from_pretrained(new_folder(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def many_texts() -> list[str]:
    """Texts of letters that the merges know and others, with runs of spaces."""
    random = generator(7)
    letters = list("röd katt blå hund grön häst vit mås        eeennn'.,0123中文हिन्दी🙂")
    return ["".join(random.choice(letters, int(random.integers(0, 60)))) for _ in range(100)]


@pytest.fixture
def whispers(real_data: Path) -> WhisperTokenizer:
    return WhisperTokenizer.from_pretrained(real_data / "whisper-tiny-no-weights")


def check_equals_the_tokenizer(tokenizer: WhisperTokenizer, texts: list[str]) -> None:
    pieces = Pieces(tokenizer)
    for text in texts:
        expected = tokenizer.encode(text, add_special_tokens=False)
        assert pieces.encode(text, 0, generator()) == expected
        assert pieces.encode(text, NEVER, generator()) == expected, f"our own merging of {text!r}"


def check_survives_dropout(tokenizer: WhisperTokenizer, texts: list[str]) -> None:
    pieces, random = Pieces(tokenizer), generator()
    for text, dropout in product(texts, (0.1, 0.5, 0.9)):
        ids = pieces.encode(text, dropout, random)
        assert tokenizer.decode(ids) == text and all(id < tokenizer.eos_token_id for id in ids)
    for text in texts:
        assert len(pieces.encode(text, 1, random)) == len(text.encode()), "every byte by itself"


def test_without_dropout_the_ids_are_the_tokenizers_own(tiny: WhisperTokenizer, many_texts: list[str]) -> None:
    check_equals_the_tokenizer(tiny, EVERYTHING + many_texts)


def test_without_dropout_the_ids_are_whispers_own(whispers: WhisperTokenizer, many_texts: list[str]) -> None:
    check_equals_the_tokenizer(whispers, EVERYTHING + many_texts)


def test_with_any_dropout_the_text_comes_back(tiny: WhisperTokenizer, many_texts: list[str]) -> None:
    check_survives_dropout(tiny, EVERYTHING + many_texts)


def test_with_any_dropout_the_text_comes_back_from_whispers_pieces(whispers: WhisperTokenizer, many_texts: list[str]) -> None:
    check_survives_dropout(whispers, EVERYTHING + many_texts)


def test_with_dropout_a_text_that_looks_like_a_special_token_is_text(tiny: WhisperTokenizer) -> None:
    pieces, end = Pieces(tiny), tiny.eos_token_id
    assert pieces.encode(END, 0, generator()) == [end], "the tokenizer's own way"
    for text, dropout in product(SPECIAL, (NEVER, 0.1, 0.5, 1)):
        ids = pieces.encode(text, dropout, generator())
        assert all(id < end for id in ids)
        assert tiny.backend_tokenizer.decode(ids) == text  # transformers' own takes what looks like a timestamp out of any text


def ids_by_the_book(pieces: Pieces, word: str, dropout: float, random: np.random.Generator) -> list[int]:
    """Return the pieces of one word by the paper's algorithm as it is written: dice for every possible merge before each one made."""
    ids, merges = pieces.encode(word, 1, random), pieces._tables[1]
    while True:
        possible = [(*merges[pair], place) for place, pair in enumerate(pairwise(ids)) if pair in merges]
        kept = [each for each in possible if random.random() >= dropout]
        if not kept:
            return ids
        _, merged, place = min(kept)
        ids[place : place + 2] = [merged]


@pytest.mark.parametrize("dropout", [0.1, 0.5])
def test_words_are_cut_as_often_in_each_way_as_by_the_papers_algorithm(tiny: WhisperTokenizer, dropout: float) -> None:
    pieces, random, n = Pieces(tiny), generator(), 2_000
    ours = Counter(tuple(pieces.encode(" katt", dropout, random)) for _ in range(n))
    reference = Counter(tuple(ids_by_the_book(pieces, " katt", dropout, random)) for _ in range(n))
    assert len(ours) > 3 and max(abs(ours[way] - reference[way]) for way in ours | reference) < 0.05 * n


def test_a_merge_is_passed_over_as_often_as_asked(tiny: WhisperTokenizer) -> None:
    pieces, random = Pieces(tiny), generator()
    assert len(pieces.encode("ka", NEVER, random)) == 1
    assert abs(np.mean([len(pieces.encode("ka", 0.2, random)) - 1 for _ in range(2_000)]) - 0.2) < 0.04


def test_more_dropout_makes_more_pieces(tiny: WhisperTokenizer) -> None:
    pieces, random, text = Pieces(tiny), generator(), " ".join(TEXTS)
    n_pieces = [np.mean([len(pieces.encode(text, dropout, random)) for _ in range(50)]) for dropout in (0, 0.1, 0.3, 0.6, 1)]
    assert n_pieces == sorted(set(n_pieces))


def test_equal_generators_give_equal_ids_whatever_was_encoded_before(tiny: WhisperTokenizer) -> None:
    used, fresh, text = Pieces(tiny), Pieces(tiny), " ".join(TEXTS)
    used.encode(text, 0.5, generator(1))
    assert used.encode(text, 0.5, generator(2)) == fresh.encode(text, 0.5, generator(2)) != used.encode(text, 0.5, generator(3))


def test_without_dropout_nothing_is_drawn(tiny: WhisperTokenizer) -> None:
    random = generator()
    Pieces(tiny).encode("röd katt", 0, random)
    assert random.random() == generator().random()
