"""S1, S2: whoever can write the store cannot run code where it is read; and Prefect, which could not promise that, keeps nothing.

The stranger here is a strong one: what he plants is sealed, so every checksum fits. He uses our own writer for that.
"""

import importlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from prefect import Flow, Task
from prefect.cache_policies import NO_CACHE
from safetensors import SafetensorError

from tasks.contracts.errors import ModelError
from tasks.contracts.values import Artifact
from tasks.model.checkpoint import KIND, OPTIMIZER, PROGRESS, WEIGHTS, resume, whole_checkpoints
from tasks.model.whisper import load_whisper
from tasks.shards.format import Features, Shard, write_features
from tasks.store.artifacts import Draft, fetch, fetch_file, load
from tasks.store.objects import Store
from tests.support.tiny import RUN, TOLD, new_folder, settings, state_of, train_tiny

ROOT = Path(__file__).parents[2]


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, fuse: Path) -> None:
        self.fuse = fuse

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, int]]:
        return os.mkdir, (str(self.fuse), 0o700)


@pytest.fixture
def fuse(tmp_path: Path) -> Path:
    """What is there if a bomb has gone off."""
    return tmp_path / "fuse"


@pytest.fixture
def bomb(fuse: Path, tmp_path: Path) -> bytes:
    """A file that runs code in whoever loads it with pickle: as torch writes them, and a live one."""
    torch.save(Bomb(fuse), tmp_path / "bomb")
    torch.load(tmp_path / "bomb", weights_only=False)
    assert fuse.is_dir(), "it is a live one"
    fuse.rmdir()
    return (tmp_path / "bomb").read_bytes()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def plant(store: Store, files: dict[str, bytes], kind: str = "checkpoint", key: str = "0" * 24) -> Artifact:
    """Seal files as an artifact of ours, and read the seal back as a step does."""
    draft = Draft(store, kind, key)
    for name, data in files.items():
        draft.write(name, data)
    draft.seal({"step": 1, "best_step": 1}, TOLD)
    return load(store, kind, key)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "model.safetensors.index.json"])
def test_a_model_that_is_a_pickle_is_refused_and_not_run(store: Store, tmp_path: Path, fuse: Path, bomb: bytes, name: str) -> None:
    files = {path.name: path.read_bytes() for path in new_folder(tmp_path / "model").iterdir()}
    del files["model.safetensors"]
    index = json.dumps({"metadata": {}, "weight_map": {"model.encoder.conv1.weight": "pytorch_model.bin"}}).encode()
    planted = {name: index if name.endswith(".json") else bomb, "pytorch_model.bin": bomb}
    # The last is an index of safe files that names a pickle: transformers opens it, with weights_only.
    with pytest.raises((ModelError, pickle.UnpicklingError), match=r"cannot be loaded as a Whisper|Weights only load failed"):
        load_whisper(fetch(store, plant(store, files | planted)), "sv", "cpu")
    assert not fuse.exists()


def test_a_model_that_brings_code_is_loaded_without_it(store: Store, tmp_path: Path, fuse: Path) -> None:
    files = {path.name: path.read_bytes() for path in new_folder(tmp_path / "model").iterdir()}
    evil = {
        "config.json": {"AutoConfig": "evil.Evil", "AutoModelForSpeechSeq2Seq": "evil.Evil"},
        "tokenizer_config.json": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]},
        "preprocessor_config.json": {"AutoFeatureExtractor": "evil.Evil"},
    }
    for name, classes in evil.items():
        files[name] = json.dumps(json.loads(files[name]) | {"auto_map": classes, "custom_generate": "evil"}).encode()
    code = f"import os\nos.mkdir({str(fuse)!r})\n".encode()
    files |= {"evil.py": code, "custom_generate/generate.py": code, "__init__.py": code}
    assert load_whisper(fetch(store, plant(store, files)), "sv", "cpu").model.config.model_type == "whisper"
    assert not fuse.exists()


@pytest.mark.parametrize("name", [WEIGHTS, OPTIMIZER, PROGRESS])
def test_a_state_of_a_training_that_is_a_pickle_is_not_run(store: Store, tmp_path: Path, fuse: Path, bomb: bytes, name: str) -> None:
    folder = new_folder(tmp_path / "model")
    train_tiny(folder, store, settings(steps=2, warmup=1))
    newest, _ = next(whole_checkpoints(store, RUN))
    whole = {file.name: store.read(file.path) for file in newest.files}
    plant(store, whole | {name: bomb}, KIND, f"{RUN}/00000003")
    with pytest.raises((SafetensorError, ValueError)):  # no words of ours: somebody has broken in, or a disk is dying
        resume(store, RUN, state_of(folder), TOLD)
    assert not fuse.exists()


def test_tables_and_shards_that_name_a_type_of_python_are_read_without_it(store: Store, tmp_path: Path, fuse: Path) -> None:
    evil = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": pickle.dumps(Bomb(fuse))}  # CVE-2023-47248
    schema = pa.schema([pa.field("id", pa.string(), metadata=evil)])
    pq.write_table(pa.table({"id": ["a"]}, schema=schema), tmp_path / "index.parquet")
    write_features(tmp_path / "plain.arrow", [Features("r", 160, np.zeros((80, 1), np.float16), 0.0)], 80, "float16")
    with pa.ipc.open_file(tmp_path / "plain.arrow") as plain:
        table = plain.read_all()
    fields = [field.with_metadata(evil) if field.name == "recording" else field for field in table.schema]
    with pa.ipc.new_file(tmp_path / "shard.arrow", pa.schema(fields, table.schema.metadata)) as file:
        file.write_table(table.cast(pa.schema(fields, table.schema.metadata)))
    planted = plant(store, {name: (tmp_path / name).read_bytes() for name in ("index.parquet", "shard.arrow")}, "dataset")
    assert pq.read_table(fetch_file(store, planted.file("index.parquet")))["id"].to_pylist() == ["a"]
    assert Shard(fetch_file(store, planted.file("shard.arrow"))).recordings == ["r"]
    assert not fuse.exists()


def test_no_flow_and_no_step_keeps_a_result_or_believes_one() -> None:
    """Read from the objects themselves: an option that somebody forgets is Prefect's own, and that may change."""
    found: dict[str, Flow | Task] = {}  # type: ignore[type-arg]
    for file in sorted([*ROOT.glob("flows/*.py"), *ROOT.glob("tasks/*.py")]):
        if file.stem not in ("__init__", "__main__"):
            module = importlib.import_module(f"{file.parent.name}.{file.stem}")
            found |= {f"{each.fn.__module__}.{name}": each for name, each in vars(module).items() if isinstance(each, Flow | Task)}
    flows = {name: each for name, each in found.items() if isinstance(each, Flow)}
    steps = {name: each for name, each in found.items() if isinstance(each, Task)}
    assert len(flows) >= 8 and len(steps) >= 20, "not all were found"
    for name, each in found.items():
        assert each.persist_result is False and each.result_storage is None, name
    assert [name for name, each in steps.items() if each.cache_policy is not NO_CACHE or each.cache_key_fn or each.result_storage_key] == []
