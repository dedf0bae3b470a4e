"""What is written is read back, in place, by us and by others; what FORMAT.md says is so."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pytest

from tasks.audio.log_mel import log_mel
from tasks.contracts.errors import StoreError
from tasks.shard import INDEX
from tasks.shards import format as format_module
from tasks.shards.format import FEATURES, SOUND, VERSION, Features, Shard, Sound, write_features, write_sound

PAGE = Path(format_module.__file__).with_name("FORMAT.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
DTYPES = ["float16", "float32"]
RECORDINGS = [("b_2", b"RIFF" + bytes(range(256))), ("a_1", b""), ("åäö", b"\0" * 1_000)]


def example(number: int, n_frames: int, n_mels: int = 80) -> Features:
    features = np.random.default_rng(number).normal(size=(n_mels, n_frames)).astype(np.float32)
    return Features(f"{number:064x}", 160 * n_frames - 200, features, -1.5 + number / 8)


EXAMPLES = [example(number, n_frames) for number, n_frames in enumerate([37, 2, 300, 101])]


@pytest.fixture(params=[1, 30_000, 4 * 2**20], ids=["a batch per row", "a few batches", "one batch"])
def batch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(format_module, "BATCH", request.param)


def a_sound(folder: Path, rows: Iterable[tuple[str, bytes]] = RECORDINGS, name: str = "sound.arrow") -> Path:
    write_sound(folder / name, rows)
    return folder / name


def a_shard(folder: Path, rows: Iterable[Features] = EXAMPLES, n_mels: int = 80, dtype: str = "float16", name: str = "shard.arrow") -> Path:
    write_features(folder / name, rows, n_mels, dtype)
    return folder / name


def described(path: Path, **facts: str) -> Path:
    """Give the same table other metadata."""
    table = pa.ipc.open_file(path.read_bytes()).read_all()
    metadata = {**table.schema.metadata, **{f"viska.{name}".encode(): value.encode() for name, value in facts.items()}}
    with pa.ipc.new_file(str(path), table.schema.with_metadata(metadata)) as writer:
        writer.write_table(table)
    return path


@pytest.mark.usefixtures("batch")
def test_recordings_come_back_byte_for_byte(tmp_path: Path) -> None:
    sound = Sound(a_sound(tmp_path))
    assert len(sound) == 3 and [sound[row] for row in (2, 0, 1)] == [RECORDINGS[row] for row in (2, 0, 1)]
    assert list(sound) == RECORDINGS


def test_a_part_of_which_nothing_is_left_is_an_empty_file_and_no_accident(tmp_path: Path) -> None:
    sound = Sound(a_sound(tmp_path, []))
    assert len(sound) == 0 and list(sound) == []
    shard = Shard(a_shard(tmp_path, [], n_mels=128))
    assert len(shard) == 0 and shard.n_mels == 128 and shard.recordings == []


@pytest.mark.usefixtures("batch")
@pytest.mark.parametrize("dtype", DTYPES)
def test_features_come_back_as_they_were(tmp_path: Path, dtype: str) -> None:
    shard = Shard(a_shard(tmp_path, iter(EXAMPLES), dtype=dtype))
    assert len(shard) == len(EXAMPLES) and shard.n_mels == 80 and shard.dtype == dtype
    for row, expected in enumerate(EXAMPLES):
        got = shard[row]
        assert (got.recording, got.n_samples, got.fill) == (expected.recording, expected.n_samples, expected.fill)
        assert got.features.dtype == dtype and (got.features == expected.features.astype(dtype)).all()


def test_a_batch_ends_when_it_is_large_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(format_module, "BATCH", 30_000)
    sizes = [each.features.size * 2 for each in EXAMPLES]  # 5,920 and 320 and 48,000; 16,160
    assert sum(sizes[:2]) < 30_000 < sum(sizes[:3])
    assert [batch.num_rows for batch in pa.ipc.open_file(a_shard(tmp_path).read_bytes()).read_all().to_batches()] == [3, 1]


def test_features_in_another_memory_order_are_stored_the_same(tmp_path: Path) -> None:
    turned = [Features(each.recording, each.n_samples, np.asfortranarray(each.features), each.fill) for each in EXAMPLES]
    assert a_shard(tmp_path, turned, name="turned").read_bytes() == a_shard(tmp_path).read_bytes()


def test_the_fill_of_a_recording_survives_exactly(tmp_path: Path, tone: np.ndarray) -> None:
    features, fill = log_mel(tone, 80, 48_000)
    assert Shard(a_shard(tmp_path, [Features("a", tone.size, features, fill)], dtype="float32"))[0].fill == fill


@pytest.mark.usefixtures("batch")
@pytest.mark.parametrize("dtype", DTYPES)
def test_features_are_a_view_of_the_file_and_cannot_be_changed(tmp_path: Path, dtype: str) -> None:
    shard = Shard(a_shard(tmp_path, dtype=dtype))
    allocated = pa.total_allocated_bytes()
    views = [shard[row].features for row in range(len(shard))]
    assert pa.total_allocated_bytes() == allocated
    assert not any(view.flags.owndata or view.flags.writeable for view in views)
    assert np.shares_memory(views[2], shard[2].features)


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    for dtype in DTYPES:
        assert a_shard(tmp_path, dtype=dtype).read_bytes() == a_shard(tmp_path, iter(EXAMPLES), dtype=dtype, name="again").read_bytes()
    assert a_sound(tmp_path).read_bytes() == a_sound(tmp_path, iter(RECORDINGS), name="again").read_bytes()
    assert a_shard(tmp_path).read_bytes() != a_shard(tmp_path, EXAMPLES[::-1], name="other").read_bytes()


def test_another_version_is_refused_with_got_and_expected(tmp_path: Path) -> None:
    message = rf"^shard\.arrow: format 'features' version '1', expected 'features' version '{VERSION}'; see FORMAT\.md$"
    with pytest.raises(StoreError, match=message):
        Shard(described(a_shard(tmp_path), version="1"))
    with pytest.raises(StoreError, match=r"format 'sound' version '3', expected 'sound' version '2'"):
        Sound(described(a_sound(tmp_path), version="3"))


def test_another_format_is_refused_with_got_and_expected(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"format 'sound' version '2', expected 'features' version '2'"):
        Shard(a_sound(tmp_path))
    with pytest.raises(StoreError, match=r"format 'features' version '2', expected 'sound' version '2'"):
        Sound(a_shard(tmp_path))
    with pa.ipc.new_file(str(tmp_path / "strange"), pa.schema([("id", pa.string())])) as writer:
        writer.write_table(pa.table({"id": ["a"]}))
    with pytest.raises(StoreError, match=r"format '' version '', expected 'features'"):
        Shard(tmp_path / "strange")


@pytest.mark.usefixtures("batch")
@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_alone_reads_features_at_their_offset(tmp_path: Path, dtype: str) -> None:
    path = a_shard(tmp_path, dtype=dtype)
    shard = Shard(path)
    for row in range(len(shard)):
        alone = np.memmap(path, dtype, mode="r", offset=shard.offset(row), shape=(80, shard.n_frames[row]))
        assert (alone == shard[row].features).all()


@pytest.mark.usefixtures("batch")
def test_datasets_reads_shards_without_our_code(tmp_path: Path) -> None:
    paths = [a_shard(tmp_path, EXAMPLES[:3], name="0.arrow"), a_shard(tmp_path, EXAMPLES[3:], name="1.arrow")]
    rows = datasets.load_dataset("arrow", data_files=[str(path) for path in paths], split="train", cache_dir=str(tmp_path / "cache"))
    assert rows["recording"][:] == [each.recording for each in EXAMPLES]
    assert rows[2]["features"] == EXAMPLES[2].features.astype("<f2").tobytes()


@pytest.mark.usefixtures("batch")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reader", [0, 1], ids=["pyarrow", "numpy"])
def test_the_code_of_the_format_page_reads_a_clip_and_refills_it(tmp_path: Path, tone: np.ndarray, reader: int, dtype: str) -> None:
    features, fill = log_mel(tone, 80, 48_000)
    path = a_shard(tmp_path, [*EXAMPLES, Features("tone", tone.size, features, fill)], dtype=dtype)
    shard = Shard(path)
    given: dict[str, Any] = {"path": str(path), "row": 4} if reader == 0 else {
        "path": str(path), "offset": shard.offset(4), "n_frames": shard.n_frames[4], "n_mels": 80, "dtype": dtype}  # fmt: skip
    assert len(BLOCKS) == 4  # the third needs a whole data set: tests/steps/test_prepare.py
    names = given | {"fill": fill, "window": 300}
    exec(BLOCKS[reader], names)
    assert (names["features"] == features.astype(dtype)).all()
    exec("import numpy as np\n" + BLOCKS[3], names)
    assert names["whole"].shape == (80, 300) and names["whole"].dtype == dtype  # pitfall 12: the fill, not 0
    assert (names["whole"][:, 102:] == np.dtype(dtype).type(fill)).all()


def test_the_format_page_names_every_column_with_its_type_and_the_version() -> None:
    rows = [line.split("|") for line in PAGE.splitlines() if re.match(r"\| (`\w+`(, )?)+ \| [a-z]", line)]
    named = []
    for _, names, types, *_ in rows:
        columns = re.findall(r"`(\w+)`", names)
        named += zip(columns, (types.strip().split(", ") * len(columns))[: len(columns)], strict=True)
    expected = [(field.name, str(field.type)) for fields in (SOUND, pa.schema(FEATURES), INDEX) for field in fields]
    assert named == [(name, {"float": "float32"}.get(type, type)) for name, type in expected], "in the order they have in the files"
    assert f"Version {VERSION}." in PAGE
