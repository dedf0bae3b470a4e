"""What is compared, and what of the clips may be told."""

import json

import pyarrow as pa
import pytest

from tasks.contracts.errors import StoreError
from tasks.scoring.normalise import normaliser_for
from tasks.scoring.prediction import Prediction
from tasks.scoring.public import for_everybody
from tasks.scoring.report import compare, describe_clips

PLAIN = normaliser_for("fi")


def test_predictions_of_different_clips_are_not_compared() -> None:
    one, other = Prediction("a", "hej", "hej", False), Prediction("b", "hej", "hej", False)
    with pytest.raises(StoreError, match="not of the same clips"):
        compare([one], [other], [{"id": "a", "speaker": ""}], PLAIN, set(), 100, 0)
    with pytest.raises(StoreError, match="not of the same clips"):
        compare([one], [one], [{"id": "b", "speaker": ""}], PLAIN, set(), 100, 0)


def test_the_worst_clips_come_first_and_capped_outputs_and_empty_references_are_counted() -> None:
    said = [("a", "en båt", "x"), ("b", "tre hästar", "y"), ("c", "...", "y")]
    first, second = [("", True), ("tre", False), ("hm", False)], [("en båt", False), ("fyra", False), ("", False)]
    before, after = (
        [Prediction(id, text, heard, capped, -0.1, 3) for (id, text, _), (heard, capped) in zip(said, side, strict=True)]
        for side in (first, second)
    )
    clips = [{"id": id, "speaker": speaker, "seconds": 1.0} for id, _, speaker in said]
    report = compare(before, after, clips, PLAIN, {"en", "båt"}, 100, 0)
    assert [clip["id"] for clip in report["worst"]] == ["b", "a", "c"]
    assert (report["before"]["n_capped"], report["n_empty_references"], report["n_speakers"], report["n_words"]) == (1, 1, 2, 4)
    assert report["after"]["wer"]["value"] == pytest.approx(2 / 4)
    assert report["before"]["wer"]["value"] == pytest.approx(4 / 4)  # two missed, one missed, and one made up on the empty reference
    assert (report["normaliser"], report["unit"]) == (PLAIN.name, "speakers")
    assert report["hallucinations"]["before"]["n_on_silence"] == 1 and report["mistakes"]["after"]["n_deleted"] == 1
    assert {each["by"] for each in report["slices"]} >= {"speaker", "length"}
    json.dumps(report, allow_nan=False)


def test_what_is_published_names_no_clip() -> None:
    said = [("anna-1.wav", "en båt", "x"), ("bo-7.wav", "tre hästar", "y")]
    heard = [Prediction(id, text, "fel fel fel fel fel fel fel fel fel", False, -0.1, 3) for id, text, _ in said]
    report = compare(heard, heard, [{"id": id, "speaker": who, "seconds": 1.0} for id, _, who in said], PLAIN, set(), 100, 0)
    report |= {
        "start": {"name": "/home/anna/models/whisper", "commit": "folder-1f2e", "digest": "d"},
        "recipe": {
            "corpus": {"kind": "mix", "parts": [
                {"name": "own", "corpus": {"kind": "folder", "path": "anna/recordings", "elsewhere": ["gs://anna"], "text_column": "ord"}},
                {"name": "nemo", "corpus": {"kind": "nemo", "train": ["anna.json"], "dev": [], "audio": ""}},
                {"name": "fleurs", "corpus": {"kind": "hub", "name": "google/fleurs", "train": ["train"]}},
                {"name": "local", "corpus": {"kind": "hub", "name": "/data/anna"}},
            ]},
            "scoring": {"others": [{"name": "en", "corpus": {"kind": "common_voice", "path": "/anna/cv"}}]},
            "model": {"kind": "pretrained", "name": "models/anna"},
        },
    }  # fmt: skip
    public = for_everybody(report)
    assert "anna" not in json.dumps(public) and "anna" in json.dumps(report)
    own, nemo, fleurs, _ = (part["corpus"] for part in public["recipe"]["corpus"]["parts"])
    assert (own["text_column"], nemo["dev"], fleurs["name"], fleurs["train"]) == ("ord", [], "google/fleurs", ["train"])
    assert (
        {each["id"] for each in public["worst"]}
        == {each["id"] for each in public["hallucinations"]["after"]["clips"]}
        == {"clip 1", "clip 2"}
    )
    assert [each["n_edits"] for each in public["worst"]] == [each["n_edits"] for each in report["worst"]]


def test_another_normaliser_counts_other_errors() -> None:
    heard = [Prediction("a", "tjugofem procent", "25 %", False)]
    rates = [compare(heard, heard, [{"id": "a", "speaker": ""}], each, set(), 100, 0)["after"]["wer"]["value"]
             for each in (PLAIN, normaliser_for("sv"))]  # fmt: skip
    assert rates == [1.0, 0.0]


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
