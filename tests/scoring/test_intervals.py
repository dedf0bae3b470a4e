"""Intervals hold the truth as often as they say, with few speakers too; they are paired, seeded, and fit into memory."""

import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest

from tasks.scoring import intervals
from tasks.scoring.intervals import Interval, interval, paired_intervals, unit
from tasks.scoring.rates import Errors


def _errors(edits: Sequence[int], length: int = 10) -> list[Errors]:
    return [Errors(int(edit), 0, 0, length) for edit in edits]


def _limits(each: Interval) -> tuple[float, float]:
    assert each.low is not None and each.high is not None
    return each.low, each.high


def test_the_figures_are_those_of_all_clips_and_the_intervals_hold_them() -> None:
    before, after, gain = paired_intervals(_errors([5, 6, 4, 5]), _errors([1, 3, 0, 0]), ["a", "b", "c", "d"], 2000, 0)
    assert (before.value, after.value, gain.value) == pytest.approx((0.5, 0.1, 0.4))
    assert before.low < 0.5 < before.high and 0 <= after.low < 0.1 < after.high and gain.low < 0.4 < gain.high


def test_long_clips_weigh_more() -> None:
    before, _, _ = paired_intervals([Errors(1, 0, 0, 2), Errors(0, 3, 2, 98)], _errors([0, 0]), ["a", "b"], 100, 0)
    assert before.value == pytest.approx(6 / 100)


def test_a_gain_that_is_equal_on_every_clip_has_no_spread_because_the_draws_are_paired() -> None:
    before, _, gain = paired_intervals(_errors([9, 2, 5, 1]), _errors([8, 1, 4, 0]), list("abcd"), 500, 0)
    assert before.high - before.low > 0.3
    assert (gain.low, gain.high) == pytest.approx((0.1, 0.1))


def test_speakers_are_weighed_not_clips() -> None:
    edits = [0] * 50 + [5] * 50
    by_speaker, by_clip = (interval(_errors(edits), speakers, 2000, 0) for speakers in (["a"] * 50 + ["b"] * 50, [""] * 100))
    assert by_speaker.high - by_speaker.low > 4 * (by_clip.high - by_clip.low)


def test_one_speaker_alone_is_judged_by_clips_and_the_report_can_say_so() -> None:
    assert interval(_errors([1, 2, 3]), ["a"] * 3, 300, 0) == interval(_errors([1, 2, 3]), [""] * 3, 300, 0)
    for speakers in (["a", "a"], ["", ""], ["a"], [""], [], ["a", ""], ["a", "", ""]):
        assert unit(speakers, _errors([1] * len(speakers))) == "clips"
    assert unit(["a", "b"], _errors([1, 0])) == unit(["a", "b", ""], _errors([1, 0, 0])) == "speakers"


def test_a_speaker_who_said_nearly_all_is_judged_by_clips_too() -> None:
    for n_other, weighed in ((4, "speakers"), (1, "clips")):  # of 16 clips and of 13
        assert unit(["a"] * 12 + ["b"] * n_other, _errors([1] * (12 + n_other))) == weighed
    assert unit(["a", "a", "b"], [*_errors([1, 1]), Errors(0, 0, 3, 0)]) == "clips", "b said nothing"


@pytest.mark.parametrize("n_others", [1, 2, 5, 20])
@pytest.mark.parametrize("other", ["", "b"])
def test_few_clips_beside_those_of_one_speaker_do_not_make_the_interval_explode(n_others: int, other: str) -> None:
    random, speakers = np.random.default_rng(3), ["a"] * 500 + [other] * n_others
    for seed in range(10):
        low, high = _limits(interval(_errors(random.binomial(10, 0.1, len(speakers))), speakers, 500, seed))
        assert 0.07 < low < high < 0.13


def test_what_is_heard_where_a_speaker_said_nothing_counts_and_does_not_make_the_interval_explode() -> None:
    random = np.random.default_rng(3)
    found = interval([*_errors(random.binomial(10, 0.1, 100)), Errors(0, 0, 30, 0)], ["a"] * 100 + ["b"], 2000, 0)
    low, high = _limits(found)
    assert found.value > 0.12 and 0.07 < low < found.value < high < 0.35


def test_clips_without_words_are_weighed_as_others_are() -> None:
    random, hits = np.random.default_rng(0), 0
    for trial in range(200):  # 60 clips, about half of them empty, in which something is heard all the same: 2 words on 10 words, or none
        edits, lengths = random.binomial(10, 0.1, 60), np.where(random.random(60) < 0.5, 0, 10)
        low, high = _limits(interval([Errors(0, 0, int(n), int(of)) for n, of in zip(edits, lengths, strict=True)], [""] * 60, 300, trial))
        hits += low <= 0.2 <= high
    assert 0.9 <= hits / 200 <= 0.99


def test_an_unknown_speaker_is_never_taken_for_a_known_one() -> None:
    edits = _errors([0, 5, 1, 7])
    assert interval(edits, ["clip 1", "", "b", "c"], 300, 0) == interval(edits, ["a", "", "b", "c"], 300, 0)


def test_one_clip_tells_nothing_of_the_spread_and_two_of_which_one_has_the_words_no_more() -> None:
    nothing = Interval(0.3, None, None), Interval(0.1, None, None), Interval(pytest.approx(0.2), None, None)
    for speaker in ("a", ""):
        assert paired_intervals(_errors([3]), _errors([1]), [speaker], 100, 0) == nothing
        for other in ("b", "", speaker):
            pair = [*_errors([1]), Errors(0, 0, 2, 0)], [*_errors([1]), Errors(0, 0, 0, 0)]
            assert paired_intervals(*pair, [speaker, other], 100, 0) == nothing
    assert interval([Errors(10, 0, 0, 100), Errors(1, 0, 0, 1)], ["", ""], 100, 0) == Interval(11 / 101, None, None)
    assert paired_intervals([], [], [], 100, 0) == (Interval(0.0, None, None),) * 3


def test_where_all_err_alike_there_is_no_spread() -> None:
    assert interval(_errors([0, 0, 0]), list("abc"), 100, 0) == Interval(0, 0, 0)


def test_speakers_who_said_nothing_do_not_divide_by_zero() -> None:  # pitfall 32
    silent = [Errors(0, 0, 3, 0)] * 3
    assert interval(silent, ["a", "b", ""], 100, 0) == Interval(9, None, None)
    assert interval([*silent, *_errors([1])], list("abcd"), 100, 0) == Interval(1.0, None, None)
    for errors in ([*silent, *_errors([1, 2, 0])], [*silent, *_errors([1, 0])]):
        for each in paired_intervals(errors, errors, [str(number) for number in range(len(errors))], 1000, 0):
            low, high = _limits(each)
            assert np.isfinite([low, high]).all() and low <= each.value <= high


def test_the_same_seed_draws_the_same_intervals() -> None:
    arguments = (_errors([1, 2, 3]), _errors([0, 1, 3]), list("abc"), 300)
    assert paired_intervals(*arguments, 7) == paired_intervals(*arguments, 7) != paired_intervals(*arguments, 8)


def test_the_weights_are_of_the_beta_law_that_was_published() -> None:
    weights = intervals._weighed(np.eye(4), 50_000, 0).ravel()  # of Beta(1/2, 3/2): mean 1/4, variance 1/16, third moment 5/64
    assert (weights.mean(), weights.var(), (weights**3).mean()) == pytest.approx((1 / 4, 1 / 16, 5 / 64), rel=0.02)
    assert weights.min() > 0 and weights.max() <= 1


def test_a_second_implementation_by_definition_agrees() -> None:
    random = np.random.default_rng(5)
    edits, lengths = random.binomial(60, random.beta(2, 8, 12)), np.full(12, 60)
    told = interval([Errors(int(each), 0, 0, 60) for each in edits], [f"s{number}" for number in range(12)], 8_000, 0)
    rate, t = edits.sum() / lengths.sum(), []
    for weights in random.beta(0.5, 1.5, (8_000, 12)):
        drawn = np.average(edits, weights=weights) / np.average(lengths, weights=weights)
        error = np.sqrt(np.average((edits - drawn * lengths) ** 2, weights=weights) / 12) / np.average(lengths, weights=weights)
        t.append((drawn - rate) / error)
    without = [(edits.sum() - edit) / (lengths.sum() - length) for edit, length in zip(edits, lengths, strict=True)]
    jackknife = np.sqrt(sum((each - rate) ** 2 for each in without) * 11 / 12)
    low, high = rate - jackknife * np.quantile(t, [0.975, 0.025])
    assert (told.value, told.low, told.high) == pytest.approx((rate, low, high), rel=0.03)


@pytest.mark.parametrize("n_speakers, n_clips", [(40, 5), (6, 8), (3, 8)])
def test_the_intervals_hold_the_truth_about_as_often_as_they_say(n_speakers: int, n_clips: int) -> None:
    random = np.random.default_rng(0)
    speakers = [f"s{number}" for number in range(n_speakers) for _ in range(n_clips)]
    hits = np.zeros(2)
    for trial in range(300):  # each speaker with an error rate of their own around 20 %, halved by the training, more or less
        rates = np.repeat(random.beta(2, 8, size=n_speakers), n_clips)
        edits = random.binomial(10, rates)
        better = random.binomial(edits, np.repeat(random.beta(5, 5, size=n_speakers), n_clips))
        before, _, gain = paired_intervals(_errors(edits), _errors(better), speakers, 300, trial)
        hits += before.low <= 0.2 <= before.high, gain.low <= 0.1 <= gain.high
    assert (hits / 300 >= 0.9).all() and (hits / 300 <= 0.98).all()


def test_many_speakers_and_draws_fit_into_memory_and_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    errors, speakers = _errors(np.random.default_rng(0).integers(0, 5, 5000)), [f"s{number}" for number in range(5000)]
    tracemalloc.start()
    whole = interval(errors, speakers, 2000, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6  # bytes; all weights at once take 120e6
    monkeypatch.setattr(intervals, "CHUNK", 5000 * 150)
    other = interval(errors, speakers, 2000, 0)
    assert (other.low, other.high) == pytest.approx((whole.low, whole.high), rel=1e-5)
