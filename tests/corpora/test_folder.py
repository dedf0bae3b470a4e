"""A folder with a table: every row becomes a recording or a reject that says where it stands."""

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tasks.contracts.corpora import FolderCorpus
from tasks.contracts.errors import AudioError, CorpusError
from tasks.contracts.values import Reject
from tasks.corpora import ABOUT, Recording, recordings, revision
from tasks.corpora.folder import AT_ONCE
from tasks.store import web
from tasks.store.source import Source
from tests.support.fake_data_collective import FakeDataCollective

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
    assert third == Reject("manifest.jsonl, line 3", "download", "no path",
                           "manifest.jsonl, line 3: nothing in column 'audio', expected the recording's path")  # fmt: skip
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
    assert "is not a relative path inside the folder; other places it may lie in are named in corpus.elsewhere" in rejects[0].detail
    assert revision(FolderCorpus(path=str(folder)))


@pytest.mark.parametrize("path", ["", "  "])
def test_a_row_without_a_path_is_a_reject(folder: Path, path: str) -> None:
    (folder / "manifest.tsv").write_text(f"audio\ttext\n{path}\thej\nb.wav\tdå\n")
    reject, recording = rows(folder)
    assert recording == Row("b.wav", b"sound of b", "då")
    assert reject == Reject("manifest.tsv, line 2", "download", "no path",
                            "manifest.tsv, line 2: nothing in column 'audio', expected the recording's path")  # fmt: skip


def test_a_column_without_a_name_is_no_column_of_ours(folder: Path) -> None:
    (folder / "manifest.tsv").write_text("\taudio\ttext\n0\tb.wav\tdå\n")  # as pandas writes its index
    assert rows(folder) == [Row("b.wav", b"sound of b", "då")]


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


def told(folder: Path, table: str, name: str = "manifest.tsv") -> list[Recording | Reject]:
    (folder / name).write_text(table)
    return list(recordings(FolderCorpus(path=str(folder), table=name)))


def test_what_else_a_table_tells_is_kept(folder: Path) -> None:
    table = ("path\ttext\tspeaker\tduration\tlang\tage\tsex\taccents\tvariant\tdomain\tup_votes\tdown_votes\tlicense\tmood\n"
             "b.wav\tdå\tBo\t4.25\tsv-SE\ttwenties\tmale\tSkåne\tv\tnews\t2\t0\tCC0-1.0\tglad\n"
             "clips/a.wav\thej\tUnknown\t\t\t\t\t\t\t\t\t\t\t\n")  # fmt: skip
    first, second = told(folder, table)
    assert isinstance(first, Recording) and isinstance(second, Recording)
    assert (first.speaker, first.seconds, first.language) == ("Bo", 4.25, "sv")
    assert first.about == {"age": "twenties", "gender": "male", "accent": "Skåne", "variant": "v", "domain": "news", "up_votes": "2",
                           "down_votes": "0", "licence": "CC0-1.0"} and set(first.about) <= set(ABOUT)  # fmt: skip
    assert (second.speaker, second.seconds, second.language, second.about) == ("", 0.0, "", {})


@pytest.mark.parametrize(("column", "word", "seconds"), [
    ("seconds", "3", 3.0), ("duration", " 3.5 ", 3.5), ("duration", ".5", 0.5), ("duration_seconds", "3.", 3.0), ("duration", "1e1", 10.0),
    ("duration", "", 0.0), ("duration_ms", "3500", 3.5), ("duration[ms]", "3500", 3.5), ("length", "x", 0.0),
])  # fmt: skip
def test_a_length_is_read_in_its_unit(folder: Path, column: str, word: str, seconds: float) -> None:
    (row,) = told(folder, f"path\ttext\t{column}\nb.wav\tdå\t{word}\n")
    assert isinstance(row, Recording) and row.seconds == seconds


@pytest.mark.parametrize(("column", "word", "reason", "why"), [
    *(("duration", word, "unreadable duration", "expected the recording's length as a number")
      for word in ("4,2", "00:04", "nan", "inf", "-1", "1_0", "true", "4 s", "٤")),
    ("language", "swenglish", "unknown language", "not a language: "),
])  # fmt: skip
def test_a_length_or_a_language_that_cannot_be_read_costs_its_row(folder: Path, column: str, word: str, reason: str, why: str) -> None:
    reject, recording = told(folder, f"path\ttext\t{column}\nb.wav\tdå\t{word}\nclips/a.wav\thej\t\n")
    assert isinstance(recording, Recording) and isinstance(reject, Reject) and (reject.id, reject.reason) == ("b.wav", reason)
    assert f"manifest.tsv, line 2: {word!r} in column {column!r}" in reject.detail and why in reject.detail


@pytest.mark.parametrize("word", ["unknown", "UNKNOWN", " Unknown "])
def test_an_unknown_speaker_is_none(folder: Path, word: str) -> None:
    (row,) = told(folder, f"path\ttext\tspeaker\nb.wav\tdå\t{word}\n")
    assert isinstance(row, Recording) and row.speaker == ""


AUDIO_FOLDER = {"train/metadata.csv": "file_name,transcription\na.wav,ett\nx/b.wav,två\n",
                "validation/metadata.jsonl": '{"file_name": "a.wav", "text": "tre"}\n',
                "test/metadata.tsv": "file_name\tsentence\tsplit\na.wav\tfyra\t\nb.wav\tfem\tdev\n"}  # fmt: skip


def audio_folder(root: Path, below: str) -> Path:
    for name, table in AUDIO_FOLDER.items():
        folder = (root / below / name).parent
        (folder / "x").mkdir(parents=True)
        (root / below / name).write_text(table)
        for path in ("a.wav", "b.wav", "x/b.wav"):
            (folder / path).write_bytes(f"sound of {folder.name}/{path}".encode())
    return root


@pytest.mark.parametrize("below", ["", "data/"])
def test_an_audio_folder_has_a_table_in_each_split(tmp_path: Path, below: str) -> None:
    folder = audio_folder(tmp_path, below)
    read = rows(folder)
    assert [(row.id, row.text, row.split) for row in read if isinstance(row, Row)] == [
        (f"{below}train/a.wav", "ett", "train"), (f"{below}train/x/b.wav", "två", "train"), (f"{below}validation/a.wav", "tre", "dev"),
        (f"{below}test/a.wav", "fyra", "test"), (f"{below}test/b.wav", "fem", "dev"),
    ]  # fmt: skip
    assert all(isinstance(row, Row) and row.audio == f"sound of {row.id.removeprefix(below)}".encode() for row in read) and len(read) == 5
    before = revision(FolderCorpus(path=str(folder)))
    (folder / below / "train" / "x" / "b.wav").write_bytes(b"new sound")
    assert revision(FolderCorpus(path=str(folder))) != before


def test_paths_of_a_split_stay_in_its_folder_and_its_splits_can_be_passed_over(tmp_path: Path) -> None:
    folder = audio_folder(tmp_path, "")
    (folder / "train" / "metadata.csv").write_text("file_name,transcription\n../test/a.wav,ett\n")
    reject, *others = rows(folder, split_column="-")
    assert isinstance(reject, Reject) and (reject.id, reject.reason) == ("../test/a.wav", "path outside")
    assert reject.detail.startswith("train/metadata.csv, line 2: ") and {row.split for row in others if isinstance(row, Row)} == {""}


def test_a_table_in_the_folder_itself_wins_over_those_in_it(tmp_path: Path) -> None:
    folder = audio_folder(tmp_path, "")
    (folder / "metadata.csv").write_text("file_name,transcription\ntrain/a.wav,hej\n")
    assert rows(folder) == [Row("train/a.wav", b"sound of train/a.wav", "hej")]


@pytest.mark.parametrize("below", ["", "train/", "data/test/"])
def test_a_parquet_table_is_refused_with_where_to_go(tmp_path: Path, below: str) -> None:
    (tmp_path / below).mkdir(parents=True, exist_ok=True)
    (tmp_path / below / "metadata.parquet").write_bytes(b"PAR1")
    with pytest.raises(CorpusError, match=rf"{below}metadata\.parquet is a Parquet table; expected one of .*; kind: hub reads Parquet"):
        rows(tmp_path)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDataCollective]:
    monkeypatch.setattr(web, "PAUSE", 0.01)
    with FakeDataCollective() as there:
        yield there


def test_files_elsewhere_are_read_if_the_recipe_names_the_place(folder: Path, server: FakeDataCollective) -> None:
    other = folder.parent / f"{folder.name}-other"
    other.mkdir()
    (other / "c.wav").write_bytes(b"sound of c")
    Source("memory://corpora").fs.pipe("/corpora/d.wav", b"sound of d")
    server.files["/clips/e f.wav"] = b"sound of e"
    places = (f"{other}/", "memory://corpora", f"{server.url}/clips/")
    paths = [f"{other}/c.wav", "memory://corpora/d.wav", f"{server.url}/clips/e f.wav", "b.wav"]
    (folder / "manifest.tsv").write_text("audio\ttext\n" + "".join(f"{path}\thej\n" for path in paths))
    expected = [Row(path, f"sound of {letter}".encode(), "hej") for path, letter in zip(paths, "cdeb", strict=True)]
    assert rows(folder, elsewhere=places) == expected
    refused = rows(folder)
    assert [each.reason for each in refused if isinstance(each, Reject)] == ["path outside"] * 3 and refused[3] == expected[3]

    def state() -> tuple[object, list[str]]:
        spec = FolderCorpus(path=str(folder), elsewhere=places)
        return revision(spec), [each.stamp for each in recordings(spec) if isinstance(each, Recording)]

    before = state()
    assert state() == before and all(before[1]) and len(before[1]) == 4
    server.files["/clips/e f.wav"] = b"new sound of e"
    after = state()
    assert after[0] != before[0] and [new == old for new, old in zip(after[1], before[1], strict=True)] == [True, True, False, True]
    assert {request.line.split()[0] for request in server.requests[2:]} == {"HEAD"}, "to know what has changed nothing is read"


def test_a_place_is_left_by_no_path(folder: Path, server: FakeDataCollective) -> None:
    other = folder.parent / f"{folder.name}-other"
    for place in (other, folder.parent / f"{folder.name}-otherwise"):
        place.mkdir()
        (place / "c.wav").write_bytes(b"secret")
    server.files |= {"/clips/a.wav": b"", "/secret.wav": b"secret", "/clips-secret/a.wav": b"secret"}
    bad = [f"{other}wise/c.wav", f"{other}/../{folder.name}-otherwise/c.wav", f"{other}/", f"{other}", f"{other}/a\0.wav", "/etc/passwd",
           f"{server.url}/secret.wav", f"{server.url}/clips-secret/a.wav", f"{server.url}/clips/../secret.wav", f"{server.url}/clips/",
           f"{server.url}/clips/%2e%2e/secret.wav", f"{server.url}/clips/..%2fsecret.wav", f"{server.url}/clips/..\\secret.wav",
           f"{server.url}/clips/..?x", f"{server.url}.evil.org/clips/a.wav", "http://host@127.0.0.1/clips/a.wav"]  # fmt: skip
    (folder / "manifest.tsv").write_text("audio\ttext\n" + "".join(f"{path}\thej\n" for path in bad))
    read = rows(folder, elsewhere=(str(other), f"{server.url}/clips"))
    assert [(each.id, each.reason) for each in read if isinstance(each, Reject)] == [(path, "path outside") for path in bad]
    assert server.requests == []


@pytest.mark.parametrize(("place", "message"), [
    ("../x", "'../x', expected an address such as https://host/clips/, or a path from / or ~ on"), ("", "'', expected an address"),
    ("https://", "'https://', expected an address"), ("gs://", "'gs://', expected an address"), ("clips", "'clips', expected an address"),
    ("http://host.se/x?canary", r"http://host\.se/x, expected https://; plain http only on this machine$"),
])  # fmt: skip
def test_a_place_that_is_none_is_refused(folder: Path, place: str, message: str) -> None:
    with pytest.raises(CorpusError, match=rf"^corpus\.elsewhere: {message}"):
        rows(folder, elsewhere=(place,))


def test_what_a_server_says_of_a_file_becomes_its_rows_fate(folder: Path, server: FakeDataCollective) -> None:
    server.redirects["/clips/away.wav"] = "ftp://elsewhere/"
    paths = ["/clips/gone.wav", "/bucket/unsigned.wav", "/clips/away.wav"]
    (folder / "manifest.tsv").write_text("audio\ttext\n" + "".join(f"{server.url}{path}\thej\n" for path in paths))
    gone, unsigned, away = recordings(FolderCorpus(path=str(folder), elsewhere=(server.url,)))
    assert isinstance(gone, Reject) and gone.reason == "missing file"
    for row, message in ((unsigned, "answers 403"), (away, "leads to ftp://elsewhere/, expected https")):
        assert isinstance(row, Recording) and row.stamp == ""
        with pytest.raises(AudioError, match=message):
            row.read()
    server.fail("HEAD", "503", times=99)
    with pytest.raises(ConnectionError, match="answers 503; 5 tries"):
        list(recordings(FolderCorpus(path=str(folder), elsewhere=(server.url,))))


def test_a_server_is_asked_about_many_files_at_once_and_rows_keep_their_order(folder: Path, server: FakeDataCollective) -> None:
    server.files |= {f"/{n}.wav": b"%d" % n for n in range(100)}
    server.fail("HEAD /3.wav", "hold")
    (folder / "manifest.tsv").write_text("audio\ttext\n" + "".join(f"{server.url}/{n}.wav\t{n}\n" for n in range(100)))
    spec = FolderCorpus(path=str(folder), elsewhere=(server.url,))
    meanwhile: list[int] = []

    def let_go() -> None:
        until = time.monotonic() + 10
        while time.monotonic() < until and len(server.requests) < AT_ONCE:
            time.sleep(0.01)
        meanwhile.append(len(server.requests))
        server.release.set()

    thread = threading.Thread(target=let_go)
    thread.start()
    read = list(recordings(spec))
    thread.join()
    assert [row.text for row in read if isinstance(row, Recording)] == [str(n) for n in range(100)]
    assert meanwhile[0] >= AT_ONCE, "one that is slow does not hold up those that follow"


# Cases 86 to 113 of a catalogue of hostile tables: texts that readers alter, and lines that make them lose rows. None may.
TEXTS = {
    "86 a stray quote": 'ett"', "87 two stray quotes": '"två "', "88 a quoted start": '"Hej" sa hon.', "89 NA": "NA", "89 null": "null",
    "89 None": "None", "89 nan": "nan", "89 N/A": "N/A", "90 007": "007", "90 1e5": "1e5", "90 1_000": "1_000", "91 True": "True",
    "91 false": "false", "94 a lone CR": "a\rb", "95 U+2028": "a\u2028b", "95 U+0085": "a\u0085b", "98 empty": "", "99 spaces": "   ",
    "100 outer spaces": "  hej  ", "102 NUL": "a\0b", "104 200 kB": "å" * 100_000, "105 #": "# hej", "106 backslash": "a\\nb\\",
    "110 formula": '=HYPERLINK("http://x")', "111 RTL and ZWJ": "\u200fשלום\u200d", "112 NFD": "a\u030aa\u0308", "x form feed": "a\x0cb",
}  # fmt: skip


def lines_of(name: str, rows: list[dict[str, str]]) -> list[str]:
    """Return a table as its lines, the header first if it has one."""
    if name.endswith(".jsonl"):
        return [json.dumps(row, ensure_ascii=bool(number % 2)) for number, row in enumerate(rows)]
    cells = [list(rows[0]), *(list(row.values()) for row in rows)]
    if name.endswith(".tsv"):
        return ["\t".join(row) for row in cells]
    return [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in cells]


@pytest.mark.parametrize("name", ["manifest.tsv", "manifest.csv", "manifest.jsonl"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "bom", "none", "blank"])  # 92, 93, 101, 103
def test_hostile_texts_come_through_to_the_bit(folder: Path, name: str, ends: str) -> None:
    wanted = [{"audio": "b.wav", "text": text} for text in TEXTS.values()]
    lines = lines_of(name, [*wanted, *wanted])  # 113: each twice, which `index` refuses
    mark, end = ("\ufeff" if ends == "bom" else ""), {"\r\n": "\r\n", "blank": "\n\n"}.get(ends, "\n")
    (folder / name).write_bytes((mark + end.join(lines) + ("" if ends == "none" else end)).encode())
    read = rows(folder, table=name)
    assert [row.text for row in read if isinstance(row, Row)] == 2 * list(TEXTS.values())
    assert len(read) == len(wanted) * 2


EXTRA = {"96 an extra cell": {"audio": "b.wav", "text": "hej", "": "x"}, "97 a missing cell": {"audio": "b.wav"}}


@pytest.mark.parametrize("name", ["manifest.tsv", "manifest.csv"])
@pytest.mark.parametrize("case", EXTRA)
def test_a_line_that_does_not_fit_costs_itself_alone(folder: Path, name: str, case: str) -> None:
    good = {"audio": "b.wav", "text": "hej"}
    lines = lines_of(name, [good, EXTRA[case], good])
    (folder / name).write_text("\n".join(lines))
    first, reject, last = rows(folder, table=name)
    assert first == last == Row("b.wav", b"sound of b", "hej")
    assert isinstance(reject, Reject) and (reject.id, reject.reason) == (f"{name}, line 3", "unreadable row")
    assert re.search(r"line 3: \d cells, expected 2 as in the header", reject.detail)


@pytest.mark.parametrize(("name", "line"), [
    ("manifest.csv", '"b.wav","never closed'), ("manifest.csv", 'b.wav,5" pipe'), ("manifest.csv", "# a remark, or so"),
    ("manifest.tsv", "# a remark"), ("manifest.jsonl", "# a remark"), ("manifest.jsonl", '{"audio": "b.wav", "text": "hej"'),
    ("manifest.jsonl", '["b.wav", "hej"]'), ("manifest.jsonl", '{"audio": "b.wav", "text": "\\udc80"}'), ("manifest.jsonl", "NaN"),
])  # fmt: skip
def test_no_line_takes_its_neighbours_along(folder: Path, name: str, line: str) -> None:
    header, *good = lines_of(name, [{"audio": "b.wav", "text": f"rad {n}"} for n in range(4 + name.endswith("l"))])
    (folder / name).write_text("\n".join([header, *good[:2], line, *good[2:]]))
    read = rows(folder, table=name)
    assert len(read) == (6 if name.endswith("l") else 5) and sum(isinstance(row, Reject) for row in read) == 1
    assert [row.text for row in read if isinstance(row, Row)] == [f"rad {n}" for n in range(len(read) - 1)]


@pytest.mark.parametrize(("data", "message"), [
    (b"audio\ttext\ttext\nb.wav\ta\tb\n", "stands twice"), (b"audio\ttext\n", "empty"), (b"", "empty"),
    (b"audio\ttext\nb.wav\t\xff\n", "not UTF-8 at byte 17"), ("audio\ttext\n".encode("utf-16"), "UTF-16"),
])  # fmt: skip
def test_a_table_that_cannot_be_read_at_all_is_refused(folder: Path, data: bytes, message: str) -> None:
    """107, 108, 109, 114, 115."""
    (folder / "manifest.tsv").write_bytes(data)
    for ask in (recordings, revision):
        with pytest.raises(CorpusError, match=message):
            list(ask(FolderCorpus(path=str(folder))))
