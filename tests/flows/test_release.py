"""Champion and challenger, for real: what wins is published as a version, what loses ends as Rejected, a person may say no or go back."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.client.schemas import State
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.states import Scheduled
from prefect.testing.utilities import prefect_test_harness

from flows.__main__ import main
from flows.prepare import prepare
from flows.release import release
from flows.retrain import retrain
from flows.rollback import rollback
from flows.train import train
from tasks import policy
from tasks.contracts.errors import RecipeError, ReleaseError, StoreError
from tasks.contracts.recipe import Recipe, read_recipe
from tasks.contracts.release import Release
from tasks.hub import read_back
from tasks.hub.mirror import Mirror
from tasks.hub.releases import Event, add_event, read_events
from tasks.model.loop import Moment
from tasks.push import token_of
from tasks.record import challenger, claim_version, turn
from tasks.store.objects import Store
from tests.support.fake_hub_writes import WritableHub
from tests.support.recipe import RECIPE

pytestmark = pytest.mark.flow
NAME = "whisper-tiny-sv"
WINS = {"min_gain": -100, "min_words": 1, "may_lose": 100}  # a gate that four steps can pass
TINY = RECIPE | {"release": {"name": NAME}}
TRAINED = "trained.json"  # in a store of these tests: keys of checkpoint and report, by learning rate
CANARY = "hf_canarycanarycanarycanarycanary"


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


def told(root: Path, other: bool = False, **release: Any) -> Recipe:
    """Return the recipe; `other`: of another model."""
    training = TINY["training"] | ({"learning_rate": 2e-3} if other else {})
    return read_recipe(TINY | {"training": training, "release": TINY["release"] | release, "store": str(root)})


def run(recipe: Recipe) -> State[Any]:
    """Retrain; once both models are trained in this store, only release: what comes before would be found."""
    policy.made.clear()
    policy.cached.clear()
    kept = Path(recipe.store, TRAINED)
    of = [] if not kept.exists() else json.loads(kept.read_text())[str(recipe.training.learning_rate)]
    state: State[Any] = release(recipe, *of, return_state=True) if of else retrain(recipe, return_state=True)
    return state


def keys(root: Path) -> tuple[str, str]:
    """Return those of the checkpoint and the report that were released."""
    (event,) = [event for event in read_events(Store(str(root)), NAME) if event.what == "release"]
    return event.checkpoint, event.report


def events(root: Path) -> list[tuple[str, int]]:
    return [(event.what, event.version) for event in read_events(Store(str(root)), NAME)]


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, State[Any]]:
    """A store in which a challenger has lost against the model it started from."""
    root = tmp_path_factory.mktemp("refused") / "store"
    state = run(told(root))
    (event,) = read_events(Store(str(root)), NAME)
    one, two = (event.checkpoint, event.report), train(told(root, other=True), *prepare(told(root)))
    (root / TRAINED).write_text(json.dumps({"0.001": one, "0.002": two}))
    return root, state


@pytest.fixture(scope="module")
def first(refused: tuple[Path, State[Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a release; copied by the tests that add to it."""
    root = tmp_path_factory.mktemp("first") / "store"
    shutil.copytree(refused[0], root, symlinks=True)
    assert run(told(root, gate=WINS)).name == "Released"
    assert policy.made == dict.fromkeys(("verdict", "page", "staged", "published", "models", "space", "spaces"), 1)
    return root


@pytest.fixture
def store(first: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(first, tmp_path / "store", symlinks=True))


def test_a_challenger_that_does_not_win_ends_well_and_publishes_nothing(refused: tuple[Path, State[Any]]) -> None:
    root, state = refused
    assert (state.name, state.is_completed(), state.result()[:2]) == ("Rejected", True, ("", ""))
    assert "against the model it started from: WER: gain " in str(state.message) and "at least 100 are wanted" in str(state.message)
    assert not (root / "models").exists() and not (root / "page").exists() and events(root) == [("rejection", 0)]
    with get_client(sync_client=True) as client:
        (verdict, *_) = [str(each.data) for each in client.read_artifacts() if each.key == "verdict"]
    assert verdict.startswith("# The challenger does not win") and "| WER | **no** |" in verdict


def test_a_refused_challenger_that_comes_again_costs_nothing_and_is_written_down_once(
    refused: tuple[Path, State[Any]], tmp_path: Path
) -> None:
    root = Path(shutil.copytree(refused[0], tmp_path / "store", symlinks=True))
    assert run(told(root)).name == "NothingNew" and not policy.made and events(root) == [("rejection", 0)]


def test_the_verdict_stands_at_the_head_of_the_report(first: Path) -> None:
    sealed = [next(path.glob("report-*.html")).read_text() for path in (first / "verdict").iterdir()]
    assert len(sealed) == 2 and all(page.index('id="verdict"') < page.index('id="rates"') and "<audio" in page for page in sealed)
    page = (first / "models" / NAME / "latest" / "report.html").read_text()
    assert "Wins against the model it started from." in page and "<audio" not in page


def test_a_release_has_a_version_a_card_and_what_it_was_made_of(first: Path) -> None:
    page = first / "models" / NAME
    assert (page / "v1").resolve() == (page / "latest").resolve()
    card = (page / "latest" / "README.md").read_text()
    assert "Release v1. Wins against the model it started from." in card and "| **v1** |" in card and "curves.svg" in card
    recipe = json.loads((page / "latest" / "recipe.json").read_text())
    assert recipe["release"]["name"] == NAME and not {"store", "prepare"} & set(recipe) and "token" not in recipe["release"]
    assert events(first) == [("rejection", 0), ("release", 1)]


def test_the_next_model_meets_the_published_one_and_both_stay(store: Path) -> None:
    state = run(told(store, other=True, gate=WINS))
    assert state.name == "Released" and not policy.made["predictions"], "what the champion hears is known"
    page = store / "models" / NAME
    assert (page / "v2").resolve() == (page / "latest").resolve() != (page / "v1").resolve()
    card = (page / "latest" / "README.md").read_text()
    assert "Release v2. Wins against v1." in card and "| **v2** |" in card and "| v1 |" in card
    assert run(told(store, other=True, gate=WINS)).name == "NothingNew" and not policy.made
    assert events(store)[1:] == [("release", 1), ("release", 2)]


def test_a_page_that_changes_is_a_release_of_the_same_model_which_meets_whom_that_has_beaten(store: Path) -> None:
    assert run(told(store, gate=WINS, licence="mit")).name == "Released"
    assert policy.made == dict.fromkeys(("page", "staged", "published", "models"), 1) and policy.cached["verdict"] == 1
    card = (store / "models" / NAME / "latest" / "README.md").read_text()
    assert "license: mit" in card and "Release v2. Wins against the model it started from." in card and events(store)[-1] == ("release", 2)
    assert run(told(store, licence="bsd")).name == "Rejected", "by a stricter gate"
    rollback(told(store), 1)
    state = run(told(store, gate=WINS, licence="mit"))
    assert state.name == "Rejected" and "from which somebody went back to v1" in str(state.message), "of a page too"


def test_who_goes_back_is_not_overruled_by_the_next_run(store: Path) -> None:
    run(told(store, other=True, gate=WINS))
    with pytest.raises(ReleaseError, match="has no release v3; there are v1, v2"):
        rollback(told(store), 3)
    with pytest.raises(ReleaseError, match="v2 is the current release already"):
        rollback(told(store), 2)
    rollback(told(store), 1, "bad on phones")
    page = store / "models" / NAME
    assert (page / "latest").resolve() == (page / "v1").resolve() and (page / "v2").resolve().exists()
    state = run(told(store, other=True, gate=WINS))
    assert state.name == "Rejected" and "it is v2, from which somebody went back to v1" in str(state.message)
    assert "bad on phones" in str(state.message) and (page / "latest").resolve() == (page / "v1").resolve()
    assert run(told(store, gate=WINS)).name == "NothingNew" and not policy.made, "v1 is there"
    assert run(told(store, other=True, gate=WINS, anyway=True)).name == "Released"
    assert [each for each in events(store) if each[0] != "rejection"] == [("release", 1), ("release", 2), ("rollback", 1), ("release", 3)]
    assert "back to v1" in (page / "latest" / "README.md").read_text()


def test_a_run_without_a_deployment_ends_and_waits_for_a_person(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = told(store, other=True, gate=WINS, approval=True)
    state = run(recipe)
    assert state.name == "AwaitingApproval" and "viska approve " in str(state.message) and not (store / "models" / NAME / "v2").exists()
    key = str(state.message).split("viska approve ")[1].split()[0]
    assert main(["approve", key, "--store", str(store), "--comment", "listened to ten clips"]) == 0
    assert main(["reject", key, "--store", str(store)]) == 2 and "somebody said approve" in capsys.readouterr().err
    assert run(recipe).name == "Released"
    card = (store / "models" / NAME / "latest" / "README.md").read_text()
    assert "Approved by a person: listened to ten clips." in card and read_events(Store(str(store)), NAME)[-1].approval["comment"]


def test_a_person_may_say_no(store: Path) -> None:
    recipe = told(store, other=True, gate=WINS, approval=True)
    key = str(run(recipe).message).split("viska approve ")[1].split()[0]
    assert main(["reject", key, "--store", str(store), "--comment", "too loud"]) == 0
    state = run(recipe)
    assert state.name == "Rejected" and "a person said no: too loud" in str(state.message) and events(store)[-1] == ("rejection", 0)
    assert main(["approve", "a" * 24, "--store", str(store)]) == 2, "no such verdict"


def test_an_approval_is_of_one_page_in_one_place(store: Path, tmp_path: Path) -> None:
    asked = []
    for place in ("", str(tmp_path / "public")):
        state = run(told(store, other=True, to=place, gate=WINS, approval=True))
        assert state.name == "AwaitingApproval", "another place is another question"
        asked.append(str(state.message).split("viska approve ")[1].split()[0])
        assert main(["approve", asked[-1], "--store", str(store), "--comment", "only for internal"]) == 0
        assert "Publish **" in json.loads((store / "questions" / f"{asked[-1]}.json").read_text())["words"]
    assert len(set(asked)) == 2


def test_who_went_back_and_forward_again_is_not_held_to_the_first(store: Path) -> None:
    run(told(store, other=True, gate=WINS))
    rollback(told(store), 1)
    rollback(told(store), 2, "it was the microphone")
    assert run(told(store, gate=WINS)).name == "Rejected", "now the first one is taken back"
    assert run(told(store, other=True, gate=WINS)).name == "NothingNew" and not policy.made


def test_a_model_may_be_published_in_a_folder(store: Path, tmp_path: Path) -> None:
    wish = {"name": "whisper-out", "to": f"file://{tmp_path / 'out'}", "gate": WINS}
    assert run(told(store, **wish)).name == "Released" and run(told(store, other=True, **wish)).name == "Released"
    folder = tmp_path / "out"
    assert (folder / "latest").resolve() == (folder / "v2").resolve() and (folder / "v1" / "model.safetensors").is_file()
    rollback(told(store, **wish), 1)
    assert (folder / "latest").resolve() == (folder / "v1").resolve()
    with pytest.raises(ReleaseError, match="was published at"):
        rollback(told(store, **wish | {"to": str(folder)}), 2)


def test_what_another_run_has_published_meanwhile_is_not_overwritten(store: Path) -> None:
    recipe = told(store)
    checkpoint, report = keys(store)
    made = replace(challenger(str(store), recipe, checkpoint, report), of="another page")
    now = turn(str(store), recipe, made)
    assert claim_version(str(store), recipe, made, now) == 2
    add_event(Store(str(store)), NAME, Event("release", 2))
    with pytest.raises(ReleaseError, match="another run has published v2 meanwhile; run this one again"):
        claim_version(str(store), recipe, made, now)


def test_keys_that_do_not_belong_together_are_refused(store: Path) -> None:
    recipe = told(store)
    checkpoint, report = keys(store)
    with pytest.raises(RecipeError, match="is not of checkpoint"):
        challenger(str(store), told(store, other=True), checkpoint, report)
    with pytest.raises(RecipeError, match="go together"):
        release(recipe, checkpoint)
    with pytest.raises(StoreError, match="is not there, or not whole"):  # a training that has not ended has no sealed checkpoint
        challenger(str(store), recipe, "0" * 24, report)
    made = challenger(str(store), recipe, checkpoint, report)
    with pytest.raises(RecipeError, match="is that of a Swedish model, v1, and this one is German"):
        turn(str(store), recipe.model_copy(update={"language": "de"}), made)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[WritableHub]:
    """A Hub on loopback; its token is looked for afterwards wherever it must not be."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(read_back, "WAITS", (0.01, 0.01, 0.01))
    monkeypatch.setattr(policy, "DELAYS", [0.1, 0.1])
    with WritableHub() as hub:
        hub.tokens[CANARY] = "write"
        hub.accepted.add(CANARY)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", CANARY)
        yield hub


def test_a_model_goes_to_the_hub_with_a_space_and_the_token_goes_nowhere_else(store: Path, hub: WritableHub) -> None:
    recipe = told(store, gate=WINS, to=f"hf://team/{NAME}")
    fault = hub.fail(f"POST .*{NAME}/commit/", "503", times=6)  # more than a call is tried: then the step is
    state = run(recipe)
    assert state.name == "Released", state.message
    model, demo, _ = state.result()
    assert (model, demo) == (f"{hub.url}/team/{NAME}", f"{hub.url}/spaces/team/{NAME}")
    there, files = hub.repositories[f"team/{NAME}"], hub.files(f"team/{NAME}", "v2")
    assert {"README.md", "model.safetensors", "report.html", "curves.svg", "recipe.json"} < set(files) and there.is_private
    assert fault.times == 0 and len(hub.history(f"team/{NAME}")) == 2, "one commit on main, behind the first of the repository"
    assert hub.files(f"team/{NAME}", "candidate") == files == hub.files(f"team/{NAME}")
    assert f'model="team/{NAME}", revision="v2"' in files["README.md"].decode()
    assert run(recipe).name == "NothingNew" and not policy.made, "it is there"
    with get_client(sync_client=True) as client:
        said = [*client.read_logs(), *client.read_artifacts(), *client.read_flow_runs(), *client.read_task_runs()]
    assert len(said) > 50 and CANARY not in "".join(each.model_dump_json() for each in said)
    assert not any(CANARY in request for request in hub.requests)
    for path in store.rglob("*"):
        assert path.is_dir() or CANARY.encode() not in path.read_bytes(), path
    assert os.environ["HF_TOKEN"] == CANARY, "the canary was there all the time"


def test_the_newest_checkpoint_of_a_training_is_copied_to_a_branch(store: Path, hub: WritableHub) -> None:
    key = keys(store)[0]
    look = Moment(4, 4, 1.0, 0.0, (), 1.0, 0.0, 0.0, 16, 4, {"step": 4})
    hub.fail("POST .*/commit/", "503")
    with Mirror(Store(str(store)), key, "team/work") as mirror:
        mirror(look)
        mirror(look)
    assert set(hub.files("team/work", f"training-{key[:12]}")) == {"model.safetensors", "optimizer.safetensors", "progress.json"}
    assert not hub.files("team/work"), "main stays as it is"


def test_a_run_that_was_killed_between_publishing_and_writing_it_down_blocks_nobody(store: Path, hub: WritableHub) -> None:
    wish = {"gate": WINS, "to": f"hf://team/{NAME}"}
    assert run(told(store, **wish)).name == "Released"
    (store / "releases" / NAME / "00000003.json").unlink()
    assert run(told(store, **wish)).name == "Released" and len(hub.history(f"team/{NAME}")) == 2, "it was there, as v2"
    (store / "releases" / NAME / "00000003.json").unlink()
    assert run(told(store, other=True, **wish)).name == "Released", "another model comes instead"
    assert events(store)[-1] == ("release", 3) and hub.files(f"team/{NAME}", "v3") == hub.files(f"team/{NAME}")
    assert hub.files(f"team/{NAME}", "v2") != hub.files(f"team/{NAME}", "v3")


def test_a_page_that_is_not_what_it_should_be_is_never_found_by_people(store: Path, hub: WritableHub) -> None:
    hub.fail(f"GET .*{NAME}/resolve/.*model.safetensors", "flip", times=99)
    state = run(told(store, gate=WINS, to=f"hf://team/{NAME}"))
    assert state.is_failed() and "model.safetensors is damaged" in str(state.message)
    assert not hub.files(f"team/{NAME}") and not hub.repositories[f"team/{NAME}"].tags and events(store)[-1] == ("release", 1)


def test_the_token_may_be_in_a_prefect_secret() -> None:
    Secret(value=CANARY).save("our-hub-token")
    assert token_of(Release(token="our-hub-token")) == CANARY and token_of(Release()) is None
    with pytest.raises(ReleaseError, match="there is no Prefect Secret 'no-such'"):
        token_of(Release(token="no-such"))


def test_nobodys_folders_are_published(first: Path) -> None:
    page = first / "models" / NAME / "latest"
    for path in page.iterdir():
        assert str(first.parent).encode() not in path.read_bytes() and str(Path.home()).encode() not in path.read_bytes(), path


class Deployed:
    """A run of a deployment, each attempt of it in this process."""

    def __init__(self, recipe: Recipe) -> None:
        of = json.loads(Path(recipe.store, TRAINED).read_text())["0.001"]
        self.told = {"recipe": recipe.model_dump(mode="json"), "checkpoint": of[0], "report": of[1]}
        with get_client(sync_client=True) as client:
            deployment = client.create_deployment(client.create_flow(release), name="team")
            self.id = client.create_flow_run_from_deployment(deployment, parameters=self.told).id

    def attempt(self) -> State[Any] | None:
        """Run it; None: it was suspended."""
        with get_client(sync_client=True) as client:
            run = client.read_flow_run(self.id)
        try:
            state: State[Any] = run_flow(release, flow_run=run, parameters=release.validate_parameters(self.told), return_type="state")  # type: ignore[assignment]
            return state
        except Pause:
            return None


def test_a_run_of_a_deployment_is_suspended_until_somebody_answers_and_goes_on_from_the_cache(
    refused: tuple[Path, State[Any]], tmp_path: Path
) -> None:
    root = Path(shutil.copytree(refused[0], tmp_path / "store", symlinks=True))
    run = Deployed(told(root, gate=WINS, approval=True))
    assert run.attempt() is None and not (root / "models").exists()
    with get_client(sync_client=True) as client:
        suspended = client.read_flow_run(run.id)
        assert suspended.state is not None and suspended.state.name == "Suspended"
        keyset = suspended.state.state_details.run_input_keyset
        assert keyset is not None
        asked = json.loads(client.read_flow_run_input(run.id, keyset["description"]))
        assert "# The challenger wins" in asked and "WER" in asked and f"Publish **{NAME}** at the store" in asked
        schema = json.loads(client.read_flow_run_input(run.id, keyset["schema"]))
        assert schema["properties"]["decision"]["enum"] == ["approve", "reject"] and schema["required"] == ["decision"]
        client.resume_flow_run(run.id, run_input={"decision": "approve", "comment": "sounds right"})
    state = run.attempt()
    assert state is not None and state.name == "Released"
    assert "Approved by a person: sounds right." in (root / "models" / NAME / "latest" / "README.md").read_text()
    (approval,) = (root / "approvals").iterdir()
    assert json.loads(approval.read_text())["decision"] == "approve"


def test_a_question_that_nobody_answered_in_time_is_asked_again_by_a_retry(refused: tuple[Path, State[Any]], tmp_path: Path) -> None:
    root = Path(shutil.copytree(refused[0], tmp_path / "store", symlinks=True))
    run = Deployed(told(root, gate=WINS, approval=True, approval_days=4 / 86_400))
    assert run.attempt() is None
    time.sleep(4.5)
    with get_client(sync_client=True) as client:
        assert client.resume_flow_run(run.id, run_input={"decision": "approve"}).status != SetStateStatus.ACCEPT
        assert client.read_flow_run(run.id).state_name == "Failed" and not (root / "models").exists()
        client.set_flow_run_state(run.id, Scheduled())
        assert run.attempt() is None, "it asks again"
        client.resume_flow_run(run.id, run_input={"decision": "reject", "comment": "too late"})
    state = run.attempt()
    assert state is not None and state.name == "Rejected" and "a person said no: too late" in str(state.message)
