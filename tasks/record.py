"""Record: what was released, refused and taken back, and from that whom a challenger meets and what its release is called."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tasks.contracts.errors import RecipeError, ReleaseError
from tasks.contracts.languages import name as name_of
from tasks.contracts.recipe import Recipe
from tasks.contracts.values import Artifact, fingerprint
from tasks.hub.page import Placed
from tasks.hub.releases import Event, add_event, claim, current, find_version, read_events
from tasks.policy import sealed
from tasks.scoring.heard import Subject, subject_of
from tasks.store.artifacts import fetch_file, find
from tasks.store.objects import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Challenger:
    """A model that wants to be published."""

    checkpoint: Artifact
    report: Artifact
    subject: Subject  # of the report
    of: str  # fingerprint of all that decides its page


@dataclass(frozen=True)
class Turn:
    """A challenger's turn: against whom, and what came before."""

    champion: Event | None  # what is published now
    opponent: Event | None  # whom it meets: the champion; or, if that is the same model, whom that one has beaten. None: where it started
    history: list[dict[str, Any]]  # of the releases before, for the card
    is_done: bool  # it is published already, exactly so
    taken_back: str  # why it must not be published again, if a person took it back

    @property
    def against(self) -> str:
        """What people call the other model."""
        return f"v{self.opponent.version}" if self.opponent else "the model it started from"


def challenger(root: str, recipe: Recipe, checkpoint: str, report: str) -> Challenger:
    """Return what the keys stand for.

    Raises:
        RecipeError: if the report is of something else.
    """
    model, told = sealed(root, "checkpoint", checkpoint), sealed(root, "report", report)
    same = json.loads(fetch_file(Store(root), told.file("report.json")).read_text())["recipe"]
    if told.facts["checkpoint"] != checkpoint or same != recipe.up_to_the_report():
        raise RecipeError(f"report {report} is not of checkpoint {checkpoint} and this recipe; leave both out, and what is there is found")
    return Challenger(model, told, subject_of(root, told), fingerprint([model.digest, told.digest, recipe.up_to_the_page()]))


def turn(root: str, recipe: Recipe, made: Challenger) -> Turn:
    """Return whom the challenger meets. The log is read here and nowhere else, so that all of a run believes the same.

    Raises:
        RecipeError: if the name is that of a model of another language.
    """
    name, events = recipe.release.name, read_events(Store(root), recipe.release.name)
    champion = current(events)
    if champion and champion.language not in ("", recipe.language):
        told = f"{name!r} is that of a {name_of(champion.language)} model, v{champion.version}"
        raise RecipeError(f"release.name: {told}, and this one is {name_of(recipe.language)}; take another")
    if champion and champion.of == made.of:
        return Turn(champion, None, _history(events[: events.index(champion)]), True, "")
    opponent = champion
    if champion and champion.checkpoint == made.checkpoint.key:
        opponent = find_version(events, champion.beaten, name) if champion.beaten else None
    return Turn(champion, opponent, _history(events), False, _taken_back(events, made))


def _taken_back(events: Sequence[Event], made: Challenger) -> str:
    """Return why this page, or any of this checkpoint, must not be published again: a person went back from it."""
    why: dict[str, str] = {}
    released = {event.version: event for event in events if event.what == "release"}
    for number, event in enumerate(events):
        if event.what == "rejection":
            continue
        now, left = released[event.version], current(events[:number])
        if event.what == "rollback" and left:
            told = f": {event.comment}" if event.comment else ""
            words = f"it is v{left.version}, from which somebody went back to v{event.version} at {event.at}{told}"
            why |= dict.fromkeys((left.of, left.checkpoint), words)
        for each in (now.of, now.checkpoint):
            why.pop(each, None)
    return why.get(made.of) or why.get(made.checkpoint.key, "")


def _history(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Return what the card says of earlier releases."""
    kept = ("what", "version", "wer", "gain", "champion", "approval", "comment", "at")
    return [{key: value for key, value in asdict(event).items() if key in kept} for event in events if event.what != "rejection"]


def claim_version(root: str, recipe: Recipe, made: Challenger, now: Turn) -> int:
    """Return the number of the release, which is this page's alone from now on.

    Raises:
        ReleaseError: if another run has published since the verdict; the next run meets that model.
    """
    if now.champion and now.is_done:
        return now.champion.version
    store, name = Store(root), recipe.release.name
    events = read_events(store, name)
    there = current(events)
    if there != now.champion:
        raise ReleaseError(f"{name}: another run has published v{there.version if there else 0} meanwhile; run this one again")
    return claim(store, name, events, made.of)


def published_page(root: str, now: Turn) -> Artifact | None:
    """Return the page that is published, if it is this challenger's and still whole."""
    return find(Store(root), "page", now.champion.page) if now.champion and now.is_done else None


def record_release(
    root: str, recipe: Recipe, made: Challenger, now: Turn, version: int, verdict: Artifact, approval: dict[str, str], page: Artifact,
    placed: Placed,
) -> None:  # fmt: skip
    """Write down what was published, unless it is written down already."""
    if now.is_done:
        return
    event = Event(
        "release",
        version,
        beaten=now.opponent.version if now.opponent else 0,
        language=recipe.language,
        token=recipe.token,
        to=recipe.release.to,
        **_told(made, now, verdict),
        page=page.key,
        of=made.of,
        where=placed.where,
        commit=placed.revision,
        approval=approval,
    )
    add_event(Store(root), recipe.release.name, event)
    log.info("released %s v%d", recipe.release.name, version)


def record_rejection(root: str, recipe: Recipe, made: Challenger, now: Turn, verdict: Artifact, why: list[str]) -> bool:
    """Write down what was refused, and return True; False if it was the last thing that happened."""
    store, name = Store(root), recipe.release.name
    last = next(reversed(read_events(store, name)), None)
    if last and (last.what, last.verdict, last.reasons) == ("rejection", verdict.key, why):
        return False
    add_event(store, name, Event("rejection", **_told(made, now, verdict) | {"reasons": why}))
    return True


def _told(made: Challenger, now: Turn, verdict: Artifact) -> dict[str, Any]:
    """Return what every entry on a challenger says."""
    facts = made.report.facts["after"]
    keys = {"checkpoint": made.checkpoint.key, "report": made.report.key, "verdict": verdict.key}
    return keys | {"wer": facts["wer"], "gain": verdict.facts["gain"], "champion": now.against, "reasons": verdict.facts["reasons"]}


def earlier(root: str, recipe: Recipe, version: int) -> Event:
    """Return an older release that is to be the current one again.

    Raises:
        ReleaseError: if there is no such release, it is the current one, or it lies elsewhere than the recipe says.
    """
    name = recipe.release.name
    events = read_events(Store(root), name)
    event = find_version(events, version, name)
    if current(events) == event:
        raise ReleaseError(f"{name} v{version} is the current release already")
    if event.to != recipe.release.to:
        raise ReleaseError(f"{name} v{version} was published at {event.where}, and release.to is {recipe.release.to!r}, not {event.to!r}")
    return event


def record_rollback(root: str, recipe: Recipe, event: Event, placed: Placed, comment: str) -> None:
    """Write down that an older release is the current one again."""
    told = Event("rollback", event.version, where=placed.where, commit=placed.revision, comment=comment)
    add_event(Store(root), recipe.release.name, told)
    log.info("%s is v%d again", recipe.release.name, event.version)
