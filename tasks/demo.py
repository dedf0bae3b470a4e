"""Demo: put a Gradio app beside the published model, complete in itself, ready to be a Space."""

import logging
from pathlib import Path
from typing import Any

from prefect.client.schemas import State

from tasks.contracts.values import Artifact
from tasks.hub.page import is_published, point_latest, publish
from tasks.hub.space import space_files
from tasks.policy import found, made, step, task_of
from tasks.store.artifacts import Draft, fetch
from tasks.store.objects import Store

log = logging.getLogger(__name__)
SPACES = "spaces"


@step("space", version=1)
def compose_space(draft: Draft, name: str, language: str) -> dict[str, Any]:
    """Put together the app: its code, the code it needs of ours, its requirements and its own card."""
    for path, data in space_files(name, language).items():
        draft.write(path, data)
    return {"name": name}


def demo(root: str, space: Artifact) -> str | State[str]:
    """Put the app in the store's `spaces` folder, and return where it lies."""
    target = Path(Store(root).uri(f"{SPACES}/{space.facts['name']}/{space.digest[:12]}"))
    checksums = {file.name: file.sha256 for file in space.files}
    if is_published(target, checksums):
        return found(SPACES, str(target), str(point_latest(target)))
    publish(fetch(Store(root), space), target, checksums)
    made[SPACES] += 1
    return str(point_latest(target))


open_demo = task_of(demo)
