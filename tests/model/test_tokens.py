"""Labels are what Whisper was trained with: special tokens found by name, every text writable, an end behind it."""

from pathlib import Path

import pytest
from transformers import WhisperTokenizer

from tasks.contracts.errors import ModelError
from tasks.contracts.languages import LANGUAGES
from tasks.model.tokens import END, N_TIMESTAMPS, START, for_generate, label_ids, prefix_ids, train_tokenizer

TEXTS = ["Är det någon här", "bokstäver är bra", "det är en lång väg hem"] * 5
EVERYTHING = ["Blåbär och Ödlor", "日本語のテスト", "हिन्दी", "naïve — 100 % 🙂", "  two  spaces ", "tab\tand\nline", "", "don't"]


@pytest.fixture(scope="module")
def scratch() -> WhisperTokenizer:
    return train_tokenizer(TEXTS, 300, "sv")


@pytest.fixture
def whispers(real_data: Path) -> WhisperTokenizer:
    return WhisperTokenizer.from_pretrained(real_data / "whisper-tiny-no-weights")


def test_the_prefix_is_the_one_whisper_was_trained_with(whispers: WhisperTokenizer) -> None:
    assert prefix_ids(whispers, "sv", True) == [50258, 50273, 50359, 50363]
    assert prefix_ids(whispers, "en", True) == [50258, 50259, 50359, 50363]


@pytest.mark.parametrize("text", EVERYTHING)
def test_labels_equal_those_of_whispers_own_tokenizer(whispers: WhisperTokenizer, text: str) -> None:
    whispers.set_prefix_tokens(language="sv", task="transcribe", predict_timestamps=False)
    assert label_ids(whispers, prefix_ids(whispers, "sv", True), text) == whispers(text).input_ids


def test_a_label_ends_with_the_end_token(scratch: WhisperTokenizer) -> None:
    prefix = prefix_ids(scratch, "sv", True)
    ids = label_ids(scratch, prefix, "det är")
    assert ids[:4] == prefix and ids[-1] == scratch.convert_tokens_to_ids(END) and ids.count(ids[-1]) == 1
    assert label_ids(scratch, prefix, "") == [*prefix, ids[-1]]


def test_special_tokens_are_found_by_name_whatever_their_number(scratch: WhisperTokenizer) -> None:  # pitfall 20
    names = [START, "<|sv|>", "<|transcribe|>", "<|notimestamps|>"]
    assert scratch.convert_ids_to_tokens(prefix_ids(scratch, "sv", True)) == names
    assert prefix_ids(scratch, "sv", True)[0] != 50258


def test_a_new_tokenizer_has_whispers_special_tokens_in_whispers_order(scratch: WhisperTokenizer, whispers: WhisperTokenizer) -> None:
    own, reference = (tokenizer.convert_tokens_to_ids(END) for tokenizer in (scratch, whispers))
    assert own <= 300
    after = scratch.convert_ids_to_tokens(range(own, len(scratch)))
    expected = whispers.convert_ids_to_tokens(range(reference, len(whispers)))
    assert len(after) == 1 + 1 + 99 + 2 + 4 + N_TIMESTAMPS and after[-1] == "<|30.00|>"
    assert [name for name, other in zip(after, expected, strict=True) if name != other] in ([], ["<|nocaptions|>"])  # newer: nospeech
    assert scratch.pad_token_id == scratch.eos_token_id == scratch.bos_token_id == own


@pytest.mark.parametrize("language", ["se", "yue"])
def test_a_language_that_not_every_whisper_knows_has_its_token_behind_the_others(scratch: WhisperTokenizer, language: str) -> None:
    own = train_tokenizer(TEXTS, 300, language)
    after = {name: id for name, id in own.get_vocab().items() if id >= own.convert_tokens_to_ids(f"<|{language}|>")}
    assert [name for name, id in sorted(after.items(), key=lambda each: each[1])][:2] == [f"<|{language}|>", "<|translate|>"]
    assert {name: id - (name in after) for name, id in own.get_vocab().items()} == scratch.get_vocab() | {
        f"<|{language}|>": min(after.values()) - 1
    }
    assert own.convert_ids_to_tokens(prefix_ids(own, language, True))[1] == f"<|{language}|>"
    assert own.decode(label_ids(own, prefix_ids(own, language, True), "ja"), skip_special_tokens=True) == "ja"


def test_a_generation_config_says_a_language_of_whisper_by_its_code_and_others_by_their_token() -> None:
    assert [for_generate(code) for code in ("sv", "yue", "se")] == ["sv", "yue", "<|se|>"]


@pytest.mark.parametrize("text", EVERYTHING)
def test_a_new_tokenizer_writes_every_text(scratch: WhisperTokenizer, text: str) -> None:
    ids = label_ids(scratch, prefix_ids(scratch, "sv", True), text)
    assert scratch.decode(ids, skip_special_tokens=True) == text
    assert all(id < scratch.eos_token_id for id in ids[4:-1]), "of words no special token is made"


def test_a_new_tokenizer_learns_the_words_of_its_texts(scratch: WhisperTokenizer) -> None:
    assert len(scratch.encode("det är någon", add_special_tokens=False)) < len("det är någon".encode()) / 2


def test_a_new_tokenizer_survives_saving_and_loading(scratch: WhisperTokenizer, tmp_path: Path) -> None:
    scratch.save_pretrained(tmp_path)
    loaded = WhisperTokenizer.from_pretrained(tmp_path)
    assert len(loaded) == len(scratch) and loaded.get_vocab() == scratch.get_vocab()
    for text in [*TEXTS[:3], *EVERYTHING]:
        ids = label_ids(scratch, prefix_ids(scratch, "sv", True), text)
        assert label_ids(loaded, prefix_ids(loaded, "sv", True), text) == ids
        assert loaded.decode(ids, skip_special_tokens=True) == text


def test_equal_texts_give_an_equal_tokenizer() -> None:
    one, other = train_tokenizer(TEXTS, 300, "sv"), train_tokenizer(iter(TEXTS), 300, "sv")
    assert one.backend_tokenizer.to_str() == other.backend_tokenizer.to_str()


def test_an_english_only_model_takes_no_language_and_no_task(scratch: WhisperTokenizer) -> None:  # pitfall 23
    assert scratch.convert_ids_to_tokens(prefix_ids(scratch, "en", False)) == [START, "<|notimestamps|>"]


def test_an_english_only_model_is_refused_for_another_language(scratch: WhisperTokenizer) -> None:
    with pytest.raises(
        ModelError, match=r"^the model is English-only, and the language of some clips is 'sv'; choose a multilingual base model$"
    ):
        prefix_ids(scratch, "sv", False)


def test_a_language_the_model_does_not_know_is_refused(scratch: WhisperTokenizer, whispers: WhisperTokenizer) -> None:
    assert LANGUAGES[99] == "yue"  # only large-v3 has it
    for tokenizer in (scratch, whispers):
        with pytest.raises(
            ModelError,
            match=r"^the tokenizer has no token <\|yue\|>; the base model does not know .*; see language_token; .* whose token it borrows$",
        ):
            prefix_ids(tokenizer, "yue", True)
