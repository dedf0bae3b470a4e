"""A folder with a table: every row becomes a recording or a reject that says where it stands."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tasks.contracts.errors import CorpusError
from tasks.contracts.recipe import FolderCorpus
from tasks.contracts.values import Reject
from tasks.corpora import Recording, recordings, revision
from tasks.store.objects import Source

TABLE = "audio\ttext\tspeaker\tsplit\nclips/a.wav\thej\tAnna\ttrain\nb.wav\tdå\tBo\tvalidation\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.wav").write_bytes(b"sound of a")
    (tmp_path / "b.wav").write_bytes(b"sound of b")
    (tmp_path / "manifest.tsv").write_text(TABLE)
    return tmp_path


class Row(NamedTuple):
    """A recording as it is when somebody has read it."""

    id: str
    audio: bytes
    text: str
    speaker: str = ""
    split: str = ""


def rows(path: Path, **named: Any) -> list[Row | Reject]:
    rows = recordings(FolderCorpus(path=str(path), **named))
    return [each if isinstance(each, Reject) else Row(each.id, each.read(), each.text, each.speaker, each.split) for each in rows]


A = Row("clips/a.wav", b"sound of a", "hej", "Anna", "train")
B = Row("b.wav", b"sound of b", "då", "Bo", "dev")


def test_columns_are_guessed_and_ids_are_relative_paths(folder: Path) -> None:
    assert rows(folder) == [A, B]


def test_a_column_that_is_not_wanted_is_passed_over(folder: Path) -> None:
    assert rows(folder, speaker_column="-", split_column="-") == [A._replace(speaker="", split=""), B._replace(speaker="", split="")]
    with pytest.raises(CorpusError, match="no column '-'"):
        rows(folder, text_column="-")


def test_no_recording_is_read_before_somebody_asks_for_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(Source, "read", lambda _, name: read.append(name) or (folder / name).read_bytes())
    spec = FolderCorpus(path=str(folder), table="manifest.tsv")
    assert revision(spec)
    first, second = recordings(spec)
    assert isinstance(first, Recording) and isinstance(second, Recording) and set(read) == {"manifest.tsv"}
    assert second.read() == b"sound of b" and read[-1] == "b.wav"


def test_a_stamp_changes_with_its_file_alone(folder: Path) -> None:
    def stamps() -> list[str]:
        return [each.stamp for each in recordings(FolderCorpus(path=str(folder))) if isinstance(each, Recording)]

    before = stamps()
    assert all(before) and stamps() == before
    (folder / "b.wav").write_bytes(b"louder sound of b")
    (folder / "manifest.tsv").write_text(TABLE.replace("hej", "hejsan"))
    after = stamps()
    assert after[0] == before[0] and after[1] != before[1]


def test_a_file_that_goes_away_before_it_is_read_is_missing(folder: Path) -> None:
    first, _ = recordings(FolderCorpus(path=str(folder)))
    (folder / "clips" / "a.wav").unlink()
    with pytest.raises(FileNotFoundError):
        first.read()  # type: ignore[union-attr]


def test_a_table_can_be_given_directly_or_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "manifest.tsv").rename(folder / "clips-of-may.tsv")
    assert rows(folder / "clips-of-may.tsv") == rows(folder, table="clips-of-may.tsv") == [A, B]
    monkeypatch.chdir(folder)
    assert rows(Path("clips-of-may.tsv")) == rows(Path("."), table="clips-of-may.tsv") == [A, B]
    with pytest.raises(CorpusError, match=r"no table; expected one of manifest\.csv, .* in it, found \['b\.wav', 'clips-of-may\.tsv'\]"):
        rows(folder)
    with pytest.raises(CorpusError, match=r"no table; expected one of other\.tsv in it"):
        rows(folder, table="other.tsv")


@pytest.mark.parametrize(("name", "table"), [
    ("metadata.csv", 'file_name,transcription\nclips/a.wav,"hej"\nb.wav,då\n'),
    ("index.jsonl", '{"audio_filepath": "clips/a.wav", "sentence": "hej"}\n{"audio_filepath": "b.wav", "sentence": "d\\u00e5"}\n'),
])  # fmt: skip
def test_speaker_and_split_may_be_missing(folder: Path, name: str, table: str) -> None:
    (folder / "manifest.tsv").unlink()
    (folder / name).write_text(table)
    assert rows(folder) == [Row(each.id, each.audio, each.text) for each in (A, B)]


def test_named_columns_win_over_guesses(folder: Path) -> None:
    (folder / "manifest.tsv").write_text("path\taudio\ttext\tsaid\twho\nclips/a.wav\tx\ty\thej\tAnna\n")
    named = {"audio_column": "path", "text_column": "said", "speaker_column": "who"}
    assert rows(folder, **named) == [Row("clips/a.wav", b"sound of a", "hej", "Anna")]
    with pytest.raises(CorpusError, match=r"no column 'sentence', only \['path', .*correct corpus\.text_column"):
        rows(folder, text_column="sentence")


def test_columns_that_cannot_be_guessed_are_asked_for(folder: Path) -> None:
    (folder / "manifest.tsv").write_text("audio\tord\nb.wav\tdå\n")
    with pytest.raises(CorpusError, match=r"cannot guess which of \['audio', 'ord'\] holds the text; name it in corpus\.text_column"):
        rows(folder)


def test_a_column_that_the_first_json_row_lacks_is_still_seen(folder: Path) -> None:
    (folder / "manifest.tsv").unlink()
    table = ['{"audio": "clips/a.wav", "text": "hej", "split": null}',
             '{"audio": "b.wav", "text": "då", "speaker": "Bo", "split": "dev"}', '{"text": "-"}']  # fmt: skip
    (folder / "manifest.jsonl").write_text("\n".join(table))
    first, second, third = rows(folder)
    assert (first, second) == (Row("clips/a.wav", b"sound of a", "hej"), B), "or dev clips would be trained on"
    assert isinstance(third, Reject) and third.reason == "path outside"
    assert revision(FolderCorpus(path=str(folder)))


@pytest.mark.parametrize(
    "word, split", [("TRAIN", "train"), (" test ", "test"), ("val", "dev"), ("validation", "dev"), ("dev", "dev"), ("", "")]
)
def test_splits_have_several_names(folder: Path, word: str, split: str) -> None:
    (folder / "manifest.tsv").write_text(f"audio\ttext\tsplit\nb.wav\tdå\t{word}\n")
    assert rows(folder) == [Row("b.wav", b"sound of b", "då", "", split)]


def test_rows_that_cannot_be_used_become_rejects_with_their_line(folder: Path) -> None:
    (folder.parent / "secret.wav").write_bytes(b"x")
    outside = [
        "../secret.wav",
        "clips/../../secret.wav",
        "/etc/passwd",
        "~/x.wav",
        "file:///etc/passwd",
        "http://127.0.0.1/x.wav",
        "",
        "a\0.wav",
    ]
    os.mkfifo(folder / "pipe.wav")
    missing = ["missing.wav", "clips", "pipe.wav", "b.wav/c.wav", "x" * 300 + ".wav"]
    table = [*((path, "train") for path in outside + missing), ("b.wav", "trian"), ("b.wav", "dev")]
    (folder / "manifest.tsv").write_text("audio\ttext\tsplit\n" + "".join(f"{path}\thej\t{split}\n" for path, split in table))
    *rejects, last = rows(folder)
    assert last == Row("b.wav", b"sound of b", "hej", "", "dev")
    reasons = ["path outside"] * len(outside) + ["missing file"] * len(missing) + ["unknown split"]
    expected = [(path, "download", reason) for (path, _), reason in zip(table[:-1], reasons, strict=True)]
    assert [(each.id, each.stage, each.reason) for each in rejects] == expected
    assert all(f"manifest.tsv, line {line}: " in each.detail for line, each in enumerate(rejects, start=2))
    assert revision(FolderCorpus(path=str(folder)))


def test_a_name_in_another_normal_form_is_opened_as_written_and_kept_composed(folder: Path) -> None:
    (folder / "a\u030a.wav").write_bytes(b"sound")
    (folder / "manifest.tsv").write_text("audio\ttext\na\u030a.wav\thej\n")
    assert rows(folder) == [Row("\u00e5.wav", b"sound", "hej")]


def test_a_revision_changes_with_a_file_or_the_table_and_only_then(folder: Path) -> None:
    spec = FolderCorpus(path=str(folder))
    seen = [revision(spec)]
    (folder / "unrelated.wav").write_bytes(b"x")
    assert revision(spec) == seen[0]
    for path, data in (("b.wav", b"louder sound of b"), ("manifest.tsv", TABLE.replace("hej", "hejsan").encode()), ("b.wav", None),
                       ("b.wav", b"sound of b")):  # fmt: skip
        (folder / path).unlink() if data is None else (folder / path).write_bytes(data)
        seen.append(revision(spec))
    os.utime(folder / "b.wav", (0, 0))  # replaced by one of equal size
    seen.append(revision(spec))
    assert len({str(each) for each in seen}) == len(seen)
    assert revision(spec) == revision(FolderCorpus(path=str(folder / "manifest.tsv"))) == seen[-1]
