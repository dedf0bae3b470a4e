"""Demo: put a Gradio app beside the published model, complete in itself, ready to be a Space."""

import logging
from typing import Any

from prefect.client.schemas import State

from tasks.contracts.values import Artifact
from tasks.hub.page import place
from tasks.hub.space import space_files
from tasks.policy import found, step, task_of
from tasks.store.artifacts import Draft
from tasks.store.objects import Store

log = logging.getLogger(__name__)
SPACES = "spaces"


@step("space", version=2)
def compose_space(draft: Draft, name: str, language: str) -> dict[str, Any]:
    """Put together the app: its code, the code it needs of ours, its requirements and its own card."""
    for path, data in space_files(name, language).items():
        draft.write(path, data)
    return {"name": name}


def demo(root: str, space: Artifact) -> str | State[str]:
    """Put the app in the store's `spaces` folder, and return where it lies."""
    where, was_there = place(Store(root), space, SPACES)
    if was_there:
        return found(where, where)
    return where


open_demo = task_of(demo, SPACES)
