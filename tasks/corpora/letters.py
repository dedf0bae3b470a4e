"""Letters that do not belong: a Cyrillic word in a Swedish corpus is a wrong row, or an a that is none.

Without an alphabet of its own a language is held to its script. Latin letters are at home everywhere: names and brands are spoken too.
"""

import unicodedata
from functools import cache

from tasks.contracts.languages import LANGUAGES

# The languages that are not written in Latin letters alone, with the first word of their letters' Unicode names.
SCRIPTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys("ru uk bg mk be kk mn tg tt ba".split(), ("CYRILLIC",)),
    **dict.fromkeys("sr bs uz tk az".split(), ("CYRILLIC",)),
    **dict.fromkeys("ar fa ur ps sd".split(), ("ARABIC",)),
    **dict.fromkeys("he yi".split(), ("HEBREW",)),
    **dict.fromkeys("hi mr ne sa".split(), ("DEVANAGARI",)),
    **dict.fromkeys("bn as".split(), ("BENGALI",)),
    **dict.fromkeys("zh yue".split(), ("CJK", "BOPOMOFO")),
    "ja": ("CJK", "HIRAGANA", "KATAKANA"), "ko": ("HANGUL", "CJK"), "el": ("GREEK",), "hy": ("ARMENIAN",), "ka": ("GEORGIAN",),
    "am": ("ETHIOPIC",), "th": ("THAI",), "lo": ("LAO",), "km": ("KHMER",), "my": ("MYANMAR",), "bo": ("TIBETAN",), "si": ("SINHALA",),
    "ta": ("TAMIL",), "te": ("TELUGU",), "kn": ("KANNADA",), "ml": ("MALAYALAM",), "gu": ("GUJARATI",), "pa": ("GURMUKHI", "ARABIC"),
}  # fmt: skip
KNOWN = {script for scripts in SCRIPTS.values() for script in scripts}


def foreign_letters(text: str, language: str, alphabet: str = "") -> str:
    """Return the letters of `text` that do not belong, each once; empty if all do.

    Args:
        text: in NFC.
        language: as Whisper writes it.
        alphabet: the letters that belong, in either case; empty: those of the language's script and Latin ones, or all if Whisper does not
            know the language; "any": all.
    """
    if alphabet == "any" or (not alphabet and (text.isascii() or language not in LANGUAGES)):
        return ""
    allowed = frozenset(unicodedata.normalize("NFC", alphabet).casefold())
    return "".join(dict.fromkeys(letter for letter in text if _is_foreign(letter, language, allowed)))


@cache
def _is_foreign(letter: str, language: str, allowed: frozenset[str]) -> bool:
    if unicodedata.category(letter) not in ("Lu", "Ll", "Lt", "Lo"):
        return False
    if allowed:
        return not set(letter.casefold()) <= allowed
    script = unicodedata.name(letter, "").split(" ")[0].split("-")[0]
    return script in KNOWN and script not in SCRIPTS.get(language, ())
