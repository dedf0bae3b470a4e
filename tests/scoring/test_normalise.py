"""Case, punctuation and spacing are no errors; letters are letters in every script."""

import unicodedata

import pytest

from tasks.scoring.normalise import plain


@pytest.mark.parametrize(
    "written, normal",
    [
        ("Hej, på dig!", "hej på dig"),
        ("HEJ PÅ DIG", "hej på dig"),
        ("  många \t ord\npå rad ", "många ord på rad"),
        ("»Nej« – sade hon … ”ja”?", "nej sade hon ja"),
        ("(skratt) [paus] hej", "skratt paus hej"),  # what was said stays: Whisper's own normaliser removes it
        ("e-post kl. 14:30, 50 %", "e post kl 14 30 50"),
        ("Straße", "strasse"),
        ("ΣΊΣΥΦΟΣ Σίσυφος", "σίσυφοσ σίσυφοσ"),
        ("¿Qué? ¡Sí!", "qué sí"),
        ("真っ昼間、なのに。", "真っ昼間 なのに"),
        ("", ""),
        ("?!… —", ""),
    ],
)
def test_case_and_punctuation_are_folded(written: str, normal: str) -> None:
    assert plain(written) == normal


@pytest.mark.parametrize("text", ["åäö", "Äpplen på ön", "é ñ ü ő ș", "Tiếng Việt"])
def test_letters_with_marks_stay_also_when_they_come_decomposed(text: str) -> None:  # pitfall 33
    decomposed = unicodedata.normalize("NFD", text)
    assert decomposed != text and plain(decomposed) == plain(text) == text.lower()


@pytest.mark.parametrize("text", ["हिन्दी में", "தமிழ்", "বাংলা", "ภาษาไทย", "עִבְרִית", "العَرَبِيَّة", "می\u200cخواهم"])
def test_words_of_other_scripts_are_not_shattered(text: str) -> None:  # pitfall 33
    assert len(plain(text).split()) == len(text.split())
    assert plain(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    "written, normal",
    [
        ("don't", "don't"),
        ("Don’t", "don't"),
        ("'Hej', sade hon", "hej sade hon"),
        ("‘Hej’", "hej"),
        ("rock ’n’ roll", "rock n roll"),
        ("l'été d’Anna", "l'été d'anna"),
        ("'", ""),
    ],
)
def test_an_apostrophe_stays_within_a_word_and_is_a_quotation_mark_at_its_edge(written: str, normal: str) -> None:
    assert plain(written) == normal


@pytest.mark.parametrize("text", ["İstanbul'da", "ΐ ǰ", "ﬁnal", "Ǆ", "ẞ", "Don’t 'quote' e-post", "हिन्दी", "½ x²"])
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = plain(text)
    assert plain(once) == once and unicodedata.is_normalized("NFC", once)
