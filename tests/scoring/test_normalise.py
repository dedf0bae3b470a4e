"""Case, punctuation and spacing are no errors; letters are letters in every script; a language's rules are for that language alone."""

import hashlib
import json
import subprocess
import sys
import unicodedata
from importlib.metadata import version
from importlib.resources import files

import pytest

from tasks.contracts.errors import RecipeError
from tasks.contracts.languages import LANGUAGES
from tasks.scoring.normalise import NAME, NORMALISERS, Normaliser, normaliser_for, plain


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


@pytest.mark.parametrize(
    "written, normal",
    [
        ("Hej, på dig!", "hej på dig"),
        ("(skratt) [paus] hej", "hej"),  # what stands in brackets is removed
        ("e-post kl. 14:30", "e post kl 14 30"),
        ("don't", "don t"),
        ("ÅÄÖ A\u030a", "åäö å"),
        ("fullwidth ＡＢＣ", "fullwidth abc"),
        ("हिन्दी", "ह न द"),  # pitfall 33: why it is nobody's own pack
        ("", ""),
    ],
)
def test_whispers_basic_pack_is_openais(written: str, normal: str) -> None:
    basic = normaliser_for("fr", "whisper-basic")
    assert basic(written) == normal == basic(normal)


@pytest.mark.parametrize(
    "written, normal",
    [
        ("It's twenty-five.", "it is 25"),
        ("$2.5 million", "$2500000"),
        ("I paid two thousand and five dollars", "i paid $2005"),
        ("Mr. Brown won't", "mister brown will not"),
        ("um, 1,000 people (laughter)", "1000 people"),
        ("the third", "the 3rd"),
        ("one", "one"),
        ("The colour was analysed by the organisation", "the color was analyzed by the organization"),  # OpenAI's spelling table
        ("grey theatre", "gray theater"),
        ("", ""),
    ],
)
def test_whispers_english_pack_is_openais_with_its_spellings(written: str, normal: str) -> None:
    english = normaliser_for("en")
    assert english(written) == normal == english(normal)


def test_the_spelling_table_is_openais() -> None:  # of whisper 20250625, 1739 words; another table would need another name
    table = json.loads((files("whisper_normalizer") / "normalizers" / "english.json").read_text(encoding="utf-8"))
    found = hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()
    assert found == "a9514fed7a5a462d97b9a7a2f93d38e7ec098ad2dd4171096b9d9e7b2a8ccdec"


@pytest.mark.parametrize("language, name", [("sv", "viska-sv-1"), ("is", NAME), ("hi", NAME), ("no", NAME), ("yue", NAME)])
def test_a_language_gets_its_own_pack_or_the_plain_one(language: str, name: str) -> None:
    assert normaliser_for(language).name == name
    assert normaliser_for(language, "plain").name == NAME


def test_english_gets_whispers_pack_named_with_its_version() -> None:
    assert normaliser_for("en").name == f"whisper-english (transformers {version('transformers')})"


def test_every_language_of_whisper_has_a_pack_and_names_are_unique() -> None:
    assert {type(normaliser_for(language)) for language in LANGUAGES} == {Normaliser}
    assert len({each.name for each in NORMALISERS.values()}) == len(NORMALISERS)


@pytest.mark.parametrize("wish, own, language", [("whisper-english", "en", "sv"), ("whisper-english", "en", "de"), ("sv", "sv", "no")])
def test_a_pack_of_another_language_is_refused(wish: str, own: str, language: str) -> None:  # pitfall 33
    with pytest.raises(RecipeError, match=f"'{wish}' knows the rules of '{own}' alone, got '{language}'; use auto or plain"):
        normaliser_for(language, wish)


def test_an_unknown_pack_is_refused_with_what_there_is() -> None:
    with pytest.raises(RecipeError, match="'whisper' is not known; use auto or one of plain, whisper-basic, whisper-english, sv"):
        normaliser_for("sv", "whisper")


def test_transformers_is_not_imported_before_it_is_used() -> None:
    code = (
        "import sys; from tasks.scoring.normalise import normaliser_for as f; f('sv')('hej'); f('en'); print('transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
