"""What is not an error: case, punctuation, spacing. Named and numbered, because a WER without its normaliser says nothing.

`raw` compares what was written. `plain` is for every script: it folds case and turns punctuation and symbols into spaces, and keeps letters
with their marks, so that å ä ö stay and Devanagari is not shattered (Whisper's basic normaliser removes combining marks, which lowers
the WER of such languages for nothing). Numbers and abbreviations are left as they are.
"""

import unicodedata

VERSION = 1
NAME = f"viska-plain-{VERSION}"


def plain(text: str) -> str:
    """Return the text in lower case, NFC, without punctuation and symbols, words one space apart."""
    return without_punctuation(unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()))


def without_punctuation(text: str) -> str:
    """Return an NFC text without punctuation and symbols, words one space apart."""
    words = text.replace("\u2019", "'").translate(WORDS).split()
    return " ".join(filter(None, (word.strip("'") for word in words)))  # at its edge an apostrophe is a quotation mark


class _Words(dict[int, int]):
    """Maps what belongs to a word onto itself, and all else onto a space: letters, marks, digits, and the apostrophe within don't."""

    def __missing__(self, code: int) -> int:
        character = chr(code)
        self[code] = code if unicodedata.category(character)[0] in "LMN" or character in "'\u200c\u200d" else ord(" ")
        return self[code]


WORDS = _Words()
