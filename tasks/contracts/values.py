"""The small frozen values that travel between steps. References travel, arrays do not."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from tasks.contracts.errors import StoreError

HISTORY = "training.jsonl"  # beside the weights of a finished training: its looks


@dataclass(frozen=True)
class File:
    """One immutable object of an artifact."""

    name: str  # what it is called inside the artifact: "weights/model.safetensors"
    path: str  # where it lies, under the store's root
    n_bytes: int
    sha256: str
    crc32c: str = ""  # as Google Cloud Storage writes it, base64: quick to check on every read


@dataclass(frozen=True)
class Artifact:
    """Points at one sealed thing in the store."""

    kind: str  # "corpus", "audio", "features", "checkpoint", ...
    key: str  # its address: the fingerprint of everything that decides its bytes
    files: tuple[File, ...]
    facts: dict[str, Any] = field(default_factory=dict)  # counts and measurements, readable without opening a file

    @property
    def digest(self) -> str:
        """What it holds, whatever made it: an artifact made again with equal bytes changes nothing downstream."""
        return fingerprint([self.kind, sorted((file.name, file.sha256) for file in self.files)])

    def identity(self) -> str:
        """Stand for this artifact in the fingerprint of a step that reads it: what it means, if it says so, else what it holds."""
        return str(self.facts.get("content") or self.digest)

    @property
    def checksums(self) -> dict[str, str]:
        """The SHA-256 of each file by its name."""
        return {file.name: file.sha256 for file in self.files}

    def file(self, name: str) -> File:
        """Return the file called `name`; KeyError, with what is there, if there is none."""
        for file in self.files:
            if file.name == name:
                return file
        raise KeyError(f"{self.kind}/{self.key} has no {name!r}, only {[file.name for file in self.files]}")


@dataclass(frozen=True)
class SplitOf:
    """The clips of one split of a data set."""

    dataset: Artifact
    split: str

    def identity(self) -> str:
        """Stand for this split in the fingerprint of a step that reads it: what is in the other splits does not matter."""
        if "contents" not in self.dataset.facts:
            raise StoreError(f"dataset/{self.dataset.key} was made by an earlier viska; prepare it again with its recipe")
        return str(self.dataset.facts["contents"][self.split])


@dataclass(frozen=True)
class Part:
    """Some recordings that are prepared together, and become one shard."""

    name: str  # "part-00003"
    n_clips: int
    recordings: str  # fingerprint of the recordings in it, in order: all that its bytes depend on
    plan: Artifact | None = None  # where its rows stand; None: these recordings are in the store at 16 kHz already
    row_group: int = 0  # of the plan

    def identity(self) -> str:
        """Stand for this part in the fingerprint of a step that reads it."""
        return self.recordings


@dataclass(frozen=True)
class Reject:
    """A clip in quarantine: never silently dropped."""

    id: str
    stage: str  # which step refused it
    reason: str  # one of a few words that can be counted: "empty text", "cannot decode"
    detail: str  # what was got and expected


def typical(rejects: Sequence[Reject]) -> Reject:
    """Return the first of those that were refused for the commonest reason."""
    ((reason, _),) = Counter(each.reason for each in rejects).most_common(1)
    return next(each for each in rejects if each.reason == reason)


def fingerprint(value: Any) -> str:
    """Return 24 hexadecimal digits that name `value`, equal in every process and on every machine.

    Args:
        value: JSON values, dataclasses, pydantic models, and anything with an `identity()`, nested in lists, tuples and dicts.

    Raises:
        TypeError: for a value whose text could differ between processes, such as a set.
    """
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def plain(value: Any) -> Any:
    """Return the JSON values that stand for `value` in a fingerprint; TypeError if there are none."""
    if hasattr(value, "identity"):
        return plain(value.identity())
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(mode="json"))
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}  # asdict would pass by an identity() further in
    if isinstance(value, dict) and all(isinstance(key, str | int) for key in value):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"{type(value).__name__} cannot be part of a fingerprint: {value!r:.80}")
