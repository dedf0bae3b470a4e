"""Swedish number words and digits, made the same: digits for how many, words for the how-manieth.

Words that sound alike are read alike, so `tjugo fem` is `tjugofem`. `en` and `ett` are articles too and stay as they are when alone; only
before hundra, tusen, miljon and miljard are they a number. What it must not do: guess which two numbers make a year or a time. After
Svenska skrivregler (Språkrådet), the chapter on numbers.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

_UNITS = {"ett": 1, "en": 1, "två": 2, "tre": 3, "fyra": 4, "fem": 5, "sex": 6, "sju": 7, "åtta": 8, "nio": 9}
_TEENS = {"tio": 10, "elva": 11, "tolv": 12, "tretton": 13, "fjorton": 14, "femton": 15, "sexton": 16, "sjutton": 17, "arton": 18,
          "aderton": 18, "nitton": 19}  # fmt: skip
_TENS = {"tjugo": 20, "trettio": 30, "förtio": 40, "fyrtio": 40, "femtio": 50, "sextio": 60, "sjuttio": 70, "åttio": 80, "nittio": 90}
_LARGE = {"miljon": ("M", 10**6), "miljoner": ("M", 10**6), "miljard": ("B", 10**9), "miljarder": ("B", 10**9)}  # never within a word
_KINDS = {word: ("u", n) for word, n in _UNITS.items()} | {word: ("e", n) for word, n in _TEENS.items()}
_KINDS |= {word: ("t", n) for word, n in _TENS.items()} | {"hundra": ("H", 100), "tusen": ("T", 1000)}
_PARTS = "|".join(sorted(_KINDS, key=len, reverse=True))
_COMPOUND = re.compile(f"(?:{_PARTS})+")
_PART = re.compile(_PARTS)

# The grammar, over one letter for each part: u 1 to 9, e 10 to 19, t 20 to 90, H, T, M, B, and d for up to three digits.
_BELOW_100 = "(?>tu?|e|u)"
_BELOW_1000 = f"(?>(?:{_BELOW_100}|d)?H(?:{_BELOW_100}(?!H))?|{_BELOW_100}|d)"  # also femtonhundra
_REST = f"(?>u?H(?:{_BELOW_100}(?!H))?|{_BELOW_100})(?![HTMB])"
_NUMBER = re.compile(
    f"(?:(?P<B>{_BELOW_1000})B)?(?:(?P<M>{_BELOW_1000})M)?(?P<T>(?:{_BELOW_1000})?T)?(?P<rest>(?<=[BMT]){_REST}|(?<![BMT]){_BELOW_1000}(?![TMB]))?"
)
_FRACTION = re.compile(f"(?P<B>)(?P<M>)(?P<T>)(?P<rest>{_BELOW_1000})")  # 2,5 miljoner stays as it is
_YEAR = re.compile("(?:tjugo|(?:tret|fjor|fem|sex|sjut|ar|nit)ton)(?=.)")  # tjugotjugofyra, nittonåttiofyra
_COUNTED = re.compile(r"(.{3,}?)(tal(?:et|en)?s?|tiden|(?:åring|årig|års|procentig)\w*)")  # 80-talet and åttiotalet

_ORDINALS = ("första andra tredje fjärde femte sjätte sjunde åttonde nionde tionde elfte tolfte trettonde fjortonde femtonde sextonde "
             "sjuttonde artonde nittonde").split()  # fmt: skip


class _Part(NamedTuple):
    kind: str  # a letter of the grammar
    value: int
    word: str


def numbers(words: list[str]) -> list[str]:
    """Return the words with every number in digits: `ett tusen nio hundra` is `1900`, `2 miljoner` is `2000000`."""
    words = [piece for word in _grouped(words) for piece in (_without_leading_zeros(word) if word[0] == "0" else [word])]
    found: list[str] = []
    run: list[_Part] = []
    for word, following in zip(words, [*words[1:], ""], strict=False):
        parts = _article(word, following) if word in ("en", "ett") else _parts(word)
        if parts:
            run += parts
            continue
        if run:
            found += _read(run, found)
            run = []
        found.append(_one_word(word))
    return _grouped([*found, *_read(run, found)])


def ordinal(n: int) -> str | None:
    """Return the word for the n-th, or None above 99 where there is more than one: `3` is `tredje`."""
    if not 1 <= n <= 99:
        return {100: "hundrade", 1000: "tusende"}.get(n)
    if n < 20:
        return _ORDINALS[n - 1]
    tens = next(word for word, value in _TENS.items() if value == n // 10 * 10)
    return tens + (_ORDINALS[n % 10 - 1] if n % 10 else "nde")


def _grouped(words: list[str]) -> list[str]:
    """Join what is written in groups of three digits: 1 000 000."""
    found: list[str] = []
    is_open = False  # more groups may follow
    for word in words:
        if is_open and len(word) == 3 and _is_digits(word):
            found[-1] += word
        else:
            found.append(word)
            is_open = _is_digits(word) and len(word) <= 3 and word[0] != "0"
    return found


def _without_leading_zeros(word: str) -> list[str]:
    """Zeros in front are said one by one: 05 is noll fem."""
    if not _is_digits(word) or len(word) == 1:
        return [word]
    rest = word.lstrip("0")
    return ["0"] * (len(word) - len(rest)) + ([rest] if rest else [])


@cache
def _parts(word: str) -> tuple[_Part, ...]:
    """Return what a number word is made of, or nothing if it is another word."""
    if _is_digits(word):
        return (_Part("d", int(word), word),) if len(word) <= 3 and word != "0" else ()
    if word in _LARGE:
        return (_Part(*_LARGE[word], word),)
    word = word.replace("ettusen", "etttusen")  # three t are written as two
    if not _COMPOUND.fullmatch(word):
        return ()
    parts = tuple(_Part(*_KINDS[part], part) for part in _PART.findall(word))
    return parts if _NUMBER.fullmatch("".join(part.kind for part in parts)) else ()


def _article(word: str, following: str) -> tuple[_Part, ...]:
    """`ett` and `en` are 1 only where nothing else makes sense."""
    kind = _parts(following)[0].kind if following not in ("en", "ett") and _parts(following) else ""
    return _parts(word) if kind in ("M", "B") or (word == "ett" and kind in ("H", "T")) else ()


def _read(run: list[_Part], before: list[str]) -> Iterator[str]:
    """Yield the numbers of parts that follow each other, in digits."""
    pattern = _FRACTION if len(before) > 1 and before[-1] == "komma" and (_is_digits(before[-2]) or before[-2] == "ett") else _NUMBER
    while run:
        match = pattern.match("".join(part.kind for part in run))
        pattern = _NUMBER
        n_read = match.end() if match else 0
        yield str(_value(run, match)) if match and n_read else run[0].word  # a miljon of nothing is a word
        run = run[n_read or 1 :]


def _value(run: list[_Part], match: re.Match[str]) -> int:
    def sum_of(name: str) -> int:
        total = 0
        for part in run[match.start(name) : match.end(name)]:
            total = (total or 1) * part.value if part.kind in "HT" else total + part.value
        return total

    return sum_of("B") * 10**9 + sum_of("M") * 10**6 + sum_of("T") + sum_of("rest")


@cache
def _one_word(word: str) -> str:
    """Return a word that has a number inside with that number in digits: åttiotalet is 80talet, noll is 0."""
    if word == "noll":
        return "0"
    year = _YEAR.match(word)
    if year and (years := _parts(word[year.end() :])) and all(part.kind in "etu" for part in years) and years[0].kind != "u":
        return str(_KINDS[year[0]][1] * 100 + sum(part.value for part in years))
    counted = _COUNTED.fullmatch(word)
    return "".join(_read(list(_parts(counted[1])), [])) + counted[2] if counted and _parts(counted[1]) else word


def _is_digits(word: str) -> bool:
    return word.isascii() and word.isdecimal()
