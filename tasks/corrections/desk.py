"""Where a person works through the suspects: what is next, what was decided, what can be taken back. Each decision is saved at once."""

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tasks.contracts.errors import StoreError
from tasks.contracts.values import Artifact, File
from tasks.corrections.decisions import Decision, Verdict, correction, newest, read_log, save
from tasks.shards.format import Sound
from tasks.store.artifacts import fetch_file
from tasks.store.lines import from_lines
from tasks.store.objects import Store


@dataclass(frozen=True)
class Act:
    """What one person has just done, and what held before: enough to take it back."""

    place: int
    before: Decision | None


class Desk:
    """The suspects of one audit, and the log of decisions of one recipe. Several people may sit at desks of their own."""

    def __init__(self, store: Store, name: str, audit: Artifact, dataset: Artifact) -> None:
        """Lay out the suspects.

        Args:
            store: where everything lies.
            name: of the recipe, whose next `prepare` applies what is decided.
            audit: what the step `rank_suspects` sealed.
            dataset: of which it is.
        """
        self.store, self.name, self.dataset = store, name, dataset
        self.suspects: Sequence[dict[str, Any]] = from_lines(fetch_file(store, audit.file("suspects.jsonl")).read_bytes())
        self.n_clips: int = audit.facts["n_clips"]
        self.table: dict[str, Decision] = {}  # what holds, against the corpus' labels
        self.judged: dict[str, Decision] = {}  # the newest decisions as they were made, against the labels that were shown
        self.n_read = 0
        self.lock = threading.RLock()  # the page's buttons have threads of their own
        self.refresh()

    def refresh(self) -> None:
        """Read what was decided since, here and at other desks."""
        with self.lock:
            entries = read_log(self.store, self.name, self.n_read)
            self.table = newest(entries, self.table)
            self.judged |= {each.id: each for entry in entries for each in entry}
            self.n_read += len(entries)

    def verdict(self, place: int) -> str:
        """Return what holds for a suspect: "accept", "correct", "drop", or nothing."""
        suspect = self.suspects[place]
        for decision in (self.judged.get(suspect["id"]), self.table.get(suspect["id"])):
            if decision and decision.recording == suspect["recording"] and decision.settles(suspect["label"]):
                return decision.verdict
        return ""

    def next(self, after: int = -1) -> int | None:
        """Return the first suspect behind this one that nobody has judged, else the first of all that nobody has; None: all are done."""
        waiting = self.waiting()
        return next((place for place in waiting if place > after), waiting[0] if waiting else None)

    def waiting(self) -> list[int]:
        """Return the suspects that nobody has judged, the most suspicious first."""
        return [place for place in range(len(self.suspects)) if not self.verdict(place)]

    def counts(self) -> Counter[str]:
        """Return how many suspects were judged how; "" are those that were not."""
        return Counter(self.verdict(place) for place in range(len(self.suspects)))

    def decide(self, place: int, verdict: Verdict, text: str = "", note: str = "") -> Act:
        """Save a decision on a suspect, and return how to take it back; StoreError if it cannot be one."""
        suspect = self.suspects[place]
        self.refresh()
        act = Act(place, self.table.get(suspect["id"]))
        told = (suspect["id"], suspect["recording"], suspect["label"])
        if verdict == "correct":
            self._save(correction(*told, " ".join(text.split()), note))
        else:
            self._save(Decision(id=told[0], recording=told[1], was=told[2], verdict=verdict, note=note))
        return act

    def undo(self, act: Act) -> None:
        """Save what held before, as a newer decision: nothing is taken out of the log."""
        suspect = self.suspects[act.place]
        if act.before:
            self._save(Decision(**act.before.model_dump(exclude={"at"})))
        else:
            self._save(Decision(id=suspect["id"], recording=suspect["recording"], was=suspect["label"], verdict="open"))

    def sound(self, place: int) -> bytes:
        """Return a suspect's recording as it is trained on, 16 kHz FLAC; StoreError if it is not in the store any more."""
        suspect = self.suspects[place]
        try:
            _, flac = self._sounds(suspect["shard"])[suspect["sound_row"]]
        except (FileNotFoundError, LookupError) as error:
            raise StoreError(f"the sound of {suspect['id']!r} is gone from the store; run viska audit again") from error
        return flac

    def _save(self, decision: Decision) -> None:
        save(self.store, self.name, [decision])
        self.refresh()

    @cache  # noqa: B019  (a desk lives as long as its page)
    def _sounds(self, shard: str) -> Sound:
        return Sound(fetch_file(self.store, File(*self.dataset.facts["sounds"][shard])))
