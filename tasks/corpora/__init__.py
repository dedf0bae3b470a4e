"""Where recordings come from: one file per source. Each yields the same thing, a `Recording` or a `Reject` per row.

A source has two functions: `revision(spec)` says cheaply what would change its recordings, and `recordings(spec)` reads them. `spec` is its
section of the recipe (`tasks/contracts/corpora.py`). docs/corpora.md says how to add one.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any

from tasks.contracts.values import Reject

# What a source may know of a clip besides: free words, kept beside it up to the report.
ABOUT = ("corpus", "age", "gender", "accent", "variant", "domain", "up_votes", "down_votes", "licence")

# Refusals that say nothing against a corpus: they do not count when a run stops because too much of it cannot be used.
EXCUSED = frozenset({
    "leaked sound", "leaked speaker", "leaked sentence", "not in the frozen test", "another language", "reported sentence",
    "speaker of dev or test", "sentence of dev or test", "double text", "dropped by audit",
})  # fmt: skip


@dataclass(frozen=True)
class Recording:
    """One row of a corpus, as its source gives it."""

    id: str  # never changes
    read: Callable[[], bytes]  # gives the file as it came; FileNotFoundError: there is none, AudioError: it cannot be had or cut
    text: str
    speaker: str = ""  # empty: unknown
    split: str = ""  # "train", "dev" or "test"; empty: to be decided
    stamp: str = ""  # changes when the file changes, and is known without reading it; empty: it must be read to know
    seconds: float = 0.0  # as the source says; 0: it does not
    language: str = ""  # as Whisper writes it; empty: the recipe's
    weight: float = 1.0  # how often an epoch goes through it, if it is trained on
    place: int = 0  # where it stands in the source's own tables, if recordings come in another order
    about: dict[str, str] = field(default_factory=dict)  # of ABOUT


def source(kind: str) -> ModuleType:
    """Return the module that reads corpora of this kind."""
    return import_module(f"tasks.corpora.{kind}")  # here: a source imports this module for `Recording`


def recordings(spec: Any, also: Collection[str] = ()) -> Iterator[Recording | Reject]:
    """Yield every row of the corpus that `spec` describes, readable or not.

    Args:
        spec: the recipe's section.
        also: ids of clips that are wanted although the source does not give them: they were in its test once. Sources that can look for
            them (HOLDS_MORE) yield those they find, in test.
    """
    module = source(spec.kind)
    yield from module.recordings(spec, frozenset(also)) if also and getattr(module, "HOLDS_MORE", False) else module.recordings(spec)


def revision(spec: Any) -> Any:
    """Return JSON values that change when the corpus changes."""
    return source(spec.kind).revision(spec)
