"""CTranslate2 hears what our own decoding hears, ends where it ends, and is refused where it does not.

The package is optional: what needs it is skipped where it is not installed. About four seconds with it.
"""

import csv
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tasks.audio.decode import decode
from tasks.audio.log_mel import log_mel
from tasks.audio.resample import resample
from tasks.contracts.errors import ModelError
from tasks.model import ctranslate
from tasks.model.ctranslate import Engine, agree, convert, hear_ctranslate, listen_with, open_engine
from tasks.model.generate import Heard, encode, hear_all, pad_features, put_into_words
from tasks.model.whisper import Whisper, add_language, load_whisper
from tasks.scoring.rates import count_words, rate
from tasks.shards.format import Example
from tests.support.tiny import new_folder, tones


@pytest.fixture
def installed() -> None:
    pytest.importorskip("ctranslate2", reason="the optional package ctranslate2 is not installed")


def engine_of(folder: Path, target: Path, language: str = "sv", quantisation: ctranslate.Quantisation = "float32") -> Engine:
    return open_engine(convert(folder, target, quantisation), load_whisper(folder, language, "cpu"), n_threads=1)


def wer(references: list[str], hypotheses: list[str]) -> float:
    return rate([count_words(*pair) for pair in zip(references, hypotheses, strict=True)])


def assert_same(whisper: Whisper, engine: Engine, features: torch.Tensor, most: int | None = None) -> list[Heard]:
    ours, theirs = put_into_words(whisper, encode(whisper, features), most), hear_ctranslate(engine, features, most)
    for one, other in zip(ours, theirs, strict=True):
        assert (one.text, one.capped, one.n_tokens) == (other.text, other.capped, other.n_tokens)
        assert other.logprob == pytest.approx(one.logprob, abs=5e-4) and other.no_speech == pytest.approx(one.no_speech, abs=5e-4)
    return theirs


def digits(real_data: Path) -> torch.Tensor:
    """Twenty recordings of the test split, and ten that are two of them in a row, [30, 80, 300]."""
    folder = real_data / "fsdd-english-digits"
    with (folder / "manifest.csv").open() as file:
        paths = [row["path"] for row in csv.DictReader(file) if row["split"] == "test"][::15]
    sounds = [resample(*decode((folder / path).read_bytes(), 30)) for path in paths]
    sounds += [np.concatenate([one, other]) for one, other in zip(sounds[:10], sounds[10:], strict=True)]
    return pad_features([Example(str(n), "", each.size, *log_mel(each, 80, 48_000)) for n, each in enumerate(sounds)], 300)


def test_real_digits_are_heard_by_both_engines_alike(installed: None, real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "whisper-digits-from-scratch"  # a window of 3 s
    engine, features = engine_of(folder, tmp_path, "en"), digits(real_data)
    heard = assert_same(engine.whisper, engine, features)
    assert len({each.text for each in heard}) > 12 and not any(each.capped for each in heard)
    cut = assert_same(engine.whisper, engine, features, most=2)
    assert {each.capped for each in cut} == {True, False}, "one word and the end fit, two words do not"
    assert_same(engine.whisper, engine, features, most=1)


def test_integers_hear_nearly_the_same_words(installed: None, real_data: Path, tmp_path: Path) -> None:
    engine = engine_of(real_data / "whisper-digits-from-scratch", tmp_path, "en", "int8")
    features = digits(real_data)
    ours = put_into_words(engine.whisper, encode(engine.whisper, features))
    assert (tmp_path / "model.bin").stat().st_size < 9e6, "a byte for a weight, of 7.87 million"
    assert agree(ours, hear_ctranslate(engine, features), [str(n) for n in range(30)], wer, tolerance=0.1) <= 0.1


@pytest.mark.parametrize("changes", [{}, {"language": "en"}, {"window": 30}], ids=["", "English", "a window of 30 s"])
def test_a_model_that_comes_to_no_end_is_capped_by_both_alike(installed: None, tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = new_folder(tmp_path / "model", seed=3, **changes)
    engine = engine_of(folder, tmp_path / "engine", changes.get("language", "sv"))
    heard = assert_same(engine.whisper, engine, pad_features(tones(), engine.whisper.shape.n_frames))
    assert all(each.capped for each in heard) and any(each.text for each in heard)


def test_a_language_that_was_added_is_refused_and_those_before_it_are_heard(installed: None, tmp_path: Path) -> None:
    add_language(new_folder(tmp_path / "model", seed=5), tmp_path / "more", "rm")
    engine = engine_of(tmp_path / "more", tmp_path / "engine", "sv")
    assert_same(engine.whisper, engine, pad_features(tones(), 100))
    with pytest.raises(ModelError, match="the token of 'rm' was added behind the timestamps"):
        open_engine(tmp_path / "engine", load_whisper(tmp_path / "more", "rm", "cpu"))


def test_features_that_do_not_fill_the_window_are_refused(installed: None, tmp_path: Path) -> None:
    engine = engine_of(new_folder(tmp_path / "model"), tmp_path / "engine")
    with pytest.raises(ModelError, match=r"features of \(80, 90\) bins and frames, expected \(80, 100\)"):
        hear_ctranslate(engine, torch.zeros(1, 80, 90))


def test_what_cannot_be_converted_or_opened_is_refused(installed: None, tmp_path: Path) -> None:
    whisper = load_whisper(new_folder(tmp_path / "model"), "sv", "cpu")
    with pytest.raises(ModelError, match="cannot open it"):
        open_engine(tmp_path, whisper)
    (tmp_path / "model" / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="cannot convert it"):
        convert(tmp_path / "model", tmp_path / "engine")
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no weights as safetensors"):
        convert(tmp_path / "model", tmp_path / "engine")


def test_an_engine_of_another_checkpoint_is_refused(installed: None, tmp_path: Path) -> None:
    target = convert(new_folder(tmp_path / "model"), tmp_path / "engine")
    other = load_whisper(new_folder(tmp_path / "other", n_mels=128), "sv", "cpu")
    with pytest.raises(ModelError, match="made of another checkpoint: 80 bins"):
        open_engine(target, other)


def test_engines_that_disagree_are_refused_and_the_clips_are_named() -> None:
    ours = [Heard("one two", False), Heard("three", False), Heard("", False)]
    theirs = [Heard("one two", False), Heard("tree", False), Heard("", False)]
    ids = ["clip-a", "clip-b", "clip-c"]
    assert agree(ours, ours, ids, wer) == 0
    assert agree(ours, theirs, ids, wer, tolerance=0.34) == pytest.approx(1 / 3)
    with pytest.raises(ModelError, match=r"1 of 3 clips differently: a WER of 33.33%.*at most 10.00%.*clip-b: 'three' here, 'tree' there"):
        agree(ours, theirs, ids, wer, tolerance=0.1)
    with pytest.raises(ModelError, match="clip-c: '' here, 'one' there"):
        agree(ours[2:], [Heard("one", False)], ids[2:], wer, tolerance=0.5)


def test_without_the_package_the_refusal_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctranslate2.converters", None)
    with pytest.raises(ModelError, match=r"pip install .viska\[ctranslate2\]"):
        convert(new_folder(tmp_path), tmp_path / "engine")


def test_a_listener_hears_what_we_hear_and_leaves_no_file(installed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", None)
    folder = new_folder(tmp_path / "model", seed=3)
    whisper = load_whisper(folder, "sv", "cpu")
    listener = listen_with(folder, whisper, tones(), 4, always_equal)
    assert not list((tmp_path / "temporary").iterdir())
    ours, theirs = dict(hear_all(whisper, tones(), 4)), dict(listener(whisper, tones(), 4))
    assert [ours[each].text for each in range(6)] == [theirs[each].text for each in range(6)]


def always_equal(references: list[str], hypotheses: list[str]) -> float:
    """Stand for a WER where the words are equal: the real one takes seconds to import."""
    assert references == hypotheses
    return 0.0
