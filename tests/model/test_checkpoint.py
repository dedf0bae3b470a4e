"""The state of a training is stored whole, found again anywhere, and never believed when it is damaged or another training's."""

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.contracts.errors import StoreError, TrainingError
from tasks.model import checkpoint, keeper
from tasks.model.checkpoint import KIND, Progress, extend, resume, whole_checkpoints
from tasks.model.keeper import Keeper
from tasks.store.objects import Store
from tests.support.tiny import RUN, TOLD, checkpoints, new_folder, same_weights, settings, state_of, train_tiny, weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def files_of(store: Store, step: int) -> dict[str, Path]:
    """The files of a checkpoint by the first word of their names."""
    folder = Path(store.root) / KIND / RUN / f"{step:08d}"
    return {path.name.split("-")[0].split(".")[0]: path for path in sorted(folder.glob("*"))}


@pytest.mark.parametrize("name", ["model", "optimizer", "progress", "seal"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "missing"])
def test_a_damaged_checkpoint_is_never_used_but_the_one_before_it(
    folder: Path, store: Store, caplog: pytest.LogCaptureFixture, name: str, damage: str
) -> None:  # promise C3
    whole, _ = train_tiny(folder, store, settings())
    path = files_of(store, 8)[name]
    if damage == "flipped":
        flip(path)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    assert checkpoints(store) == [2, 6]
    assert "checkpoint 00000008 of training tiny is not whole; trying the one before" in caplog.text
    mended, progress = train_tiny(folder, store, settings())
    assert progress.step == 8 and same_weights(weights(whole), weights(mended))
    assert checkpoints(store) == [2, 6, 8], "the training put it right"


def test_damage_that_shows_only_when_it_is_read_is_noticed_then(folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    train_tiny(folder, store, settings())
    flip(files_of(store, 8)["optimizer"])
    monkeypatch.setattr(checkpoint, "find", lambda *place: (checkpoint.peek(*place) or (None,))[0])  # S3 tells no checksum
    assert checkpoints(store) == [2, 6]


def test_without_its_best_checkpoint_a_training_goes_back_to_before_it(folder: Path, store: Store) -> None:
    rates = iter([1.0, 0.9, 0.8, 0.5, 0.6, 0.5, 0.6])
    whole, _ = train_tiny(folder, store, settings(), wer=lambda *_: next(rates))
    files_of(store, 6)["model"].unlink()
    assert checkpoints(store) == [4], "8 could not end with its best, 6"
    mended, progress = train_tiny(folder, store, settings(), wer=lambda *_: 0.5)
    assert (progress.step, progress.best_step) == (8, 6) and same_weights(weights(whole), weights(mended))


def test_the_newest_checkpoints_and_the_best_are_kept(folder: Path, store: Store) -> None:  # pitfall 29
    rates = iter([1.0, 0.9, 0.5, 0.7, 0.6, 0.8, 0.9] * 2)
    _, progress = train_tiny(folder, store, settings(steps=12), wer=lambda *_: next(rates))
    assert (progress.best_step, progress.best_wer) == (4, 0.5)
    assert [step for step in range(2, 13, 2) if files_of(store, step)] == [4, 10, 12] == checkpoints(store)
    more = Store(f"{store.url}-more")
    train_tiny(folder, more, settings(steps=12, checkpoints={"newest": 4}), wer=lambda *_: next(rates))
    assert checkpoints(more) == [4, 6, 8, 10, 12]


def test_a_checkpoint_holds_no_frozen_weight_twice(folder: Path, store: Store) -> None:
    train_tiny(folder, store, settings(freeze_encoder=True))
    train_tiny(folder, Store(f"{store.url}-whole"), settings())
    assert files_of(store, 8)["model"].stat().st_size < 0.9 * files_of(Store(f"{store.url}-whole"), 8)["model"].stat().st_size


def test_a_checkpoint_of_other_weights_is_refused(folder: Path, store: Store, tmp_path: Path) -> None:
    train_tiny(folder, store, settings(freeze_encoder=True))
    _, place = next(whole_checkpoints(store, RUN))
    with pytest.raises(TrainingError, match=r"holds moments of other weights than this model trains; it belongs to another recipe"):
        state_of(folder).load(place)
    whole = Store(f"{store.url}-whole")
    train_tiny(folder, whole, settings())
    _, place = next(whole_checkpoints(whole, RUN))
    with pytest.raises(TrainingError, match=r"weights of another shape"):
        state_of(new_folder(tmp_path / "wider", width=48)).load(place)


@pytest.mark.parametrize(
    ("told", "differs"),
    [
        ({**TOLD, "data": "seven tones"}, r"data was 'six tones', is 'seven tones'"),
        ({**TOLD, "training": {"seed": 2}}, r"training\.seed was 1, is 2"),
        ({**TOLD, "training": {"seed": 1, "batch": 3}}, r"training\.batch was None, is 3"),
    ],
)
def test_going_on_with_other_data_or_settings_is_refused_and_says_which(
    folder: Path, store: Store, told: dict[str, Any], differs: str
) -> None:
    train_tiny(folder, store, settings())
    with pytest.raises(
        TrainingError, match=rf"^training/tiny/00000008 is of another training: {differs}\. Set these back; or .*kind trained$"
    ):
        resume(store, RUN, state_of(folder), told)
    with pytest.raises(TrainingError, match=differs):
        extend(store, RUN, "longer", told)


def test_a_training_can_be_extended_by_more_steps_and_nothing_else(folder: Path, store: Store) -> None:
    rates = iter([1.0, 0.9, 0.5, 0.7, 0.6])
    train_tiny(folder, store, settings(), wer=lambda *_: next(rates))
    longer = {"training": {"seed": 1, "steps": 12, "patience": 3, "extend": RUN}, "data": "six tones"}
    extend(store, RUN, "longer", longer)
    assert [each.facts["step"] for each, _ in whole_checkpoints(store, "longer")] == [8, 4], "the newest and the best"
    state = state_of(folder)
    resume(store, "longer", state, longer)
    assert state.progress.step == 8 and state.progress.best_step == 4 and len(state.progress.history) == 5
    extend(store, "gone", "longer", longer)  # it has begun: nothing is looked for
    with pytest.raises(TrainingError, match=r"^training\.extend gone: .* has no whole checkpoint of it"):
        extend(store, "gone", "longest", longer)


def test_patience_begins_anew_when_a_training_is_extended(folder: Path, store: Store) -> None:
    rates = iter([1.0, 0.9, 0.95, 0.95])
    _, progress = train_tiny(folder, store, settings(steps=20, patience=2), wer=lambda *_: next(rates))
    assert progress.step == 6 and progress.n_looks_since == 2
    longer = {"training": {"seed": 1, "steps": 30, "extend": RUN}, "data": "six tones"}
    extend(store, RUN, "longer", longer)
    state = state_of(folder)
    resume(store, "longer", state, longer)
    assert (state.progress.step, state.progress.n_looks_since, state.progress.best_step) == (6, 0, 2)
    with pytest.raises(TrainingError, match=r"^training\.extend tiny: it has gone 6 steps; set training\.steps above that$"):
        extend(store, RUN, "shorter", {**longer, "training": {"seed": 1, "steps": 6, "extend": RUN}})


def test_a_state_kept_again_with_its_look_takes_the_place_of_the_one_without(folder: Path, store: Store) -> None:
    keep, state = Keeper(store, RUN, TOLD, 2), state_of(folder, stepped=True)
    assert keep(state, wait=True)
    state.progress.best_step, state.progress.best_wer = 1, 0.5
    assert keep(state, wait=True)
    newest, place = next(whole_checkpoints(store, RUN))
    assert newest.facts == {"step": 1, "best_step": 1}
    again = state_of(folder)
    again.load(place)
    assert again.progress.best_wer == 0.5


def test_an_extended_training_ends_as_one_that_was_long_from_the_start(folder: Path, store: Store) -> None:
    section = settings(schedule="constant")
    train_tiny(folder, store, section)
    extended, progress = train_tiny(folder, store, settings(schedule="constant", steps=12))
    straight, _ = train_tiny(folder, Store(f"{store.url}-straight"), settings(schedule="constant", steps=12))
    assert progress.step == 12 and same_weights(weights(extended), weights(straight))


class Slow(Store):
    """A store that takes its time."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.go = threading.Event()

    def create(self, path: str, data: bytes | Path) -> None:
        assert self.go.wait(10)
        super().create(path, data)


def test_the_training_goes_on_while_a_checkpoint_is_on_its_way(folder: Path, tmp_path: Path) -> None:
    store = Slow(str(tmp_path / "store"))
    keep, state = Keeper(store, RUN, TOLD, 2), state_of(folder, stepped=True)
    before = {name: weight.clone() for name, weight in state.tensors()[0].items()}
    assert keep(state) is False and keep.is_busy
    for weight in state.model.parameters():
        weight.data.add_(1)  # the next step
    state.progress.step, state.progress.losses = 2, [0.0]
    store.go.set()
    keep.close()
    _, place = next(whole_checkpoints(store, RUN))
    stored = state_of(folder)
    stored.load(place)
    assert stored.progress.step == 1 and stored.progress.losses == []
    assert all((weight == before[name]).all() for name, weight in stored.tensors()[0].items())


def test_no_more_than_one_checkpoint_waits(folder: Path, tmp_path: Path) -> None:
    store = Slow(str(tmp_path / "store"))
    keep, state = Keeper(store, RUN, TOLD, 2), state_of(folder, stepped=True)
    keep(state)
    n_copies = len(keep.copies)
    threading.Timer(0.3, store.go.set).start()
    began = time.monotonic()
    state.progress.step = 2
    keep(state)
    assert time.monotonic() - began > 0.25, "the second one waits for the first"
    keep.close()
    assert len(keep.copies) == n_copies and [each.facts["step"] for each, _ in whole_checkpoints(store, RUN)] == [2, 1]


def test_a_machine_that_is_taken_away_waits_for_its_checkpoint_only_so_long(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # promise C4
    monkeypatch.setattr(keeper, "GRACE", 0.2)
    store = Slow(str(tmp_path / "store"))
    keep, state = Keeper(store, RUN, TOLD, 2), state_of(folder, stepped=True)
    assert keep(state, wait=True) is False, "it does not fit"
    assert keep(state, wait=True) is False, "the one before is still on its way"
    store.go.set()
    keep.close()
    assert keep(replace(state, progress=Progress(step=2)), wait=True) is True
    assert next(whole_checkpoints(store, RUN))[0].facts["step"] == 2


def test_a_store_that_is_away_for_a_while_costs_no_checkpoint(folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "DELAYS", (0, 0))
    errors = iter([OSError("503"), ConnectionError("reset")])
    save = keeper.save_checkpoint

    def now_and_then(*arguments: Any) -> None:
        if error := next(errors, None):
            raise error
        save(*arguments)

    monkeypatch.setattr(keeper, "save_checkpoint", now_and_then)
    keep = Keeper(store, RUN, TOLD, 2)
    assert keep(state_of(folder, stepped=True), wait=True) is True and checkpoints(store) == [1]


def test_a_checkpoint_that_cannot_be_stored_stops_the_training_with_the_reason(
    folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> None:
        raise StoreError("read-only")

    monkeypatch.setattr(keeper, "save_checkpoint", never)
    keep = Keeper(store, RUN, TOLD, 2)
    assert keep(state_of(folder, stepped=True), wait=True) is False
    with pytest.raises(StoreError, match=r"^read-only$"):
        keep(state_of(folder, stepped=True))
    keep.close()
    assert keep(state_of(folder, stepped=True), wait=True) is keep(state_of(folder, stepped=True), wait=True) is False, "who leaves, leaves"


def test_nothing_of_a_checkpoint_is_unpickled(folder: Path, store: Store) -> None:
    train_tiny(folder, store, settings())
    assert {path.suffix for path in (Path(store.root) / KIND).rglob("*") if path.is_file()} == {".safetensors", ".json"}
