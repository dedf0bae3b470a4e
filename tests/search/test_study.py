"""A search goes on where it was killed, tries the recipe as it is first, keeps failures, ends the hopeless early, and repeats the best."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from tasks.contracts.errors import Pruned, RecipeError
from tasks.contracts.recipe import Recipe, read_recipe
from tasks.contracts.search import Search, check
from tasks.model.loop import Moment
from tasks.search.study import Study, Wanted
from tasks.store.objects import Store
from tests.support.fake_gcs import FakeGcs

RECIPE = read_recipe({"name": "tiny", "training": {"steps": 40, "warmup": 4, "evaluate_every": 10}})
AXES = [{"field": "training.learning_rate", "low": 1e-5, "high": 1e-2, "log": True}, {"field": "training.batch", "low": 2, "high": 32}]
GRID = [{"field": "training.freeze_encoder", "values": [False, True]}, {"field": "training.batch", "values": [4, 8, 16]}]


def search(**told: Any) -> Search:
    return Search.model_validate({"axes": AXES, "trials": 6, "pruning": "none", "repeats": {"best": 0}} | told)


def study(store: Store, wish: Search, recipe: Recipe = RECIPE) -> Study:
    return Study(store, "s", recipe, wish)


def moment(step: int, wer: float) -> Moment:
    return Moment(step, 40, 1.0, 0.0, (), 1.0, 0.0, 1.0, 1, 1, {"step": step, "dev_wer": wer})


def do(study: Study, wanted: Wanted, wer: float) -> None:
    watch = study.watcher(wanted.number)
    for step in (10, 20, 30, 40):
        watch(moment(step, wer))
    study.end(wanted.number, [{"step": 5, "dev_wer": wer}], wer, seconds=360.0, checkpoint="c" * 24)


def run(study: Study) -> list[Wanted]:
    """Do all that is wanted; the fewer clips in a batch, the better."""
    done = []
    for wanted in itertools.chain(study.firsts(), study.repeats()):
        do(study, wanted, study.recipe_of(wanted).training.batch / 100 + (wanted.seed or 0) / 1000)
        done.append(wanted)
    return done


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


@pytest.mark.parametrize("method", ["tpe", "random"])
def test_the_recipe_as_it_is_comes_first_and_the_others_stay_in_their_range(store: Store, method: str) -> None:
    first, *others = run(study(store, search(method=method)))
    assert first == Wanted(0, {}, None) and len(others) == 5
    for each in others:
        assert 1e-5 <= each.values["training.learning_rate"] <= 1e-2
        assert isinstance(each.values["training.batch"], int) and 2 <= each.values["training.batch"] <= 32
    assert len({each.values["training.learning_rate"] for each in others}) == 5


def test_a_search_that_was_killed_goes_on_with_the_finished_trials_kept(store: Store) -> None:
    killed = study(store, search())
    ahead = killed.firsts()
    for _ in range(3):
        do(killed, next(ahead), 0.2)
    interrupted = next(ahead)
    again = study(store, search())
    done = run(again)
    assert done[0] == interrupted and [each.number for each in done] == [3, 4, 5]
    assert len(again.tried()) == 6 and run(study(store, search())) == []
    assert [each.number for each in run(study(store, search(trials=8)))] == [6, 7], "with more trials it goes on"
    values = [str(each.values) for each in again.tried()]
    assert len(set(values)) == len(values), "nothing is tried twice"


def test_a_grid_tries_every_combination_once(store: Store) -> None:
    wish = search(axes=GRID, method="grid", trials=99)
    run(study(store, wish.model_copy(update={"trials": 3})))
    done = run(study(store, wish))
    assert len(done) == 4, "of six and the recipe as it is, three were done"
    tried = {(each.values.get("training.batch"), each.values.get("training.freeze_encoder")) for each in study(store, wish).tried()}
    assert tried == {(None, None)} | {(batch, frozen) for batch in (4, 8, 16) for frozen in (False, True)}


def test_a_failed_trial_is_kept_and_the_search_goes_on(store: Store) -> None:
    it = study(store, search(trials=3))
    for wanted in it.firsts():
        if wanted.number == 1:
            it.give_up(1, pruned=False, error="step 3: loss is not finite")
            it.give_up(1, pruned=False, error="a second time")
        else:
            do(it, wanted, 0.5)
    *well, failed = it.tried()
    assert [each.number for each in well] == [0, 2] and (failed.state, failed.error, failed.dev_wer) == (
        "fail",
        "step 3: loss is not finite",
        None,
    )


def test_what_is_worse_than_the_others_at_the_same_step_ends_early_and_the_recipe_as_it_is_does_not(store: Store) -> None:
    it = study(store, search(trials=7, pruning="median"))
    for wanted in it.firsts():
        if wanted.number == 6:
            watch = it.watcher(6)
            with pytest.raises(Pruned, match=r"step 10: dev WER 90\.0 %"):
                watch(moment(10, 0.9))
            it.give_up(6, pruned=True, seconds=5.0)
        else:
            do(it, wanted, 0.1 if wanted.number else 0.99)
    assert [each.state for each in it.tried()] == ["complete"] * 6 + ["pruned"]
    assert it.tried()[-1].dev_wer == 0.9 and it.tried()[-1].looks == {10: 0.9}
    resumed = it.watcher(6)
    resumed(moment(10, 0.9))  # reported already, before a kill


def test_the_best_and_the_recipe_as_it_is_are_trained_again_with_other_seeds(store: Store) -> None:
    wish = search(trials=4, repeats={"best": 2, "seeds": 2})
    it = study(store, wish)
    done = run(it)
    repeats = [each for each in it.tried() if each.repeats is not None]
    best = [each.number for each in it.tried() if each.repeats is None and each.values][:2]
    assert sorted((each.repeats, each.seed) for each in repeats) == sorted((number, seed) for number in (0, *best) for seed in (1, 2))
    assert len(done) == 4 + 6 and all(each.values == it.study.trials[each.repeats].user_attrs["values"] for each in repeats)
    assert it.recipe_of(repeats[0]).training.seed == repeats[0].seed
    assert run(study(store, wish)) == []


def test_no_trial_begins_when_the_hours_are_spent(store: Store) -> None:
    assert len(run(study(store, search(trials=50, gpu_hours=0.3)))) == 3  # 360 s each


def test_its_memory_is_a_bucket_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeGcs() as gcs:
        gcs.buckets["s"] = {}
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs.url)
        store = Store("gs://s/viska")
        run(study(store, search(trials=2)))
        assert len(run(study(store, search(trials=3)))) == 1


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"axes": [{"field": "training.batch"}]}, "training.batch: nothing to try"),
        ({"axes": [{"field": "training.batch", "values": [1], "low": 1, "high": 2}]}, "values and a range"),
        ({"axes": [{"field": "training.learning_rate", "low": 0, "high": 1, "log": True}]}, "begins above 0"),
        ({"axes": [{"field": "training.seed", "values": [1, 2]}]}, "dev WERs would not compare"),
        ({"axes": [{"field": "splits.dev", "values": [0.1]}]}, "dev WERs would not compare"),
        ({"axes": [AXES[0], AXES[0]]}, "a field twice"),
        ({"axes": AXES, "method": "grid"}, "a grid needs listed values"),
        ({"axes": []}, "at least 1 item"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(told: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        search(**told)


@pytest.mark.parametrize(
    ("axis", "why"),
    [
        ({"field": "training.rate", "values": [1]}, r"training\.rate: there is no such setting"),
        ({"field": "training.batch", "values": [4, 0]}, r"training\.batch: got 0; input should be greater"),
        ({"field": "training.batch", "low": 0, "high": 8}, r"training\.batch: got 0"),
        ({"field": "training.warmup", "values": [50]}, "does not end within steps 40"),
        ({"field": "model", "values": [{"kind": "pretrained", "nam": "x"}]}, r"model\.nam"),
    ],
)
def test_a_value_that_no_recipe_may_have_is_refused_before_anything_is_trained(axis: dict[str, Any], why: str) -> None:
    with pytest.raises(RecipeError, match=why):
        check(RECIPE, search(axes=[axis]))


def test_whole_sections_can_be_tried(store: Store) -> None:
    models = [{"kind": "pretrained", "name": "openai/whisper-tiny"}, {"kind": "scratch", "width": 64}]
    wish = search(axes=[{"field": "model", "values": models}], method="grid")
    check(RECIPE, wish)
    kinds = {study(store, wish).recipe_of(each).model.kind for each in run(study(store, wish))}
    assert kinds == {"scratch", "pretrained"}
