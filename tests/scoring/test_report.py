import numpy as np
import pyarrow as pa
import pytest

from tasks.contracts.errors import StoreError
from tasks.scoring.html import chart, mark_errors, render_report
from tasks.scoring.intervals import paired_intervals
from tasks.scoring.rates import Errors
from tasks.scoring.report import Prediction, compare, describe_clips

SPLITS = {"train": 1, "dev": 1, "test": 1}


def _errors(edits: list[int], length: int = 10) -> list[Errors]:
    return [Errors(edit, 0, 0, length) for edit in edits]


def test_the_figures_are_those_of_all_clips_and_the_intervals_hold_them() -> None:
    before, after, gain = paired_intervals(_errors([5, 6, 4, 5]), _errors([1, 2, 0, 1]), ["a", "b", "c", "d"], 2000, 0)
    assert (before.value, after.value, gain.value) == pytest.approx((0.5, 0.1, 0.4))
    assert before.low < 0.5 < before.high and after.low < 0.1 < after.high


def test_a_gain_that_is_equal_on_every_clip_has_no_spread_because_the_draws_are_paired() -> None:
    before, _, gain = paired_intervals(_errors([9, 2, 5, 1]), _errors([8, 1, 4, 0]), list("abcd"), 500, 0)
    assert before.high - before.low > 0.3
    assert (gain.low, gain.high) == pytest.approx((0.1, 0.1))


def test_speakers_are_drawn_not_clips() -> None:
    edits = [0] * 50 + [5] * 50
    (by_speaker, _, _), (by_clip, _, _) = (
        paired_intervals(_errors(edits), _errors(edits), speakers, 2000, 0) for speakers in (["a"] * 50 + ["b"] * 50, [""] * 100)
    )
    assert by_speaker.high - by_speaker.low > 4 * (by_clip.high - by_clip.low)


def test_the_same_seed_draws_the_same_intervals() -> None:
    arguments = (_errors([1, 2, 3]), _errors([0, 1, 3]), list("abc"), 300)
    assert paired_intervals(*arguments, 7) == paired_intervals(*arguments, 7) != paired_intervals(*arguments, 8)


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    hits = 0
    for trial in range(200):  # 40 speakers of 5 clips, each with an error rate of their own around 20 %
        rates = random.beta(2, 8, size=40)
        edits = [int(random.binomial(10, rate)) for rate in rates for _ in range(5)]
        speakers = [f"s{number}" for number in range(40) for _ in range(5)]
        interval, _, _ = paired_intervals(_errors(edits), _errors(edits), speakers, 300, trial)
        hits += interval.low <= 0.2 <= interval.high
    assert 0.88 <= hits / 200 <= 0.99


def test_predictions_of_different_clips_are_not_compared() -> None:
    one, other = Prediction("a", "hej", "hej", False, ""), Prediction("b", "hej", "hej", False, "")
    with pytest.raises(StoreError, match="not of the same clips"):
        compare([one], [other], 100, 0)


def test_the_worst_clips_come_first_and_capped_outputs_and_empty_references_are_counted() -> None:
    said = [("a", "en båt", "x"), ("b", "tre hästar", "y"), ("c", "...", "y")]
    first, second = [("", True), ("tre", False), ("hm", False)], [("en båt", False), ("fyra", False), ("", False)]
    before, after = (
        [Prediction(id, text, heard, capped, speaker) for (id, text, speaker), (heard, capped) in zip(said, side, strict=True)]
        for side in (first, second)
    )
    report = compare(before, after, 100, 0)
    assert [clip["id"] for clip in report["worst"]] == ["b", "a", "c"]
    assert (report["before"]["n_capped"], report["n_empty_references"], report["n_speakers"], report["n_words"]) == (1, 1, 2, 4)
    assert report["after"]["wer"]["value"] == pytest.approx(2 / 4)
    assert report["before"]["wer"]["value"] == pytest.approx(4 / 4)  # two missed, one missed, and one made up on the empty reference


def test_clips_are_described_by_corpus_and_language_and_nobody_is_named() -> None:
    rows = [*[("radio", "sv", "train", "anna", "CC0", 2.0)] * 2, ("radio", "sv", "test", "bo", "", 2.0),
            ("radio", "fi", "train", "", "CC0", 2.0), ("", "sv", "dev", "anna", "", 1.0)]  # fmt: skip
    names = ("corpus", "language", "split", "speaker", "licence", "weight")
    clips = pa.Table.from_pylist([{**dict(zip(names, row, strict=True)), "id": "x", "seconds": 3600.0} for row in rows])
    told = describe_clips(clips)
    assert told["n_speakers"] == {"train": 1, "dev": 1, "test": 1}
    assert [tuple(each.values()) for each in told["corpora"]] == [
        ("", "sv", {"dev": 1}, 1.0, 1, 1.0, {"": 1}),
        ("radio", "fi", {"train": 1}, 1.0, 0, 2.0, {"CC0": 1}),
        ("radio", "sv", {"train": 2, "test": 1}, 3.0, 2, 2.0, {"CC0": 2, "": 1}),
    ]
    assert "anna" not in str(told)


def test_errors_are_marked_and_markup_in_texts_is_shown_as_text() -> None:
    assert mark_errors("en röd båt", "en grön båt nu") == "en <del>röd</del> <ins>grön</ins> båt <ins>nu</ins>"
    assert "<script" not in mark_errors("hej", "<script>alert(1)</script>")
    assert mark_errors("", "hm") == "<ins>hm</ins>"


def test_a_chart_of_one_point_and_of_zeros_can_be_drawn() -> None:
    assert chart({"dev": [(100, 0.0)]}).startswith("<svg") and "NaN" not in chart({"a": [(1, 0.0), (2, 0.0)]})


def test_the_page_opens_offline_and_escapes_what_people_said() -> None:
    said = [Prediction("a", "<b>hej</b> & hå", "<i>fel</i>", False, "s")]
    corpus = {"name": "a", "language": "sv", "splits": SPLITS, "hours": 1, "n_speakers": 1, "weight": 1, "licences": {"<u>CC0</u>": 3}}
    report = compare(said, said, 100, 0) | {
        "name": "x",
        "language": "sv",
        "decoding": "greedy",
        "start": {"name": "a new model", "commit": "", "digest": "d"},
        "checkpoint": dict.fromkeys(("n_parameters", "steps", "n_epochs", "seconds", "best_step", "dev_wer", "precision"), 1)
        | {"spent": {"training": 0.9, "looks": 0.1}, "gpu_hours": 2.5}
        | {"device": "cpu", "digest": "e", "key": "k"},
        "dataset": {"splits": SPLITS, "hours": SPLITS, "n_rejected": 0, "rejected": {}, "digest": "f", "n_speakers": {"test": 1},
                    "leaks": [], "corpora": [corpus]},
        "test": {"name": "x", "n_clips": 1},
        "history": [{"step": 1, "loss": 1.0, "dev_loss": 1.0, "dev_wer": float("inf")}],
        "recipe": {},
    }  # fmt: skip
    page = render_report(report, {"a": "data:audio/flac;base64,AAAA"})
    assert "http" not in page and "<b>hej" not in page and "<u>CC0" not in page and "<i>fel" not in page and 'src="data:audio/flac' in page
