"""Common Voice of every generation, packed and unpacked: each row of its tables once, in whatever order the archive brings them."""

import gzip
import io
import logging
import os
import random
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import pytest

from tasks.contracts.corpora import CommonVoiceCorpus
from tasks.contracts.errors import CorpusError
from tasks.contracts.values import Reject
from tasks.corpora import Recording, common_voice, recordings, release, revision
from tasks.store.source import Source
from tests.support.bad_archives import END, member

HEADERS = {
    "5": "client_id path sentence up_votes down_votes age gender accent locale segment",
    "8": "client_id path sentence up_votes down_votes age gender accents locale segment",
    "13": "client_id path sentence up_votes down_votes age gender accents variant locale segment",
    "17": "client_id path sentence_id sentence sentence_domain up_votes down_votes age gender accents variant locale segment",
}
TABLES = ("train", "dev", "test", "validated", "invalidated", "other")
NAME = "cv-corpus-25.0-2026-03-09/sv-SE"
TEXTS = ['"Ja', 'sa "hon"', "NA", "null", " yttre ", "a\u030a NFD", "\u200fשלום\u200e", "fyra\u2028fem", "#sex", "\\n", "007"]


class Row(NamedTuple):
    """A recording as it is when somebody has read it."""

    id: str
    audio: bytes
    text: str
    speaker: str = ""
    split: str = ""
    seconds: float = 0.0
    about: tuple[tuple[str, str], ...] = (("licence", "CC0-1.0"),)


def read(each: Recording | Reject) -> Row | Reject:
    if isinstance(each, Reject):
        return each
    return Row(each.id, each.read(), each.text, each.speaker, each.split, each.seconds, tuple(sorted(each.about.items())))


def rows(path: Path | str, **named: Any) -> list[Row | Reject]:
    return [read(each) for each in list(recordings(CommonVoiceCorpus(path=str(path), **named)))]  # none is read before the last was yielded


def table(header: str, *rows: dict[str, Any]) -> str:
    columns = header.split()
    return "".join("\t".join(cells) + "\n" for cells in (columns, *([str(row.get(each, "")) for each in columns] for row in rows)))


def unpacked(folder: Path, tables: dict[str, list[dict[str, Any]]], header: str = HEADERS["17"], **files: str) -> Path:
    """Make a release; each clip that a row names holds its own name."""
    home = folder / NAME
    (home / "clips").mkdir(parents=True)
    for name in TABLES:
        (home / f"{name}.tsv").write_text(table(header, *tables.get(name, [])))
    for name, text in files.items():
        (home / name.replace("_txt", ".txt").replace("_tsv", ".tsv")).write_text(text)
    for row in (row for each in tables.values() for row in each):
        clip = Path(row["path"]).name
        if clip != ".." and "missing" not in clip and "\0" not in clip:
            (home / "clips" / (clip if "." in clip else f"{clip}.mp3")).write_bytes(clip.encode())
    return home


def packed(folder: Path, order: Callable[[str], Any] = str, pack: Callable[[bytes], bytes] = gzip.compress) -> Path:
    """Pack a folder, its files in an order."""
    archive = folder.parent / f"{folder.name}-{random.random()}.tar.gz"
    names = sorted((str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()), key=order)
    archive.write_bytes(pack(b"".join(member(name, (folder / name).read_bytes()) for name in names) + END))
    return archive


def both(folder: Path, **named: Any) -> list[Row | Reject]:
    """Return the rows, the same ones from the folder and from its archive."""
    found, archived = rows(folder, **named), rows(packed(folder), **named)
    assert Counter(found) == Counter(archived)
    return found


def rejects(found: list[Row | Reject]) -> list[tuple[str, str, str]]:
    assert all(each.stage == "download" for each in found if isinstance(each, Reject))
    return [(each.id, each.reason, each.detail) for each in found if isinstance(each, Reject)]


def ids(found: list[Row | Reject], split: str = "") -> list[str]:
    return [each.id for each in found if isinstance(each, Row) and split in ("", each.split)]


CLIP = {"client_id": "anna", "sentence": "Hej.", "up_votes": 2, "down_votes": 0, "age": "twenties", "accents": "Skåne", "accent": "Skåne"}


@pytest.mark.parametrize(("generation", "gender"), [("5", "male"), ("8", "male"), ("13", "male"), ("17", "male_masculine")])
def test_every_generation_of_tables_is_read_by_the_names_of_its_columns(tmp_path: Path, generation: str, gender: str) -> None:
    row = CLIP | {"gender": gender, "variant": "sv-x", "sentence_domain": "news", "sentence_id": "s1"}
    unpacked(tmp_path, {"train": [row | {"path": "a.mp3"}], "test": [row | {"path": "clips/b"}]}, HEADERS[generation])
    about = {"accent": "Skåne", "age": "twenties", "down_votes": "0", "gender": "male", "licence": "CC0-1.0", "up_votes": "2"}
    about |= {"variant": "sv-x"} if generation in ("13", "17") else {}
    about |= {"domain": "news"} if generation == "17" else {}
    same = ("Hej.", "anna")
    a, b = both(tmp_path)
    assert a == Row("a", b"a.mp3", *same, "train", about=tuple(sorted(about.items())))
    assert b == Row("b", b"b", *same, "test", about=tuple(sorted(about.items())))


def test_the_headers_are_those_of_real_releases(real_data: Path) -> None:
    real = {file.parent.name: file.read_text().split() for file in real_data.glob("common-voice-layout/headers/*/train.tsv")}
    assert list(map(real.get, ("before-13.0", "13.0-16.1", "17.0-24.0", "25.0"))) == [
        HEADERS[each].split() for each in ("8", "13", "17", "17")
    ]


def test_a_real_release_is_read(real_data: Path, tmp_path: Path) -> None:
    home = tmp_path / "cv"
    shutil.copytree(real_data / "common-voice-layout" / NAME, home / NAME)
    found = both(home)
    assert Counter(each.split for each in found if isinstance(each, Row)) == {"train": 7, "dev": 2, "test": 2}
    first = next(each for each in found if each.id == "common_voice_sv-SE_18711295")
    assert isinstance(first, Row) and (first.text, first.seconds) == ("Har du fortfarande samma nummer", 4.056)
    assert first.audio == (home / NAME / "clips" / "common_voice_sv-SE_18711295.mp3").read_bytes()
    everything = rows(home, train=["validated"], dev=[], test=[])
    assert {each[:3] for each in found} == {each[:3] for each in everything if isinstance(each, Row)} and len(everything) == 11  # type: ignore[index]
    assert rows(tmp_path / "cv", free_data=True) == found


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A release of 60 clips in all its tables, and three in none."""
    clips = [CLIP | {"path": f"{number}.mp3", "sentence": f"sats {number}", "client_id": f"röst {number}"} for number in range(60)]
    tables = {"train": clips[:20], "dev": clips[20:25], "test": clips[25:30], "validated": clips[:50], "other": clips[50:]}
    durations = "clip\tduration[ms]\n" + "".join(f"{number}.mp3\t{number}000\n" for number in range(1, 60))
    home = unpacked(tmp_path / "cv", tables, reported_tsv="sentence\tsentence_id\tlocale\treason\n", clip_durations_tsv=durations)
    for name in ("x.mp3", "y.mp3", "._0.mp3"):
        (home / "clips" / name).write_bytes(b"nobody asked")
    (home / "README.md").write_text("# sv-SE")
    return tmp_path / "cv"


ORDERS: dict[str, Callable[[str], Any]] = {
    "as Mozilla packs it": str,
    "tables first": lambda name: "clips/" in name,
    "tables last": lambda name: ("clips/" not in name, "reported" in name, "durations" in name),
    "tables between": lambda name: ("clips/" not in name) * 0.5 if "clips/" not in name else random.Random(name).random(),
}


@pytest.mark.parametrize("without", ["", "reported.tsv", "clip_durations.tsv"])
def test_the_order_of_an_archive_changes_nothing_and_each_byte_is_read_once(
    corpus: Path, without: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if without:
        (corpus / NAME / without).unlink()
    opened: list[Counted] = []
    monkeypatch.setattr(Source, "open", lambda source, name="": opened.append(Counted(Path(source.root))) or opened[-1])
    expected = None
    for order in ORDERS.values():
        for pack in (gzip.compress, bytes):
            archive = packed(corpus, order, pack)
            found = Counter(rows(archive))
            assert len(found) == found.total() == 30 and found == (expected := expected or found)
            assert [file.n_bytes for file in opened] == [archive.stat().st_size]
            opened.clear()


class Counted(io.FileIO):
    n_bytes = 0

    def read(self, n: int = -1) -> bytes:
        data = super().read(n)
        self.n_bytes += len(data)
        return data


def test_what_waits_is_on_disk_and_what_does_not_is_in_memory(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    add = common_voice.Spool.add
    monkeypatch.setattr(common_voice.Spool, "add", lambda spool, name, data: waited.append(name) or add(spool, name, data))
    for order, n_waited in zip(ORDERS, (63, 0, 63, range(10, 55)), strict=True):
        rows(packed(corpus, ORDERS[order]))
        assert len(waited) in (n_waited if isinstance(n_waited, range) else [n_waited]), order
        waited.clear()
    monkeypatch.setattr(common_voice, "check_room", lambda n: None)
    monkeypatch.setattr("tasks.corpora.archive.RESERVE", 2**60)
    assert len(rows(packed(corpus, ORDERS["tables first"]))) == 30
    with pytest.raises(CorpusError, match="set TMPDIR to a folder of a larger disk"):
        rows(packed(corpus, ORDERS["tables last"]))


def test_clips_are_read_by_threads_after_the_archive_is_closed(corpus: Path) -> None:
    archive = packed(corpus)
    found = list(recordings(CommonVoiceCorpus(path=str(archive))))
    archive.unlink()
    with ThreadPoolExecutor(16) as pool:
        audio = list(pool.map(lambda each: each.read(), found))  # type: ignore[union-attr]
    assert audio == [f"{each.id}.mp3".encode() for each in found]
    assert all(each.stamp == "" for each in found)  # type: ignore[union-attr]


def test_clips_that_no_table_wants_are_counted(corpus: Path, caplog: pytest.LogCaptureFixture) -> None:
    for order in ORDERS.values():
        with caplog.at_level(logging.INFO):
            rows(packed(corpus, order))
        assert caplog.messages.pop().endswith("33 clips stand in no table that is used")
        caplog.clear()


def test_durations_are_taken_from_the_release(corpus: Path) -> None:
    assert {each.id: each.seconds for each in both(corpus) if isinstance(each, Row)} == {str(number): float(number) for number in range(30)}
    home = corpus / NAME
    (home / "clip_durations.tsv").write_text("clip\tduration[ms]\n1.mp3\tnan\n2.mp3\t-1\n3.mp3\t1\t2\n4.mp3\t4500.5\n")
    assert {each.seconds for each in both(corpus) if isinstance(each, Row)} == {0.0, 4.5005}
    (home / "clip_durations.tsv").unlink()
    delta = "`cv-corpus-14.0-delta-2023-06-23/sv-SE/clips/1.mp3` = 6192\nclips/2.mp3 = 5148\r\nnonsense\n"  # so it stands in release 15
    (home / "times.txt").write_text(delta)
    assert {each.id: each.seconds for each in both(corpus) if isinstance(each, Row) and each.seconds} == {"1": 6.192, "2": 5.148}


def test_sentences_survive_as_they_were_written(tmp_path: Path) -> None:
    home = unpacked(tmp_path, {"train": [CLIP | {"path": f"{number}.mp3", "sentence": text} for number, text in enumerate(TEXTS)]})
    assert [each.text for each in both(tmp_path) if isinstance(each, Row)] == TEXTS
    (home / "train.tsv").write_bytes(b"\xef\xbb\xbf" + (home / "train.tsv").read_bytes().replace(b"\n", b"\r\n"))
    assert [each.text for each in both(tmp_path) if isinstance(each, Row)] == TEXTS


def test_rows_that_cannot_be_used_become_rejects_with_their_table_and_line(tmp_path: Path) -> None:
    outside = ["../a.mp3", "/etc/passwd", "sv-SE/clips/a.mp3", "clips/", "..", "clips/../a.mp3", "a\0.mp3"]
    train = [CLIP | {"path": path} for path in ["a.mp3", *outside, "missing.mp3", "a.mp3"]]
    dev = [CLIP | {"path": "a.mp3"}, CLIP | {"path": "b.mp3"}]
    home = unpacked(tmp_path, {"train": train, "dev": dev})
    with (home / "dev.tsv").open("a") as file:
        file.write("too\tfew\n")
    found = both(tmp_path)
    assert ids(found) == ["a", "b"]
    assert rejects(found) == [
        *(
            (path, "path outside", f"train.tsv, line {3 + n}: {path!r} is not the name of a file in clips/")
            for n, path in enumerate(outside)
        ),
        ("a", "double row", "train.tsv, line 11: a.mp3 stands in train.tsv, line 2 already"),
        ("a", "double row", "dev.tsv, line 2: a.mp3 stands in train.tsv, line 2 already"),
        ("dev.tsv, line 4", "unreadable row", "dev.tsv, line 4: 2 cells, expected 13 as in the header"),
        ("missing", "missing file", "train.tsv, line 10: no file clips/missing.mp3"),
    ]


def test_large_tables_are_read_in_pieces_and_lines_are_counted_through(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (corpus / NAME / "dev.tsv").open("a") as file:
        file.write("\ntoo few\n" + table("", *[{}]).strip() + "\n\n")
    whole = both(corpus)
    assert ("dev.tsv, line 8", "unreadable row", "dev.tsv, line 8: 1 cells, expected 13 as in the header") in rejects(whole)
    monkeypatch.setattr(release, "PIECE", 100)
    assert both(corpus) == whole
    with (corpus / NAME / "dev.tsv").open("ab") as file:
        file.write(b"\xff\n")
    with pytest.raises(CorpusError, match=r": line \d+ on of dev\.tsv: not UTF-8 at byte"):
        rows(corpus)


REPORTED = [
    {"sentence": "Med id.", "sentence_id": "s1", "reason": "grammar-or-spelling"},
    {"sentence": "Utan id.", "reason": "offensive-language"},
]


@pytest.mark.parametrize(("header", "generation", "kept"), [
    ("sentence sentence_id locale reason", "17", ["2", "3"]),  # 2: same words, another id; 3: another sentence
    ("sentence_id sentence locale reason", "17", ["2", "3"]),
    ("sentence locale reason", "17", ["3"]), ("sentence sentence_id locale reason", "13", ["0", "3"]),
])  # fmt: skip
def test_reported_sentences_are_dropped_by_id_where_both_have_one_else_by_words(
    tmp_path: Path, header: str, generation: str, kept: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    sentences = [("s1", "Med nytt ord."), ("s2", "Utan id."), ("s3", "Med id."), ("s4", "Aldrig.")]
    clips = [CLIP | {"path": f"{n}.mp3", "sentence_id": id, "sentence": text} for n, (id, text) in enumerate(sentences)]
    reported = table(header, *REPORTED) + "en rad\n"
    unpacked(tmp_path, {"train": clips}, HEADERS[generation], reported_tsv=reported)
    found = both(tmp_path)
    if header == "sentence locale reason":
        kept = ["0", *kept]
    assert ids(found) == kept
    dropped = {n for n in range(4) if str(n) not in kept}
    details = [f"train.tsv, line {n + 2}: {clips[n]['sentence']!r} is in reported.tsv; corpus.reported keeps it" for n in dropped]
    assert rejects(found) == [(str(n), "reported sentence", detail) for n, detail in zip(dropped, details, strict=True)]
    assert "1 lines of reported.tsv cannot be read" in caplog.text
    assert ids(both(tmp_path, reported="keep")) == ["0", "1", "2", "3"]


def test_free_data_shares_neither_speaker_nor_sentence_with_dev_or_test(tmp_path: Path) -> None:
    def clip(path: str, speaker: str, sentence: str) -> dict[str, str]:
        return {"path": f"{path}.mp3", "client_id": speaker, "sentence": sentence}

    splits = {"train": [clip("a", "Anna", "ett")], "dev": [clip("b", "Bo", "Två, tre!")], "test": [clip("c", "Cia", "fyra")]}
    free = [
        clip("d", "Anna", "fem"),
        clip("e", "Dan", "sex"),
        clip("f", "Bo", "sju"),
        clip("g", "Dan", "TVÅ tre"),
        clip("h", "Cia", "åtta"),
    ]
    odd = [clip("../x", "Dan", "nio"), clip("e", "Dan", "sex"), clip("missing", "Dan", "tio")]
    home = unpacked(tmp_path, splits | {"validated": [*(row for rows in splits.values() for row in rows), *free, *odd]})
    assert [ids(both(tmp_path), split) for split in ("train", "dev", "test")] == [["a"], ["b"], ["c"]]
    found = both(tmp_path, free_data=True)
    assert [ids(found, split) for split in ("train", "dev", "test")] == [["a", "d", "e"], ["b"], ["c"]]
    assert [(id, reason, detail.split(":")[0]) for id, reason, detail in rejects(found)] == [
        ("f", "speaker of dev or test", "validated.tsv, line 7"), ("g", "sentence of dev or test", "validated.tsv, line 8"),
        ("h", "speaker of dev or test", "validated.tsv, line 9"), ("../x.mp3", "path outside", "validated.tsv, line 10"),
        ("e", "double row", "validated.tsv, line 11"), ("missing", "missing file", "validated.tsv, line 12"),
    ]  # fmt: skip
    assert ids(both(tmp_path, free_data=True, dev=[], test=["test"])) == ["a", "c", "d", "e"], "dev's voices are kept for another day"
    assert ids(both(tmp_path, free_data=True, train=["validated"], dev=[], test=[])) == list("abcdefgh"), "all of it is used already"
    (home / "dev.tsv").unlink()
    with pytest.raises(CorpusError, match=r"no dev\.tsv; found invalidated\.tsv, other\.tsv, test\.tsv"):
        both(tmp_path, free_data=True, dev=[])


def test_a_folder_above_will_do_and_several_locales_are_told_apart(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = rows(corpus)
    assert len(expected) == 30 == sum(isinstance(each, Row) for each in expected)
    for path in (corpus, corpus / "cv-corpus-25.0-2026-03-09", corpus / NAME, f"{corpus / NAME}/"):
        for locale in ("", "sv-SE"):
            assert rows(path, locale=locale) == expected
    monkeypatch.chdir(corpus / NAME)
    assert rows(".") == rows(".", locale="sv-SE") == rows("../..") == expected
    alone = packed(corpus / NAME)
    assert Counter(rows(alone)) == Counter(rows(alone, locale="sv-SE")) == Counter(expected)
    shutil.copytree(corpus / NAME, corpus / "cv-corpus-25.0-2026-03-09" / "de")
    assert Counter(both(corpus, locale="de")) == Counter(expected)
    for path in (corpus, packed(corpus), packed(corpus, ORDERS["tables first"])):
        with pytest.raises(CorpusError, match=r"2 locales, cv-corpus-25\.0-2026-03-09/de, cv-.*/sv-SE; name one in corpus\.locale"):
            rows(path)
        with pytest.raises(CorpusError, match=r"no locale fi; expected <locale>/clips and <locale>/train\.tsv, found .*/de, .*/sv-SE"):
            rows(path, locale="fi")
    with pytest.raises(CorpusError, match=r"no locale fi; .* found sv-SE"):
        rows(corpus / NAME, locale="fi")
    with pytest.raises(CorpusError, match=r"no locale of Common Voice; .* found nothing"):
        rows(corpus / "nowhere")


def test_a_table_that_is_missing_and_a_column_that_is_missing_are_named(corpus: Path) -> None:
    (corpus / NAME / "dev.tsv").unlink()
    for path in (corpus, packed(corpus)):
        with pytest.raises(CorpusError, match=r"no dev\.tsv; found clip_durations\.tsv, invalidated\.tsv, other\.tsv"):
            rows(path)
    (corpus / NAME / "dev.tsv").write_text("file\tsentence\na\tb\n")
    for path in (corpus, packed(corpus)):
        with pytest.raises(CorpusError, match=r"dev\.tsv: no column path or sentence in the header \['file', 'sentence'\]"):
            rows(path)
    (corpus / NAME / "dev.tsv").write_bytes(b"")
    with pytest.raises(CorpusError, match=r"dev\.tsv: empty"):
        rows(corpus)


def test_members_that_are_not_safe_are_named_and_the_rest_is_read(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common_voice, "MAX_CLIP", 100)
    (corpus / NAME / "clips" / "7.mp3").write_bytes(bytes(101))
    hostile = member(f"{NAME}/clips/8.mp3", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd") + member("../../x.mp3")
    for order, archive in ((order, packed(corpus, order, bytes)) for order in ORDERS.values()):
        archive.write_bytes(hostile + archive.read_bytes())
        found = rows(archive)
        assert len(ids(found)) == 29 and "8" in ids(found), order
        assert sorted((id, reason) for id, reason, _ in rejects(found)) == [
            ("../../x.mp3", "unsafe member"), ("7", "missing file"),
            (f"{NAME}/clips/7.mp3", "unsafe member"), (f"{NAME}/clips/8.mp3", "unsafe member"),
        ]  # fmt: skip
        assert any(detail.endswith("101 bytes, expected at most 100 in a clip") for _, _, detail in rejects(found))
    monkeypatch.setattr(common_voice, "MAX_TABLE", 100)
    with pytest.raises(CorpusError, match=r"test\.tsv has \d+ bytes, expected at most 100 in a table"):
        rows(packed(corpus, lambda name: "test.tsv" not in name))


@pytest.mark.parametrize("order", ORDERS)
def test_an_archive_that_is_not_whole_fails_in_the_end(corpus: Path, order: str) -> None:
    archive = packed(corpus, ORDERS[order])
    whole = archive.read_bytes()
    tar = gzip.decompress(whole)
    for damaged in (whole[:-4], whole[: len(whole) // 2], gzip.compress(tar[: -len(END)]), whole + whole):
        archive.write_bytes(damaged)
        with pytest.raises(CorpusError, match="archive is not whole"):
            rows(archive)


def test_a_revision_changes_with_what_the_rows_say_and_with_their_clips(corpus: Path) -> None:
    spec = CommonVoiceCorpus(path=str(corpus))
    seen = [revision(spec)]
    home = corpus / NAME
    (home / "clips" / "x.mp3").write_bytes(b"still nobody")
    (home / "README.md").unlink()
    assert revision(spec) == revision(CommonVoiceCorpus(path=str(home))) == seen[0]
    for change in (
        lambda: (home / "clips" / "3.mp3").write_bytes(b"louder"),
        lambda: (home / "train.tsv").write_text((home / "train.tsv").read_text().replace("sats 4", "mening 4")),
        lambda: (home / "clips" / "5.mp3").unlink(),
        lambda: os.utime(home / "clips" / "6.mp3", (0, 0)),
    ):
        change()
        seen.append(revision(spec))
    archive = CommonVoiceCorpus(path=str(packed(corpus)))
    seen.append(revision(archive))
    assert revision(archive) == seen[-1]
    os.utime(archive.path, (0, 0))
    seen.append(revision(archive))
    assert len({str(each) for each in seen}) == len(seen) == 7


def test_an_unpacked_clip_is_known_by_its_stamp_and_read_when_asked_for(corpus: Path) -> None:
    clip = corpus / NAME / "clips" / "0.mp3"
    found = {each.id: each for each in recordings(CommonVoiceCorpus(path=str(corpus))) if isinstance(each, Recording)}
    assert found["0"].stamp == Source(str(clip)).stamp("") and all(each.stamp for each in found.values())
    clip.unlink()
    with pytest.raises(FileNotFoundError):
        found["0"].read()


@pytest.fixture
def remote() -> Iterator[fsspec.AbstractFileSystem]:
    fs = fsspec.filesystem("memory")
    yield fs
    fs.rm("/cv", recursive=True)


def test_a_release_is_read_where_it_lies(corpus: Path, remote: fsspec.AbstractFileSystem) -> None:
    expected = Counter(rows(corpus))
    remote.put(str(corpus), "/cv/unpacked", recursive=True)
    remote.put_file(str(packed(corpus)), "/cv/sv.tar.gz")
    assert Counter(rows("memory://cv/unpacked")) == Counter(rows(f"memory://cv/unpacked/{NAME}")) == expected
    assert Counter(rows("memory://cv/sv.tar.gz")) == expected


def test_clips_that_were_in_the_test_once_are_found_in_whichever_table_they_stand(tmp_path: Path) -> None:
    clips = {name: CLIP | {"path": f"{name}.mp3", "sentence": name, "client_id": f"who said {name}"} for name in "abcdefg"}
    tables = {"train": [clips["a"]], "dev": [clips["b"]], "test": [clips["c"] | {"sentence": "bad"}], "other": [clips["e"]],
              "validated": [clips[name] for name in "abcd"], "invalidated": [clips["f"]]}  # fmt: skip
    folder = unpacked(tmp_path, tables, reported_tsv="sentence_id\tsentence\tlocale\treason\n\tbad\tsv-SE\tx\n")
    for path in (folder, packed(folder), packed(folder, lambda name: name.endswith(".tsv"))):
        spec = CommonVoiceCorpus(path=str(path), free_data=True)
        assert sorted(ids(rows(path, free_data=True))) == ["a", "b", "d"], "c was reported, d is free"
        found = [read(each) for each in recordings(spec, {"a", "c", "d", "e", "f", "nobody"})]
        assert sorted((each.id, each.split) for each in found if isinstance(each, Row)) == [
            ("a", "train"), ("b", "dev"), ("c", "test"), ("d", "test"), ("e", "test"),
        ]  # fmt: skip
        assert all(each.audio == f"{each.id}.mp3".encode() for each in found if isinstance(each, Row)) and rejects(found) == []
