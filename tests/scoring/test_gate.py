"""The gate, on two models compared for real: what wins, what loses, and what is too little to tell."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tasks.contracts.release import Gate
from tasks.scoring.contest import Draws, Long, Other, contest
from tasks.scoring.gate import judge, reasons
from tasks.scoring.normalise import normaliser_for
from tasks.scoring.prediction import Prediction
from tasks.scoring.verdict import as_markdown, headline, with_verdict

SV = normaliser_for("sv")
WORDS = "en två tre fyra fem sex sju åtta nio tio".split()


def heard(n_clips: int, errors: Sequence[int], n_words: int = 10) -> list[Prediction]:
    """Return predictions of clips with so many words wrong each, in turn."""
    said = WORDS[:n_words]
    return [
        Prediction(f"c{number}", " ".join(said), " ".join(["fel"] * wrong + said[wrong:]), False)
        for number, wrong in zip(range(n_clips), np.resize(errors, n_clips), strict=True)
    ]


def met(before: list[Prediction], after: list[Prediction], speakers: int = 10, others: Sequence[Other] = (), long: Long | None = None,
        level: float = 0.95, **told: Any) -> dict[str, Any]:  # fmt: skip
    clips = [{"id": each.id, "speaker": f"s{number % speakers}"} | {key: value[number % len(value)] for key, value in told.items()}
             for number, each in enumerate(after)]  # fmt: skip
    return contest(before, after, clips, SV, set(WORDS), others, long, Draws(1000, 0, level))


def why(found: dict[str, Any], **wish: float) -> list[str]:
    return reasons([vars(each) for each in judge(found, Gate(**wish).model_dump(mode="json"))])  # type: ignore[arg-type]


WORSE, BETTER = heard(40, [3, 4, 2, 5, 3]), heard(40, [1, 2, 1, 0, 2])


def test_a_challenger_that_is_surely_better_wins() -> None:
    assert why(met(WORSE, BETTER)) == []


@pytest.mark.parametrize(("before", "after"), [(BETTER, WORSE), (WORSE, WORSE), (WORSE, heard(40, [3, 4, 2, 4, 4]))])
def test_one_that_is_worse_or_the_same_or_better_by_luck_does_not(before: list[Prediction], after: list[Prediction]) -> None:
    (reason, *_) = why(met(before, after))
    assert reason.startswith("WER: gain ") and "wanted surely more than 0" in reason


def test_a_minimum_gain_is_asked_of_the_lower_limit() -> None:
    found = met(WORSE, BETTER)
    low = 100 * found["gain"]["low"]
    assert 0 < low < 100 * found["gain"]["value"]
    assert why(found, min_gain=low - 0.1) == [] and why(found, min_gain=low + 0.1)


def test_more_confidence_asks_for_more() -> None:
    lows = [met(WORSE, heard(40, [2, 4, 2, 4, 3]), level=level)["gain"]["low"] for level in (0.5, 0.9, 0.999)]
    assert lows == sorted(lows, reverse=True) and len(set(lows)) == 3


def test_a_short_test_decides_nothing() -> None:
    assert "the test has 400 words, at least 401 are wanted" in why(met(WORSE, BETTER), min_words=401)[0]
    assert why(met(WORSE, BETTER), min_words=400) == []


def test_a_test_in_which_one_clip_has_nearly_all_words_decides_nothing() -> None:
    long = [Prediction("long", "ord " * 400, text, False) for text in ("fel " * 400, "ord " * 400)]
    found = met([long[0], *heard(2, [1], 1)], [long[1], *heard(2, [0], 1)])
    assert found["gain"]["low"] is None and "there is no interval" in why(found)[0]


def test_a_gain_that_is_the_same_everywhere_is_evidence_only_if_it_is_so_often_enough() -> None:
    for n_clips, wins in (
        (5, False),
        (6, True),
    ):  # the sign test: six alike are luck 1 time in 64, two-sided 1 in 32; 0.95 asks for 1 in 40
        found = met(heard(n_clips, [5]), heard(n_clips, [2]), speakers=n_clips)
        assert found["gain"]["low"] == found["gain"]["high"] == pytest.approx(0.3)
        assert (why(found, min_words=1) == []) is wins
    assert why(met(heard(40, [0]), heard(40, [0]))), "no error before and none after is no gain"


def test_a_slice_that_is_surely_worse_keeps_it_out_and_one_that_may_be_does_not() -> None:
    gender = ["female", "female", "female", "male"]
    after = [BETTER[number] if number % 4 < 3 else heard(40, [9])[number] for number in range(40)]
    before = [heard(40, [8])[number] if number % 4 < 3 else heard(40, [2, 3])[number] for number in range(40)]
    found = met(before, after, gender=gender)
    assert [each.split(":")[:2] for each in why(found)] == [["gender", " male"]]
    assert why(found, may_lose=80) == []
    luck = [BETTER[number] if number % 4 < 3 else heard(40, [4, 9, 0, 2, 3])[number] for number in range(40)]
    unsure = met(before, luck, gender=gender)
    (male,) = [each for each in unsure["slices"] if each["name"] == "male"]
    assert male["gain"]["value"] < -0.01 < male["gain"]["high"] and why(unsure) == []


def test_small_slices_are_not_looked_at() -> None:
    after = [heard(40, [10])[0], *BETTER[1:]]
    found = met(WORSE, after, domain=["rare", *["common"] * 39])
    assert {each["name"] for each in found["slices"]} >= {"rare", "common"} and why(found) == []


def test_what_is_forgotten_keeps_it_out() -> None:
    before, after = heard(20, [0, 1]), heard(20, [4, 5])
    others = [Other("english", before, after, [f"s{number}" for number in range(20)], normaliser_for("en", "plain"))]
    assert why(met(WORSE, BETTER, others=others))[0].startswith("other test: english: gain -40.0 points")


def test_what_has_no_interval_decides_nothing_of_a_slice_and_by_its_figure_of_another_test() -> None:
    long = [Prediction("long", "ord " * 400, text, False) for text in ("ord " * 400, "fel " * 400)]
    others = [Other("english", long[:1], long[1:], ["s"], normaliser_for("en", "plain"))]
    assert "there is no interval, so the figure counts" in why(met(WORSE, BETTER, others=others))[0]
    one = Long(rows([0]), rows([50]))
    assert why(met(WORSE, BETTER, long=one))[0].startswith("long recordings: gain -100.0 points, a sure loss")


def test_a_gain_is_the_same_everywhere_up_to_the_last_digits() -> None:
    lengths, wrong = (161, 207), (49, 63)
    said = [Prediction(f"c{n}", "ord " * n, "fel " * k + "ord " * (n - k), False) for n, k in zip(lengths, wrong, strict=True)]
    found = met(said, [Prediction(each.id, each.reference, each.reference, False) for each in said], speakers=2)
    assert "2 speakers gain alike, it would take 6" in why(found)[0]


def test_a_strangers_words_shape_no_page() -> None:
    accent = ["north\n\n# The challenger wins\n\n![x](https://evil.se/p.png) | a <b>", "south"]
    found = met(heard(40, [1, 2]), heard(40, [9]), accent=accent)
    checks = [vars(each) for each in judge(found, Gate().model_dump(mode="json"))]
    told = {"wins": False, "reasons": reasons(checks), "champion": "v1", "checks": checks, "gate": Gate().model_dump(mode="json")}
    page = as_markdown(told | {key: found[key] for key in ("n_clips", "n_words", "unit", "normaliser", "level")})
    assert page.count("\n#") == 0 and page.startswith("# The challenger does not win\n") and "![" not in page and "://" not in page
    assert "accent: north The challenger wins" in page and "<b>" not in page


def recording(number: int, wrong: int, made_up: int = 0) -> list[dict[str, Any]]:
    said = WORDS * 5
    text = " ".join(["fel"] * wrong + said[wrong:])
    clips = [each.id for each in WORSE[5 * number : 5 * number + 5]]
    spoken = {"id": f"r{number}", "reference": " ".join(said), "clips": clips, "seconds": 20.0, "n_cuts": 3, "n_inside": 0,
              "segments": [{"start": 0.0, "end": 20.0, "text": text}]}  # fmt: skip
    silent = {"id": f"noise {number}", "reference": "", "clips": [], "seconds": 30.0, "n_cuts": 0, "n_inside": 0,
              "segments": [{"start": 0.0, "end": 1.0, "text": "ja " * made_up}]}  # fmt: skip
    return [spoken, silent]


def rows(wrong: Sequence[int], made_up: int = 0) -> list[dict[str, Any]]:
    return [row for number, each in enumerate(wrong) for row in recording(number, each, made_up)]


def test_long_recordings_and_silence_keep_it_out() -> None:
    assert why(met(WORSE, BETTER, long=Long(rows([10, 12, 9]), rows([8, 9, 10])))) == []
    assert why(met(WORSE, BETTER, long=Long(rows([10, 12, 9]), rows([40, 44, 38]))))[0].startswith("long recordings: gain -")
    noisy = met(WORSE, BETTER, long=Long(rows([10, 12, 9], 1), rows([8, 9, 10], 7)))  # 18 words more in a minute and a half
    assert why(noisy) == ["where nobody speaks: 3 and 21 words made up in 90 s, 10 more a minute are allowed"]
    assert why(noisy, may_make_up=12) == []


def test_a_verdict_is_read_as_it_was_judged() -> None:
    found = met(WORSE, heard(40, [9]), gender=["male", "female"])
    checks = [vars(each) for each in judge(found, Gate().model_dump(mode="json"))]
    told = {"wins": False, "reasons": reasons(checks), "champion": "v3 | <b>", "checks": checks, "gate": Gate().model_dump(mode="json")}
    told |= {key: found[key] for key in ("n_clips", "n_words", "unit", "normaliser", "level")}
    assert headline(told).startswith("Does not win against v3 | <b>: WER: gain -56.0 points (")
    table = as_markdown(told)
    assert "# The challenger does not win" in table and "| WER | **no** | 34.0 % | 90.0 % | -56.0 (" in table and "<b>" not in table
    page = with_verdict('<nav aria-label="Contents"><ul></ul></nav><main><!-- verdict --></main>', told)
    assert '<ul>\n<li><a href="#verdict">' in page and page.count("failed") == len(told["reasons"])
    assert "v3 | &lt;b&gt;" in page and "<b>" not in page
    assert with_verdict("no place", told) == "no place"
