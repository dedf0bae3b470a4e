"""Push: compose the model's page from sealed files, and publish it: whole, checked, or not at all."""

import json
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect.blocks.system import Secret
from prefect.client.schemas import State

from tasks.contracts.errors import ReleaseError
from tasks.contracts.recipe import Recipe
from tasks.contracts.release import HUB, Release
from tasks.contracts.values import HISTORY, Artifact
from tasks.hub.card import Publication, write_card
from tasks.hub.page import Placed, place, read_back
from tasks.hub.read_back import fetch_back
from tasks.hub.upload import MAIN, publish
from tasks.judge import read_verdict
from tasks.model.fit import device
from tasks.model.generate import hear_all
from tasks.model.whisper import load_whisper
from tasks.policy import found, step, task_of
from tasks.scoring.html import render_report
from tasks.scoring.normalise import normaliser_for
from tasks.scoring.pictures import curves_of, picture
from tasks.scoring.public import for_everybody
from tasks.scoring.verdict import with_verdict
from tasks.shards.dataset import open_split
from tasks.store.artifacts import Draft, fetch, fetch_file
from tasks.store.objects import Store

log = logging.getLogger(__name__)
CANDIDATE = "candidate"  # the branch of the Hub on which a page is looked at before people find it
MODELS = "models"  # the folder of published models in the store
NOT_PUBLISHED = {HISTORY}  # its numbers are in the report
N_HEARD = 5  # clips, spread over the test, that the published model must hear as ours does


@step("page", version=5)
def compose_page(
    draft: Draft, told: dict[str, Any], checkpoint: Artifact, report: Artifact, verdict: Artifact, exports: list[Artifact], version: int,
    history: list[dict[str, Any]], approval: dict[str, str],
) -> dict[str, Any]:  # fmt: skip
    """Put together what is published: the model's files, the card, the report with the verdict, the recipe.

    Args:
        draft: where to.
        told: what the recipe said of all that is published, as `wishes` gives it.
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
    publication = Publication(repository_of(release), version, judged, history, [each.facts for each in exports], approval)
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
    if not (repository := repository_of(release)):
        return place(source, page, *_folder(source, release), tag, is_current)
    message = f"Release {tag}" if tag else f"Back to v{page.facts['version']}"
    done = publish(
        repository, "model", fetch(source, page), checksums(page), tag=tag, message=message if is_current else "Candidate",
        private=release.private, token=token_of(release), branch=MAIN if is_current else CANDIDATE,
    )  # fmt: skip
    return Placed(done.url, done.commit, done.was_there)


@step("published", version=1, neutral=("release",))
def check_published(
    draft: Draft, page: Artifact, placed: Placed, release: Release, checkpoint: Artifact, dataset: Artifact, language: str
) -> dict[str, Any]:
    """Read back what was brought there, all of it, and have it transcribe a few clips.

    Raises:
        ReleaseError: if other bytes came back, or it hears something else than the checkpoint.
    """
    split = open_split(draft.store, dataset, "test")
    clips = [split[number] for number in range(0, len(split), max(len(split) // N_HEARD, 1))][:N_HEARD]
    with tempfile.TemporaryDirectory() as empty:
        back = _bring_back(draft.store, page, placed, release, Path(empty) / "page")
        ours, theirs = (_heard(folder, language, clips) for folder in (fetch(draft.store, checkpoint), back))
    for clip, one, other in zip(clips, ours, theirs, strict=True):
        if one != other:
            raise ReleaseError(f"{placed.where}: clip {clip.id} is heard as {other!r}, expected {one!r}; do not use that release")
    return {"where": placed.where, "n_clips": len(clips)}


def _heard(folder: Path, language: str, clips: Sequence[Any]) -> list[str]:
    return [heard.text for _, heard in sorted(hear_all(load_whisper(folder, language, device()), clips, len(clips)))]


def _bring_back(store: Store, page: Artifact, placed: Placed, release: Release, target: Path) -> Path:
    if repository := repository_of(release):
        return fetch_back(repository, placed.revision, target, checksums(page), token_of(release))
    return read_back(_folder(store, release)[0], placed.revision, page, target)


def _folder(store: Store, release: Release) -> tuple[Store, str]:
    """Return the store in which revisions lie, and under which path."""
    if not release.to:
        return store, f"{MODELS}/{release.name}"
    return Store(str(Path(release.to.removeprefix("file://")).expanduser().absolute())), "."


def checksums(page: Artifact) -> dict[str, str]:
    """Return the SHA-256 of each file by its name."""
    return {file.name: file.sha256 for file in page.files}


def wishes(recipe: Recipe) -> dict[str, Any]:
    """Return what of a recipe decides what is published; the rest decides how fast, where, and whether."""
    whether = {"gate", "anyway", "approval", "approval_days", "token", "private", "side_by_side"}
    release = recipe.release.model_dump(mode="json", exclude=whether)
    release |= {"exports": sorted(release["exports"])}
    return recipe.up_to_the_report() | {"release": release}


def repository_of(release: Release) -> str:
    """Return the repository of the Hub, or nothing if the model is published in a folder."""
    return release.to.removeprefix(HUB) if release.to.startswith(HUB) else ""


def token_of(release: Release) -> str | None:
    """Return the Hub's token from its Prefect Secret; None: huggingface_hub looks for HF_TOKEN itself.

    Raises:
        ReleaseError: if there is no such secret.
    """
    if not release.token:
        return None
    try:
        return str(Secret.load(release.token).get())  # type: ignore[union-attr]  # it is no coroutine here
    except ValueError as error:
        raise ReleaseError(f"release.token: there is no Prefect Secret {release.token!r}; make it in the UI, under Blocks") from error


stage_page = task_of(stage, "staged")
push_model = task_of(push, MODELS)
