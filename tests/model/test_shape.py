"""Sizes are read from the checkpoint, and a checkpoint that contradicts itself is refused."""

import json
import shutil
from pathlib import Path

import pytest

from tasks.contracts.errors import ModelError
from tasks.model.shape import NEEDED, Shape, read_shape


@pytest.fixture
def copied(real_data: Path, tmp_path: Path) -> Path:
    for name in NEEDED:
        shutil.copy(real_data / "whisper-tiny-no-weights" / name, tmp_path)
    return tmp_path


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_whisper_tiny_hears_thirty_seconds_in_eighty_bins(real_data: Path) -> None:  # pitfall 11
    shape = read_shape(real_data / "whisper-tiny-no-weights")
    assert shape == Shape(width=384, n_mels=80, n_frames=3_000, max_tokens=448, multilingual=True) and shape.window == 480_000


def test_another_window_and_another_longest_label_are_believed(real_data: Path) -> None:
    shape = read_shape(real_data / "whisper-digits-from-scratch")
    assert shape == Shape(width=128, n_mels=80, n_frames=300, max_tokens=64, multilingual=True) and shape.window == 48_000


def test_an_english_only_model_says_so(copied: Path) -> None:
    change(copied / "generation_config.json", is_multilingual=False)
    assert not read_shape(copied).multilingual


@pytest.mark.parametrize(
    "changes, made", [({"feature_size": 128}, "128 and 3000"), ({"chunk_length": 15}, "80 and 1500")], ids=["bins", "window"]
)
def test_two_descriptions_of_the_sound_that_disagree_are_refused(copied: Path, changes: dict, made: str) -> None:
    change(copied / "preprocessor_config.json", **changes)
    with pytest.raises(ModelError, match=rf"config\.json wants 80 bins and 3000 frames, preprocessor_config\.json makes {made}; one of"):
        read_shape(copied)


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_file_is_named(copied: Path, name: str) -> None:
    (copied / name).unlink()
    with pytest.raises(ModelError, match=rf": no {name}; a checkpoint needs config\.json, .* and its weights as safetensors$"):
        read_shape(copied)


def test_a_model_of_another_kind_is_refused(copied: Path) -> None:
    change(copied / "config.json", model_type="wav2vec2")
    with pytest.raises(ModelError, match=r": model_type 'wav2vec2', expected 'whisper'$"):
        read_shape(copied)
