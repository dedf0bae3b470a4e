"""Suspicion: wrong words said with confidence accuse the label, wrong words without accuse the model."""

import json
import math
import random
from statistics import mean, median
from typing import Any

import pytest

from tasks.corrections.suspects import Clip, Suspect, differences, rank
from tasks.scoring.normalise import plain
from tasks.scoring.rates import count_characters

ALL = 1_000


def clip(id: str, label: str, heard: str, sure: float = 0.9, **told: Any) -> Clip:
    usual = {"capped": False, "seconds": len(label) / 12}
    return Clip(id=id, reference=label, text=heard, logprob=math.log(sure), **(usual | told))


RIGHT = [clip(f"right-{number}", words, words) for number, words in enumerate(["en röd katt", "två blåa hundar", "tre gröna hästar"] * 4)]


def judged(*clips: Clip) -> dict[str, Suspect]:
    return {each.clip.id: each for each in rank([*RIGHT, *clips], ALL)}


def test_wrong_words_with_confidence_accuse_the_label_and_without_the_model() -> None:
    found = judged(clip("label", "nio", "fem", 0.97), clip("model", "nio", "fem", 0.2))
    assert found["label"].score == pytest.approx(0.97, abs=1e-3) and found["label"].confidence == 0.97, "0.9 is usual, and gives 0.9"
    assert found["model"].score == pytest.approx(0.2, abs=1e-3)
    assert found["label"].reasons == ("says 'fem' where the label says 'nio', with confidence 0.97",)
    assert [found[each.id].score for each in RIGHT] == [0.0] * len(RIGHT) and found["right-0"].reasons == ()


def thrown(n: int) -> list[Clip]:
    """Return clips of all sorts, many of them equal but for the id."""
    dice = random.Random(1)
    words = ["", "nio", "мир", "a" * 300, "en röd katt", "!?", "नमस्ते", "<b>"]
    sure, seconds = [1e-9, 0.5, 0.97, 1.0], [0.0, 0.01, 1, 30]
    return [
        clip(f"{dice.random()}", *dice.choices(words, k=2), dice.choice(sure), seconds=dice.choice(seconds), capped=number % 5 == 0)
        for number in range(n)
    ]


def slowly(clips: list[Clip]) -> list[tuple[str, float]]:
    """Return ids and scores, worst first, clip by clip as the formula stands in tasks/corrections/suspects.py."""
    sure = {each.id: math.exp(each.logprob) for each in clips}
    right = [each for each in clips if plain(each.reference) == plain(each.text)]
    everywhere = mean(sure[each.id] for each in right)
    paces = {each.id: math.log(len(plain(each.reference)) / each.seconds) for each in clips if plain(each.reference) and each.seconds}
    middle = median(paces.values())
    spread = max(1.4826 * median(abs(pace - middle) for pace in paces.values()), 0.1)
    scores = {}
    for each in clips:
        label, heard = plain(each.reference), plain(each.text)
        difference = count_characters(label, heard).n_edits / max(len(label), len(heard), 1)
        same = [sure[one.id] for one in right if plain(one.text) == heard]
        words = min(1, math.sqrt(difference / 0.25)) * min(1, 0.9 * sure[each.id] / mean([*same, *[everywhere] * 3]))
        off = abs(paces.get(each.id, middle) - middle) / spread
        length = 0.5 * min(1, max(0, (off - 4) / 6))
        scores[each.id] = 1 - (1 - words * (0.25 if each.capped else 1)) * (1 - length)
    return sorted(((id, round(score, 4)) for id, score in scores.items()), key=lambda each: (-each[1], -round(sure[each[0]], 4), each[0]))


@pytest.mark.parametrize("most", [0, 1, 37, 399, ALL])
def test_the_first_of_a_list_are_those_that_the_formula_puts_first(most: int) -> None:
    clips = thrown(400)
    found = rank(clips, most)
    assert [(each.clip.id, each.score) for each in found] == slowly(clips)[:most]
    assert [clips[each.row] for each in found] == [each.clip for each in found]


def test_the_worst_come_first_and_equal_ones_in_one_order() -> None:
    clips = [clip("a", "nio", "fem", 0.97), clip("b", "nio", "fem", 0.97), clip("c", "nio", "fem", 0.5), *RIGHT]
    expected = ["a", "b", "c", *sorted(each.id for each in RIGHT)]
    for seed in range(3):
        assert [each.clip.id for each in rank(random.Random(seed).sample(clips, len(clips)), ALL)] == expected


def test_case_and_punctuation_are_no_wrong_labels() -> None:
    assert judged(clip("a", "Två blåa hundar!", "två blåa  hundar"))["a"].score == 0


def test_one_wrong_word_in_ten_is_a_wrong_label_and_another_spelling_hardly_is() -> None:
    label = "det var en gång en katt som bodde i skogen"
    found = judged(
        clip("one", label, label.replace("katt", "hund")), clip("all", "nio", "fem"), clip("letter", label, label.replace("dd", "d"))
    )
    assert 0.25 < found["letter"].score < 0.5 < found["one"].score < found["all"].score
    assert found["one"].difference == pytest.approx(4 / len(label), abs=1e-3)


def test_confidence_is_measured_against_what_is_usual_for_these_words() -> None:
    usual = [clip(f"sure-{number}", "fem", "fem", 0.99) for number in range(50)]
    usual += [clip(f"unsure-{number}", "sju", "sju", 0.6) for number in range(50)]
    found = judged(*usual, clip("a", "nio", "sju", 0.7), clip("b", "nio", "fem", 0.8))
    assert found["a"].score > 0.9 > 0.8 > found["b"].score, "never so sure of that word; less sure than ever of this one"


@pytest.mark.parametrize(("label", "heard", "says"), [
    ("en katt", "en stor katt", "says 'stor', which is not in the label, with confidence 0.90"),
    ("en stor katt", "en katt", "does not say 'stor', which is in the label, with confidence 0.90"),
    ("en katt", "", "does not say 'en katt', which is in the label, with confidence 0.90"),
    ("a b c d e", "x b y d z", "says 'x' where the label says 'a' and says 'y' where the label says 'c', and 1 more, with confidence 0.90"),
])  # fmt: skip
def test_the_reason_says_what_differs(label: str, heard: str, says: str) -> None:
    assert judged(clip("a", label, heard))["a"].reasons == (says,)


def test_a_model_that_went_astray_accuses_nobody_much() -> None:
    found = judged(clip("astray", "nio", "na " * 40, 0.99, capped=True), clip("label", "nio", "na", 0.99))
    assert 0.2 < found["astray"].score < 0.26 < 0.9 < found["label"].score
    assert found["astray"].reasons[-1] == "the model ran into the longest label: it went astray"


def test_a_label_of_another_length_than_others_is_suspect_even_if_it_is_heard() -> None:
    found = judged(clip("short", "ja", "ja", seconds=20.0), clip("usual", "ja då", "ja då"))
    assert found["short"].score == pytest.approx(0.5) and found["usual"].score == 0
    assert found["short"].reasons == ("0.1 characters a second, 12.0 are usual here",)


def test_a_corpus_in_which_nothing_is_heard_rightly_is_ranked_too() -> None:
    worse, better = rank([clip("a", "nio", "fem", 0.5), clip("b", "nio", "fem", 0.7)], ALL)
    assert (worse.clip.id, worse.score, better.score) == ("b", 0.63, 0.45)
    assert rank([clip("a", "", "", seconds=0.0)], ALL)[0].score == 0, "nothing written, nothing heard, no length"


def test_scores_stay_between_0_and_1_and_are_json() -> None:
    found = rank(thrown(300), ALL)
    assert all(0 <= each.score <= 1 and bool(each.score) <= bool(each.reasons) for each in found)
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)
    json.dumps([each.reasons for each in found], allow_nan=False)


def test_words_are_aligned() -> None:
    assert differences("En röd katt.", "en blå katt nu") == [("en", "en"), ("röd", "blå"), ("katt", "katt"), ("", "nu")]
    assert differences("", "hej") == [("", "hej")] and differences("hej", "") == [("hej", "")] and differences("", "!") == []
