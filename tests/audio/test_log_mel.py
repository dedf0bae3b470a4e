"""Our features against the reference: every value equal, not close."""

import csv
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from transformers import WhisperFeatureExtractor

from tasks.audio.decode import decode
from tasks.audio.log_mel import FLOOR, HOP, log_mel, n_frames_with_sound, restore
from tasks.audio.resample import resample
from tasks.contracts.errors import AudioError

SHORT = [1, 2, 159, 160, 161, 199, 200, 201, 399, 400, 401]  # samples: around a hop, half a frame and a frame
FROM_THE_END = [401, 400, 399, 361, 360, 359, 201, 200, 199, 161, 160, 159, 2, 1, 0]


@cache
def extractor(n_mels: int, seconds: int) -> WhisperFeatureExtractor:
    return WhisperFeatureExtractor(feature_size=n_mels, chunk_length=seconds)


def reference(samples: np.ndarray, n_mels: int, seconds: int) -> np.ndarray:
    return extractor(n_mels, seconds)(samples, sampling_rate=16_000, return_tensors="np").input_features[0]


def ours(samples: np.ndarray, n_mels: int, seconds: int) -> np.ndarray:
    return restore(*log_mel(samples, n_mels, seconds * 16_000), seconds * 16_000 // HOP)


def assert_equal(samples: np.ndarray, n_mels: int, seconds: int) -> None:
    got, expected = ours(samples, n_mels, seconds), reference(samples, n_mels, seconds)
    assert got.dtype == expected.dtype == np.float32 and got.shape == expected.shape == (n_mels, seconds * 100)
    assert (got == expected).all(), f"{samples.size} samples: {(got != expected).sum()} values differ, by {np.abs(got - expected).max()}"


def sound(kind: str, n_samples: int) -> np.ndarray:
    random = np.random.default_rng(n_samples)
    samples = {
        "noise": lambda: 0.1 * random.normal(size=n_samples),
        "tone": lambda: 0.3 * np.sin(2 * np.pi * 440 * np.arange(n_samples) / 16_000),
        "silence": lambda: np.zeros(n_samples),
        "full scale": lambda: np.sign(random.normal(size=n_samples)),
        "whisper": lambda: 1e-5 * random.normal(size=n_samples),
    }
    return samples[kind]().astype(np.float32)


@pytest.mark.parametrize("n_mels", [80, 128])  # pitfall 11
@pytest.mark.parametrize("seconds", [3, 4])
@pytest.mark.parametrize("kind", ["noise", "tone", "silence", "full scale", "whisper"])
def test_every_value_equals_the_extractors_in_a_short_window(kind: str, seconds: int, n_mels: int) -> None:
    window = seconds * 16_000
    random = np.random.default_rng(seconds).integers(1, window, 6)
    for n_samples in [*SHORT, *(window - each for each in FROM_THE_END), *random]:
        assert_equal(sound(kind, n_samples), n_mels, seconds)


def test_every_length_near_the_end_of_a_window_is_equal() -> None:
    for n_samples in range(3 * 16_000 - 402, 3 * 16_000 + 1, 3):
        assert_equal(sound("noise", n_samples), 80, 3)


@pytest.mark.parametrize("n_mels", [80, 128])
def test_every_value_equals_the_extractors_in_thirty_seconds(n_mels: int) -> None:
    random = np.random.default_rng(0).integers(1, 480_000, 6)
    for n_samples in [*SHORT[::2], *(480_000 - each for each in FROM_THE_END), *random]:
        assert_equal(sound("noise", n_samples), n_mels, 30)
    for kind in ("tone", "silence", "full scale", "whisper"):
        for n_samples in (1, 70_001, 479_801, 480_000):
            assert_equal(sound(kind, n_samples), n_mels, 30)


@pytest.mark.parametrize(("name", "seconds"), [("fsdd-english-digits", 3), ("ljspeech-100", 30), ("swedish-common-voice", 30)])
def test_every_real_recording_gives_the_extractors_features(real_data: Path, name: str, seconds: int) -> None:
    with (real_data / name / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 10
    for row in rows:
        samples = resample(*decode((real_data / name / row["path"]).read_bytes(), 30))
        for n_mels in (80, 128):
            assert_equal(samples, n_mels, seconds)


def test_stored_frames_and_fill_are_all_there_is(tone: np.ndarray) -> None:
    features, fill = log_mel(tone, 80, 480_000)
    whole = reference(tone, 80, 30)
    assert features.shape == (80, n_frames_with_sound(tone.size)) == (80, 102)
    assert features.flags.c_contiguous
    assert (whole[:, features.shape[1] :] == np.float32(fill)).all()
    assert (whole[:, features.shape[1] - 1] != np.float32(fill)).any(), "the last stored frame still carries sound"


def test_the_fill_is_the_clips_own_floor() -> None:  # pitfalls 12 and 13: neither 0 nor one value for all clips
    fills = [log_mel(sound(kind, 16_000), 80, 48_000)[1] for kind in ("full scale", "noise", "silence")]
    assert fills == sorted(fills, reverse=True) and len(set(fills)) == 3
    assert fills[-1] == (np.log10(FLOOR) + 4) / 4 == -1.5
    loud, fill = log_mel(sound("full scale", 16_000), 80, 48_000)
    assert fill == pytest.approx(loud.max() - 8 / 4, abs=1e-6)


def test_half_precision_costs_at_most_five_ten_thousandths() -> None:
    for kind in ("noise", "tone", "silence", "full scale", "whisper"):
        features, _ = log_mel(sound(kind, 48_000), 128, 48_000)
        assert np.abs(features.astype(np.float16).astype(np.float32) - features).max() <= 5e-4


def test_restoring_keeps_the_storage_type_and_leaves_its_argument_alone(tone: np.ndarray) -> None:
    features, fill = log_mel(tone, 80, 48_000)
    stored = features.astype(np.float16)
    stored.flags.writeable = False
    whole = restore(stored, fill, 300)
    assert whole.dtype == np.float16 and (whole[:, :102] == stored).all() and (whole[:, 102:] == np.float16(fill)).all()


@pytest.mark.parametrize(
    "samples, message",
    [
        (np.zeros(48_001, np.float32), r"^3\.00 s, expected at most the model's window of 3 s$"),  # pitfall 14
        (np.zeros(0, np.float32), r"^need one channel of samples, got shape \(0,\)$"),
        (np.zeros((2, 100), np.float32), r"^need one channel of samples, got shape \(2, 100\)$"),
        (np.array([0, np.nan], np.float32), "^samples hold a NaN or an infinity$"),
        (np.array([0, np.inf], np.float32), "^samples hold a NaN or an infinity$"),
    ],
    ids=["too long", "empty", "two channels", "NaN", "infinity"],
)
def test_what_is_no_clip_is_refused(samples: np.ndarray, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        log_mel(samples, 80, 48_000)
