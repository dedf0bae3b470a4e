"""Synthetic speech is equal on every call, and nobody speaks, and nothing is said, in two splits."""

import io

import numpy as np
import pytest
import soundfile

from tasks.contracts.corpora import EspeakCorpus
from tasks.corpora import Recording, recordings, revision

SPEC = EspeakCorpus(n_train=30, n_dev=4, n_test=6)  # every voice once


@pytest.fixture(scope="module")
def spoken() -> list[Recording]:
    return [each for each in recordings(SPEC) if isinstance(each, Recording)]


def of(rows: list[Recording], split: str) -> list[Recording]:
    return [each for each in rows if each.split == split]


def test_the_sound_is_equal_on_every_call(spoken: list[Recording]) -> None:
    once, again = ([(each.id, each.text, each.speaker, each.split, each.read()) for each in rows] for rows in (spoken, recordings(SPEC)))
    assert once == again
    assert revision(SPEC) == revision(EspeakCorpus())


def test_every_split_has_what_was_asked_for_under_ids_of_its_own(spoken: list[Recording]) -> None:
    assert {split: len(of(spoken, split)) for split in ("train", "dev", "test")} == {"train": 30, "dev": 4, "test": 6}
    assert len({each.id for each in spoken}) == len({each.text for each in spoken}) == len({each.read() for each in spoken}) == len(spoken)
    assert spoken[0].id == "train/00000"


def test_splits_share_no_voice_and_no_sentence(spoken: list[Recording]) -> None:
    for one, other in (("train", "dev"), ("train", "test"), ("dev", "test")):
        assert not {each.speaker for each in of(spoken, one)} & {each.speaker for each in of(spoken, other)}
        assert not {each.text for each in of(spoken, one)} & {each.text for each in of(spoken, other)}


def test_every_recording_is_audible_speech_at_22_khz(spoken: list[Recording]) -> None:
    for each in spoken:
        samples, rate = soundfile.read(io.BytesIO(each.read()), dtype="float32")
        assert rate == 22_050 and samples.ndim == 1
        assert 0.3 < len(samples) / rate < 10, each
        assert 0.01 < np.sqrt(np.mean(samples**2)) and np.abs(samples).max() <= 1, each


def test_another_seed_says_other_sentences(spoken: list[Recording]) -> None:
    other = next(iter(recordings(SPEC.model_copy(update={"seed": 1}))))  # and a reader may stop early
    assert isinstance(other, Recording) and other.id == spoken[0].id and other.text != spoken[0].text
