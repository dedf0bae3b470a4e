"""Predictions come part by part: what was heard before a kill is not heard again, and the parts decide nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.model.generate import Heard, hear_all
from tasks.model.whisper import Whisper, load_whisper
from tasks.scoring import predict as module
from tasks.scoring.predict import predict
from tasks.shards.format import Example
from tasks.store.objects import Store
from tests.support.tiny import new_folder, tones

CLIPS = [replace(each, id=f"{each.id}-{number}") for number in range(3) for each in tones()]


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Whisper:
    return load_whisper(new_folder(tmp_path_factory.mktemp("model"), seed=3), "sv", "cpu")


def test_predictions_stand_in_the_order_of_the_clips_whatever_the_parts(
    whisper: Whisper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = predict(Store(str(tmp_path / "whole")), "key", whisper, CLIPS, 4, "before")
    monkeypatch.setattr(module, "PART", 5)
    parts = predict(Store(str(tmp_path / "parts")), "key", whisper, CLIPS, 4, "before")
    assert [(each.id, each.reference) for each in parts] == [(each.id, each.text) for each in CLIPS]
    assert [(each.text, each.capped, each.n_tokens) for each in parts] == [(each.text, each.capped, each.n_tokens) for each in whole]
    assert [each.logprob for each in parts] == pytest.approx([each.logprob for each in whole], abs=2e-4)


def test_a_scoring_that_was_killed_hears_only_the_rest(whisper: Whisper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART", 5)
    store, heard = Store(str(tmp_path / "store")), []

    def killed(whisper: Whisper, examples: Sequence[Example], batch: int) -> Iterator[tuple[int, Heard]]:
        if len(heard) >= 10:
            raise KeyboardInterrupt
        heard.extend(examples)
        return hear_all(whisper, examples, batch)

    with pytest.raises(KeyboardInterrupt):
        predict(store, "key", whisper, CLIPS, 4, "after", killed)
    heard.clear()
    again = predict(store, "key", whisper, CLIPS, 4, "after", killed)
    assert len(heard) == len(CLIPS) - 10 and len(again) == len(CLIPS)
    assert again == predict(Store(str(tmp_path / "other")), "key", whisper, CLIPS, 4, "after")


def test_a_damaged_part_is_heard_again(whisper: Whisper, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    whole = predict(store, "key", whisper, CLIPS, 4, "after")
    (path,) = tmp_path.glob("heard/*/heard-*.jsonl")
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-20])
    assert predict(store, "key", whisper, CLIPS, 4, "after") == whole
