"""Confidence against truth, computed by hand."""

import json
import math

import numpy as np
import pytest

from tasks.scoring.calibration import calibration
from tasks.scoring.rates import Errors

RIGHT, WRONG = Errors(0, 0, 0, 10), Errors(2, 0, 0, 10)


def _logs(*confidences: float) -> list[float]:
    return [math.log(each) if each else -math.inf for each in confidences]


def test_bins_hold_equally_many_clips_and_their_distances_are_the_error() -> None:
    found = calibration(_logs(*[0.9] * 10, *[0.5] * 10), [RIGHT] * 8 + [WRONG] * 2 + [RIGHT] * 2 + [WRONG] * 8)
    low, high = found["bins"]
    assert low == pytest.approx({"low": 0.5, "high": 0.5, "n_clips": 10, "confidence": 0.5, "right": 0.2})
    assert high == pytest.approx({"low": 0.9, "high": 0.9, "n_clips": 10, "confidence": 0.9, "right": 0.8})
    assert found["error"] == pytest.approx((10 * 0.3 + 10 * 0.1) / 20)
    assert found["auc"] == pytest.approx((8 * 8 + (8 * 2 + 2 * 8) / 2) / 100)  # of 10 right and 10 wrong


def test_clips_of_one_confidence_are_in_one_bin() -> None:
    found = calibration([0.0] * 100, [RIGHT, WRONG] * 50)  # as of models that tell no confidence
    assert [(each["n_clips"], each["right"]) for each in found["bins"]] == [(100, 0.5)]
    assert (found["auc"], found["error"]) == (0.5, 0.5)
    assert found["thresholds"] == [{"confidence": 1.0, "kept": 1.0, "wer": 0.1}]


def test_many_clips_are_in_ten_bins_few_in_one() -> None:
    confidences = np.random.default_rng(0).uniform(0.1, 1, 1003)
    found = calibration(np.log(confidences).tolist(), [RIGHT] * 1003)
    assert sorted({each["n_clips"] for each in found["bins"]}) == [100, 101] and len(found["bins"]) == 10
    assert [len(calibration(_logs(*[0.1, 0.2, 0.3] * n), [RIGHT] * 3 * n)["bins"]) for n in (1, 6)] == [1, 1]


@pytest.mark.parametrize(
    "right, wrong, auc",
    [
        ([0.9, 0.8], [0.1, 0.2], 1.0),
        ([0.1], [0.9], 0.0),
        ([0.3, 0.7], [0.3, 0.5], (0.5 + 0 + 1 + 1) / 4),
        ([0.0, 1.0], [0.0], 0.75),
        ([0.5], [], None),
        ([], [0.5, 0.6], None),
    ],
)
def test_auc_is_the_chance_that_a_right_clip_is_more_confident(right: list[float], wrong: list[float], auc: float | None) -> None:
    assert calibration(_logs(*right, *wrong), [RIGHT] * len(right) + [WRONG] * len(wrong))["auc"] == auc


def test_a_threshold_tells_what_is_kept_and_how_good_it_is() -> None:
    confidences = [number / 100 for number in range(1, 101)]
    errors = [Errors(5, 0, 0, 10)] * 20 + [Errors(0, 1, 0, 10)] * 30 + [RIGHT] * 40 + [Errors(0, 0, 0, 40)] * 10
    rows = calibration(_logs(*confidences), errors)["thresholds"]
    by_kept = {round(row["kept"], 2): row for row in rows}
    assert list(by_kept) == [1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.25, 0.1]
    assert by_kept[1.0] == pytest.approx({"confidence": 0.01, "kept": 1.0, "wer": (20 * 5 + 30) / (90 * 10 + 10 * 40)})
    assert by_kept[0.8] == pytest.approx({"confidence": 0.21, "kept": 0.8, "wer": 30 / (70 * 10 + 10 * 40)})
    assert by_kept[0.5]["wer"] == 0 and by_kept[0.5]["confidence"] == pytest.approx(0.51)
    for row in rows:  # a user who keeps what is at least as confident gets these clips
        assert sum(each >= row["confidence"] - 1e-12 for each in confidences) == round(100 * row["kept"])


def test_made_up_words_on_silence_are_wrong_and_silence_kept_is_right() -> None:
    found = calibration(_logs(0.2, 0.6), [Errors(0, 0, 3, 0), Errors(0, 0, 0, 0)])
    assert found["auc"] == 1.0 and [row["wer"] for row in found["thresholds"]] == [3.0, 0.0]


def test_the_figures_can_be_written_as_json() -> None:
    errors = [RIGHT, WRONG, RIGHT]
    assert json.loads(json.dumps(calibration(_logs(0.5, 0.0, 1.0), errors), allow_nan=False)) == calibration(_logs(0.5, 0.0, 1.0), errors)
