"""Every number that is spelled is read back: by the rules here, and by a library that spells in its own way."""

import random

import pytest

from tasks.scoring.normalise import normaliser_for

swedish = normaliser_for("sv")

SOME = [*range(10_000), *random.Random(6).sample(range(10_000, 1_000_000), 500)]


def spelled(n: int, gap: str = "") -> str:
    """Spell a number below a million by the rules, its parts written together or apart."""
    small = "noll ett två tre fyra fem sex sju åtta nio tio elva tolv tretton fjorton femton sexton sjutton arton nitton".split()
    tens = "tjugo trettio förtio femtio sextio sjuttio åttio nittio".split()
    if n >= 1000:
        front = spelled(n // 1000, gap)
        front = front[:-1] if front.endswith("ett") and not gap else front  # ettusen: never three t
        return front + gap + "tusen" + (gap + spelled(n % 1000, gap) if n % 1000 else "")
    if n >= 100:
        return small[n // 100] + gap + "hundra" + (gap + spelled(n % 100, gap) if n % 100 else "")
    return small[n] if n < 20 else tens[n // 10 - 2] + (small[n % 10] if n % 10 else "")


def digits(n: int) -> str:
    """Return a number as it is compared: 1 may be an article."""
    return "ett" if n == 1 else str(n)


def test_every_number_is_read_back() -> None:
    assert not [n for n in SOME if swedish(spelled(n)) != digits(n)]


def test_digits_stay() -> None:
    assert not [n for n in range(0, 1_000_000, 997) if not swedish(str(n)) == swedish(f"{n:_}".replace("_", " ")) == digits(n)]


def test_every_number_is_read_back_when_its_parts_stand_apart() -> None:
    apart = [n for n in SOME if n % 100 != 1]  # `hundra ett` may go on as `ett hus`
    assert not [n for n in apart if swedish(spelled(n, " ")) != digits(n)]


def test_every_number_of_another_speller_is_read_back() -> None:
    num2words = pytest.importorskip("num2words").num2words
    millions = range(10**6, 10**9, 37 * 10**6)
    assert not [n for n in [*SOME[::3], *millions] if swedish(num2words(n, lang="sv")) != digits(n)]
    ordinals = [n for n in range(1, 100) if n != 20]  # it writes tjugode
    assert not [n for n in ordinals if swedish(f"{n}:a") != num2words(n, lang="sv", to="ordinal")]
