"""What one model heard in the test and besides, as references; and what a report is of."""

import json
from dataclasses import dataclass
from typing import Any

from tasks.contracts.errors import StoreError
from tasks.contracts.values import Artifact
from tasks.store.artifacts import fetch_file, load
from tasks.store.objects import Store


@dataclass(frozen=True)
class Hearing:
    """What one model heard."""

    test: Artifact
    long: Artifact | None  # the test's clips, joined to recordings of minutes
    others: list[Artifact]  # further tests, in the recipe's order

    def keys(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"test": self.test.key, "long": self.long.key if self.long else "", "others": [each.key for each in self.others]}


@dataclass(frozen=True)
class Subject:
    """What a report is of, so far as a comparison with another model needs it."""

    data: Artifact
    others: list[Artifact]  # data sets of the further tests
    before: Hearing
    after: Hearing


def subject_of(root: str, report: Artifact) -> Subject:
    """Return what a report is of.

    Raises:
        StoreError: if something of it is gone, or an earlier viska made it.
    """
    store, numbers = Store(root), json.loads(fetch_file(Store(root), report.file("report.json")).read_text())
    if "heard" not in numbers:
        raise StoreError(f"report/{report.key} was made by an earlier viska; run its recipe again")

    def hearing(keys: dict[str, Any]) -> Hearing:
        test, *others = (load(store, "predictions", key) for key in (keys["test"], *keys["others"]))
        return Hearing(test, load(store, "long", keys["long"]) if keys["long"] else None, others)

    sets = [load(store, "dataset", key) for key in (numbers["dataset"]["key"], *numbers["others"])]
    return Subject(sets[0], sets[1:], *(hearing(numbers["heard"][side]) for side in ("before", "after")))
