"""A sweep, for real, on tiny data: shards are made once, what is done is never done again, and what fails is kept."""

import io
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.testing.utilities import prefect_test_harness

from flows.flags import recipe_from
from flows.prepare import prepare
from flows.sweep import sweep
from flows.train import train
from flows.trial import trial
from tasks import policy
from tasks.contracts.errors import TrainingError
from tasks.contracts.recipe import read_recipe
from tasks.contracts.search import Search
from tasks.search.study import FOLDER, Study
from tasks.store.artifacts import Draft, load
from tasks.store.objects import Store
from tasks.sweep import _same_dev, describe, read_ranking
from tests.support.recipe import RECIPE

pytestmark = pytest.mark.flow
TINY = RECIPE | {"scoring": {"resamples": 100, "long": {"recordings": 0}}}
GRID = {"axes": [{"field": "training.batch", "values": [2, 3]}, {"field": "training.augment.mask_bins", "values": [0, 8]}],
        "method": "grid", "trials": 3, "repeats": {"best": 1, "seeds": 1}, "pruning": "none"}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int], dict[str, Any]]:
    """A store in which three trials were done, what that made, and the ranking."""
    root = tmp_path_factory.mktemp("swept") / "store"
    result = run(root, GRID)
    return root, dict(policy.made), result


def run(root: Path, search: dict[str, Any]) -> dict[str, Any]:
    policy.made.clear()
    policy.cached.clear()
    found, _ = sweep(read_recipe(TINY | {"store": str(root)}), Search.model_validate(search))
    return read_ranking(str(root), load(Store(str(root)), "search", found))


def test_all_trials_share_the_shards_of_the_first_and_the_test_is_touched_by_the_winner_alone(swept: Any) -> None:
    _, made, result = swept
    assert made["model"] == 2, "one more for the other seed: a new model has other first weights"
    assert made["dataset"] == made["plan"] == made["manifest"] == 1 and made["audio"] == made["features"] == 3
    assert made["checkpoint"] == len(result["trials"]) == 5, "three, and one more of the best and of the recipe as it is"
    assert made["predictions"] == 2 and made["report"] == 1, "before and after, of one model"


def test_each_training_is_a_trial_in_the_prefect_ui_and_the_ranking_is_shown_there(swept: Any) -> None:
    with get_client(sync_client=True) as client:
        names = [each.name for each in client.read_flow_runs()]
        shown = {each.key: str(each.data) for each in client.read_artifacts()}
    assert {f"trial-{number}-of-tiny" for number in range(5)} <= set(names)
    assert "the recipe as it is" in shown["sweep"] and "learning_rate: 0.001" in shown["best-recipe"]


def test_the_best_recipe_is_a_file_whose_training_is_found_done(swept: Any) -> None:
    root, _, result = swept
    (key,) = {path.name for path in (root / "search").iterdir()}
    (file,) = (root / "search" / key).glob("best-*.yaml")
    best = recipe_from(str(file), {"store": str(root)})
    values = next(each["values"] for each in result["places"] if each["number"] == result["best"])
    assert best.training.batch == values.get("training.batch", 4)
    policy.made.clear()
    train(best, *prepare(best), [])
    assert dict(policy.made) == {}
    told = describe(str(root), load(Store(str(root)), "search", key))
    assert len(told) == len(result["places"]) + 3 and str(file) in told[-1]


def test_a_sweep_that_is_done_makes_nothing_and_with_more_trials_it_goes_on(swept: Any) -> None:
    root, _, result = swept
    assert run(root, GRID) == result and dict(policy.made) == {}
    more = run(root, GRID | {"trials": 4})
    assert policy.made["checkpoint"] == len(more["trials"]) - len(result["trials"]) >= 1
    assert policy.made["audio"] == policy.made["dataset"] == 0


def test_a_trial_that_fails_is_kept_with_its_reason_and_the_others_are_done(tmp_path: Path) -> None:
    nothing = {"kind": "folder", "path": str(tmp_path / "nothing")}
    texts = [{"case": "lower"}]
    wish = {"axes": [{"field": "corpus", "values": [TINY["corpus"], nothing]}, {"field": "text", "values": texts}],
            "method": "grid", "repeats": {"best": 0}}  # fmt: skip
    *well, failed = run(tmp_path / "store", wish)["trials"]
    assert [each["state"] for each in (*well, failed)] == ["complete", "complete", "fail"]
    assert "nothing" in failed["error"] and failed["values"]["corpus"] == nothing
    assert policy.made["audio"] == 3, "other texts of the same sounds"


def test_a_trial_that_is_worse_than_the_others_at_the_same_step_ends_as_pruned(swept: Any) -> None:
    root, recipe = str(swept[0]), read_recipe(TINY | {"store": str(swept[0])})
    search = Search.model_validate(GRID | {"pruning": "median", "trials": 9})
    study = Study(Store(root), "hopeless", recipe, search)
    *others, wanted = itertools.islice(study.firsts(), 5)
    for each in others:
        study.end(each.number, [{"step": step, "dev_wer": 0.0} for step in (2, 4)], 0.0)
    mine = study.recipe_of(wanted).model_copy(update={"training": recipe.training.model_copy(update={"seed": 9})})
    policy.made.clear()
    start, dataset = prepare(recipe)
    state = trial(mine, search, "hopeless", wanted.number, start, dataset, return_state=True)
    assert (state.type, state.name) == (StateType.COMPLETED, "Pruned") and "others were better there" in state.message
    assert dict(policy.made) == {} and study.tried()[-1].state == "pruned" and list(study.tried()[-1].looks) == [2]


def test_a_trial_with_another_dev_split_is_refused(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for key, rows in {"a": ["Hej!", "Ja."], "b": ["hej", "ja"], "c": ["hej", "nej"]}.items():
        draft, table = Draft(store, "dataset", key * 24), io.BytesIO()
        pq.write_table(pa.table({"id": ["1", "2"], "split": ["dev", "dev"], "text": rows}), table)
        draft.write("index.parquet", table.getvalue())
        draft.seal({})
    assert _same_dev(store.url, ("", "a" * 24), ("m", "b" * 24)) == ("m", "b" * 24), "case and punctuation do not count in a dev WER"
    with pytest.raises(TrainingError, match="2 clips, expected the 2 of the recipe as it is; 1 are in both"):
        _same_dev(store.url, ("", "a" * 24), ("", "c" * 24))


@pytest.mark.slow
def test_a_sweep_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    file, root = tmp_path / "sweep.yaml", tmp_path / "store"
    file.write_text(yaml.safe_dump({"recipe": TINY, "search": GRID | {"trials": 2}}))
    told = dict(os.environ, VISKA_STORE=str(root))
    process = subprocess.Popen([sys.executable, "-m", "flows", "sweep", str(file)], env=told, process_group=0, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while len(ended(root)) < 1:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    os.killpg(process.pid, 9)
    process.wait()
    result = run(root, GRID | {"trials": 2})
    assert [each["number"] for each in sorted(result["trials"], key=lambda each: each["number"])] == [0, 1, 2, 3]
    assert policy.made["checkpoint"] <= 3 and policy.made["dataset"] == 0
    assert all(each["state"] == "complete" for each in result["trials"])


def ended(root: Path) -> list[Path]:
    """Return what the search's memory says of trials that came to their end."""
    return [path for path in root.glob(f"{FOLDER}/*/*.json") if json.loads(path.read_text()).get("state") == 1]
