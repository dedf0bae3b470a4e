from hashlib import sha256
from pathlib import Path

import pytest

from tasks.contracts.errors import ReleaseError
from tasks.hub.page import is_published, point, publish

FILES = {"README.md": b"# a model", "weights/model.safetensors": b"\0" * 1000}
CHECKSUMS = {name: sha256(data).hexdigest() for name, data in FILES.items()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / name).write_bytes(data)
    return tmp_path / "source"


def test_a_revision_appears_whole_and_latest_points_at_it(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "models" / "name" / "r1"
    publish(source, target, CHECKSUMS)
    assert is_published(target, CHECKSUMS)
    assert point(target).resolve() == target
    other = target.parent / "r2"
    publish(source, other, CHECKSUMS)
    assert point(other).resolve() == other and is_published(target, CHECKSUMS)  # the older one stays
    assert sorted(path.name for path in target.parent.iterdir()) == ["latest", "r1", "r2"]  # nothing staged is left


def test_what_does_not_arrive_as_it_was_sent_is_not_published(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "models" / "name" / "r1"
    with pytest.raises(ReleaseError, match="is not what was read back"):
        publish(source, target, CHECKSUMS | {"README.md": sha256(b"something else").hexdigest()})
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("harm", ["altered", "missing", "extra"])
def test_a_revision_altered_by_hand_is_not_taken_for_whole_and_is_put_right(source: Path, tmp_path: Path, harm: str) -> None:
    target = tmp_path / "models" / "name" / "r1"
    publish(source, target, CHECKSUMS)
    if harm == "altered":
        (target / "README.md").write_bytes(b"# a modeL")
    elif harm == "missing":
        (target / "README.md").unlink()
    else:
        (target / "notes.txt").write_bytes(b"mine")
    assert not is_published(target, CHECKSUMS)
    publish(source, target, CHECKSUMS)
    assert is_published(target, CHECKSUMS)
