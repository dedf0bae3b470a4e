"""Push: compose the model's page from sealed files, and publish it: whole, checked, or not at all."""

import json
import logging
from typing import Any

from prefect.client.schemas import State

from tasks.contracts.recipe import Recipe
from tasks.contracts.values import HISTORY, Artifact
from tasks.hub.card import write_card
from tasks.hub.page import place
from tasks.policy import found, step, task_of
from tasks.scoring.html import render_report
from tasks.scoring.normalise import normaliser_for
from tasks.scoring.report import for_everybody
from tasks.store.artifacts import Draft, fetch, fetch_file
from tasks.store.objects import Store

log = logging.getLogger(__name__)
MODELS = "models"  # the folder of published models in the store
NOT_PUBLISHED = {HISTORY}  # its numbers are in the report


@step("page", version=3)
def compose_page(draft: Draft, recipe: Recipe, checkpoint: Artifact, report: Artifact) -> dict[str, Any]:
    """Put together what is published: the model's files, the card, the report, the recipe."""
    folder = fetch(draft.store, checkpoint)
    for file in checkpoint.files:
        if file.name not in NOT_PUBLISHED:
            draft.write(file.name, folder / file.name)
    numbers = json.loads(fetch_file(draft.store, report.file("report.json")).read_text())
    card = write_card(numbers, recipe.release.name, recipe.release.licence, recipe.release.data_licence)
    draft.write("README.md", card.encode())
    normaliser = normaliser_for(numbers["language"], numbers["recipe"]["scoring"]["normaliser"])
    draft.write("report.html", render_report(for_everybody(numbers), {}, normaliser).encode())  # the voices stay at home
    draft.write("recipe.json", recipe.model_dump_json(indent=1, exclude={"store"}).encode())
    return {"name": recipe.release.name}


def push(root: str, page: Artifact) -> str | State[str]:
    """Publish the page in the store's `models` folder, point `latest` at it, and return where it lies."""
    where, was_there = place(Store(root), page, MODELS)
    if was_there:
        return found(where, where)
    log.info("published %s", where)
    return where


push_model = task_of(push, MODELS)
