"""The examples of one split, over all its shards: what training and scoring read."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from tasks.contracts.errors import StoreError
from tasks.contracts.values import Artifact, File
from tasks.shards.format import Example, Shard
from tasks.store.artifacts import fetch_file
from tasks.store.objects import Store


class Split:
    """The accepted examples of one split, by number, in the manifest's order."""

    def __init__(self, shards: list[Shard], rows: list[tuple[int, int]]) -> None:
        self.shards = shards
        self.rows = rows  # shard and row in it

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Example:
        shard, row = self.rows[number]
        return self.shards[shard][row]

    def __iter__(self) -> Iterator[Example]:
        return (self[number] for number in range(len(self)))

    @property
    def texts(self) -> list[str]:
        """The words of every example, without touching its features."""
        return [self.shards[shard].texts[row] for shard, row in self.rows]


def open_split(store: Store, dataset: Artifact, split: str) -> Split:
    """Fetch the shards of a split and return its examples.

    Args:
        store: where the shards lie; they are copied to this machine first unless the store is a local folder.
        dataset: what the step `shard` sealed.
        split: "train", "dev" or "test".

    Raises:
        StoreError: if the split is empty, a shard is damaged, or the index does not fit the shards.
    """
    index = pq.read_table(fetch_file(store, dataset.file("index.parquet")), filters=[("split", "=", split)]).to_pylist()
    if not index:
        raise StoreError(f"dataset/{dataset.key} has no clips in split {split!r}; its splits are {dataset.facts['splits']}")
    shards: list[Shard] = []
    numbers: dict[str, int] = {}
    for name, file in dataset.facts["shards"].items():
        if any(row["shard"] == name for row in index):
            numbers[name] = len(shards)
            shards.append(Shard(_local(store, file)))
    rows = [(numbers[row["shard"]], row["row"]) for row in index]
    for row, (shard, place) in zip(index, rows, strict=True):
        if shards[shard].ids[place] != row["id"]:
            got = shards[shard].ids[place]
            raise StoreError(f"dataset/{dataset.key}: row {place} of {row['shard']} is {got}, the index says {row['id']}")
    return Split(shards, rows)


def _local(store: Store, file: list[object]) -> Path:
    return fetch_file(store, File(*file))  # type: ignore[arg-type]  # as the seal has it: name, path, bytes, sha256
