"""What was published under a name, refused, or taken back: a log in the store that only grows. Its newest release is the champion.

    releases/<name>/00000001.json    {"what": "release", "version": 1, "checkpoint": ..., "page": ..., "where": ..., "wer": ...}
    releases/<name>/00000002.json    {"what": "rejection", "checkpoint": ..., "reasons": [...]}
    releases/<name>/00000003.json    {"what": "rollback", "version": 1}
    claims/<name>/00000002.json      {"of": ...}: whose the number 2 is, whether or not it was ever published

It is also the changelog of the model's card. It is where the flow's store is, not on the Hub: what a person changes there is no release.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Literal

from tasks.contracts.errors import ReleaseError, StoreError
from tasks.store.log import append, entries, entry
from tasks.store.objects import Store

What = Literal["release", "rejection", "rollback"]


@dataclass(frozen=True)
class Event:
    """An entry of the log. Keys are of sealed artifacts of the same store."""

    what: What
    version: int = 0  # of a release, or of the one that was made current again
    beaten: int = 0  # the version it was compared with; 0: the model it started from
    language: str = ""
    token: str = ""  # the code in the language token it decodes with
    to: str = ""  # where the recipe said; empty: the store
    checkpoint: str = ""
    report: str = ""
    verdict: str = ""
    page: str = ""
    of: str = ""  # fingerprint of all that decides the page
    where: str = ""  # a folder, or an address of the Hub
    commit: str = ""  # of the Hub
    wer: dict[str, Any] = field(default_factory=dict)  # interval on the test
    gain: dict[str, Any] = field(default_factory=dict)  # against the champion of then
    champion: str = ""  # and what that one was called
    reasons: list[str] = field(default_factory=list)  # of the gate, if it refused
    approval: dict[str, str] = field(default_factory=dict)  # decision, comment and time, if somebody was asked
    comment: str = ""  # of a rollback
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


def read_events(store: Store, name: str) -> list[Event]:
    """Return the log of this name, oldest first.

    Raises:
        StoreError: if an entry is gone, or is none.
    """
    folder = _folder(name)
    return [_decoded(data, store.uri(entry(folder, number))) for number, data in enumerate(entries(store, folder), 1)]


def add_event(store: Store, name: str, event: Event) -> int:
    """Add an entry to the log of this name, and return its number."""
    return append(store, _folder(name), json.dumps(asdict(event), indent=1, ensure_ascii=False).encode())


def current(events: Sequence[Event]) -> Event | None:
    """Return the release that is published now, if there is one: the newest, or the one that was made current again since."""
    released = {event.version: event for event in events if event.what == "release"}
    last = next((event for event in reversed(events) if event.what != "rejection"), None)
    return released[last.version] if last else None


def find_version(events: Sequence[Event], version: int, name: str) -> Event:
    """Return the release with this number.

    Raises:
        ReleaseError: if there is none.
    """
    there = [event for event in events if event.what == "release"]
    for event in there:
        if event.version == version:
            return event
    raise ReleaseError(f"{name} has no release v{version}; there are {', '.join(f'v{each.version}' for each in there) or 'none'}")


def claim(store: Store, name: str, events: Sequence[Event], of: str) -> int:
    """Return the number of the next release, which from now on is that of the page `of` alone.

    A run that was killed between publishing and writing that down gets the same number again. Whoever comes with another page gets the next
    one: on the Hub a tag may stand on what that run left.
    """
    number = max((event.version for event in events), default=0)
    while True:
        number += 1
        try:
            store.create(entry(f"claims/{name}", number), json.dumps({"of": of}).encode())
            return number
        except StoreError:
            if not store.exists(entry(f"claims/{name}", number)):
                raise  # it cannot be written


def _decoded(data: bytes, where: str) -> Event:
    try:
        read = json.loads(data)
        known = {each.name for each in fields(Event)}
        if read["what"] not in ("release", "rejection", "rollback") or not isinstance(read.get("version", 0), int):
            raise ValueError(f"what is {read['what']!r}, version {read.get('version')!r}")
        return Event(**{key: value for key, value in read.items() if key in known})
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise StoreError(f"{where} is no entry of a log of releases: {error!s:.200}") from error


def _folder(name: str) -> str:
    return f"releases/{name}"
