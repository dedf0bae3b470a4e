"""Optuna's memory in the store: a log that only grows, so that a search goes on wherever it was killed, and its trials may run anywhere."""

import json
from collections.abc import Iterable
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from tasks.store.log import append, entries
from tasks.store.objects import Store


class StoreJournal(BaseJournalBackend):
    """A journal of Optuna's at `folder` of the store: an object for each thing that happened."""

    def __init__(self, store: Store, folder: str) -> None:
        self.store, self.folder = store, folder

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Return what happened after the first so many things."""
        return [json.loads(entry) for entry in entries(self.store, self.folder, log_number_from)]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write down what happened. Of two writers at once each gets a number of its own."""
        for each in logs:
            append(self.store, self.folder, json.dumps(each).encode())
