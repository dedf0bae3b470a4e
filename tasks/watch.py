"""Watch: what a person sees of a training while it runs, in the terminal, in Prefect and in TensorBoard. None of it can stop the training.

In Prefect the pages stand under keys of the training: each attempt adds a version to each, and keeps that up to date. Curves are an inline
picture in a page of Markdown: an image artifact would show them too, and above all the kilobytes of its own address.
"""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from uuid import UUID

from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.context import TaskRunContext

from tasks.model.aside import Aside
from tasks.model.events import Events, escaped
from tasks.model.loop import Moment
from tasks.model.watch import Bar, describe
from tasks.scoring.pictures import curves_of, inline, picture
from tasks.store.objects import Store

if TYPE_CHECKING:
    from tasks.contracts.recipe import Training

PAUSE = 10.0  # seconds between updates, at least; a look is shown at once


class Watch:
    """Shows moments of one training; a watcher for `fit`. In no task run Prefect is not asked for anything."""

    def __init__(self, store: Store, run: str, settings: "Training") -> None:
        """Get ready. `run` is the training's key, `settings` have a learning rate."""
        self.bar, self.events = Bar(), Events(store, run, settings)
        self.pages = Aside("Prefect's artifacts", _Pages(run).show) if TaskRunContext.get() else None
        self.newest: Moment | None = None
        self.shown_at = float("-inf")

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.__exit__(kind, error, trace)
        self._show()
        if self.pages:
            self.pages.close()
        self.events.__exit__(kind, error, trace)

    def __call__(self, moment: Moment) -> None:
        """Show a moment, if it is time to."""
        self.bar(moment)
        self.events(moment)
        if not moment.look:  # a look has no figures of its own
            self.newest = moment
        if moment.look or time.monotonic() - self.shown_at >= PAUSE:
            self._show()

    def _show(self) -> None:
        self.shown_at = time.monotonic()
        if self.pages:
            self.pages.leave(_View(self.newest, self.events.looks or []))


class _View(NamedTuple):
    """What is shown of a training at once."""

    moment: Moment | None  # the newest step of this attempt
    looks: list[dict[str, Any]]  # since the training began


class _Pages:
    """The artifacts of one attempt."""

    def __init__(self, run: str) -> None:
        self.key = f"training-{run[:12]}"
        self.ids: dict[str, UUID] = {}
        self.n_looks = 0

    def show(self, view: _View) -> None:
        """Bring them up to date."""
        if view.moment:
            self._progress(view.moment)
            told = describe(view.moment)
            self._page("figures", table(told), f"loss {told['loss']}, {told['clips a second']} clips a second")
        if len(view.looks) > self.n_looks:
            self._page("looks", looks_page(view.looks), _summary(view.looks))
            self.n_looks = len(view.looks)

    def _progress(self, moment: Moment) -> None:
        told = describe(moment)
        percent, words = round(100 * moment.step / moment.steps, 1), f"step {told['step']}, {told['left']} left"
        if "progress" in self.ids:
            update_progress_artifact(self.ids["progress"], percent, words)
        else:
            self.ids["progress"] = cast(UUID, create_progress_artifact(percent, f"{self.key}-progress", words))  # no coroutine in a thread

    def _page(self, name: str, markdown: str, description: str) -> None:
        if name in self.ids:
            get_client(sync_client=True).update_artifact(self.ids[name], ArtifactUpdate(data=markdown, description=description))
        else:
            self.ids[name] = cast(UUID, create_markdown_artifact(markdown, f"{self.key}-{name}", description))


def table(told: dict[str, str]) -> str:
    """Return figures by name as Markdown."""
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in told.items())])


def looks_page(looks: list[dict[str, Any]]) -> str:
    """Return curves, and what was heard in the same clips at the first look and at the newest, as Markdown."""
    first, newest = looks[0], looks[-1]
    before = {each["id"]: each["hypothesis"] for each in first["samples"]}
    rows = []
    for each in newest["samples"]:
        rows.append(("reference", f"**{escaped(each['reference'])}**", each["id"]))
        if first is not newest and each["id"] in before:
            rows.append((f"step {first['step']:,}", _heard(before[each["id"]]), ""))
        rows.append((f"step {newest['step']:,}", _heard(each["hypothesis"]), ""))
    lines = [f"| {escaped(id)} | {what} | {words} |" for what, words, id in rows]
    return "\n".join([inline(picture(curves_of(looks)), "Curves of loss and dev WER"), "", "| clip | | words |", "|---|---|---|", *lines])


def _heard(words: str) -> str:
    return escaped(words.strip()) or "*nothing*"


def _summary(looks: list[dict[str, Any]]) -> str:
    newest, best = looks[-1], min(looks, key=lambda look: look["dev_wer"])
    words = f"dev WER {100 * newest['dev_wer']:.1f} %"
    return f"{words}, lowest {100 * best['dev_wer']:.1f} % at step {best['step']:,}" if best["dev_wer"] < newest["dev_wer"] else words
