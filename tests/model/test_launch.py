"""A training on several processes of one machine, watched by another: what they make, refuse, and say when they are asked to stop."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tasks.contracts.errors import Pruned, TrainingError
from tasks.contracts.recipe import Training
from tasks.contracts.values import Artifact
from tasks.model.fit import fit
from tasks.model.launch import fit_on_all
from tasks.model.loop import Moment
from tasks.model.signals import Stopped
from tasks.store.artifacts import Draft, load
from tasks.store.objects import Store
from tests.steps.chain import prepare, write_corpus
from tests.support.tiny import always_wrong, new_folder, settings

MARKS = {"steps": 6, "batch": 4, "evaluate_every": 3, "dev_clips": 4}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Artifact, Artifact]:
    home = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        new_folder(home / "model-80")
        write_corpus(range(40))
        run = prepare(threads=1)
    store = Store(str(home / "store"))
    (model,) = (home / "store" / "model").iterdir()
    return store, load(store, "model", model.name), run.dataset


def launch(prepared: tuple[Store, Artifact, Artifact], key: str, watch: Any = lambda moment: None, **changes: Any) -> tuple[Draft, dict]:
    store, model, dataset = prepared
    draft = Draft(store, "checkpoint", key)
    return draft, fit_on_all(draft, model, dataset, "sv", settings(**(MARKS | changes)), watch, 2)


@pytest.mark.slow
def test_two_processes_make_the_model_that_one_makes(prepared: tuple[Store, Artifact, Artifact], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    store, model, dataset = prepared
    alone = Draft(store, "checkpoint", "a" * 24)
    facts = fit(alone, model, dataset, "sv", settings(**MARKS), always_wrong)
    seen: list[Moment] = []
    together, told = launch(prepared, "b" * 24, seen.append)
    assert [each.step for each in seen if not each.look] == [1, 2, 3, 4, 5, 6] and [each.step for each in seen if each.look] == [0, 3, 6]
    assert (told["n_devices"], told["steps"], facts["n_devices"]) == (2, 6, 1) and together.files.keys() == alone.files.keys()
    one, other = (load_file(store.uri(draft.files["model.safetensors"].path)) for draft in (alone, together))
    assert max(float((weight - other[name]).abs().max()) for name, weight in one.items()) < 1e-4
    assert together.seal(told).digest and load(store, "checkpoint", "b" * 24).facts["best_step"] in (3, 6)


@pytest.mark.slow
def test_what_they_refuse_is_refused_here(prepared: tuple[Store, Artifact, Artifact]) -> None:
    with pytest.raises(TrainingError, match=r"^training\.freeze_layers 7: the encoder has 1 layers$"):
        launch(prepared, "c" * 24, freeze_layers=7)


@pytest.mark.slow
def test_whoever_watches_may_end_them(prepared: tuple[Store, Artifact, Artifact]) -> None:
    def prune(moment: Moment) -> None:
        if moment.look and moment.step == 3:
            raise Pruned("others were better")

    with pytest.raises(Pruned, match=r"^others were better$"):
        launch(prepared, "f" * 24, prune, steps=4000)


@pytest.mark.slow
def test_asked_to_stop_they_keep_what_they_learnt(prepared: tuple[Store, Artifact, Artifact]) -> None:
    def press(moment: Moment) -> None:
        if moment.step == 3 and not moment.look:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match=r"^asked to stop \(SIGTERM\) after step \d+ of 3000; its checkpoint is on the store"):
        launch(prepared, "d" * 24, press, steps=3000, evaluate_every=1000)
    store = prepared[0]
    assert store.names(f"training/{'d' * 24}")


def test_asked_to_stop_before_they_have_begun_is_no_accident(prepared: tuple[Store, Artifact, Artifact]) -> None:
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(Stopped, match=r"^asked to stop \(SIGTERM\); its processes ended before they could say what they kept"):
        launch(prepared, "9" * 24)


def test_extending_and_what_differs(prepared: tuple[Store, Artifact, Artifact]) -> None:
    store, model, dataset = prepared
    draft = Draft(store, "checkpoint", "e" * 24)
    fit(draft, model, dataset, "sv", settings(**MARKS), always_wrong)
    longer = Draft(store, "checkpoint", "f" * 24)
    facts = fit(longer, model, dataset, "sv", settings(**(MARKS | {"steps": 9, "extend": "e" * 24})), always_wrong)
    assert facts["steps"] == 9
    looks = [line for line in Path(store.uri(longer.files["training.jsonl"].path)).read_text().splitlines() if line]
    assert len(looks) == 4, "those of before, and one more"
    other: Training = settings(**(MARKS | {"steps": 9, "extend": "e" * 24, "seed": 5}))
    with pytest.raises(TrainingError, match=rf"^training/{'e' * 24}/00000006 is of another training: training\.seed was 1, is 5\. Set"):
        fit(Draft(store, "checkpoint", "0" * 24), model, dataset, "sv", other, always_wrong)
