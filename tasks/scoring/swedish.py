"""What is not an error in Swedish: how a number, a sign or an abbreviation is written.

Two halves, around the removal of punctuation: `marks` while points, colons and hyphens still say something, `words` after it. Forms that
sound different stay different: dom and de, nåt and något, sa and sade are heard, and a model that writes one for the other misheard or
corrected the speaker. What it must not do: guess (docs/normalisers.md says what is left alone). After Svenska skrivregler (Språkrådet).
"""

import re

from tasks.scoring.swedish_numbers import numbers, ordinal

VERSION = 1
NAME = f"viska-sv-{VERSION}"

# By their letters; written with points, with spaces, or both.
_PHRASES = {
    "t ex": "till exempel", "bl a": "bland annat", "d v s": "det vill säga", "m m": "med mera", "o s v": "och så vidare",
    "p g a": "på grund av", "f d": "före detta", "fr o m": "från och med", "t o m": "till och med", "m fl": "med flera",
    "m a o": "med andra ord", "f kr": "före kristus", "e kr": "efter kristus", "s k": "sk", "et cetera": "etcetera",
}  # fmt: skip
# Only what is no word of its own: bla, from, tom, mm and fn are.
_ABBREVIATIONS = {
    "tex": "till exempel", "dvs": "det vill säga", "osv": "och så vidare", "pga": "på grund av", "mfl": "med flera", "fd": "före detta",
    "ca": "cirka", "kl": "klockan", "nr": "nummer", "dr": "doktor", "tel": "telefon", "resp": "respektive", "etc": "etcetera",
    "jfr": "jämför", "inkl": "inklusive", "exkl": "exklusive", "kr": "kronor",
}  # fmt: skip
_MEASURES = {"km": "kilometer", "m": "meter", "dm": "decimeter", "cm": "centimeter", "mm": "millimeter", "l": "liter", "dl": "deciliter",
             "cl": "centiliter", "ml": "milliliter", "kvm": "kvadratmeter", "m²": "kvadratmeter", "m³": "kubikmeter", "kw": "kilowatt",
             "kg": "kilo", "hg": "hekto", "g": "gram", "st": "stycken", "sek": "kronor"}  # fmt: skip
_ONE = {"kronor": "krona", "grader": "grad"}
_COMMON = {*_ONE.values(), *_MEASURES.values(), "euro", "dollar", "procent", "promille", "sekund", "minut", "timme", "dag", "vecka",
           "månad"} - {"kilo", "hekto", "gram", "stycken", "kronor"}  # with en; the other gender is 1 as it is read alone  # fmt: skip
_MONTHS = tuple("januari februari mars april maj juni juli augusti september oktober november december".split())
_SIGNS = {"€": "euro", "$": "dollar", "£": "pund", "%": "procent", "‰": "promille", "&": "och", "+": "plus", "§": "paragraf",
          "°": "grader", "−": "minus"}  # fmt: skip

_LETTER = r"[^\W\d_]"
_ABBREVIATED = re.compile(
    r"(?<![\w'])(" + "|".join(r"(?:\.\s?|\s)".join(key.split()) for key in sorted(_PHRASES, key=len, reverse=True)) + r")(?![\w'])\.?"
)
_RULES: list[tuple[re.Pattern[str], str]] = [
    (re.compile("\u00ad"), ""),  # where a line may break
    (re.compile(r"\bc:a\b"), "ca"),
    (re.compile(r"\bs:t(a?)\b"), r"sankt\1"),
    (re.compile(r"(?<=\d)\s?[:,][-–](?!\w)"), " kr "),  # 100:-
    (re.compile(r"([€$£])\s?(\d+(?:[\s.]\d{3})*(?:,\d+)?)"), r"\2 \1"),  # read after the number
    (re.compile(r"(?<=\d)\s?%[-‐‑]?ig"), "procentig"),
    (re.compile(r"°\s?c\b"), "°"),
    (re.compile(rf"(?<!{_LETTER})km/(?:h|tim)\b"), " kilometer i timmen"),
    (re.compile(rf"(?<!{_LETTER})m/s\b"), " meter per sekund"),
    (re.compile(rf"(?:^|(?<={_LETTER} ))-(?=\d)"), "−"),  # -5 grader
    (re.compile(r"(?<![\d:])0(\d):(\d\d)(?!\d)"), r"\1 \2"),  # 08:30
    (re.compile(r"\bkl(?:\.\s?|\s|ockan\s)0(\d)\.(\d\d)(?!\d)"), r"klockan \1 \2"),
    (re.compile(r"(?<![\d,])(\d+),(\d+)(?![\d,]*\d)"), r"\1 komma \2"),  # not the list 1,2,3
    (re.compile(rf"(?<=\w)[-‐‑](?={_LETTER})"), ""),  # e-post, 80-talet
    (re.compile(rf"(?<=\w):(?={_LETTER})"), ""),  # tv:n
    (re.compile(r"(?<=\d)(?=(?:[kcd]m|mm|[kh]g|[dcm]l|kr)\b)"), " "),  # 5km
]
_INITIALS = re.compile(rf"(?<!\w)(?:{_LETTER}\.)+{_LETTER}(?!\w)\.?")
_DAY = re.compile(rf"\b(\d{{1,2}}):[ae](?=\s(?:{'|'.join(_MONTHS)})\b)")  # 1:e maj is första maj
_ORDINAL = re.compile(r"\b(\d{1,4}):([ae])\b")
_SIGN = re.compile("[" + re.escape("".join(_SIGNS)) + "]")


def marks(text: str) -> str:
    """Write out signs, and what points, colons and hyphens say.

    Args:
        text: NFC, in lower case.
    """
    text = _written_out(text)
    text = _INITIALS.sub(lambda found: found[0].replace(".", "") + " ", text)
    text = _DAY.sub(r"\1", text)
    text = _ORDINAL.sub(lambda found: _how_manieth(int(found[1]), found[2]), text)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return _SIGN.sub(lambda found: f" {_SIGNS[found[0]]} ", text)


def words(text: str) -> str:
    """Write numbers in digits, and abbreviations and measures in words.

    Args:
        text: what `marks` gave, without punctuation, words one space apart.
    """
    said = numbers(_written_out(text).split())
    around = zip(["", "", *said], ["", *said], said, [*said[1:], ""], strict=False)
    return " ".join(_in_context(*words) for words in around)


def _in_context(earlier: str, before: str, word: str, after: str) -> str:
    """Return what a word is read as between its neighbours."""
    if word.isdecimal() and after in _MONTHS and len(word) <= 2 and 1 <= int(word) <= 31:
        return ordinal(int(word)) or word  # 25 maj
    if word == "1":
        after = _MEASURES.get(after, _ABBREVIATIONS.get(after, after))
        in_fraction = before == "komma" and (earlier.isdecimal() or earlier == "ett")
        return "en" if _ONE.get(after, after) in _COMMON and not in_fraction else "ett"
    if word == "kap" and after.isdecimal():
        return "kapitel"
    is_one = before == "1" and earlier != "komma"
    if before.isdecimal() and not (is_one and word == "st"):  # 1 st is read in two ways
        word = _MEASURES.get(word, word)
    word = _ABBREVIATIONS.get(word, word)
    return _ONE.get(word, word) if is_one else word


def _written_out(text: str) -> str:
    return _ABBREVIATED.sub(lambda found: _PHRASES[" ".join(found[1].replace(".", " ").split())], text)


def _how_manieth(n: int, ending: str) -> str:
    """1:a is första and 1:e förste; above 2 there is only e."""
    word = ordinal(n)
    if not word:
        return f"{n}{ending}"
    return word[:-1] + ending if word.endswith(("första", "andra")) else word
