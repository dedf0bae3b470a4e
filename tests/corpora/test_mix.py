"""Several corpora as one: ids, speakers and words of one part are never taken for another's."""

from pathlib import Path

import pytest

from tasks.contracts.corpora import MixCorpus
from tasks.contracts.errors import CorpusError
from tasks.contracts.values import Reject
from tasks.corpora import Recording, recordings, revision


def folder(path: Path, *rows: str) -> dict[str, str]:
    path.mkdir()
    for row in rows:
        (path / row.split("\t")[0]).write_bytes(f"sound in {path.name}".encode())
    (path / "manifest.tsv").write_text("\n".join(["path\ttext\tspeaker\tsplit\tlicence", *rows, "gone.wav\t-\t\ttest\t"]))
    return {"kind": "folder", "path": str(path)}


@pytest.fixture
def mix(tmp_path: Path) -> MixCorpus:
    a = folder(tmp_path / "a", "1.wav\thej\tAnna\ttrain\tCC0", "2.wav\tdå\t\ttest\t")
    b = folder(tmp_path / "b", "1.wav\thei\tAnna\ttest\t")
    parts = [
        {"name": "a", "corpus": a, "weight": 2.0},
        {"name": "b", "corpus": b, "language": "finnish", "use": "train", "licence": "CC-BY"},
    ]
    return MixCorpus.model_validate({"parts": parts})


def test_every_row_of_every_part_comes_under_its_name(mix: MixCorpus) -> None:
    rows = [row for row in recordings(mix) if isinstance(row, Recording)]
    assert [(row.id, row.read().decode(), row.text, row.speaker, row.split, row.language, row.weight) for row in rows] == [
        ("a/1.wav", "sound in a", "hej", "a/Anna", "train", "", 2.0),
        ("a/2.wav", "sound in a", "då", "", "test", "", 2.0),
        ("b/1.wav", "sound in b", "hei", "b/Anna", "train", "fi", 1.0),
    ]
    assert [row.about for row in rows] == [{"corpus": "a", "licence": "CC0"}, {"corpus": "a"}, {"corpus": "b", "licence": "CC-BY"}]
    assert [row.id for row in recordings(mix) if isinstance(row, Reject)] == ["a/gone.wav", "b/gone.wav"]


def test_a_revision_names_the_part_that_changed(mix: MixCorpus, tmp_path: Path) -> None:
    before = revision(mix)
    (tmp_path / "b" / "1.wav").write_bytes(b"another sound")
    after = revision(mix)
    assert list(before) == ["a", "b"] and before["a"] == after["a"] and before["b"] != after["b"]


def test_a_part_that_cannot_be_read_is_named(mix: MixCorpus, tmp_path: Path) -> None:
    (tmp_path / "b" / "manifest.tsv").write_text("path\n1.wav\n")
    with pytest.raises(CorpusError, match=r"^part 'b': manifest\.tsv: cannot guess"):
        list(recordings(mix))
