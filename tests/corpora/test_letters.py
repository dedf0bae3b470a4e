"""A letter of another script is noticed in every language, and no letter of the language's own is."""

import unicodedata

import pytest

from tasks.contracts.languages import LANGUAGES
from tasks.corpora.letters import SCRIPTS, foreign_letters

SAID = {  # in each script
    "ru": "съешь ещё этих булок", "uk": "їжак ґанок", "sr": "љубав и njegoš", "kk": "қазақ тілі",
    "ar": "مرحبا بالعالم", "fa": "گچ پژ", "ur": "ٹھیک ہے",
    "he": "שלום עולם", "hi": "नमस्ते दुनिया", "bn": "নমস্কার", "zh": "你好，世界", "ja": "こんにちは、カタカナ、世界", "ko": "안녕하세요 世界",
    "el": "καλημέρα ἀρχή", "hy": "բարեւ", "ka": "გამარჯობა", "am": "ሰላም", "th": "สวัสดีชาวโลก", "lo": "ສະບາຍດີ", "km": "សួស្តី",
    "my": "မင်္ဂလာပါ", "bo": "བཀྲ་ཤིས", "si": "ආයුබෝවන්", "ta": "வணக்கம்", "te": "నమస్కారం", "kn": "ನಮಸ್ಕಾರ", "ml": "നമസ്കാരം",
    "gu": "નમસ્તે", "pa": "ਸਤ ਸ੍ਰੀ ਅਕਾਲ",
}  # fmt: skip


@pytest.mark.parametrize("language", SAID)
def test_a_language_is_at_home_in_its_script_and_a_guest_in_swedish(language: str) -> None:
    said = unicodedata.normalize("NFC", SAID[language])
    assert foreign_letters(said, language) == ""
    assert foreign_letters(f"Sony säger {said}", language) == "", "names and brands are spoken too"
    assert foreign_letters(said, "sv")


@pytest.mark.parametrize(("language", "text"), [
    ("sv", "Åsa åt räksmörgås på Citroëns café i Curaçao"), ("is", "Þetta er íslenska, ðað"), ("vi", "Tiếng Việt rất đẹp"),
    ("tr", "İstanbul'da ışık"), ("yo", "Ẹ káàbọ̀"), ("sv", "12 µg, 3 €, 90°, 5²! – ”hej” … 🙂"), ("haw", "Hawaiʻi"), ("sv", ""),
])  # fmt: skip
def test_letters_with_marks_figures_and_signs_are_no_foreigners(language: str, text: str) -> None:
    assert foreign_letters(unicodedata.normalize("NFC", text), language) == ""


def test_a_letter_that_only_looks_at_home_is_named_once() -> None:
    assert foreign_letters("rаksmörgаs i Mосква", "sv") == "аоскв"  # Cyrillic, all of them
    assert foreign_letters("Ωmega", "sv") == "Ω"
    assert foreign_letters("hej 世界", "ru") == "世界"


@pytest.mark.parametrize(("text", "foreign"), [
    ("Räksmörgås!", ""), ("RÄKSMÖRGÅS 7", ""), ("café", "é"), ("Zoo", "Z"), ("мир", "мир")
])  # fmt: skip
def test_an_alphabet_of_ones_own_is_kept_to_in_either_case(text: str, foreign: str) -> None:
    alphabet = "abcdefghijklmnopqrstuvxyåäö"  # no w, no z
    decomposed = unicodedata.normalize("NFD", alphabet)
    assert foreign_letters(text, "sv", alphabet) == foreign_letters(text, "ru", decomposed.upper()) == foreign


def test_any_alphabet_is_any() -> None:
    assert foreign_letters("мир 世界 שלום", "sv", "any") == ""


def test_every_script_is_tried_above_and_belongs_to_a_language_that_whisper_knows() -> None:
    assert {SCRIPTS[language] for language in SAID} == set(SCRIPTS.values())
    assert set(SCRIPTS) <= set(LANGUAGES)


def test_a_language_that_whisper_does_not_know_is_held_to_no_script() -> None:
    assert foreign_letters("кыргыз тили", "ky") == foreign_letters("کوردی", "ckb") == ""
    assert foreign_letters("кыргыз", "ky", alphabet="abc") != ""
