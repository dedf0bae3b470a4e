"""Record: what was released, refused and taken back, and from that who the champion is and what the next release is called."""

import json
import logging
from dataclasses import asdict, dataclass
from typing import Any

from tasks.contracts.errors import RecipeError, ReleaseError
from tasks.contracts.recipe import Recipe
from tasks.contracts.values import Artifact, fingerprint
from tasks.hub.page import Placed
from tasks.hub.releases import Event, add_event, current, find_version, next_version, read_events
from tasks.policy import sealed
from tasks.push import wishes
from tasks.report import Subject, subject_of
from tasks.store.artifacts import fetch_file
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
    version: int  # of the release that it would be
    history: list[dict[str, Any]]  # of the releases before, for the card
    is_same_model: bool  # the champion is this model, though its page may change
    is_done: bool  # it is published already, exactly so
    taken_back: str  # why it must not be published again, if a person took it back

    @property
    def against(self) -> str:
        """What people call the other model."""
        return f"v{self.champion.version}" if self.champion else "the model it started from"


def challenger(root: str, recipe: Recipe, checkpoint: str, report: str) -> Challenger:
    """Return what the keys stand for."""
    model, told = sealed(root, "checkpoint", checkpoint), sealed(root, "report", report)
    same = json.loads(fetch_file(Store(root), told.file("report.json")).read_text())["recipe"]
    if told.facts["checkpoint"] != checkpoint or same != recipe.up_to_the_report():
        raise RecipeError(f"report {report} is not of checkpoint {checkpoint} and this recipe; leave both out, and what is there is found")
    return Challenger(model, told, subject_of(root, told), fingerprint([model.digest, told.digest, wishes(recipe)]))


def turn(root: str, recipe: Recipe, made: Challenger) -> Turn:
    """Return whom the challenger meets. The log is read here and nowhere else, so that all of a run believes the same."""
    events = read_events(Store(root), recipe.release.name)
    champion = current(events)
    if champion and champion.of == made.of:
        return Turn(champion, champion.version, _history(events[: events.index(champion)]), True, True, "")
    is_same = champion is not None and champion.checkpoint == made.checkpoint.key
    return Turn(champion, next_version(events), _history(events), is_same, False, _taken_back(events, made))


def _taken_back(events: list[Event], made: Challenger) -> str:
    """Return why this checkpoint must not be published again: a person went back from it."""
    why: dict[str, str] = {}
    for number, event in enumerate(events):
        left = current(events[:number])
        if event.what == "rollback" and left:
            told = f": {event.comment}" if event.comment else ""
            why[left.checkpoint] = f"it is v{left.version}, from which somebody went back to v{event.version} at {event.at}{told}"
        elif event.what == "release":
            why.pop(event.checkpoint, None)
    return why.get(made.checkpoint.key, "")


def _history(events: list[Event]) -> list[dict[str, Any]]:
    """Return what the card says of earlier releases."""
    kept = ("what", "version", "wer", "gain", "champion", "approval", "comment", "at")
    return [{key: value for key, value in asdict(event).items() if key in kept} for event in events if event.what != "rejection"]


def record_release(root: str, recipe: Recipe, made: Challenger, turn: Turn, verdict: Artifact, approval: dict[str, str], page: Artifact,
                   placed: Placed) -> None:  # fmt: skip
    """Write down what was published, unless it is written down already."""
    if turn.is_done:
        return
    store, name = Store(root), recipe.release.name
    add_event(store, name, Event(
        "release", turn.version, made.checkpoint.key, made.report.key, verdict.key, page.key, made.of, placed.where, placed.revision,
        made.report.facts["after"]["wer"], verdict.facts["gain"], turn.against, verdict.facts["reasons"],
        approval,
    ))  # fmt: skip
    log.info("released %s v%d", name, turn.version)


def record_rejection(root: str, recipe: Recipe, made: Challenger, turn: Turn, verdict: Artifact, why: list[str]) -> None:
    """Write down what was refused, unless it was the last thing that happened."""
    store, name = Store(root), recipe.release.name
    last = next(reversed(read_events(store, name)), None)
    if last is None or (last.what, last.verdict, last.reasons) != ("rejection", verdict.key, why):
        wer, gain = made.report.facts["after"]["wer"], verdict.facts["gain"]
        told = Event(
            "rejection", 0, made.checkpoint.key, made.report.key, verdict.key, wer=wer, gain=gain, champion=turn.against, reasons=why
        )
        add_event(store, name, told)


def need_same_champion(root: str, recipe: Recipe, turn: Turn) -> None:
    """Refuse to publish over what another run has published since the verdict.

    Raises:
        ReleaseError: saying to run again: the gate then compares with the new one.
    """
    now = current(read_events(Store(root), recipe.release.name))
    if now != turn.champion:
        raise ReleaseError(f"{recipe.release.name}: another run has published v{now.version if now else 0} meanwhile; run this one again")


def earlier(root: str, recipe: Recipe, version: int) -> Event:
    """Return an older release that is to be the current one again.

    Raises:
        ReleaseError: if there is no such release, or it is the current one.
    """
    name = recipe.release.name
    events = read_events(Store(root), name)
    event = find_version(events, version, name)
    if current(events) == event:
        raise ReleaseError(f"{name} v{version} is the current release already")
    return event


def record_rollback(root: str, recipe: Recipe, event: Event, placed: Placed, comment: str) -> None:
    """Write down that an older release is the current one again."""
    told = Event("rollback", event.version, where=placed.where, commit=placed.revision, comment=comment)
    add_event(Store(root), recipe.release.name, told)
    log.info("%s is v%d again", recipe.release.name, event.version)
