"""Long recordings: every clip at the place that is told, cuts that are counted, and silence in which a healthy model says nothing."""

import json
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tasks.audio.resample import resample
from tasks.contracts.errors import StoreError
from tasks.model.transcribe import open_model
from tasks.scoring.long_form import cuts_inside, hear_long, nobody_speaks, plan_recordings, stitch
from tasks.scoring.long_rates import compare_long, words_of
from tasks.scoring.normalise import normaliser_for
from tasks.scoring.prediction import Prediction

RATE = 16_000
PLAIN = normaliser_for("fi")


def test_recordings_are_as_long_as_wished_and_hold_each_clip_once() -> None:
    speakers = [f"s{number % 4}" for number in range(80)]
    plans = plan_recordings(speakers, [3 * RATE] * 80, 1.0, 3, seed=1)
    used = [number for each in plans for number in each.clips]
    assert len(plans) == 3 and len(set(used)) == len(used)
    for each in plans:
        assert 60 <= sum(3 * RATE + pause for pause in each.pauses) / RATE < 66
        assert len({speakers[number] for number in each.clips}) <= 2, "of one speaker, until that one has no more"
    assert plans == plan_recordings(speakers, [3 * RATE] * 80, 1.0, 3, seed=1) != plan_recordings(speakers, [3 * RATE] * 80, 1.0, 3, seed=2)


def test_of_few_clips_there_is_one_shorter_recording() -> None:
    (plan,) = plan_recordings(["", ""], [RATE, RATE], 2.0, 3, seed=0)
    assert sorted(plan.clips) == [0, 1]


def test_a_clip_lies_where_it_is_told_and_pauses_are_as_quiet_as_its_room() -> None:
    random = np.random.default_rng(0)
    clips = [np.concatenate([0.01 * random.standard_normal(4_000), random.standard_normal(n)]).astype(np.float32) for n in (8_000, 20_000)]
    samples, spans = stitch(clips, [5_000, 3_000], seed=0)
    assert samples.dtype == np.float32 and len(samples) == 12_000 + 5_000 + 24_000 + 3_000
    for clip, (start, end) in zip(clips, spans, strict=True):
        assert (samples[round(start * RATE) : round(end * RATE)] == clip).all()
    assert np.sqrt((samples[12_000:17_000] ** 2).mean()) == pytest.approx(0.01, rel=0.2)
    assert stitch(clips, [5_000, 3_000], seed=1)[0][12_000] != samples[12_000]
    loud, _ = stitch([0.5 * random.standard_normal(16_000).astype(np.float32)], [8_000], seed=0)
    assert np.sqrt((loud[16_000:] ** 2).mean()) == pytest.approx(0.005, rel=0.2), "of a clip that has no pause"


def test_cuts_in_pauses_are_no_cuts_in_clips() -> None:
    spans = [(0.0, 2.0), (2.5, 4.0)]
    assert cuts_inside([2.0, 2.2, 2.5, 4.0], spans) == 0 and cuts_inside([1.0, 2.2, 3.9], spans) == 2


def test_sounds_in_which_nobody_speaks_are_sounds() -> None:
    for name, samples in nobody_speaks(0).items():
        assert samples.dtype == np.float32 and samples.shape == (10 * RATE,) and np.abs(samples).max() <= 1, name
    assert not nobody_speaks(0)["silence"].any()


def test_two_models_are_compared_on_recordings_and_with_themselves_on_clips() -> None:
    def row(id: str, reference: str, *texts: str) -> dict[str, object]:
        segments = [{"start": 0.0, "end": 1.0, "text": text, "logprob": -0.1} for text in texts]
        spoken = {"clips": ["a", "b"], "n_cuts": 3, "n_inside": 1} if reference else {"clips": []}
        return {"id": id, "seconds": 60.0, "reference": reference, "segments": segments, **spoken}

    before = [row("recording-0", "yksi kaksi kolme neljä", "yksi"), row("noise", "", "kiitos kun", "katsoitte")]
    after = [row("recording-0", "yksi kaksi kolme neljä", "yksi kaksi", "kolme neljä"), row("noise", "")]
    clips = [[Prediction("a", "yksi kaksi", text, False), Prediction("b", "kolme neljä", "kolme neljä", False),
              Prediction("c", "viisi", "", False)] for text in ("yksi", "yksi kaksi")]  # fmt: skip
    told = compare_long(before, after, *clips, PLAIN, 100, 0)
    assert (told["before"]["value"], told["after"]["value"]) == (3 / 4, 0.0)
    assert (told["clips_before"], told["clips_after"]) == (1 / 4, 0.0), "clips that are in no recording do not count"
    assert (told["silence"]["before"], told["silence"]["after"], told["silence"]["seconds"]) == (3, 0, 60.0)
    assert (told["n_recordings"], told["minutes"], told["n_cuts"], told["n_inside"]) == (1, 1.0, 3, 1)
    assert told["unit"] == "recordings" and told["gain"]["low"] is told["gain"]["high"] is None, "one recording has no interval"
    json.dumps(told, allow_nan=False)
    with pytest.raises(StoreError, match="not the same"):
        compare_long(before, after[:1], *clips, PLAIN, 100, 0)


def test_recordings_of_which_no_word_is_left_after_normalisation_have_figures_that_json_can_carry() -> None:
    row = {"id": "recording-0", "seconds": 60.0, "reference": "!", "clips": ["a"], "n_cuts": 0, "n_inside": 0,
           "segments": [{"start": 0.0, "end": 1.0, "text": "kiitos kun", "logprob": -0.1}]}  # fmt: skip
    told = compare_long([row], [row], *[[Prediction("a", "!", "kiitos", False)]] * 2, PLAIN, 100, 0)
    assert (told["after"]["value"], told["clips_after"]) == (2.0, 1.0), "over one word"
    json.dumps(told, allow_nan=False)
    assert compare_long([], [], [], [], PLAIN, 100, 0)["clips_after"] == 0.0


class _Digits:
    def __init__(self, folder: Path, names: list[str]) -> None:
        self.ids, self.speakers = names, [name.split("_")[1] for name in names]
        self.texts = [{"1": "one", "4": "four", "7": "seven", "9": "nine"}[name[0]] for name in names]
        self.sounds = [resample(*soundfile.read(folder / f"{name}.wav", dtype="float32", always_2d=False)) for name in names]
        self.n_samples = [len(each) for each in self.sounds]

    def samples(self, number: int, /) -> np.ndarray:
        return self.sounds[number]


def test_real_digits_are_heard_in_a_long_recording_and_nothing_in_silence(real_data: Path) -> None:
    names = [f"{digit}_{speaker}_{take}" for speaker in ("jackson", "theo") for digit in (1, 4, 7, 9) for take in (0, 1, 2)]
    clips = _Digits(real_data / "fsdd-english-digits" / "audio", names)
    whisper = open_model(str(real_data / "whisper-digits-from-scratch"), "en")
    recording, *quiet = hear_long(whisper, clips, 2.0, 1, seed=0)
    assert sorted(recording["clips"]) == sorted(names) and recording["n_cuts"] >= 5, "the window is 3 s"
    said, heard = recording["reference"].split(), words_of(recording).split()
    matches = sum(each.size for each in SequenceMatcher(None, said, heard, autojunk=False).get_matching_blocks())
    assert len(said) == 24 and matches >= 18, "it learnt digits alone: of several in a window it makes some up"
    ends = [each["end"] for each in recording["segments"]]
    assert ends == sorted(ends) and ends[-1] <= recording["seconds"] and all(each["start"] < each["end"] for each in recording["segments"])
    assert words_of(next(each for each in quiet if each["id"] == "silence")) == ""
