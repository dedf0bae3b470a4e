"""A training learns, hears every clip once an epoch, and ends with the same weights whatever happens to it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.contracts.errors import TrainingError
from tasks.model.checkpoint import KEPT, load_checkpoint, newest_checkpoint
from tasks.model.loop import _optimizer, batch_numbers, learning_rate
from tasks.model.whisper import load_whisper
from tasks.store.artifacts import SEAL
from tasks.store.objects import Store
from tests.support.tiny import RUN, new_folder, same_weights, settings, tones, train_tiny, weights
from tests.support.train_killed import SETTINGS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def dropping(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_folder(tmp_path_factory.mktemp("dropping"), dropout=0.2)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def files_of(store: Store, step: int) -> list[Path]:
    return sorted((Path(store.root) / "training" / RUN / f"{step:08d}").iterdir())


def test_the_loss_falls(folder: Path, store: Store) -> None:
    whisper, progress = train_tiny(folder, store, settings(steps=40, batch=6, learning_rate=1e-2, evaluate_every=10), dev=tones())
    losses = [look["dev_loss"] for look in progress.history]
    assert progress.step == 40 and [look["step"] for look in progress.history] == [10, 20, 30, 40]
    assert losses[0] > 5 * losses[-1] and progress.history[-1]["dev_right"] > 0.9
    assert all(torch.isfinite(weight).all() for weight in weights(whisper).values())


@pytest.mark.parametrize("n_clips, batch, accumulate", [(7, 2, 1), (7, 3, 2), (6, 6, 1), (5, 8, 1), (1, 4, 1), (100, 16, 2)])
def test_each_epoch_visits_each_clip_exactly_once(n_clips: int, batch: int, accumulate: int) -> None:
    section = settings(batch=batch, accumulate=accumulate)
    row = [number for step in range(3 * n_clips) for number in batch_numbers(step, n_clips, section)]
    epochs = [row[start : start + n_clips] for start in range(0, len(row), n_clips)]
    assert len(epochs) == 3 * batch * accumulate and all(sorted(epoch) == list(range(n_clips)) for epoch in epochs)
    if n_clips > 4:
        assert epochs[0] != epochs[1], "every epoch has its own order"
        assert epochs[0] != [*batch_numbers(0, n_clips, settings(batch=n_clips, seed=2))], "and so has every seed"


def test_the_clips_of_a_step_follow_from_its_number_alone() -> None:
    section = settings(batch=3, accumulate=2)
    forwards = [list(batch_numbers(step, 10, section)) for step in range(12)]
    backwards = [list(batch_numbers(step, 10, section)) for step in reversed(range(12))]
    assert forwards == backwards[::-1] and all(len(numbers) == 6 for numbers in forwards)


@pytest.mark.parametrize(
    "changes",
    [{}, {"mask_time": 0.3, "mask_bins": 10, "accumulate": 2, "schedule": "cosine"}, {"freeze_encoder": True, "weight_decay": 0.1}],
    ids=["plain", "masks, dropout and accumulation", "frozen encoder"],
)
def test_an_interrupted_training_ends_with_the_same_weights(folder: Path, dropping: Path, tmp_path: Path, changes: dict) -> None:
    # pitfall 30
    start = dropping if "mask_time" in changes else folder
    straight, progress = train_tiny(start, Store(str(tmp_path / "straight")), settings(**changes))
    store = Store(str(tmp_path / "interrupted"))
    with pytest.raises(KeyboardInterrupt):
        train_tiny(start, store, settings(**changes), stop_after=4)
    torch.manual_seed(99)  # another process has another past
    resumed, again = train_tiny(start, store, settings(**changes))
    assert same_weights(weights(straight), weights(resumed)) and again.step == progress.step == 8
    assert not same_weights(weights(straight), weights(load_whisper(start, "sv", "cpu")))
    looks = [[look | {"seconds": 0} for look in each.history] for each in (progress, again)]
    assert looks[0] == looks[1] and len(looks[0]) == 4


def test_dropout_and_masks_change_what_is_learnt(folder: Path, dropping: Path, tmp_path: Path) -> None:
    plain, _ = train_tiny(folder, Store(str(tmp_path / "plain")), settings(steps=3))
    cases = {"masks": (folder, {"mask_time": 0.3, "mask_bins": 10}), "dropout": (dropping, {}), "seed": (folder, {"seed": 2})}
    for name, (start, changes) in cases.items():
        other, _ = train_tiny(start, Store(str(tmp_path / name)), settings(steps=3, **changes))
        assert not same_weights(weights(plain), weights(other)), name


def test_a_training_killed_again_and_again_ends_with_the_same_weights(dropping: Path, tmp_path: Path) -> None:
    whole, _ = train_tiny(dropping, Store(str(tmp_path / "whole")), SETTINGS)
    command = [sys.executable, "-m", "tests.support.train_killed", str(dropping), str(tmp_path / "killed"), "4"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-2_000:]
    began = json.loads(done.stdout)
    assert len(began) == 5 and began == sorted(began) and began[-1] > 0, f"the attempts began after steps {began}"
    after, progress = train_tiny(dropping, Store(str(tmp_path / "killed")), SETTINGS)  # nothing is left to do
    assert progress.step == SETTINGS.steps and same_weights(weights(whole), weights(after))


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(folder: Path, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    whole, _ = train_tiny(folder, store, settings())
    flip(next(path for path in files_of(store, 8) if path.name.startswith("model")))
    newest = newest_checkpoint(store, RUN)
    assert newest is not None and newest.facts["step"] == 6
    assert "checkpoint 00000008 of training tiny is not whole; trying the one before" in caplog.text
    mended, progress = train_tiny(folder, store, settings())
    assert progress.step == 8 and same_weights(weights(whole), weights(mended))
    newest = newest_checkpoint(store, RUN)
    assert newest is not None and newest.facts["step"] == 8, "the training put it right"


def test_a_checkpoint_without_a_seal_does_not_exist(folder: Path, store: Store) -> None:
    train_tiny(folder, store, settings())
    for step in (8, 6):
        next(path for path in files_of(store, step) if path.name == SEAL).unlink()
    newest = newest_checkpoint(store, RUN)
    assert newest is not None and newest.facts["step"] == 2, "the best one; what was neither new nor best is gone"
    assert newest_checkpoint(store, "never begun") is None


def test_the_newest_checkpoints_and_the_best_are_kept(folder: Path, store: Store) -> None:  # pitfall 29
    rates = iter([0.9, 0.5, 0.7, 0.6, 0.8, 0.9])
    _, progress = train_tiny(folder, store, settings(steps=12), wer=lambda references, hypotheses: next(rates))
    assert (progress.best_step, progress.best_wer) == (4, 0.5) and KEPT == 2
    assert [step for step in range(2, 13, 2) if files_of(store, step)] == [4, 10, 12]


def test_a_checkpoint_of_another_recipe_is_refused(folder: Path, store: Store, tmp_path: Path) -> None:
    train_tiny(folder, store, settings(freeze_encoder=True))
    newest = newest_checkpoint(store, RUN)
    assert newest is not None
    whisper = load_whisper(folder, "sv", "cpu")
    with pytest.raises(TrainingError, match="holds moments of other parameters than this model trains; it belongs to another recipe"):
        load_checkpoint(store, newest, whisper.model, _optimizer(whisper.model, settings()))
    wider = load_whisper(new_folder(tmp_path / "wider", width=48), "sv", "cpu")
    with pytest.raises(TrainingError, match="weights of another shape"):
        load_checkpoint(store, newest, wider.model, _optimizer(wider.model, settings()))


def test_a_frozen_encoder_keeps_its_weights(folder: Path, store: Store) -> None:
    before = weights(load_whisper(folder, "sv", "cpu"))
    after = weights(train_tiny(folder, store, settings(freeze_encoder=True))[0])
    changed = {name for name, weight in before.items() if not torch.equal(weight, after[name])}
    assert changed and not any(".encoder." in name for name in changed)


def test_a_loss_that_is_no_number_stops_the_training_and_names_step_and_clips(folder: Path, store: Store) -> None:
    clips = tones()
    clips[3] = replace(clips[3], features=np.full_like(clips[3].features, np.nan))
    section = settings(batch=3, evaluate_every=1)
    step = next(step for step in range(8) if 3 in batch_numbers(step, 6, section))
    names = ", ".join(f"'{clips[number].id}'" for number in batch_numbers(step, 6, section))
    message = rf"^step {step + 1}: loss nan, gradient nan, on the clips \[{names}\].*Lower training\.learning_rate"
    with pytest.raises(TrainingError, match=message):
        train_tiny(folder, store, section, clips=clips)
    newest = newest_checkpoint(store, RUN)
    assert (newest.facts["step"] if newest else 0) == step, "the step itself left nothing behind"


def test_patience_ends_a_training_that_gets_no_better(folder: Path, store: Store) -> None:
    rates = iter([0.9, 0.8, 0.8, 0.85, 0.1])
    _, progress = train_tiny(folder, store, settings(steps=40, patience=2), wer=lambda references, hypotheses: next(rates))
    assert (progress.step, progress.best_step, progress.n_looks_since) == (8, 4, 2)  # pitfall 28; the fifth look never came
    _, again = train_tiny(folder, store, settings(steps=40, patience=2), wer=lambda references, hypotheses: next(rates))
    assert again.step == 8 and next(rates) == 0.1, "started again, it knows that it is over"


def test_a_model_that_knows_the_words_but_does_not_say_them_is_refused(folder: Path, store: Store) -> None:
    section = settings(steps=30, batch=6, learning_rate=1e-2, evaluate_every=30)
    message = r"^step 30: 100% of the next tokens are right, but the dev WER is 100%, expected below 60 %\. The model knows the words"
    for _ in range(2):  # starting again is refused again
        with pytest.raises(TrainingError, match=message):
            train_tiny(folder, store, section, dev=tones() * 3)


def test_a_few_dev_clips_are_too_few_to_say_that_decoding_is_broken(folder: Path, store: Store) -> None:
    _, progress = train_tiny(folder, store, settings(steps=30, batch=6, learning_rate=1e-2, evaluate_every=30), dev=tones())
    assert progress.history[0]["dev_right"] == 1.0 and progress.best_wer == 1.0


@pytest.mark.parametrize(
    "schedule, middle, last", [("linear", 0.5, 1 / 16), ("cosine", 0.5, (1 + np.cos(np.pi * 15 / 16)) / 2), ("constant", 1.0, 1.0)]
)
def test_the_learning_rate_rises_and_falls_as_the_schedule_says(schedule: str, middle: float, last: float) -> None:
    section = settings(steps=20, warmup=4, learning_rate=0.01, schedule=schedule)
    rates = [learning_rate(step, section) for step in range(20)]
    assert rates[:5] == pytest.approx([0.002, 0.004, 0.006, 0.008, 0.01]), "no step is wasted on a rate of nothing"
    assert rates[12] == pytest.approx(0.01 * middle) and rates[19] == pytest.approx(0.01 * last)
    assert rates[4:] == sorted(rates[4:], reverse=True) and min(rates) > 0
    assert learning_rate(0, settings(warmup=0, learning_rate=0.01)) == 0.01


def test_two_small_passes_are_one_large_one(folder: Path, tmp_path: Path) -> None:  # pitfall 27
    clips = [replace(each, text=" ".join([each.text] * (1 + number % 3))) for number, each in enumerate(tones())]  # 7, 10 or 13 tokens
    at_once, one = train_tiny(folder, Store(str(tmp_path / "at once")), settings(batch=4, accumulate=1), clips=clips)
    in_two, other = train_tiny(folder, Store(str(tmp_path / "in two")), settings(batch=2, accumulate=2), clips=clips)
    for name, weight in weights(at_once).items():
        assert torch.allclose(weight, weights(in_two)[name], atol=1e-5, rtol=0), name
    assert [look["loss"] for look in one.history] == pytest.approx([look["loss"] for look in other.history], abs=1e-5)
    assert not same_weights(weights(at_once), weights(load_whisper(folder, "sv", "cpu")))


def test_an_interrupted_training_keeps_what_it_learnt_since_the_last_look_and_ends_bit_equal(folder: Path, store: Store) -> None:
    section = settings(steps=8, evaluate_every=4)
    whole, _ = train_tiny(folder, store, section)

    class Interrupting(list):  # a person presses Ctrl-C while the sixth step reads its clips
        n_read = 0

        def __getitem__(self, number):  # type: ignore[no-untyped-def, override]
            Interrupting.n_read += 1
            if Interrupting.n_read > 5 * section.batch:
                raise KeyboardInterrupt
            return super().__getitem__(number)

    other = Store(f"{store.url}-interrupted")
    clips = Interrupting(tones())
    clips.texts = [clip.text for clip in tones()]  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        train_tiny(folder, other, section, clips=clips)
    assert newest_checkpoint(other, RUN).facts["step"] == 5
    again, progress = train_tiny(folder, other, section)
    assert all(torch.equal(weight, weights(again)[name]) for name, weight in weights(whole).items())
    assert [look["step"] for look in progress.history] == [4, 8]


def test_an_epoch_has_each_clip_as_often_as_its_weight_says() -> None:
    section, weights = settings(batch=7, seed=3), np.array([2.0] * 5 + [1.0] * 10 + [0.5] * 10 + [0.25] * 8)
    row = [number for step in range(400) for number in batch_numbers(step, len(weights), section, weights)]
    epochs = [row[start : start + 27] for start in range(0, len(row) - 26, 27)]
    counts = np.array([np.bincount(epoch, minlength=len(weights)) for epoch in epochs])
    assert (counts[:, :5] == 2).all() and (counts[:, 5:15] == 1).all(), "whole numbers are kept in every epoch"
    assert counts[:, 15:].max() == 1 and abs(counts[:, 15:25].mean() - 0.5) < 0.02 and abs(counts[:, 25:].mean() - 0.25) < 0.02
    assert len({tuple(epoch[:5]) for epoch in epochs}) > 90, "in an order of their own"
    assert list(batch_numbers(300, len(weights), section, weights)) == row[2100:2107], "known without the steps before"


def test_weights_of_one_change_nothing() -> None:
    ones = np.ones(10, np.float32)
    assert [*batch_numbers(5, 10, settings(batch=4))] == [*batch_numbers(5, 10, settings(batch=4), ones)]


def test_other_weights_make_another_epoch_where_they_lie_in_the_place_of_the_last_ones() -> None:
    for number in (0, 3) * 8:
        few = np.zeros(4)
        few[number] = 4
        assert set(batch_numbers(0, 4, settings(batch=4), few)) == {number}
        del few  # the next one is put there
