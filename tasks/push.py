"""Push: compose the model's page from sealed files, and publish it: whole, checked, or not at all."""

import json
import logging
from pathlib import Path
from typing import Any

from prefect.blocks.system import Secret
from prefect.client.schemas import State

from tasks.contracts.errors import ReleaseError
from tasks.contracts.release import Release
from tasks.contracts.secrets import remember
from tasks.contracts.values import HISTORY, Artifact
from tasks.hub.card import Publication, write_card
from tasks.hub.page import Placed, place
from tasks.hub.upload import MAIN, publish
from tasks.judge import read_verdict
from tasks.policy import found, step, task_of
from tasks.scoring.html import render_report
from tasks.scoring.normalise import normaliser_for
from tasks.scoring.pictures import curves_of, picture
from tasks.scoring.public import for_everybody
from tasks.scoring.verdict import with_verdict
from tasks.store.artifacts import Draft, fetch, fetch_file
from tasks.store.objects import Store

log = logging.getLogger(__name__)
CANDIDATE = "candidate"  # the branch of the Hub on which a page is looked at before people find it
MODELS = "models"  # the folder of published models in the store
NOT_PUBLISHED = {HISTORY}  # its numbers are in the report


@step("page", version=5)
def compose_page(
    draft: Draft, told: dict[str, Any], checkpoint: Artifact, report: Artifact, verdict: Artifact, exports: list[Artifact], version: int,
    history: list[dict[str, Any]], approval: dict[str, str],
) -> dict[str, Any]:  # fmt: skip
    """Put together what is published: the model's files, the card, the report with the verdict, the recipe.

    Args:
        draft: where to.
        told: what the recipe said of all that is published, as `Recipe.up_to_the_page` gives it.
        checkpoint: the model.
        report: its report.
        verdict: of the gate.
        exports: the model in other formats.
        version: of the release.
        history: of the releases before, as the card tells it.
        approval: what a person said of this one, if somebody was asked.
    """
    for file in (*checkpoint.files, *(file for each in exports for file in each.files)):
        if file.name not in NOT_PUBLISHED:
            draft.adopt(file)
    numbers = for_everybody(json.loads(fetch_file(draft.store, report.file("report.json")).read_text()))
    judged, release = read_verdict(draft.store.url, verdict), Release.model_validate(told["release"])
    publication = Publication(release.repository, version, judged, history, [each.facts for each in exports], approval)
    draft.write("README.md", write_card(numbers, release.name, release.licence, release.data_licence, publication).encode())
    draft.write("curves.svg", picture(curves_of(numbers["history"])).encode())
    normaliser = normaliser_for(numbers["language"], numbers["recipe"]["scoring"]["normaliser"])
    page = render_report(numbers, {}, normaliser)  # the voices stay at home
    draft.write("report.html", with_verdict(page, judged).encode())
    settings = numbers["recipe"] | {"release": {key: each for key, each in told["release"].items() if key != "to"}}
    draft.write("recipe.json", json.dumps(settings, indent=1, ensure_ascii=False).encode())
    return {"name": release.name, "version": version}


def stage(root: str, page: Artifact, release: Release) -> Placed | State[Placed]:
    """Bring the page where the recipe says, so that it can be read back there, but people do not find it yet."""
    placed = _bring(root, page, release, "", is_current=False)
    return found(placed.where, placed) if placed.was_there else placed


def push(root: str, page: Artifact, release: Release, version: int) -> Placed | State[Placed]:
    """Publish the page where the recipe says, so that it is the newest there, and return where it lies.

    Args:
        root: of the store.
        page: what is published.
        release: where to.
        version: of the release, for the tag; 0: of an earlier one that is made current again, so it has its tag.
    """
    placed = _bring(root, page, release, f"v{version}" if version else "", is_current=True)
    if placed.was_there:
        return found(placed.where, placed)
    log.info("published %s", placed.where)
    return placed


def _bring(root: str, page: Artifact, release: Release, tag: str, is_current: bool) -> Placed:
    source = Store(root)
    if not release.repository:
        return place(source, page, *folder_of(source, release), tag, is_current)
    message = f"Release {tag}" if tag else f"Back to v{page.facts['version']}"
    done = publish(
        release.repository, "model", fetch(source, page), page.checksums, tag=tag, message=message if is_current else "Candidate",
        private=release.private, token=token_of(release), branch=MAIN if is_current else CANDIDATE,
    )  # fmt: skip
    return Placed(done.url, done.commit, done.was_there)


def folder_of(store: Store, release: Release) -> tuple[Store, str]:
    """Return the store in which revisions lie, and under which path."""
    if not release.to:
        return store, f"{MODELS}/{release.name}"
    return Store(str(Path(release.to.removeprefix("file://")).expanduser().absolute())), "."


def token_of(release: Release) -> str | None:
    """Return the Hub's token from its Prefect Secret; None: huggingface_hub looks for HF_TOKEN itself.

    Raises:
        ReleaseError: if there is no such secret.
    """
    if not release.token:
        return None
    try:
        return remember(str(Secret.load(release.token).get()))  # type: ignore[union-attr]  # it is no coroutine here
    except ValueError as error:
        raise ReleaseError(f"release.token: there is no Prefect Secret {release.token!r}; make it in the UI, under Blocks") from error


stage_page = task_of(stage, "staged")
push_model = task_of(push, MODELS)
