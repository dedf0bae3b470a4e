"""Where recordings come from: one file per source. Each yields the same thing, a `Recording` or a `Reject` per row.

A source has two functions: `revision(spec)` says cheaply what would change its recordings, and `recordings(spec)` reads them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from tasks.contracts.values import Reject


@dataclass(frozen=True)
class Recording:
    """One row of a corpus, as its source gives it."""

    id: str  # never changes
    read: Callable[[], bytes]  # gives the file as it came, in any format; FileNotFoundError if there is none
    text: str
    speaker: str = ""  # empty: unknown
    split: str = ""  # "train", "dev" or "test"; empty: to be decided
    stamp: str = ""  # changes when the file changes, and is known without reading it; empty: it must be read to know


def source(kind: str) -> ModuleType:
    """Return the module that reads corpora of this kind."""
    from tasks.corpora import espeak, folder  # here: a source imports this module for `Recording`

    return {"espeak": espeak, "folder": folder}[kind]


def recordings(spec: Any) -> Iterator[Recording | Reject]:
    """Yield every row of the corpus that `spec` describes, readable or not."""
    yield from source(spec.kind).recordings(spec)


def revision(spec: Any) -> Any:
    """Return JSON values that change when the corpus changes."""
    return source(spec.kind).revision(spec)
