"""What is written is read back, in place, by us and by others; what FORMAT.md says is so."""

import re
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pytest

from tasks.audio.log_mel import log_mel
from tasks.contracts.errors import StoreError
from tasks.shards import format as format_module
from tasks.shards.format import FEATURES, SOUND, VERSION, Example, Shard, Sound, encode_features, encode_sound

PAGE = Path(format_module.__file__).with_name("FORMAT.md").read_text()
DTYPES = ["float16", "float32"]
RECORDINGS = [("b_2", b"RIFF" + bytes(range(256))), ("a_1", b""), ("åäö", b"\0" * 1_000)]


def example(number: int, n_frames: int, n_mels: int = 80) -> Example:
    features = np.random.default_rng(number).normal(size=(n_mels, n_frames)).astype(np.float32)
    return Example(f"clip-{number}", f"blåbär och 日本 {number}", 160 * n_frames - 200, features, -1.5 + number / 8)


EXAMPLES = [example(number, n_frames) for number, n_frames in enumerate([37, 2, 300, 101])]


def written(folder: Path, data: bytes, name: str = "shard.arrow") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def described(data: bytes, **facts: str) -> bytes:
    """Return the same table with other metadata."""
    table = pa.ipc.open_file(data).read_all()
    metadata = {**table.schema.metadata, **{f"viska.{name}".encode(): value.encode() for name, value in facts.items()}}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema.with_metadata(metadata)) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def blocks_of_the_page() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_recordings_come_back_byte_for_byte(tmp_path: Path) -> None:
    sound = Sound(written(tmp_path, encode_sound(RECORDINGS)))
    assert len(sound) == 3 and [sound[row] for row in range(3)] == RECORDINGS


def test_a_part_of_which_nothing_is_left_is_an_empty_file_and_no_accident(tmp_path: Path) -> None:
    assert len(Sound(written(tmp_path, encode_sound(iter([]))))) == 0
    shard = Shard(written(tmp_path, encode_features(iter([]), 128, "float16")))
    assert len(shard) == 0 and shard.n_mels == 128 and shard.texts == []


@pytest.mark.parametrize("dtype", DTYPES)
def test_examples_come_back_as_they_were(tmp_path: Path, dtype: str) -> None:
    shard = Shard(written(tmp_path, encode_features(iter(EXAMPLES), 80, dtype)))
    assert len(shard) == len(EXAMPLES) and shard.n_mels == 80 and shard.dtype == dtype
    for row, expected in enumerate(EXAMPLES):
        got = shard[row]
        assert (got.id, got.text, got.n_samples, got.fill) == (expected.id, expected.text, expected.n_samples, expected.fill)
        assert got.features.dtype == dtype and (got.features == expected.features.astype(dtype)).all()


def test_features_in_another_memory_order_are_stored_the_same() -> None:
    turned = [Example(each.id, each.text, each.n_samples, np.asfortranarray(each.features), each.fill) for each in EXAMPLES]
    assert encode_features(turned, 80, "float32") == encode_features(EXAMPLES, 80, "float32")


def test_the_fill_of_a_clip_survives_exactly(tmp_path: Path, tone: np.ndarray) -> None:
    features, fill = log_mel(tone, 80, 48_000)
    shard = Shard(written(tmp_path, encode_features([Example("a", "", tone.size, features, fill)], 80, "float32")))
    assert shard[0].fill == fill


@pytest.mark.parametrize("dtype", DTYPES)
def test_features_are_a_view_of_the_file_and_cannot_be_changed(tmp_path: Path, dtype: str) -> None:
    shard = Shard(written(tmp_path, encode_features(EXAMPLES, 80, dtype)))
    allocated = pa.total_allocated_bytes()
    views = [shard[row].features for row in range(len(shard))]
    assert pa.total_allocated_bytes() == allocated
    assert not any(view.flags.owndata or view.flags.writeable for view in views)
    assert np.shares_memory(views[2], shard[2].features)


def test_equal_input_gives_equal_bytes() -> None:
    for dtype in DTYPES:
        assert encode_features(EXAMPLES, 80, dtype) == encode_features(list(EXAMPLES), 80, dtype)
    assert encode_sound(RECORDINGS) == encode_sound(list(RECORDINGS))
    assert encode_features(EXAMPLES, 80, "float16") != encode_features(EXAMPLES[::-1], 80, "float16")


def test_another_version_is_refused_with_got_and_expected(tmp_path: Path) -> None:
    message = rf"^shard\.arrow: format 'features' version '2', expected 'features' version '{VERSION}'; see FORMAT\.md$"
    with pytest.raises(StoreError, match=message):
        Shard(written(tmp_path, described(encode_features(EXAMPLES, 80, "float16"), version="2")))
    with pytest.raises(StoreError, match=r"format 'sound' version '0', expected 'sound' version '1'"):
        Sound(written(tmp_path, described(encode_sound(RECORDINGS), version="0")))


def test_another_format_is_refused_with_got_and_expected(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"format 'sound' version '1', expected 'features' version '1'"):
        Shard(written(tmp_path, encode_sound(RECORDINGS)))
    with pytest.raises(StoreError, match=r"format 'features' version '1', expected 'sound' version '1'"):
        Sound(written(tmp_path, encode_features(EXAMPLES, 80, "float16")))
    strange = pa.BufferOutputStream()
    with pa.ipc.new_file(strange, pa.schema([("id", pa.string())])) as writer:
        writer.write_table(pa.table({"id": ["a"]}))
    with pytest.raises(StoreError, match=r"format '' version '', expected 'features'"):
        Shard(written(tmp_path, strange.getvalue().to_pybytes()))


@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_alone_reads_a_clip_at_its_offset(tmp_path: Path, dtype: str) -> None:
    path = written(tmp_path, encode_features(EXAMPLES, 80, dtype))
    shard = Shard(path)
    for row in range(len(shard)):
        alone = np.memmap(path, dtype, mode="r", offset=shard.offset(row), shape=(80, shard.n_frames[row]))
        assert (alone == shard[row].features).all()


def test_datasets_reads_shards_without_our_code(tmp_path: Path) -> None:
    paths = [written(tmp_path, encode_features([each], 80, "float16"), f"{each.id}.arrow") for each in EXAMPLES]
    rows = datasets.load_dataset("arrow", data_files=[str(path) for path in paths], split="train", cache_dir=str(tmp_path / "cache"))
    assert rows["text"][:] == [each.text for each in EXAMPLES]
    assert rows[2]["features"] == EXAMPLES[2].features.astype("<f2").tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reader", [0, 1], ids=["pyarrow", "numpy"])
def test_the_code_of_the_format_page_reads_a_clip_and_refills_it(tmp_path: Path, tone: np.ndarray, reader: int, dtype: str) -> None:
    features, fill = log_mel(tone, 80, 48_000)
    path = written(tmp_path, encode_features([EXAMPLES[0], Example("tone", "ett", tone.size, features, fill)], 80, dtype))
    shard = Shard(path)
    given: dict[str, Any] = {"path": str(path), "row": 1} if reader == 0 else {
        "path": str(path), "offset": shard.offset(1), "n_frames": shard.n_frames[1], "n_mels": 80, "dtype": dtype}  # fmt: skip
    assert len(blocks_of_the_page()) == 3
    names = given | {"fill": fill, "window": 300}
    exec(blocks_of_the_page()[reader], names)
    assert (names["features"] == features.astype(dtype)).all()
    exec("import numpy as np\n" + blocks_of_the_page()[2], names)
    assert names["whole"].shape == (80, 300) and names["whole"].dtype == dtype  # pitfall 12: the fill, not 0
    assert (names["whole"][:, 102:] == np.dtype(dtype).type(fill)).all()


def test_the_format_page_names_every_column_and_the_version() -> None:
    index = re.findall(r'\("(\w+)", pa\.', (Path(format_module.__file__).parents[1] / "shard.py").read_text())
    assert {"path", "offset"} < set(index)
    cells = " ".join(line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`(\w+)`", cells)) == {*index, *SOUND.names, *(name for name, _ in FEATURES)}
    assert f"Version {VERSION}." in PAGE
