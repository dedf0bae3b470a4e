"""Decisions on their way into the rows of a corpus: by id and recording, and only where the label still is what was judged.

A drop says that a recording cannot be used: it holds whatever the label, and for every row that has the id and the recording.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tasks.corrections.decisions import Decision

DROPPED = "dropped by audit"  # the reason in quarantine
DONE = {"accept": "accepted", "correct": "corrected", "drop": "dropped"}  # what comes of a verdict that still fits


@dataclass
class Applied:
    """A table of decisions, and what came of each so far."""

    table: Mapping[str, Decision]
    outcomes: dict[str, str] = field(default_factory=dict)  # by id: accepted, corrected or dropped

    def label(self, id: str, recording: str, text: str, as_learnt: Callable[[str], str]) -> str | None:
        """Return the label of a clip, None if it is dropped.

        Args:
            id: of the clip.
            recording: SHA-256 of its file; empty: not known yet.
            text: its label in the corpus.
            as_learnt: what the recipe makes of a text: people judge labels as they are learnt.
        """
        decision = self.table.get(id)
        if decision is None or (recording and recording != decision.recording):
            return text
        if decision.verdict != "drop" and as_learnt(text) not in map(as_learnt, (decision.was, *decision.seen)):
            return text
        self.outcomes.setdefault(id, DONE[decision.verdict])
        return {"accept": text, "correct": decision.text, "drop": None}[decision.verdict]

    def why(self, id: str) -> str:
        """Say why a clip was dropped."""
        decision = self.table[id]
        return f"{decision.note or 'a person listened to it'}, {decision.at:%Y-%m-%d}"

    def gone(self) -> list[Decision]:
        """Return the decisions by which clips were dropped."""
        return [self.table[id] for id, outcome in self.outcomes.items() if outcome == "dropped"]

    def rows(self) -> list[dict[str, str]]:
        """Return what came of each decision; stale: its clip is gone, or has another sound, or another label that it does not fit."""
        return [{"id": id, "recording": each.recording, "verdict": each.verdict, "outcome": self.outcomes.get(id, "stale")}
                for id, each in sorted(self.table.items())]  # fmt: skip

    def counts(self) -> dict[str, int]:
        """Return how many decisions came to what."""
        n = Counter(row["outcome"] for row in self.rows())
        return {f"n_{outcome}": n[outcome] for outcome in ("corrected", "dropped", "accepted", "stale")}
