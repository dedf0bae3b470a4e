"""Deploy: a recipe of one's own as a deployment of `retrain`, which a schedule, new recordings and people can start. No flow itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.schedules import CronSchedule
from prefect.events import DeploymentEventTrigger, Event, Resource
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL
from prefect.utilities.callables import parameter_schema
from pydantic import ValidationError

from flows.retrain import retrain
from flows.server import named_server
from tasks.contracts.errors import RecipeError
from tasks.contracts.recipe import Recipe
from tasks.dispatch import GPU

EVENT = "viska.corpus.updated"  # docs/operations.md says who sends it
GENERAL = "cpu"  # the deployment of prefect.yaml, whose recipe is filled in for each run


def deploy(recipe: Recipe, cron: str = "", timezone: str = "UTC", pool: str = "cpu") -> list[str]:
    """Register `retrain/<recipe name>`, or renew it, and return words about it.

    Args:
        recipe: what its runs are told; whoever starts one by hand may change it for that run.
        cron: when it runs by itself, such as `0 3 * * 0`; empty: only by events and people.
        timezone: of the cron, such as Europe/Stockholm.
        pool: whose workers run it. The GPU legs go to the pool cuda in any case.

    Raises:
        RecipeError: if no server is named or it refuses us, there is no such pool, cron or time zone are not understood, or the recipe
            names folders from here on.
    """
    _refuse_relative(recipe)
    if recipe.name == GENERAL:
        raise RecipeError(f"name: retrain/{GENERAL} is the deployment of all recipes; name this one otherwise")
    schedules = [DeploymentScheduleCreate(schedule=_schedule(cron, timezone), active=True, slug="cron")] if cron else []
    with asking() as client:
        _need_pool(client, pool)
        deployment = client.create_deployment(  # creates or renews: flow and name are the key
            flow_id=client.create_flow(retrain),
            name=recipe.name,
            description=f"Retrains {recipe.release.name} with the recipe {recipe.name}; nothing new costs seconds.",
            tags=["viska"],
            entrypoint=f"{retrain.__module__}.{retrain.fn.__name__}",
            pull_steps=[],
            parameters={"recipe": recipe.model_dump(mode="json")},
            parameter_openapi_schema=parameter_schema(retrain).model_dump(exclude_unset=True),
            enforce_parameter_schema=True,
            work_pool_name=pool,
            job_variables=job_variables(pool),
            concurrency_limit=1,
            concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
            schedules=schedules,
        )
        keep_automation(client, _trigger(recipe.name, deployment).as_automation())
    return _words(recipe.name, deployment, pool, f"at {cron} ({timezone}), " if cron else "")


def job_variables(pool: str) -> dict[str, Any]:
    """Return what its jobs are told: as in prefect.yaml, which an image need not hold. Work on the pool cuda is not sent there again."""
    return {"env": {GPU: "" if pool == "cuda" else "cuda", "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}}


def arrived(name: str) -> str:
    """Send the event that recordings for the recipe with this name have arrived, and return words about it.

    Raises:
        RecipeError: if no server is named or it refuses us, or the recipe has no deployment.
    """
    with asking() as client:
        try:
            client.read_deployment_by_name(f"retrain/{name}")
        except ObjectNotFound as error:
            raise RecipeError(f"retrain/{name}: there is no such deployment; viska deploy --recipe FILE makes it") from error
        event = Event(event=EVENT, resource=Resource({"prefect.resource.id": f"viska.corpus.{name}", "prefect.resource.name": name}))
        client.request("POST", "/events", json=[event.model_dump(mode="json")]).raise_for_status()
    return f"sent    {EVENT} for {name}; retrain/{name} starts within seconds"


def keep_automation(client: SyncPrefectClient, wanted: AutomationCore) -> str:
    """Make an automation, or bring the one with its name up to date, and return what was done."""
    found = client.read_automations_by_name(wanted.name)
    if not found:
        client.create_automation(wanted)
        return "made"
    told = {name: getattr(wanted, name) for name in wanted.model_fields_set - {"owner_resource"}}  # whose it is does not change
    client.update_automation(found[0].id, AutomationCore(**told | {"enabled": found[0].enabled}))  # who switched it off meant it
    return "up to date" if found[0].enabled else "up to date, and switched off"


@contextmanager
def asking() -> Iterator[SyncPrefectClient]:
    """Open a client of the server that is named, and say what is wrong with it in our words.

    Raises:
        RecipeError: if none is named, or it wants a password.
        ConnectionError: if it does not answer.
    """
    if not named_server():
        raise RecipeError("no Prefect server is named; set PREFECT_API_URL, such as http://127.0.0.1:4200/api, or start one: make up")
    try:
        with get_client(sync_client=True) as client:
            yield client
    except httpx.TransportError as error:
        raise ConnectionError(f"{PREFECT_API_URL.value()}: no answer ({error}); is it running?") from error
    except PrefectHTTPStatusError as error:
        if error.response.status_code not in (401, 403):
            raise
        told = f"{PREFECT_API_URL.value()} refuses us; set PREFECT_API_AUTH_STRING to user:password"
        raise RecipeError(f"{told}, as the server's PREFECT_SERVER_API_AUTH_STRING") from error


def _refuse_relative(recipe: Recipe) -> None:
    corpora = {"corpus": recipe.corpus} | {f"scoring.others.{each.name}": each.corpus for each in recipe.scoring.others}
    corpora |= {f"corpus.parts.{each.name}": each.corpus for each in getattr(recipe.corpus, "parts", ())}
    places = {"store": recipe.store, "release.to": recipe.release.to}
    for name, place in (places | {f"{name}.path": getattr(corpus, "path", "") for name, corpus in corpora.items()}).items():
        if place and "://" not in place and not Path(place).expanduser().is_absolute():
            raise RecipeError(f"{name}: got {place!r}, and whoever runs this does so in another folder; name a whole path, or an address")


def _schedule(cron: str, timezone: str) -> CronSchedule:
    try:
        return CronSchedule(cron=cron, timezone=timezone)
    except ValidationError as error:
        why = "; ".join(f"{each['loc'][-1] if each['loc'] else 'cron'}: {each['msg']}" for each in error.errors())
        raise RecipeError(f"--cron {cron!r} --timezone {timezone!r}: {why}; expected such as '0 3 * * 0' and Europe/Stockholm") from error


def _need_pool(client: SyncPrefectClient, pool: str) -> None:
    try:
        client.read_work_pool(pool)
    except ObjectNotFound as error:
        raise RecipeError(f"--pool {pool}: there is no such work pool; deployments/register.py makes cpu and cuda") from error


def _trigger(name: str, deployment: Any) -> DeploymentEventTrigger:
    trigger = DeploymentEventTrigger(
        name=f"viska: new recordings for {name}", expect={EVENT}, match={"prefect.resource.id": f"viska.corpus.{name}"}
    )
    trigger.set_deployment_id(deployment)
    return trigger


def _words(name: str, deployment: Any, pool: str, schedule: str) -> list[str]:
    return [
        f"runs    retrain/{name} on the pool {pool}, {schedule}when recordings arrive, and when somebody starts it",
        f"page    {PREFECT_UI_URL.value()}/deployments/deployment/{deployment}",
        f"start   prefect deployment run retrain/{name}",
        f"event   viska arrived {name}",
    ]
