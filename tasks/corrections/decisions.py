"""What people decided about labels: a log that only grows, and the table that the newest decisions make.

`decisions/<name>/<number>.json` are the log's entries (`tasks.store.log`). The newest decision on a clip is the one whose entry has the
highest number. The table is an artifact of the kind "corrections", named by what it holds. A bucket is not trusted: whatever is read is
checked.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, ValidationError, model_validator

from tasks.contracts.errors import StoreError
from tasks.contracts.section import Section
from tasks.contracts.values import Artifact, fingerprint
from tasks.scoring.normalise import plain
from tasks.store.artifacts import Draft, fetch_file, find
from tasks.store.lines import from_lines, to_lines
from tasks.store.log import append, entries, entry
from tasks.store.objects import Store

KIND, TABLE = "corrections", "decisions.jsonl"
LONGEST = 4_000  # characters of a text
Verdict = Literal["accept", "correct", "drop", "open"]
Label = Annotated[str, Field(max_length=LONGEST)]


class Decision(Section):
    """What somebody decided about the label of one clip."""

    id: str = Field(min_length=1, max_length=2_000)
    recording: str = Field(pattern=r"^[0-9a-f]{64}$")  # SHA-256 of the file as it came: another sound is another clip
    was: str = Field(max_length=LONGEST)  # the label that was judged
    seen: tuple[Label, ...] = ()  # labels that came of earlier decisions, and were judged in its place
    verdict: Verdict  # the label is right; `text` is; the clip cannot be used; nothing is decided (any more)
    text: str = Field("", max_length=LONGEST)  # of "correct"
    note: str = Field("", max_length=1_000)
    at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))

    @model_validator(mode="after")
    def _has_words(self) -> "Decision":
        if self.verdict == "correct" and not plain(self.text):
            raise ValueError("a correction without a word; drop the clip instead")
        return self

    def settles(self, label: str) -> bool:
        """Say whether nobody need look at this label again: it was judged, or it is what came of that."""
        if self.verdict in ("open", "drop"):
            return self.verdict == "drop"  # whatever its label: nobody hears the clip again
        return label in (self.was, *self.seen) or (self.verdict == "correct" and plain(label) == plain(self.text))


def correction(id: str, recording: str, was: str, text: str, note: str = "") -> Decision:
    """Return the decision that a clip says `text`, made now; StoreError if it cannot be one."""
    return _checked({"id": id, "recording": recording, "was": was, "verdict": "correct", "text": text, "note": note}, f"clip {id!r}")


def save(store: Store, name: str, decisions: Sequence[Decision]) -> int:
    """Add decisions to the log of this name, and return the number of their entry.

    Args:
        store: where the log lies.
        name: of the recipe.
        decisions: at least one; of two on the same clip the later one holds.

    Raises:
        StoreError: if the store cannot be written, or the log is none (see read_log).
    """
    data = json.dumps([each.model_dump(mode="json") for each in decisions], indent=1, ensure_ascii=False).encode()
    return append(store, _folder(name), data)


def read_log(store: Store, name: str, after: int = 0) -> list[list[Decision]]:
    """Return the entries of this name's log behind the first `after`, oldest first.

    Raises:
        StoreError: if an entry is gone, or is none.
    """
    found = entries(store, _folder(name), after)
    return [_decoded(data, store.uri(entry(_folder(name), after + number))) for number, data in enumerate(found, 1)]


def newest(log: Iterable[Iterable[Decision]], earlier: Mapping[str, Decision] | None = None) -> dict[str, Decision]:
    """Return what holds for each clip, by id, with `was` as the corpus has it, and in `seen` what was judged in its place.

    Whoever judges a label that an earlier decision has put there has never seen the corpus' own: then that one stays what it was, and to
    call the corrected label right is to keep the correction. The label that was judged is kept too: the corpus itself may have it by now.
    """
    table = dict(earlier or {})
    for decisions in log:
        for each in decisions:
            before = table.get(each.id)
            table[each.id] = _on_top(each, before) if before and before.recording == each.recording else each
    return table


def _on_top(decision: Decision, before: Decision) -> Decision:
    """Return a decision as one on the corpus' label, if the one before has put there what it judges."""
    judged = plain(decision.was)
    kept = before.verdict == "correct" and judged == plain(before.text)
    if not kept and judged not in map(plain, before.seen):
        return decision
    told: dict[str, Any] = {"was": before.was, "seen": tuple(dict.fromkeys((*before.seen, decision.was, *decision.seen)))}
    if decision.verdict == "accept":
        told |= {"verdict": "correct", "text": before.text if kept else decision.was}
    return decision.model_copy(update=told)


def seal_table(store: Store, table: Mapping[str, Decision]) -> Artifact:
    """Return the table as an artifact, sealed under an address that names what it holds; what is open again is not in it."""
    rows, key = _rows(table), key_of(table)
    if (sealed := find(store, KIND, key)) is not None:
        return sealed
    draft = Draft(store, KIND, key)
    if rows:
        draft.write(TABLE, to_lines(rows))
    return draft.seal({"n_decisions": len(rows)})


def key_of(table: Mapping[str, Decision]) -> str:
    """Return the address of a table: it names what it holds."""
    return fingerprint(_rows(table))


def _rows(table: Mapping[str, Decision]) -> list[dict[str, Any]]:
    return [table[id].model_dump(mode="json") for id in sorted(table) if table[id].verdict != "open"]


def read_table(store: Store, corrections: Artifact) -> dict[str, Decision]:
    """Return the decisions of a sealed table, by id; StoreError if it holds anything else."""
    rows = [row for file in corrections.files for row in from_lines(fetch_file(store, file).read_bytes())]  # an empty table has no file
    decisions = [_checked(row, f"corrections/{corrections.key}") for row in rows]
    return {each.id: each for each in decisions}


def _decoded(data: bytes, where: str) -> list[Decision]:
    try:
        rows = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{where} holds no decisions: {error}; mend it: each decision in it is somebody's work") from error
    if not isinstance(rows, list):
        raise StoreError(f"{where} holds a {type(rows).__name__}, expected a list of decisions")
    return [_checked(row, where) for row in rows]


def _checked(row: object, where: str) -> Decision:
    """Return a row as a decision; StoreError, saying which field is wrong, if it is none."""
    try:
        return Decision.model_validate(row)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'decision'}: {each['msg']}" for each in error.errors()[:3])
        raise StoreError(f"{where}: no decision: {wrong}") from error


def _folder(name: str) -> str:
    return f"decisions/{name}"
