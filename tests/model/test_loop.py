"""A training learns, hears every clip once an epoch, and ends with the same weights whatever happens to it."""

import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.contracts.errors import TrainingError
from tasks.model import loop
from tasks.model.batch import Batch
from tasks.model.loop import Loop, Moment, train
from tasks.model.order import batch_numbers
from tasks.model.signals import Stopped
from tasks.model.whisper import load_whisper
from tasks.store.objects import Store
from tests.support.tiny import always_wrong, checkpoints, new_folder, same_weights, settings, tones, train_tiny, weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def dropping(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_folder(tmp_path_factory.mktemp("dropping"), dropout=0.2)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def test_the_loss_falls(folder: Path, store: Store) -> None:
    whisper, progress = train_tiny(folder, store, settings(steps=40, batch=6, learning_rate=1e-2, evaluate_every=10), dev=tones())
    losses = [look["dev_loss"] for look in progress.history]
    assert progress.step == 40 and [look["step"] for look in progress.history] == [0, 10, 20, 30, 40]
    assert losses[1] > 5 * losses[-1] and progress.history[-1]["dev_right"] > 0.9
    assert all(torch.isfinite(weight).all() for weight in weights(whisper).values())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"augment": {"mask_time": 0.3, "mask_bins": 10}, "accumulate": 2, "schedule": "cosine"},
        {"freeze_encoder": True, "weight_decay": 0.1},
    ],
    ids=["plain", "masks, dropout and accumulation", "frozen encoder"],
)
def test_an_interrupted_training_ends_with_the_same_weights(folder: Path, dropping: Path, tmp_path: Path, changes: dict) -> None:
    # pitfall 30
    start = dropping if "augment" in changes else folder
    straight, progress = train_tiny(start, Store(str(tmp_path / "straight")), settings(**changes))
    store = Store(str(tmp_path / "interrupted"))
    with pytest.raises(KeyboardInterrupt):
        train_tiny(start, store, settings(**changes), stop_after=4)
    torch.manual_seed(99)  # another process has another past
    resumed, again = train_tiny(start, store, settings(**changes))
    assert same_weights(weights(straight), weights(resumed)) and again.step == progress.step == 8
    assert not same_weights(weights(straight), weights(load_whisper(start, "sv", "cpu")))
    looks = [[look | {"seconds": 0} for look in each.history] for each in (progress, again)]
    assert looks[0] == looks[1] and len(looks[0]) == 5


def test_dropout_and_masks_change_what_is_learnt(folder: Path, dropping: Path, tmp_path: Path) -> None:
    plain, _ = train_tiny(folder, Store(str(tmp_path / "plain")), settings(steps=3))
    cases = {"masks": (folder, {"augment": {"mask_time": 0.3, "mask_bins": 10}}), "dropout": (dropping, {}), "seed": (folder, {"seed": 2})}
    for name, (start, changes) in cases.items():
        other, _ = train_tiny(start, Store(str(tmp_path / name)), settings(steps=3, **changes))
        assert not same_weights(weights(plain), weights(other)), name


def test_a_loss_that_is_no_number_stops_the_training_and_names_step_and_clips(folder: Path, store: Store) -> None:
    clips = tones()
    clips[3] = replace(clips[3], features=np.full_like(clips[3].features, np.nan))
    section = settings(batch=3, evaluate_every=1)
    step = next(step for step in range(8) if 3 in batch_numbers(step, 6, section))
    names = ", ".join(f"'{clips[number].id}'" for number in batch_numbers(step, 6, section))
    message = rf"^step {step + 1}: loss or gradient is not finite, on the clips \[{names}\].*Lower training\.learning_rate"
    with pytest.raises(TrainingError, match=message):
        train_tiny(folder, store, section, clips=clips)
    assert max(checkpoints(store), default=0) == step, "the step itself left nothing behind"


def test_patience_ends_a_training_that_gets_no_better(folder: Path, store: Store) -> None:
    rates = iter([1.0, 0.9, 0.8, 0.8, 0.85, 0.1])
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
    assert progress.history[-1]["dev_right"] == 1.0 and progress.best_wer == 1.0


def test_two_small_passes_are_one_large_one(folder: Path, tmp_path: Path) -> None:  # pitfall 27
    clips = [replace(each, text=" ".join([each.text] * (1 + number % 3))) for number, each in enumerate(tones())]  # 7, 10 or 13 tokens
    at_once, one = train_tiny(folder, Store(str(tmp_path / "at once")), settings(batch=4, accumulate=1), clips=clips)
    in_two, other = train_tiny(folder, Store(str(tmp_path / "in two")), settings(batch=2, accumulate=2), clips=clips)
    for name, weight in weights(at_once).items():
        assert torch.allclose(weight, weights(in_two)[name], atol=1e-5, rtol=0), name
    assert [look["loss"] for look in one.history[1:]] == pytest.approx([look["loss"] for look in other.history[1:]], abs=1e-5)
    assert not same_weights(weights(at_once), weights(load_whisper(folder, "sv", "cpu")))


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Stopped)])
def test_asked_to_stop_it_keeps_what_it_learnt_since_the_last_look_and_ends_bit_equal(
    folder: Path, store: Store, number: signal.Signals, raised: type[BaseException]
) -> None:
    section = settings(steps=8, evaluate_every=4)
    whole, _ = train_tiny(folder, store, section)

    def press(moment: Moment) -> None:
        if moment.step == 5 and not moment.look:
            os.kill(os.getpid(), number)

    other, before = Store(f"{store.url}-interrupted"), signal.getsignal(number)
    with pytest.raises(raised) as stopped:
        train_tiny(folder, other, section, watch=press)
    assert signal.getsignal(number) is before
    step = max(checkpoints(other))
    assert step in (5, 6), "it is noticed before the next step, or after it"
    if number == signal.SIGTERM:
        assert str(stopped.value) == f"asked to stop (SIGTERM) after step {step} of 8; its checkpoint is on the store; run again to go on"
    again, progress = train_tiny(folder, other, section)
    assert all(torch.equal(weight, weights(again)[name]) for name, weight in weights(whole).items())
    assert [look["step"] for look in progress.history] == [0, 4, 8]


def test_a_second_ctrl_c_does_not_wait_for_the_step(folder: Path, store: Store) -> None:
    def press_twice(moment: Moment) -> None:
        if moment.step == 5:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_tiny(folder, store, settings(steps=8, evaluate_every=4), watch=press_twice)


def test_what_goes_wrong_while_clips_are_read_is_raised_where_it_is_noticed(folder: Path, store: Store) -> None:
    class Damaged(list):  # type: ignore[type-arg]
        def __getitem__(self, number):  # type: ignore[no-untyped-def, override]
            if number == 3 and self.spoilt:
                raise OSError("the disk is gone")
            return super().__getitem__(number)

    clips = Damaged(tones())
    clips.spoilt = False
    clips.texts, clips.ids = [each.text for each in clips], [each.id for each in clips]
    clips.spoilt = True
    with pytest.raises(OSError, match=r"^the disk is gone$"):
        train_tiny(folder, store, settings(), clips=clips)
    assert not [thread for thread in threading.enumerate() if thread.name == "feed"]


def run_out_of_memory(above: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let passes of more clips than this fail, as a GPU would; return the sizes of those that did not."""
    sizes: list[int] = []
    loss = Loop._loss

    def limited(self: Loop, batch: Batch) -> torch.Tensor:
        if len(batch) > above:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        sizes.append(len(batch))
        return loss(self, batch)

    monkeypatch.setattr(Loop, "_loss", limited)
    return sizes


def test_out_of_memory_stops_with_what_to_change(folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run_out_of_memory(3, monkeypatch)
    message = (r"^step 1: out of memory with 4 clips of 100 frames and \d+ labels in a pass: CUDA.*"
               r"training\.batch 2 with training\.accumulate 2 is the same step; or set training\..*halve")  # fmt: skip
    with pytest.raises(TrainingError, match=message):  # a refusal: Prefect does not try it again
        train_tiny(folder, store, settings(batch=4))


def test_out_of_memory_halves_the_passes_if_it_may_and_learns_the_same(
    folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole, _ = train_tiny(folder, store, settings(batch=6))
    sizes = run_out_of_memory(2, monkeypatch)
    halved, other = train_tiny(folder, Store(f"{store.url}-halved"), settings(batch=6, out_of_memory="halve"))
    assert sizes == [2, 1, 2, 1] * 8 and other.n_halved == 2
    assert "step 1: out of memory with 6 clips in a pass; going on with half, the step as large as before" in caplog.text
    for name, weight in weights(whole).items():
        assert torch.allclose(weight, weights(halved)[name], atol=1e-5, rtol=0), name
    with pytest.raises(TrainingError, match=r"^step 1: out of memory with 1 clips of"):
        run_out_of_memory(0, monkeypatch)
        train_tiny(folder, Store(f"{store.url}-none"), settings(batch=6, out_of_memory="halve"))


def test_a_step_that_is_not_finite_moves_no_weight_wherever_the_host_is(
    folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = tones()
    clips[3] = replace(clips[3], features=np.full_like(clips[3].features, np.inf))
    section = settings(batch=3, evaluate_every=100, steps=8)
    step = next(step for step in range(8) if 3 in batch_numbers(step, 6, section))
    init = Loop.__init__

    def late(self: Loop, *args: object) -> None:  # as on a GPU, where the host is a step ahead
        init(self, *args)  # type: ignore[arg-type]
        self.lag = 1

    monkeypatch.setattr(Loop, "__init__", late)
    whisper = load_whisper(folder, "sv", "cpu")
    with pytest.raises(TrainingError, match=rf"^step {step + 1}: loss or gradient is not finite"):
        train(whisper, clips, tones()[:2], section, always_wrong, lambda *_: True, lambda _: None)
    assert all(torch.isfinite(weight).all() for weight in weights(whisper).values())


@pytest.mark.parametrize(
    "changes",
    [{"gradient_checkpointing": True}, {"precision": "bf16"}, {"lora": {"rank": 4}, "learning_rate": 1e-2}, {"freeze_layers": 1}],
    ids=["checkpointing", "bfloat16", "LoRA", "frozen layers"],
)
def test_each_way_of_training_learns_and_resumes(folder: Path, store: Store, changes: dict) -> None:
    section = settings(**({"steps": 30, "batch": 6, "learning_rate": 1e-2, "evaluate_every": 10} | changes))
    straight, progress = train_tiny(folder, store, section)
    other = Store(f"{store.url}-interrupted")
    with pytest.raises(KeyboardInterrupt):
        train_tiny(folder, other, section, stop_after=10)
    resumed, again = train_tiny(folder, other, section)
    assert same_weights(weights(straight), weights(resumed))
    losses = [look["dev_loss"] for look in progress.history]
    assert losses[-1] < 0.8 * losses[0] and losses == [look["dev_loss"] for look in again.history]


def test_gradient_checkpointing_changes_no_bit(folder: Path, store: Store) -> None:  # pitfall 25
    plain, _ = train_tiny(folder, store, settings())
    saving, _ = train_tiny(folder, Store(f"{store.url}-other"), settings(gradient_checkpointing=True))
    assert same_weights(weights(plain), weights(saving))


def test_what_can_be_seen_of_it_is_told_after_each_step_and_look(folder: Path, store: Store) -> None:
    seen: list[Moment] = []
    _, progress = train_tiny(folder, store, settings(), watch=seen.append)
    steps, looks = [each for each in seen if not each.look], [each for each in seen if each.look]
    assert [each.step for each in steps] == list(range(1, 9)) and [each.step for each in looks] == [0, 2, 4, 6, 8]
    assert sum(each.loss for each in steps[:2]) / 2 == pytest.approx(progress.history[1]["loss"])
    assert sorted(clip for each in steps[:3] for clip in each.clips) == [each.id for each in tones()], "an epoch"
    assert looks[-1].look["samples"][0]["reference"] == "röd katt"
    assert all(0 <= each.stalled <= each.seconds and each.trained <= each.seconds for each in steps)
    assert set(progress.spent) == {"training", "looks", "checkpoints", "waiting for clips"}


def test_masks_of_transformers_own_are_switched_off_and_stay_in_the_config(folder: Path, store: Store, tmp_path: Path) -> None:
    masking = new_folder(tmp_path / "masking")
    config = json.loads((masking / "config.json").read_text()) | {"apply_spec_augment": True, "mask_time_prob": 0.5}
    (masking / "config.json").write_text(json.dumps(config))
    plain, _ = train_tiny(folder, store, settings())
    other, _ = train_tiny(masking, Store(f"{store.url}-other"), settings())
    assert same_weights(weights(plain), weights(other)) and other.model.config.apply_spec_augment


def test_a_frozen_encoder_keeps_its_weights(folder: Path, store: Store) -> None:
    before = weights(load_whisper(folder, "sv", "cpu"))
    after = weights(train_tiny(folder, store, settings(freeze_encoder=True))[0])
    changed = {name for name, weight in before.items() if not torch.equal(weight, after[name])}
    assert changed and not any(".encoder." in name for name in changed)


def test_the_encoders_positions_are_a_formula_and_stay_one(folder: Path, store: Store) -> None:
    before, after = weights(load_whisper(folder, "sv", "cpu")), weights(train_tiny(folder, store, settings())[0])
    still = {name for name, weight in before.items() if torch.equal(weight, after[name])}
    assert still == {"model.encoder.embed_positions.weight"}


def test_a_look_does_not_outlast_the_grace_of_a_machine_that_is_taken_away(
    folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = loop.look

    def long_look(*arguments: object, **options: object) -> dict[str, object]:
        if long_look.n == 2:  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        long_look.n += 1  # type: ignore[attr-defined]
        return looked(*arguments, **options)  # type: ignore[arg-type]

    long_look.n = 0  # type: ignore[attr-defined]
    whole, _ = train_tiny(folder, Store(f"{store.url}-whole"), settings())
    monkeypatch.setattr(loop, "look", long_look)
    began = time.monotonic()
    with pytest.raises(Stopped, match=r"^asked to stop \(SIGTERM\) after step 4 of 8; its checkpoint is on the store"):
        train_tiny(folder, store, settings())
    assert time.monotonic() - began < 30 and max(checkpoints(store)) == 4
    long_look.n = 5  # type: ignore[attr-defined]
    again, progress = train_tiny(folder, store, settings())
    assert [look["step"] for look in progress.history] == [0, 2, 4, 6, 8], "the look that was cut short is taken again"
    assert same_weights(weights(whole), weights(again))


def test_asked_to_stop_while_the_last_state_is_stored_nothing_that_follows_begins(folder: Path, store: Store) -> None:
    def press(moment: Moment) -> None:
        if moment.step == 8 and moment.look:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match=r"after step 8 of 8; its checkpoint is on the store"):
        train_tiny(folder, store, settings(), watch=press)
    _, progress = train_tiny(folder, store, settings())
    assert progress.step == 8 and len(progress.history) == 5
