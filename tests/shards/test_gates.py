"""Every gate refuses what lies outside with words that a person understands, and lets pass what lies just inside."""

import re
from typing import Any

import pyarrow as pa
import pytest

from tasks.contracts.recipe import Gates
from tasks.shards.gates import refusals

WINDOW = 2 * 16_000  # samples
MEASURED = pa.schema({name: pa.string() for name in ("id", "split", "text", "detail", "sound")} | {"n_samples": pa.int32()}
                     | {name: pa.float32() for name in ("told", "clipped", "silence", "snr")})  # fmt: skip
USUAL = {"split": "train", "text": "hej", "detail": "", "n_samples": 16_000, "told": 0.0, "clipped": 0.0, "silence": 0.2, "snr": 30.0}


def measured(*clips: dict[str, Any]) -> pa.Table:
    """Return clips that no gate refuses, but for what is said of each."""
    rows = [USUAL | {"id": f"clip-{number}", "sound": f"sound-{number}"} | clip for number, clip in enumerate(clips)]
    return pa.Table.from_pylist(rows, MEASURED)


@pytest.mark.parametrize(("settings", "outside", "inside", "reason", "says"), [
    ({"min_seconds": 0.5}, {"n_samples": 7_900}, {"n_samples": 8_000}, "too short", "0.494 s, expected at least 0.5 s"),
    ({"max_seconds": 1.5}, {"n_samples": 24_240}, {"n_samples": 24_000}, "too long", "1.51 s, expected at most 1.5 s"),
    ({}, {"n_samples": WINDOW + 160}, {"n_samples": WINDOW}, "too long", "2.01 s, expected at most 2 s (gates.max_seconds, or the model's"),
    ({"min_text_rate": 3.0}, {"text": "åå"}, {"text": "ååå"}, "little text", "2.00 characters a second, expected at least 3"),
    ({"max_text_rate": 3.0}, {"text": "åååå"}, {"text": "ååå"}, "much text", "4.0 characters a second, expected at most 3"),
    ({"max_text_rate": 0.0}, {"text": "å" * 9_999, "n_samples": 1}, {"text": "å" * 9_999}, "too short", "at least 0.1 s"),
    ({}, {"clipped": 0.051}, {"clipped": 0.05}, "clipped", "5.1% of it at full scale, expected at most 5.0%"),
    ({}, {"silence": 0.99}, {"silence": 0.98}, "silence", "99.0% of it is silence, expected at most 98.0%"),
    ({}, {"snr": -0.1}, {"snr": 0.0}, "no speech", "its level never changes: -0.1 dB between loud and quiet, expected at least 0 dB"),
    ({}, {"told": 1.2}, {"told": 1.09}, "other length", "1.00 s, and its source says 1.20 s; see gates.length_slack"),
    ({"length_slack": 0.5}, {"told": 0.4}, {"told": 1.5}, "other length", "1.00 s, and its source says 0.40 s"),
    ({"length_slack": 0.0, "min_seconds": 0.5}, {"told": 1.2, "n_samples": 1600}, {"told": 9.0}, "too short", "0.100 s"),
    ({"min_snr": -20.0}, {"detail": "no sound"}, {"snr": -10.0}, "unusable audio", "no sound"),
])  # fmt: skip
def test_a_gate_refuses_what_lies_outside_and_no_more(
    settings: dict[str, float], outside: dict[str, Any], inside: dict[str, Any], reason: str, says: str
) -> None:
    refused = refusals(measured({}, outside, inside), Gates(**settings), WINDOW, {})
    assert list(refused) == [1]
    assert refused[1][0] == reason and says in refused[1][1]


def test_what_cannot_be_decoded_says_so_whatever_else_is_unknown_of_it() -> None:
    unknown = {"n_samples": 0, "sound": None, "clipped": None, "silence": None, "snr": None}
    clips = measured({"detail": "not whole: {0} of 3 pages"} | unknown, {}, {"detail": "silent"} | unknown)
    expected = {0: ("unusable audio", "not whole: {0} of 3 pages"), 2: ("unusable audio", "silent")}
    assert refusals(clips, Gates(), WINDOW, {}) == expected


def test_a_clip_has_the_first_reason_that_holds() -> None:
    assert refusals(measured({"n_samples": 100, "clipped": 1.0, "snr": 0.0}), Gates(), WINDOW, {})[0][0] == "too short"


def test_of_one_sound_the_first_is_kept_and_tests_before_devs_before_trainings() -> None:
    splits = ["train", "dev", "train", "test", "dev", "test", "train", "train"]
    sounds = ["in all", "in all", "twice", "in all", "twice in dev", "other", "twice", "twice in dev"]
    clips = measured(*({"split": split, "sound": sound} for split, sound in zip(splits, sounds, strict=True)))
    refused = refusals(clips, Gates(), WINDOW, {})
    keepers = {row: re.findall(r"'(.*)'", detail)[0] for row, (_, detail) in refused.items()}
    assert keepers == {0: "clip-3", 1: "clip-3", 6: "clip-2", 7: "clip-4"}
    assert set(refused.values()) >= {("double sound", "the same sound as clip 'clip-3'; gates.same_sound")}
    assert refusals(clips, Gates(same_sound="keep"), WINDOW, {}) == {}


def test_a_sound_that_is_refused_itself_makes_no_other_a_double() -> None:
    clips = measured({"sound": "same"}, {"sound": "same", "split": "test", "text": ""})
    assert {row: reason for row, (reason, _) in refusals(clips, Gates(), WINDOW, {}).items()} == {1: "little text"}


def test_of_no_clips_none_is_refused() -> None:
    assert refusals(measured(), Gates(), WINDOW, {}) == {}
    assert len(refusals(measured({"clipped": 1.0}, {"snr": -1.0}), Gates(), WINDOW, {})) == 2, "nor is any left for the last gate"
