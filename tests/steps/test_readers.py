"""What others read without our code, or with one function of it: `datasets`, pandas, pyarrow, DuckDB, NumPy."""

import pickle
import re
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from tasks import shards
from tasks.shards.dataset import open_split, read_features
from tasks.shards.plan import SPLITS
from tasks.store.objects import Store
from tests.steps.chain import N, Run, examples

PAGE = Path(shards.__file__).with_name("FORMAT.md")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def index_of(run: Run) -> str:
    return str(Path("store", run.dataset.file("index.parquet").path).absolute())


def test_datasets_streams_words_and_features_as_the_format_page_says(first: Run) -> None:
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "load_dataset" in block]
    names: dict[str, Any] = {"index": index_of(first), "store": "store", "key": first.dataset.key}
    exec(code, names)
    streamed = {row["id"]: (row["split"], row["text"], row["features"]) for row in names["clips"]}
    expected = {each.id: (split, each) for split in SPLITS for each in open_split(Store("store"), first.dataset, split)}
    assert list(streamed) == list(expected)
    for id, (split, each) in expected.items():
        assert streamed[id][:2] == (split, each.text)
        assert streamed[id][2].dtype == np.float16 and np.array_equal(streamed[id][2], each.features)


def test_datasets_streams_one_split_and_shards_alone(first: Run) -> None:
    dev = datasets.load_dataset("parquet", data_files=index_of(first), split="train", streaming=True, filters=[("split", "==", "dev")])
    rows = list(dev.map(read_features("store", first.dataset.key)))
    assert [row["id"] for row in rows] == [each.id for each in open_split(Store("store"), first.dataset, "dev")]
    shards = sorted({str(Path("store", path).absolute()) for path in pq.read_table(index_of(first))["path"].to_pylist()})
    alone = {row["recording"]: row for row in datasets.load_dataset("arrow", data_files=shards, streaming=True)["train"]}
    assert len(alone) == N
    assert all(alone[row["recording"]]["features"] == row["features"].tobytes() for row in rows)


def test_workers_that_are_started_and_not_forked_read_features_too(first: Run) -> None:
    read = read_features(str(Path("store").absolute()), first.dataset.key)
    (row, *_) = pq.read_table(index_of(first)).to_pylist()
    assert np.array_equal(read(row)["features"], pickle.loads(pickle.dumps(read))(row)["features"])


def test_every_table_tool_reads_the_index(first: Run) -> None:
    frame = pd.read_parquet(index_of(first))
    assert dict(frame.groupby("split").size()) == first.dataset.facts["splits"]
    assert frame.seconds.between(0.39, 0.41).all() and frame.snr.min() > 3 and frame.notna().all(axis=None)
    query = pc.field("split") == "test"
    assert pyarrow.dataset.dataset(index_of(first)).count_rows(filter=query) == first.dataset.facts["splits"]["test"]


def test_duckdb_reads_the_index(first: Run) -> None:
    duckdb = pytest.importorskip("duckdb")
    ((n_clips,),) = duckdb.sql(f"select count(*) from '{index_of(first)}' where split = 'test'").fetchall()
    assert n_clips == first.dataset.facts["splits"]["test"]


def test_numpy_alone_reads_the_features_of_every_row_of_the_index(first: Run) -> None:
    seen = examples(first)
    for row in pq.read_table(index_of(first)).to_pylist():
        alone = np.memmap(Path("store", row["path"]), np.float16, mode="r", offset=row["offset"], shape=(80, row["n_frames"]))
        assert (alone.tobytes(), row["fill"]) == (seen[row["id"]][4], seen[row["id"]][3])
