"""Parts of the test split: each clip in one part of every kind, nobody named, nothing left out in silence."""

from typing import Any

import pytest

from tasks.scoring.intervals import paired_intervals
from tasks.scoring.rates import Errors
from tasks.scoring.slices import MIN_CLIPS, N_NAMED, N_WORST, slices, worst_slices

NAN = float("nan")


def _sliced(clips: list[dict[str, Any]], references: list[str] | None = None, known: str = "") -> dict[str, dict[str, int]]:
    """Return the numbers of clips by kind and name."""
    references = references or ["ett två"] * len(clips)
    errors = [Errors(0, 0, 0, len(text.split())) for text in references]
    found: dict[str, dict[str, int]] = {}
    for each in slices(clips, references, errors, errors, set(known.split()), 100, 0):
        found.setdefault(each["by"], {})[each["name"]] = each["n_clips"]
    return found


def test_a_slice_says_what_its_clips_say_alone() -> None:
    clips = [{"gender": "male_masculine", "speaker": "x"}, {"gender": "female_feminine", "speaker": "y"}] * 3
    before = [Errors(n, 0, 0, 10) for n in (5, 4, 6, 2, 4, 3)]
    after = [Errors(n, 0, 1, 10) for n in (1, 2, 2, 0, 1, 1)]
    first, second = (each for each in slices(clips, ["ett"] * 6, before, after, {"ett"}, 300, 1) if each["by"] == "gender")
    assert (first["name"], first["n_clips"], first["n_speakers"], first["n_words"]) == ("male_masculine", 3, 1, 30)
    assert first["before"]["value"] == pytest.approx(15 / 30) and first["after"]["value"] == pytest.approx(7 / 30)
    assert second["name"] == "female_feminine" and second["gain"]["value"] == pytest.approx((9 - 6) / 30)
    alone = paired_intervals(before[::2], after[::2], ["x"] * 3, 300, 1)
    assert [first[side]["low"] for side in ("before", "after", "gain")] == [each.low for each in alone]


def test_numbers_are_put_into_bins_that_hold_their_lower_edge() -> None:
    clips = [{"seconds": seconds, "snr": snr} for seconds, snr in [(1.99, NAN), (2.0, -3.0), (4.9, 10.0), (20.0, None), (5, 60)]]
    assert _sliced(clips) == {
        "duration": {"under 2 s": 1, "2 to 5 s": 2, "5 to 10 s": 1, "20 s or more": 1},
        "snr": {"under 10 dB": 1, "10 to 20 dB": 1, "50 dB or more": 1, "not told": 2},
    }


def test_texts_are_sliced_by_length_and_by_words_that_training_never_saw() -> None:
    references = ["", "en båt", "en båt på sjön", "en katt", "katt och hund", " ".join(["en"] * 21)]
    assert _sliced([{}] * 6, references, "en båt på") == {
        "length": {"no words": 1, "1 to 3 words": 3, "4 to 7 words": 1, "21 words or more": 1},
        "new words": {"none": 3, "one": 2, "two or more": 1},
    }


def test_speakers_are_numbered_by_their_clips_and_never_named() -> None:
    clips = [{"speaker": name} for name in ("anna", "bo", "cilla", "bo", "", "cilla", "cilla", "bo", "dan")]
    found = slices(clips, ["ett"] * 9, *[[Errors(0, 0, 0, 1)] * 9] * 2, {"ett"}, 100, 0)
    assert [(each["name"], each["n_clips"], each["n_speakers"]) for each in found] == [
        ("speaker 1", 3, 1),  # bo, who came before cilla
        ("speaker 2", 3, 1),
        ("speaker 3", 1, 1),
        ("speaker 4", 1, 1),
        ("not told", 1, 0),
    ]
    assert not any(name in str(found) for name in ("anna", "bo", "cilla", "dan"))


def test_what_is_missing_is_a_slice_only_beside_another() -> None:
    for missing in (None, NAN, "", " "):
        assert _sliced([{"accent": missing}, {}]) == {}
        assert _sliced([{"accent": missing}, {"accent": "Skånska"}, {}]) == {"accent": {"Skånska": 1, "not told": 2}}


def test_a_kind_with_one_slice_is_left_out() -> None:
    assert _sliced([{"language": "sv", "corpus": "a", "age": "twenties"}] * 3) == {}
    assert _sliced([{"language": "sv", "corpus": "a"}, {"language": "fi", "corpus": "a"}]) == {"language": {"sv": 1, "fi": 1}}


def test_of_many_values_the_largest_are_named_and_the_others_counted() -> None:
    accents = [f"accent {number}" for number in range(N_NAMED + 2) for _ in range(2 if number else 1)]
    found = _sliced([{"accent": each} for each in accents] + [{}])["accent"]
    assert len(found) == N_NAMED + 2 and sum(found.values()) == len(accents) + 1
    assert found["2 others"] == 3 and found["not told"] == 1 and "accent 0" not in found
    assert next(iter(found)) == "accent 1" and list(found)[-2:] == ["2 others", "not told"]
    assert _sliced([{"accent": str(number)} for number in range(N_NAMED + 1)])["accent"]["1 other"] == 1


def _slice(name: str, low: float, value: float, n_clips: int = MIN_CLIPS, n_words: int = 100) -> dict[str, Any]:
    interval = {"value": value, "low": low, "high": 2 * value - low}
    return {"by": "accent", "name": name, "n_clips": n_clips, "n_words": n_words, "after": interval}


def test_the_worst_slices_are_certainly_worse_than_all_clips_the_most_certain_first() -> None:
    found = [_slice("no worse", 0.19, 0.9), _slice("sure", 0.21, 0.3), _slice("surest", 0.29, 0.3), _slice("just above", 0.201, 0.5),
             _slice("few clips", 0.5, 0.6, n_clips=MIN_CLIPS - 1), _slice("few words", 0.5, 0.6, n_words=20),
             _slice("no spread", 0.3, 0.3),
             _slice("no interval", 0.3, 0.9) | {"after": {"value": 0.9, "low": None, "high": None}}]  # fmt: skip
    assert [each["name"] for each in worst_slices(found, 0.2)] == ["no spread", "surest", "sure", "just above"]
    assert worst_slices(found, 0.2)[0] == {"by": "accent", "name": "no spread"}
    assert len(worst_slices([_slice(str(number), 0.3, 0.4) for number in range(9)], 0.2)) == N_WORST
    assert worst_slices(found, 0.9) == worst_slices([], 0.2) == []
