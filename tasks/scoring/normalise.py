"""What is not an error, pack by pack. Named and numbered, because a WER without its normaliser says nothing.

`raw` compares what was written. `plain` is for every script: it folds case and turns punctuation and symbols into spaces, and keeps letters
with their marks, so that å ä ö stay and Devanagari is not shattered (Whisper's basic normaliser removes combining marks, which lowers
the WER of such languages for nothing). Numbers and abbreviations are left as they are, except by the pack of a language, which no other
language may use. docs/normalisers.md shows what each does, and how to add one.
"""

import json
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files

from tasks.contracts.errors import RecipeError
from tasks.scoring import swedish

VERSION = 1
NAME = f"viska-plain-{VERSION}"


@dataclass(frozen=True)
class Normaliser:
    """A way to say what is no error: text in, text out."""

    name: str  # with its version, as it stands in a report
    function: Callable[[str], str]

    def __call__(self, text: str) -> str:
        """Return the text without what is no error."""
        return self.function(text)


def normaliser_for(language: str, wish: str = "auto") -> Normaliser:
    """Return the pack to score a language with.

    Args:
        language: Whisper's code.
        wish: a key of NORMALISERS, or `auto`: the language's own pack where there is one, else `plain`.

    Raises:
        RecipeError: if there is no such pack, or it is another language's.
    """
    if wish == "auto":
        return NORMALISERS[next((pack for pack, own in OWN_LANGUAGE.items() if own == language), "plain")]
    if wish not in NORMALISERS:
        raise RecipeError(f"normaliser {wish!r} is not known; use auto or one of {', '.join(NORMALISERS)}")
    own = OWN_LANGUAGE.get(wish, language)
    if own != language:
        raise RecipeError(f"normaliser {wish!r} knows the rules of {own!r} alone, got {language!r}; use auto or plain")
    return NORMALISERS[wish]


def plain(text: str) -> str:
    """Return the text in lower case, NFC, without punctuation and symbols, words one space apart."""
    return without_punctuation(_folded(text))


def without_punctuation(text: str) -> str:
    """Return an NFC text without punctuation and symbols, words one space apart."""
    words = text.replace("\u2019", "'").translate(WORDS).split()
    return " ".join(filter(None, (word.strip("'") for word in words)))  # at its edge an apostrophe is a quotation mark


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _swedish(text: str) -> str:
    return swedish.words(without_punctuation(swedish.marks(_folded(text))))


def _whisper_basic(text: str) -> str:
    return _whisper(english=False)(text).strip()


def _whisper_english(text: str) -> str:
    return _whisper(english=True)(text).strip()


@cache
def _whisper(english: bool) -> Callable[[str], str]:
    """Return OpenAI's own rules; read when first used, because transformers takes seconds to import."""
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer, EnglishTextNormalizer

    if not english:
        return BasicTextNormalizer()  # type: ignore[no-any-return]
    spelling = files("whisper_normalizer") / "normalizers" / "english.json"  # OpenAI's table, which transformers has only in checkpoints
    return EnglishTextNormalizer(json.loads(spelling.read_text(encoding="utf-8")))  # type: ignore[no-any-return]


class _Words(dict[int, int]):
    """Maps what belongs to a word onto itself, and all else onto a space: letters, marks, digits, and the apostrophe within don't."""

    def __missing__(self, code: int) -> int:
        character = chr(code)
        self[code] = code if unicodedata.category(character)[0] in "LMN" or character in "'\u200c\u200d" else ord(" ")
        return self[code]


WORDS = _Words()
NORMALISERS = {
    "plain": Normaliser(NAME, plain),
    "whisper-basic": Normaliser(f"whisper-basic (transformers {version('transformers')})", _whisper_basic),
    "whisper-english": Normaliser(f"whisper-english (transformers {version('transformers')})", _whisper_english),
    "sv": Normaliser(swedish.NAME, _swedish),
}
OWN_LANGUAGE = {"whisper-english": "en", "sv": "sv"}  # of the packs that know a language's rules
