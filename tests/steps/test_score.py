"""A model is heard on clips whose features were made for another one: a champion of other bins, or of a shorter window."""

from pathlib import Path

import numpy as np
import pytest

from tasks.contracts.errors import ModelError
from tasks.contracts.recipe import Pretrained
from tasks.contracts.values import Artifact, SplitOf
from tasks.model.start import checkpoint_revision
from tasks.score import transcribe_split
from tasks.scoring.predict import read_predictions
from tasks.start import fetch_model
from tasks.store.objects import Store
from tests.steps import chain
from tests.steps.chain import Run, prepare, sound, value_of, write_corpus
from tests.support.tiny import new_folder


def heard(model: Artifact, run: Run) -> Artifact:
    found: Artifact = value_of(transcribe_split.fn("store", model, SplitOf(run.dataset, "test"), "sv", 8, "v1"))
    return found


def fetched(name: str) -> Artifact:
    found: Artifact = value_of(fetch_model.fn("store", Pretrained(name=name), checkpoint_revision(name, "main")))
    return found


def test_a_model_of_other_bins_hears_what_it_hears_in_features_of_its_own(first: Run) -> None:
    own = prepare(model="model-128", features={"dtype": "float32"})
    model = fetched("model-128")
    there, here = (read_predictions(Store("store"), heard(model, run)) for run in (own, first))
    assert there == here and len(here) == first.dataset.facts["splits"]["test"] and {each.text for each in here} != {""}


def test_a_model_of_a_shorter_window_is_refused_where_clips_are_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(chain, "sound", lambda number: np.tile(sound(number), 4))  # 1.6 s
    write_corpus(range(40))
    for window in (1, 2):
        new_folder(tmp_path / f"window-{window}", window=window)
    run = prepare(model="window-2", gates={"max_rejected": 1.0})
    with pytest.raises(ModelError, match=r"a clip of test has 1\.6 s, and this model hears 1 s at once"):
        heard(fetched("window-1"), run)
