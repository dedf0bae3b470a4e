"""Demo: put a Gradio app beside the published model, complete in itself: a Space of the Hub, or a folder that is ready to be one."""

import logging
from pathlib import Path
from typing import Any

from prefect.client.schemas import State

from tasks.contracts.recipe import Pretrained, Recipe
from tasks.contracts.release import Release
from tasks.contracts.values import Artifact
from tasks.hub.page import place
from tasks.hub.space import space_files
from tasks.hub.upload import publish
from tasks.policy import found, step, task_of
from tasks.push import token_of
from tasks.store.artifacts import Draft, fetch
from tasks.store.objects import Store

log = logging.getLogger(__name__)
SPACES = "spaces"


@step("space", version=3)
def compose_space(draft: Draft, name: str, language: str) -> dict[str, Any]:
    """Put together the app: its code, the code it needs of ours, its requirements and its own card."""
    for path, data in space_files(name, language).items():
        draft.write(path, data)
    return {"name": name}


def demo(root: str, space: Artifact, release: Release, start: str) -> str | State[str]:
    """Publish the app where the model is: as a Space of the same name, or in the store's `spaces` folder; return where it lies.

    Args:
        root: of the store.
        space: the app.
        release: where to.
        start: what training started from; if that is on the Hub, visitors can compare.
    """
    if repository := release.repository:
        store, told = Store(root), {"VISKA_MODEL": repository} | ({"VISKA_BASE": start} if start and release.side_by_side else {})
        done = publish(
            repository, "space", fetch(store, space), space.checksums, message="Demo", private=release.private,
            token=token_of(release), variables=told,
        )  # fmt: skip
        where, was_there = done.url, done.was_there
    else:
        store = Store(root)
        placed = place(store, space, store, f"{SPACES}/{space.facts['name']}")
        where, was_there = placed.where, placed.was_there
    if was_there:
        return found(where, where)
    log.info("demo %s", where)
    return where


def hub_start(recipe: Recipe) -> str:
    """Return the id on the Hub of what training started from, or nothing if that is not there."""
    model = recipe.model
    return model.name if isinstance(model, Pretrained) and model.name.count("/") == 1 and not Path(model.name).expanduser().exists() else ""


open_demo = task_of(demo, SPACES)
