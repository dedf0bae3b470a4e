"""What nobody said is found, and what was really said again and again is left alone."""

import pytest

from tasks.scoring.hallucinations import N_SHOWN, hallucinations, is_dense, repeats
from tasks.scoring.normalise import plain
from tasks.scoring.prediction import Prediction

SWEDISH = (
    "det var en gång en liten flicka som bodde i ett hus vid skogen och varje morgon gick hon ner till sjön för att hämta vatten men en "
    "dag när isen hade lagt sig hörde hon någon ropa från andra sidan och hon visste genast att det var hennes bror som hade kommit hem "
    "igen efter många år på havet och han hade med sig presenter till dem alla"
)


@pytest.mark.parametrize(
    "said, heard, found",
    [
        ("nej", "nej nej nej", False),
        ("nej", "nej nej nej nej", True),
        ("nej nej nej nej", "nej nej nej nej", False),  # really said
        ("nej nej nej nej", "nej nej nej nej nej", False),
        ("nej nej nej nej", "nej nej nej nej nej nej nej nej", True),  # twice as often
        ("", "ja nej ja nej ja nej", False),
        ("", "ja nej ja nej ja nej ja nej", True),
        ("det var så", "det var så det var så", False),
        ("det var så", "det var så det var så det var så", True),
        ("hon sade att det var så", "hon sade att det var så att det var så att det var så", True),
        ("ett", "ett två tre fyra fem sex ett två tre fyra fem sex ett två tre fyra fem sex", True),
        ("var det så var det så var det så", "det så var det så var det så", False),  # begins elsewhere
        ("a b c d", "a a b b c c d d", False),
        (SWEDISH, SWEDISH, False),
        ("", "", False),
    ],
)
def test_repeats_are_found_unless_they_were_said(said: str, heard: str, found: bool) -> None:
    assert repeats(said.split(), heard.split()) is found


def test_a_text_that_repeats_itself_is_dense_and_a_long_one_is_not() -> None:
    assert not is_dense(SWEDISH)
    assert is_dense("tack för att ni tittade. " * 8) and is_dense("哈" * 40)
    assert not is_dense("ja " * 15) and not is_dense("")  # too short to tell


def _heard(reference: str, text: str, capped: bool = False, id: str = "a") -> Prediction:
    return Prediction(id, reference, text, capped)


@pytest.mark.parametrize(
    "prediction, why",
    [
        (_heard("Hej på dig.", "hej på dig"), []),
        (_heard("", "Tack!"), ["on silence"]),
        (_heard("...", "Tack!"), ["on silence"]),  # nothing that the normaliser takes for a word
        (_heard("", " ... "), []),
        (_heard("Hej.", "Hej.", capped=True), ["capped"]),
        (_heard("Hej.", "Nej, nej, nej! Nej."), ["repeats"]),
        (_heard("Ett två tre fyra fem.", "Ett två tre fyra fem sex sju åtta nio tio."), ["too long"]),
        (_heard("Ett två tre fyra fem.", "Ett två tre fyra fem sex sju åtta nio."), []),
        (_heard("Hej.", "Hej på dig du gamle."), []),  # four more
        (_heard("Hej.", "Hej på dig du gamle vän."), ["too long"]),
        (_heard("哈" * 40, "哈" * 41), []),  # as dense as what was said
        (_heard("你好", "哈" * 60), ["dense"]),
    ],
)
def test_each_sign_is_seen(prediction: Prediction, why: list[str]) -> None:
    found = hallucinations([prediction], plain)
    assert [each["why"] for each in found["clips"]] == ([why] if why else [])
    assert found["n_clips"] == bool(why)


def test_clips_are_counted_by_sign_and_those_with_most_come_first() -> None:
    loop = "Tack för att ni tittade. " * 8
    clips = [_heard("Hej.", "Hej."), _heard("", "Tack.", id="b"), _heard("", loop, True, "d"), _heard("", "Hm.", id="c")]
    found = hallucinations(clips, plain)
    assert {key: n for key, n in found.items() if key != "clips"} == {
        "n_clips": 3, "n_repeats": 1, "n_dense": 1, "n_on_silence": 3, "n_too_long": 0, "n_capped": 1}  # fmt: skip
    assert [each["id"] for each in found["clips"]] == ["d", "b", "c"]
    assert found["clips"][0] == {"id": "d", "text": loop, "why": ["repeats", "dense", "on silence", "capped"]}


def test_of_many_some_are_shown_and_all_are_counted() -> None:
    found = hallucinations([_heard("", "Tack.", id=f"{number:03d}") for number in range(N_SHOWN + 7)], plain)
    assert found["n_clips"] == N_SHOWN + 7 and len(found["clips"]) == N_SHOWN and found["clips"][0]["id"] == "000"
