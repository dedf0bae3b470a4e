"""Corrections of the demo's visitors, kept as training material; for a demo beside a store, no part of a Space.

`visitors/<name>/` holds each recording under its SHA-256 and a `manifest.jsonl`, as a corpus of the kind folder reads it; the decision
itself stands in the log of the recipe of that name (`tasks.corrections.decisions`), from which the manifest is written. Nothing but sound
and text is kept, and both go again with the number that the visitor was given.
"""

import json
import threading
from collections.abc import Mapping
from hashlib import sha256

from tasks.contracts.errors import StoreError
from tasks.corrections.decisions import Decision, correction, newest, read_log
from tasks.corrections.decisions import save as save_decisions
from tasks.hub.space.listen import Correction
from tasks.store.lines import to_lines
from tasks.store.objects import Store

FOLDER = "visitors"  # in the store; and what the part of a mix is to be called, so that these ids are the clips' own
MANIFEST = "manifest.jsonl"
MOST = 10_000  # recordings of one name: strangers must not fill a disk
RECEIPT = 12  # characters of the number that a visitor is given
NOTE, WITHDRAWN = "a visitor of the demo", "withdrawn by its visitor"


class Keeper:
    """Keeps the corrections of one demo; several threads, and several demos, may do so at once."""

    def __init__(self, store: Store, name: str) -> None:
        """Remember where: the store, and the name of the recipe."""
        self.store, self.name = store, name
        self.table: dict[str, Decision] = {}  # what holds, by id
        self.n_read = 0
        self.lock = threading.Lock()

    def __call__(self, given: Correction) -> str:
        """Keep one, and return the number by which it can be withdrawn.

        Raises:
            StoreError: if the store cannot be written, or holds as many as it may.
        """
        recording = sha256(given.flac).hexdigest()
        id = f"{FOLDER}/{recording}.flac"
        with self.lock:
            self._read()
            if len(self.table) >= MOST and id not in self.table:
                where = self.store.uri(f"{FOLDER}/{self.name}")
                raise StoreError(f"{where} holds {MOST} corrections; use them, then go on under another name")
            self.store.create(_at(self.name, id), given.flac)
            decision = correction(id, recording, given.was, given.text, NOTE)
            save_decisions(self.store, self.name, [decision.model_copy(update={"seen": (given.text,)})])  # the label that the manifest has
            self.write()
        return recording[:RECEIPT]

    def write(self) -> None:
        """Write the manifest, until nothing was decided meanwhile: another demo may have written its own before this one."""
        self._read()
        while True:
            self.store.replace(f"{FOLDER}/{self.name}/{MANIFEST}", to_lines(_rows(self.table)))
            if not self._read():
                return

    def _read(self) -> int:
        """Take over what was decided since, here and elsewhere; return how much that is."""
        entries = read_log(self.store, self.name, self.n_read)
        self.n_read += len(entries)
        found = newest(entries, self.table)
        self.table = {id: each for id, each in found.items() if id == f"{FOLDER}/{each.recording}.flac"}
        return len(entries)


def withdraw(store: Store, name: str, receipt: str) -> int:
    """Delete the recording that has this number, and every word that was said of it; return how many decisions held any.

    Data that was prepared from it, and models that were trained on it, stay until they are made anew; the next `prepare` leaves it out.

    Raises:
        StoreError: if there is none, or the number is too short to mean one.
    """
    if len(receipt) < RECEIPT:
        raise StoreError(f"{receipt!r} is no number of a correction, expected {RECEIPT} characters")
    n_emptied = 0
    for number, entry in enumerate(read_log(store, name), 1):
        emptied = [_emptied(each) if _is_meant(each, receipt) else each for each in entry]
        if emptied == entry:
            continue
        for each in entry:
            if _is_meant(each, receipt):
                store.delete(_at(name, each.id))
                n_emptied += 1
        rows = [each.model_dump(mode="json") for each in emptied]
        store.replace(f"decisions/{name}/{number:08d}.json", json.dumps(rows, indent=1, ensure_ascii=False).encode())
    if not n_emptied:
        raise StoreError(f"no correction of {name} has the number {receipt!r}, or it was withdrawn already")
    keeper = Keeper(store, name)
    keeper.write()
    return n_emptied


def _is_meant(decision: Decision, receipt: str) -> bool:
    mine = decision.id == f"{FOLDER}/{decision.recording}.flac"
    return mine and decision.recording.startswith(receipt) and decision.note != WITHDRAWN


def _emptied(decision: Decision) -> Decision:
    """Return a decision without its words: the clip is not to be used, wherever a copy of it may be."""
    return Decision(id=decision.id, recording=decision.recording, was="", verdict="drop", note=WITHDRAWN, at=decision.at)


def _rows(table: Mapping[str, Decision]) -> list[dict[str, str]]:
    """Return what the manifest says: whoever reads it trains on the recordings, and never tests on them."""
    kept = [each for _, each in sorted(table.items()) if each.verdict == "correct"]
    return [{"audio": f"{each.recording}.flac", "text": each.text, "split": "train"} for each in kept]


def _at(name: str, id: str) -> str:
    return f"{FOLDER}/{name}/{id.removeprefix(f'{FOLDER}/')}"
