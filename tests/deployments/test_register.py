"""What the server is told: the same however often it is told; a recipe of one's own, with its schedule and its trigger. About 20 s."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness

from deployments.register import keep_automations, keep_pool, keep_webhook
from flows.deploy import arrived, deploy, job_variables
from flows.retrain import retrain
from tasks.contracts.errors import RecipeError
from tasks.contracts.recipe import Recipe, read_recipe
from tests.support.recipe import RECIPE

pytestmark = pytest.mark.flow
ROOT = Path(__file__).parents[2]
WANTED = yaml.safe_load((ROOT / "deployments" / "automations.yaml").read_text())["automations"]
HEARTBEATS = 30  # seconds between them, as prefect.yaml says


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120), pytest.MonkeyPatch.context() as environment:
        environment.setenv("PREFECT_API_URL", PREFECT_API_URL.value() or "")
        yield


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as opened:
        keep_pool(opened, "cpu", "process", "")
        yield opened


def test_pools_are_made_once_and_keep_what_people_set(client: SyncPrefectClient, tmp_path: Path) -> None:
    assert keep_pool(client, "cuda", "process", "") == "made, process"
    assert keep_pool(client, "cuda", "process", "") == "is there"
    template = client.read_work_pool("cuda").base_job_template
    assert "env" in template["variables"]["properties"], "a template that jobs can be made of"
    file = tmp_path / "template.json"
    file.write_text('{"job_configuration": {"command": "{{ command }}"}, "variables": {"properties": {"command": {"type": "string"}}}}')
    assert keep_pool(client, "cuda", "process", str(file)) == "template renewed"
    assert "env" not in client.read_work_pool("cuda").base_job_template["variables"]["properties"]


def test_a_pool_of_another_kind_is_refused(client: SyncPrefectClient) -> None:
    client.create_work_pool(WorkPoolCreate(name="other", type="docker"))
    with pytest.raises(RecipeError, match=r"^pool other is of type docker, expected process; say --type docker, or delete the pool$"):
        keep_pool(client, "other", "process", "")
    with pytest.raises(RecipeError, match=r"^--type cloud: not known here; install prefect-cloud, or name a base job template$"):
        keep_pool(client, "new", "cloud", "")


def test_automations_are_made_once_brought_up_to_date_and_stay_switched_off(client: SyncPrefectClient) -> None:
    done = dict(keep_automations(client, WANTED, ""))
    assert done.pop("viska: tell people") == "left out; set VISKA_WEBHOOK for it" and set(done.values()) == {"made"}
    hook = keep_webhook("http://127.0.0.1:9/hook")
    assert keep_webhook("http://127.0.0.1:9/other") == hook
    assert dict(keep_automations(client, WANTED, hook))["viska: tell people"] == "made"
    (again,) = client.read_automations_by_name("viska: crashed runs go on")
    client.pause_automation(again.id)
    changed = [each | {"description": "changed"} for each in WANTED]
    assert dict(keep_automations(client, changed, hook))["viska: crashed runs go on"] == "up to date, and switched off"
    ours = [each for each in client.read_automations() if each.name.startswith("viska: ")]
    assert sorted(each.name for each in ours) == sorted(each["name"] for each in WANTED)
    assert {each.description for each in ours} == {"changed"}
    assert [each.name for each in ours if not each.enabled] == ["viska: crashed runs go on"]


def test_every_state_in_which_a_run_rests_is_expected_of_the_silent() -> None:
    from tasks import decide

    ends = {decide.RELEASED, decide.NOTHING_NEW, decide.REJECTED, decide.WAITING, "Completed", "Failed", "TimedOut", "Cancelled"}
    for silent in WANTED[:2]:
        trigger = silent["trigger"]
        assert {f"prefect.flow-run.{name}" for name in ends | {"Suspended", "Paused", "AwaitingRetry"}} <= set(trigger["expect"])
        assert trigger["after"] == ["prefect.flow-run.heartbeat"] and "prefect.flow-run.heartbeat" in trigger["expect"]
    assert WANTED[0]["trigger"]["within"] >= 3 * HEARTBEATS and WANTED[1]["trigger"]["within"] >= 3 * 180


def test_a_recipe_comes_back_from_its_deployment_and_a_second_call_renews_it(client: SyncPrefectClient) -> None:
    recipe = read_recipe(RECIPE | {"name": "mine"})
    words = deploy(recipe, "0 3 * * 0", "Europe/Stockholm")
    assert (
        words[0]
        == "runs    retrain/mine on the pool cpu, at 0 3 * * 0 (Europe/Stockholm), when recordings arrive, and when somebody starts it"
    )
    first = client.read_deployment_by_name("retrain/mine")
    assert retrain.validate_parameters(first.parameters)["recipe"] == recipe
    assert [(each.schedule.cron, each.schedule.timezone) for each in first.schedules] == [("0 3 * * 0", "Europe/Stockholm")]  # type: ignore[union-attr]
    assert (first.entrypoint, first.pull_steps, first.enforce_parameter_schema) == ("flows.retrain.retrain", [], True)
    assert first.global_concurrency_limit and first.global_concurrency_limit.limit == 1
    assert first.concurrency_options and first.concurrency_options.collision_strategy.value == "ENQUEUE"
    deploy(read_recipe(RECIPE | {"name": "mine", "language": "de"}))
    again = client.read_deployment_by_name("retrain/mine")
    assert (again.id, again.parameters["recipe"]["language"], again.schedules) == (first.id, "de", [])
    assert len(client.read_automations_by_name("viska: new recordings for mine")) == 1


def test_its_jobs_are_told_what_those_of_prefect_yaml_are() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    told = {each["work_pool"]["name"]: each["work_pool"]["job_variables"] for each in deployments}
    assert (job_variables("cpu"), job_variables("cuda")) == (told["cpu"], told["cuda"])
    assert job_variables("mine") == told["cpu"]


@pytest.mark.parametrize(("cron", "timezone", "pool", "message"), [
    ("soon", "UTC", "cpu", r"^--cron 'soon' --timezone 'UTC': cron: .*; expected such as '0 3 \* \* 0' and Europe/Stockholm$"),
    ("0 3 * * 0", "Sweden/Stockholm", "cpu", r"timezone: .*Invalid timezone"),
    ("", "UTC", "gpu", r"^--pool gpu: there is no such work pool; deployments/register.py makes cpu and cuda$"),
])  # fmt: skip
def test_what_is_not_understood_is_refused(cron: str, timezone: str, pool: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        deploy(Recipe(name="mine"), cron, timezone, pool)


def test_the_name_of_the_general_deployment_is_taken_and_recordings_for_nobody_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"^name: retrain/cpu is the deployment of all recipes; name this one otherwise$"):
        deploy(Recipe(name="cpu"))
    with pytest.raises(RecipeError, match=r"^retrain/nobody: there is no such deployment; viska deploy --recipe FILE makes it$"):
        arrived("nobody")


RELATIVE = {"kind": "folder", "path": "recordings"}


@pytest.mark.parametrize("told", [
    {"store": "store"}, {"release": {"to": "models"}}, {"corpus": RELATIVE}, {"scoring": {"others": [{"name": "fi", "corpus": RELATIVE}]}},
    {"corpus": {"kind": "mix", "parts": [{"name": "a", "corpus": RELATIVE}]}},
], ids=str)  # fmt: skip
def test_a_folder_from_here_on_is_refused_because_nobody_else_has_it(told: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=r"(store|release\.to|\.path|corpus\.path): got .* name a whole path, or an address"):
        deploy(read_recipe(told))


def test_without_a_server_nothing_is_registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    with pytest.raises(RecipeError, match=r"^no Prefect server is named; set PREFECT_API_URL, such as .* or start one: make up$"):
        deploy(Recipe(name="mine"))
