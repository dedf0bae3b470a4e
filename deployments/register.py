"""Register: tell the Prefect server what viska brings. Asks nothing, and may be repeated: what is there is brought up to date.

    python deployments/register.py                 pools of processes
    python deployments/register.py --type docker   or kubernetes: with the base job templates in pools/, or --cpu FILE --cuda FILE

Work pools cpu and cuda, the deployments of prefect.yaml, and the automations of automations.yaml, found again by their names.
PREFECT_API_URL and PREFECT_API_AUTH_STRING say which server; VISKA_WEBHOOK, if set, is the address that is told what people should know.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.types import SecretDict
from prefect.workers.utilities import get_default_base_job_template_for_infrastructure_type as template_of
from pydantic import SecretStr

from flows.deploy import asking, keep_automation
from tasks.contracts.errors import RecipeError, ViskaError

HERE = Path(__file__).parent
WAIT = 120.0  # seconds for the server to come up; the first start makes its tables
BLOCK = "viska"  # name of the webhook's block


def main() -> int:
    """Register everything; the exit code is 2 if something must be put right first."""
    options = _options()
    try:
        with asking() as client:
            _await_server(client)
            for pool, file in (("cpu", options.cpu), ("cuda", options.cuda)):
                print(f"pool        {pool}: {keep_pool(client, pool, options.type, file or _template(options.type, pool))}")
            deploy_all()
            hook = keep_webhook(os.environ.get("VISKA_WEBHOOK", ""))
            for name, what in keep_automations(client, yaml.safe_load((HERE / "automations.yaml").read_text())["automations"], hook):
                print(f"automation  {name}: {what}")
    except (ViskaError, ConnectionError) as error:
        print(f"register: {error}", file=sys.stderr)
        return 2
    return 0


def keep_pool(client: SyncPrefectClient, name: str, kind: str, file: str) -> str:
    """Make a work pool, or give it the template of the file; what people set in the UI stays. Return what was done.

    Raises:
        RecipeError: if there is one of another kind, or the kind is not known here.
    """
    template = json.loads(Path(file).read_text()) if file else None
    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        template = template or asyncio.run(template_of(kind))
        if template is None:
            raise RecipeError(f"--type {kind}: not known here; install prefect-{kind}, or name a base job template") from None
        most = 1 if name == "cuda" else None  # runs at once: raise it with each further GPU
        client.create_work_pool(WorkPoolCreate(name=name, type=kind, base_job_template=template, concurrency_limit=most))
        return f"made, {kind}"
    if pool.type != kind:
        raise RecipeError(f"pool {name} is of type {pool.type}, expected {kind}; say --type {pool.type}, or delete the pool")
    if template:
        client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))
        return "template renewed"
    return "is there"


def deploy_all() -> None:
    """Register the deployments of prefect.yaml with Prefect's own command: it has no public function.

    Raises:
        RecipeError: if that fails; it has said why.
    """
    file = HERE.parent / "prefect.yaml"
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
    done = subprocess.run(command, cwd=HERE.parent, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise RecipeError(f"{file} was not deployed:\n{done.stdout}")
    for deployment in yaml.safe_load(file.read_text())["deployments"]:
        print(f"deployment  {deployment['entrypoint'].rpartition('.')[2]}/{deployment['name']}: up to date")


def keep_webhook(url: str) -> str:
    """Keep the address where people are told; return its block's id, empty without an address."""
    if not url:
        return ""
    headers = SecretDict({"Content-Type": "application/json"})
    return str(Webhook(url=SecretStr(url), headers=headers).save(BLOCK, overwrite=True))


def keep_automations(client: SyncPrefectClient, wanted: list[dict[str, Any]], hook: str) -> list[tuple[str, str]]:
    """Make each automation, or bring the one with its name up to date; return names, and what was done.

    Args:
        client: of the server.
        wanted: automations as Prefect writes them; an action's block with the id `webhook` stands for the hook.
        hook: id of the webhook's block; empty: what needs it is left as it is.
    """
    done = []
    for each in wanted:
        calls = [action for action in each["actions"] if action.get("block_document_id") == "webhook"]
        if calls and not hook:
            done.append((each["name"], "left out; set VISKA_WEBHOOK for it"))
            continue
        actions = [action | {"block_document_id": hook} if action in calls else action for action in each["actions"]]
        done.append((each["name"], keep_automation(client, AutomationCore.model_validate(each | {"actions": actions}))))
    return done


def _template(kind: str, pool: str) -> str:
    """Return the base job template that comes with viska for a pool of this kind; empty if Prefect's own will do."""
    file = HERE / "pools" / f"{kind}-{pool}.json"
    return str(file) if file.exists() else ""


def _await_server(client: SyncPrefectClient) -> None:
    """Return when the server answers. ConnectionError if it does not in time."""
    until = time.monotonic() + WAIT
    while problem := client.api_healthcheck():
        if time.monotonic() > until:
            raise ConnectionError(f"{client.api_url}: no answer in {WAIT:.0f} s ({problem}); is it running?")
        time.sleep(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Register pools, deployments and automations; may be repeated.")
    parser.add_argument("--type", default="process", help="of both pools: process, docker, kubernetes; default process")
    parser.add_argument("--cpu", default="", metavar="FILE", help="base job template of the pool cpu; default pools/TYPE-cpu.json, if any")
    parser.add_argument(
        "--cuda", default="", metavar="FILE", help="base job template of the pool cuda; default pools/TYPE-cuda.json, if any"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
