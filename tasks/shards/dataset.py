"""The examples of one split, over all its shards: what training and scoring read."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.contracts.errors import StoreError
from tasks.contracts.values import Artifact, File
from tasks.shards.format import Example, Shard, Sound
from tasks.store.artifacts import fetch_file, load
from tasks.store.objects import Store


class Split:
    """The accepted examples of one split, by number, in the manifest's order."""

    def __init__(self, shards: list[Shard], index: pa.Table, rows: list[tuple[int, int]], language: str, sounds: list[Sound]) -> None:
        self.shards = shards
        self.ids, self.texts, self.speakers = (index[name].to_pylist() for name in ("id", "text", "speaker"))
        self.languages = ["" if each == language else each for each in index["language"].to_pylist()]  # empty: the recipe's
        self.weights = index["weight"].to_numpy()  # how often an epoch goes through each
        self.n_samples = [shards[shard].n_samples[row] for shard, row in rows]  # at 16 kHz
        self.rows = rows  # shard and row in it
        self.sounds = sounds  # by shard: where its 16 kHz sound lies, if it was fetched
        self.sound_rows = index["sound_row"].to_pylist()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Example:
        shard, row = self.rows[number]
        each = self.shards[shard][row]
        return Example(self.ids[number], self.texts[number], each.n_samples, each.features, each.fill)

    def __iter__(self) -> Iterator[Example]:
        return (self[number] for number in range(len(self)))

    def samples(self, number: int) -> np.ndarray:
        """Return the clip's sound, [n_samples] float32 at 16 kHz, of which its features were made."""
        from tasks.audio.decode import decode_flac  # here: training needs no audio library as long as it needs no sound

        _, flac = self.sounds[self.rows[number][0]][self.sound_rows[number]]
        return decode_flac(flac)


def open_split(store: Store, dataset: Artifact, split: str, sound: bool = False) -> Split:
    """Fetch the shards of a split and return its examples.

    Args:
        store: where the shards lie; they are copied to this machine first unless the store is a local folder.
        dataset: what the step `shard` sealed.
        split: "train", "dev" or "test".
        sound: whether the 16 kHz sound is fetched too.

    Raises:
        StoreError: if the split is empty, a shard is damaged, or the index does not fit the shards.
    """
    index = pq.read_table(fetch_file(store, dataset.file("index.parquet")), filters=[("split", "=", split)],
                          columns=["id", "text", "speaker", "language", "weight", "recording", "shard", "row", "sound_row"])  # fmt: skip
    if not len(index):
        raise StoreError(f"dataset/{dataset.key} has no clips in split {split!r}; its splits are {dataset.facts['splits']}")
    names = pc.unique(index["shard"]).to_pylist()
    shards = [Shard(_local(store, dataset, name)) for name in names]
    numbers = {name: number for number, name in enumerate(names)}
    rows = [(numbers[name], row) for name, row in zip(index["shard"].to_pylist(), index["row"].to_pylist(), strict=True)]
    for (shard, row), recording in zip(rows, index["recording"].to_pylist(), strict=True):
        if shards[shard].recordings[row] != recording:
            got = shards[shard].recordings[row]
            raise StoreError(f"dataset/{dataset.key}: row {row} of shard {names[shard]} is {got}, the index says {recording}")
    sounds = [Sound(fetch_file(store, File(*dataset.facts["sounds"][name]))) for name in names] if sound else []
    return Split(shards, index, rows, dataset.facts["language"], sounds)


def read_features(root: str, key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a function that adds `features`, [n_mels, n_frames], to a row of a data set's index; for `datasets`' `map`.

    Args:
        root: the store's address.
        key: of the sealed data set. A shard is fetched whole when the first of its rows comes, and kept on this machine.
    """
    return _Reader(root, key)


class _Reader:
    """Adds features to rows. Workers that are started, not forked, get it pickled; they open the shards themselves."""

    def __init__(self, root: str, key: str) -> None:
        self.root, self.key, self.store = root, key, Store(root)
        self.dataset = load(self.store, "dataset", key)
        self.shards: dict[str, Shard] = {}

    def __reduce__(self) -> tuple[type["_Reader"], tuple[str, str]]:
        return _Reader, (self.root, self.key)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        name = row["shard"]
        if name not in self.shards:
            self.shards[name] = Shard(_local(self.store, self.dataset, name))
        return row | {"features": self.shards[name][row["row"]].features}


def _local(store: Store, dataset: Artifact, name: str) -> Path:
    return fetch_file(store, File(*dataset.facts["shards"][name]))
