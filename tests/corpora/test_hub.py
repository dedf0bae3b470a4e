"""Data sets of the Hub: folders in this process; over HTTP the real client in a process of its own, against a stand-in for the Hub."""

import io
import json
import logging
import os
import subprocess
import sys
import tarfile
import tracemalloc
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from time import sleep
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from tasks.contracts.corpora import HubCorpus
from tasks.contracts.errors import CorpusError
from tasks.contracts.values import Reject
from tasks.corpora import Recording, recordings, revision
from tests.support.fake_hub import FakeHub, Kind

ROOT = Path(__file__).parents[2]
WORDS = datasets.Value("string")
FLEURS = {
    "id": datasets.Value("int32"),  # of the sentence: two speakers, one id
    "num_samples": datasets.Value("int32"),
    "path": WORDS,
    "audio": datasets.Audio(16_000),
    "transcription": WORDS,
    "raw_transcription": WORDS,
    "gender": datasets.ClassLabel(names=["male", "female", "other"]),
    "lang_id": datasets.ClassLabel(names=["da_dk", "sv_se"]),
    "language": WORDS,
}
README = "---\nconfigs:\n{}---\n"
CONFIG = "- config_name: {0}\n  data_files:\n" + "".join(
    f"  - split: {split}\n    path: {{0}}/{split}/*.parquet\n" for split in ("train", "validation", "test")
)


def wav(number: int) -> bytes:
    """A tenth of a second; no two numbers sound the same."""
    file = io.BytesIO()
    soundfile.write(file, 0.3 * np.sin(np.arange(1600) * (0.05 + number / 100)), 16_000, format="WAV")
    return file.getvalue()


def parquet(rows: list[dict[str, Any]], features: dict[str, Any], group: int = 2) -> bytes:
    """Return a file as `push_to_hub` writes it: types in its header, a few rows in each row group."""
    as_stored = {name: {"bytes": datasets.Value("binary"), "path": WORDS} if isinstance(each, datasets.Audio) else each
                 for name, each in features.items()}  # fmt: skip
    schema = datasets.Features(as_stored).arrow_schema.with_metadata(datasets.Features(features).arrow_schema.metadata)
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), file, row_group_size=group, compression="none")
    return file.getvalue()


def fleurs(first: int, n: int = 5) -> bytes:
    rows = [{"id": number // 2, "num_samples": 1600, "path": "?", "audio": {"bytes": wav(number), "path": f"{number}.wav"},
             "transcription": f"mening {number}", "raw_transcription": "?", "gender": number % 3, "lang_id": 1, "language": "?"}
            for number in range(first, first + n)]  # fmt: skip
    return parquet(rows, FLEURS)


def converted(readme: bool = False) -> dict[str, bytes]:
    """Return the files of two configurations, laid out as in refs/convert/parquet."""
    places = [(config, split) for config in ("da_dk", "sv_se") for split in ("train", "validation", "test")]
    files = {f"{config}/{split}/0000.parquet": fleurs(10 * number) for number, (config, split) in enumerate(places)}
    return files | ({"README.md": README.format(CONFIG.format("da_dk") + CONFIG.format("sv_se")).encode()} if readme else {})


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def read(folder: Path, **named: Any) -> list[Recording | Reject]:
    return list(recordings(HubCorpus(name=str(folder), **named)))


def one_split(folder: Path, rows: list[dict[str, Any]], features: dict[str, Any], **named: Any) -> list[Recording | Reject]:
    return read(write(folder, {"train-00000.parquet": parquet(rows, features)}), **({"dev": (), "test": ()} | named))


SAID = {"audio": datasets.Audio(), "text": WORDS}


@pytest.mark.parametrize("readme", [True, False], ids=["named in its README", "laid out as in refs/convert/parquet"])
def test_one_configuration_is_read_row_for_row_with_its_splits_and_its_sound_as_it_came(tmp_path: Path, readme: bool) -> None:
    rows = read(write(tmp_path, converted(readme)), config="sv_se")
    assert all(isinstance(row, Recording) for row in rows)
    expected = [("train", 30), ("validation", 40), ("test", 50)]
    assert [row.id for row in rows] == [f"{split}/{number}.wav" for split, first in expected for number in range(first, first + 5)]
    assert [row.split for row in rows] == ["train"] * 5 + ["dev"] * 5 + ["test"] * 5
    assert [row.text for row in rows] == [f"mening {number}" for _, first in expected for number in range(first, first + 5)]
    assert [row.read() for row in rows] == [wav(number) for _, first in expected for number in range(first, first + 5)]
    assert [row.about["gender"] for row in rows[:3]] == ["male", "female", "other"]
    assert {(row.stamp, row.speaker, row.seconds) for row in rows} == {("", "", 0.0)}


@pytest.mark.parametrize("readme", [True, False])
@pytest.mark.parametrize("config", ["", "fi_fi"])
def test_a_configuration_that_is_not_told_or_not_there_is_refused_with_those_that_there_are(
    tmp_path: Path, config: str, readme: bool
) -> None:
    write(tmp_path, converted(readme))
    with pytest.raises(CorpusError, match=r"data set .*(?s:.)*(da_dk|sv_se)(?s:.)*(da_dk|sv_se)(?s:.)*") as refusal:
        read(tmp_path, config=config)
    assert "corpus.config" in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_single_configuration_and_a_default_one_need_no_name(tmp_path: Path) -> None:
    files = converted()
    alone = {name: data for name, data in files.items() if name.startswith("sv_se")}
    assert len(read(write(tmp_path / "alone", alone))) == 15
    readme = README.format(CONFIG.format("da_dk") + CONFIG.format("sv_se") + "  default: true\n")
    assert read(write(tmp_path / "default", files | {"README.md": readme.encode()}))[0].id == "train/30.wav"


def test_a_split_that_is_not_there_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    write(tmp_path, {"data/train-00000.parquet": fleurs(0)})
    with pytest.raises(CorpusError, match=r"no split 'validation', only \['train'\]; correct corpus.dev, \[\] for none"):
        read(tmp_path)
    assert len(read(tmp_path, dev=(), test=())) == 5


def test_columns_are_guessed_or_named(tmp_path: Path) -> None:
    features = SAID | {
        "speaker_id": WORDS,
        "duration": datasets.Value("float32"),
        "language": WORDS,
        "words": WORDS,
        "up_votes": datasets.Value("int64"),
    }
    row = {
        "audio": {"bytes": wav(1), "path": "a/1.wav"},
        "text": "hej",
        "speaker_id": "s7",
        "duration": 0.5,
        "language": "sv",
        "words": "Hej!",
        "up_votes": 2,
    }
    rows = [row, row | {"audio": {"bytes": wav(2), "path": "a/2.wav"}, "text": None, "speaker_id": "Unknown", "duration": -1.0}]
    first, second = one_split(tmp_path, rows, features)
    assert isinstance(first, Recording) and isinstance(second, Recording)
    assert (first.id, first.text, first.speaker, first.seconds, first.language) == ("train/a/1.wav", "hej", "s7", 0.5, "sv")
    assert first.about == {"up_votes": "2"} and (second.text, second.speaker, second.seconds) == ("", "", 0.0)
    named = one_split(tmp_path, rows, features, text_column="words", speaker_column="-", id_column="duration")
    assert [(row.id, row.text, row.speaker) for row in named if isinstance(row, Recording)] == [
        ("train/0.5", "Hej!", ""),
        ("train/-1.0", "Hej!", ""),
    ]


@pytest.mark.parametrize(("features", "named", "why"), [
    (SAID, {"text_column": "words"}, r"no column 'words', only \['audio', 'text'\]; correct corpus.text_column"),
    ({"audio": datasets.Audio(), "label": WORDS}, {}, r"cannot guess which of \['audio', 'label'\] holds the text; name it in"),
    (SAID | {"noise": datasets.Audio()}, {}, r"cannot guess which of \[.*\] holds the audio; name it in corpus.audio_column"),
    (SAID, {"audio_column": "number"}, r"no column 'number'"),
    ({"audio": datasets.Value("int32"), "text": WORDS}, {}, "column 'audio' holds a int, expected bytes and path; correct"),
])  # fmt: skip
def test_columns_that_cannot_be_found_are_said(tmp_path: Path, features: dict[str, Any], named: dict[str, str], why: str) -> None:
    row = {name: 7 if isinstance(each, datasets.Value) and each.dtype == "int32" else None for name, each in features.items()}
    with pytest.raises(CorpusError, match=why):
        one_split(tmp_path, [row], features, **named)


def test_of_two_columns_with_sound_one_can_be_named(tmp_path: Path) -> None:
    row = {"audio": {"bytes": wav(1), "path": "1.wav"}, "text": "hej", "noise": {"bytes": wav(2), "path": "2.wav"}}
    (found,) = one_split(tmp_path, [row], SAID | {"noise": datasets.Audio()}, audio_column="noise")
    assert isinstance(found, Recording) and found.read() == wav(2)


def test_rows_without_sound_or_with_a_path_that_leads_out_are_rejects_that_say_where(tmp_path: Path) -> None:
    write(tmp_path, {"clips/1.wav": wav(1)})
    (tmp_path.parent / "secret.wav").write_bytes(wav(9))
    paths = [None, "clips/1.wav", "../secret.wav", str(tmp_path / "clips/1.wav"), "/etc/passwd", "https://host/1.wav", "clips/2.wav"]
    sounds: list[dict[str, Any] | None] = [{"bytes": None, "path": path} for path in paths]
    rows = one_split(tmp_path, [{"audio": sound, "text": "hej"} for sound in [*sounds, None]], SAID)
    assert [(row.reason, row.detail) if isinstance(row, Reject) else (row.id, row.read() == wav(1)) for row in rows] == [
        ("missing file", "split 'train', row 0: column 'audio' holds neither sound nor a path"),
        ("train/clips/1.wav", True),
        ("path outside", "split 'train', row 2: '../secret.wav' is not inside the data set"),
        ("train/clips/1.wav", True),
        ("path outside", "split 'train', row 4: '/etc/passwd' is not inside the data set"),
        ("path outside", "split 'train', row 5: 'https://host/1.wav' is not inside the data set"),
        ("missing file", "split 'train', row 6: no file 'clips/2.wav' in the data set"),
        ("missing file", "split 'train', row 7: column 'audio' holds neither sound nor a path"),
    ]
    stamps = {row.stamp for row in rows if isinstance(row, Recording)}
    assert len(stamps) == 1 and stamps.pop().startswith(f"{len(wav(1))}:"), "a file that is known is not read again"


def test_ids_are_file_names_else_row_numbers_and_of_a_named_column_none_may_be_empty(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    features = SAID | {"key": WORDS}
    paths = ["/home/author/x/1.wav", None, None, "a\u030a.wav"]
    rows = [{"audio": {"bytes": wav(n), "path": path}, "text": "hej", "key": f"k{n}" if n else None} for n, path in enumerate(paths)]
    with caplog.at_level(logging.WARNING, "tasks.corpora.hub"):
        assert [row.id for row in one_split(tmp_path, rows, features)] == [
            "train/1.wav",
            "train/00000001",
            "train/00000002",
            "train/\u00e5.wav",
        ]
    assert [record.message.partition("split")[2] for record in caplog.records] == [
        " 'train': ids are row numbers, true at this revision only; name a column in corpus.id_column"
    ]
    empty, *others = one_split(tmp_path, rows, features, id_column="key")
    assert isinstance(empty, Reject) and empty.detail == "split 'train', row 0: column 'key' is empty" and empty.reason == "no id"
    assert [row.id for row in others] == ["train/k1", "train/k2", "train/k3"]


def test_audio_folders_tars_and_json_lines_are_read_too(tmp_path: Path) -> None:
    table = "".join(json.dumps({"file_name": f"{n}.wav", "text": f"klipp {n}"}) + "\n" for n in range(3))
    sounds = {f"train/{n}.wav": wav(n) for n in range(3)}
    folder = write(tmp_path / "folder", sounds | {"train/metadata.jsonl": table.encode()})
    table = table.replace('file_name": "', 'path": "train/')
    readme = README.format("- config_name: default\n  data_files: train.jsonl\n")
    lines = write(tmp_path / "lines", sounds | {"train.jsonl": table.encode(), "README.md": readme.encode()})
    tars = tmp_path / "tars"
    tars.mkdir()
    with tarfile.open(tars / "train-000.tar", "w") as tar:
        for name, data in [each for n in range(3) for each in ((f"{n}.wav", wav(n)), (f"{n}.txt", f"klipp {n}".encode()))]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    for place, above in ((folder, "train/"), (lines, "train/"), (tars, "")):
        rows = read(place, dev=(), test=())
        assert [(row.id, row.text, row.read()) for row in rows if isinstance(row, Recording)] == [
            (f"train/{above}{n}.wav", f"klipp {n}", wav(n)) for n in range(3)
        ], place


@pytest.mark.parametrize(("files", "why"), [
    ({}, "no data files; expected Parquet"),
    ({"set.py": b"print('code of a stranger')"}, "a Python script, and viska runs no code of strangers; expected Parquet"),
    ({"train.csv": b"path,text\na.wav,hej\n"}, "CSV or TSV, where datasets loses rows between stray quotes; read it with"),
    ({"train/metadata.csv": b"file_name,text\na.wav,hej\n", "train/a.wav": b""}, "CSV or TSV.* corpus.kind folder and corpus.path .*set"),
    ({"train.txt": b"hej\n"}, "its files are text, expected parquet, arrow, json, webdataset, audiofolder"),
    ({"train.parquet": b"PAR1 and no more"}, "data set '.*set': .*"),
])  # fmt: skip
def test_what_cannot_be_read_is_said(tmp_path: Path, files: dict[str, bytes], why: str) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(CorpusError, match=why):
        read(write(tmp_path / "set", files), dev=(), test=())


def test_a_file_that_is_damaged_or_has_other_columns_is_said_after_the_rows_before_it(tmp_path: Path) -> None:
    whole = parquet([{"audio": {"bytes": wav(1), "path": "1.wav"}, "text": "hej"}], SAID)
    for second in (whole[:20] + b"\xff" * 200 + whole[220:], parquet([{"words": "hej"}], {"words": WORDS})):
        write(tmp_path, {"train-00000.parquet": whole, "train-00001.parquet": second})
        rows = recordings(HubCorpus(name=str(tmp_path), dev=(), test=()))
        assert isinstance(next(rows), Recording)
        with pytest.raises(CorpusError, match="split 'train': cannot be read: "):
            list(rows)


def test_a_name_that_is_neither_folder_nor_id_is_refused(tmp_path: Path) -> None:
    for name in ("csv", "parquet", str(tmp_path / "nothing")):  # datasets would read such files of the current folder
        with pytest.raises(CorpusError, match="neither a folder here nor an id such as google/fleurs"):
            revision(HubCorpus(name=name))


def test_the_revision_of_a_folder_changes_with_its_files_alone(tmp_path: Path) -> None:
    spec = HubCorpus(name=str(write(tmp_path, {"train.parquet": b"some bytes"})))
    before = revision(spec)
    assert revision(spec) == before
    write(tmp_path, {"train.parquet": b"other, more bytes"})
    assert revision(spec) != before


def test_a_file_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    n, spec = 192, HubCorpus(name=str(tmp_path), dev=(), test=())
    one_split(tmp_path, [{"audio": {"bytes": wav(1), "path": "1.wav"}, "text": "hej"}], SAID)  # what is imported once
    rows = [{"audio": {"bytes": os.urandom(2**19), "path": f"{number}.wav"}, "text": "hej"} for number in range(n)]
    (tmp_path / "train-00000.parquet").write_bytes(parquet(rows, SAID, group=2))
    del rows
    of_arrow, most, n_rows = pa.total_allocated_bytes(), 0, 0
    tracemalloc.start()
    for _ in recordings(spec):
        sleep(0.005)  # whoever looks at the clips is slower than the disk
        most, n_rows = max(most, pa.total_allocated_bytes() - of_arrow), n_rows + 1
    most += tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_rows == n and most < n * 2**19 / 4, f"{most / 2**20:.0f} MB"


# Over HTTP.

READ = """
import hashlib, json, sys
from tasks.contracts.corpora import HubCorpus
from tasks.contracts.errors import ViskaError
from tasks.corpora import recordings, revision
for spec in map(lambda each: HubCorpus(**each), json.loads(sys.argv[1])):
    said = {"rows": []}
    try:
        said["revision"] = revision(spec)
        sys.stdin.readline()
        for row in recordings(spec):
            said["rows"].append([row.id, row.text, hashlib.sha256(row.read()).hexdigest()])
    except ViskaError as refusal:
        said["refusal"] = str(refusal)
    except Exception as accident:
        said["accident"] = type(accident).__name__
    print(json.dumps(said), flush=True)
"""


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub


def reader(url: str, home: Path, specs: list[dict[str, Any]], token: str = "") -> "subprocess.Popen[str]":
    told = {
        "HF_ENDPOINT": url,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": token,
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", READ, json.dumps(specs)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=os.environ | told, text=True, stdin=pipe, stdout=pipe, stderr=pipe)


def outcomes(url: str, home: Path, *specs: dict[str, Any], token: str = "") -> list[dict[str, Any]]:
    """Return what came of reading each data set, all in one process."""
    out, words = reader(url, home, list(specs), token).communicate("\n" * len(specs), timeout=120)
    assert not token or token not in out + words
    assert len(out.splitlines()) == len(specs), words
    return [json.loads(line) for line in out.splitlines()]


def told(first: int, n: int, split: str) -> list[list[str]]:
    return [[f"{split}/{number}.wav", f"mening {number}", sha256(wav(number)).hexdigest()] for number in range(first, first + n)]


def test_the_commit_that_was_asked_for_is_read_though_the_branch_moves(hub: FakeHub, tmp_path: Path) -> None:
    commit = hub.commit("datasets/team/fleurs", converted(readme=True))
    branch = hub.commit("datasets/team/fleurs", converted(), ref="refs/convert/parquet")
    specs: list[dict[str, Any]] = [{"name": "team/fleurs", "config": "sv_se"}]
    with reader(hub.url, tmp_path, [*specs, specs[0] | {"revision": "refs/convert/parquet"}, specs[0] | {"revision": commit}]) as process:
        assert process.stdin and process.stdout
        while not any("/revision/main" in request for request in hub.requests):
            assert process.poll() is None
        hub.commit("datasets/team/fleurs", {"README.md": b"gone"})
        n_asked = len(hub.requests)
        process.stdin.write("\n\n\n")
        process.stdin.flush()
        said = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.stdin.close()
    expected = told(30, 5, "train") + told(40, 5, "validation") + told(50, 5, "test")
    assert [each["revision"] for each in said] == [{"commit": commit}, {"commit": branch}, {"commit": commit}]
    assert [each["rows"] for each in said] == [expected] * 3
    later = [request for request in hub.requests[n_asked:] if commit not in request and branch not in request]
    assert later == ["GET /api/datasets/team/fleurs/revision/refs/convert/parquet"]


def test_interrupted_reads_go_on_and_every_row_comes_once(hub: FakeHub, tmp_path: Path) -> None:
    rows = [{"audio": {"bytes": wav(n) + os.urandom(2**19), "path": f"{n}.wav"}, "text": f"klipp {n}"} for n in range(48)]
    hub.commit("datasets/team/large", {"train-00000.parquet": parquet(rows, SAID, group=4), "train-00001.parquet": parquet(rows[:1], SAID)})
    kinds: list[tuple[str, Kind]] = [
        ("0.parquet bytes=4-", "cut"),
        (r"0.parquet bytes=1\d{7}-", "reset"),
        ("1.parquet", "503"),
        ("1.parquet", "429"),
    ]
    faults = [hub.fail(f"GET .*{match}", kind) for match, kind in kinds]
    (said,) = outcomes(hub.url, tmp_path, {"name": "team/large", "dev": [], "test": []})
    expected = [[f"train/{row['audio']['path']}", row["text"], sha256(row["audio"]["bytes"]).hexdigest()] for row in [*rows, rows[0]]]
    assert said["rows"] == expected, said
    assert [fault.times for fault in faults] == [0, 0, 0, 0], "not every fault was met"


def test_what_the_hub_refuses_is_said_with_what_to_do(hub: FakeHub, tmp_path: Path) -> None:
    for name in ("gated", "private", "script", "open"):
        hub.commit(f"datasets/team/{name}", {"script.py": b""} if name == "script" else {"train.parquet": fleurs(0)})
    hub.repositories["datasets/team/gated"].is_gated = hub.repositories["datasets/team/private"].is_private = True
    (tmp_path / "datasets/team___script/default/0.0.0/abc").mkdir(parents=True)  # of an older datasets, which ran scripts
    names = ("gated", "private", "other", "script", "open")
    gated, private, other, script, unknown = outcomes(
        hub.url,
        tmp_path,
        *({"name": f"team/{name}", "dev": [], "test": [], "revision": "v9" if name == "open" else "main"} for name in names),
    )
    assert gated["refusal"] == (
        "data set 'team/gated' at 'main': gated; accept its terms on its page on the Hub, and set HF_TOKEN to a token of that account"
    )
    for each in (private, other):
        assert "neither a folder here nor on the Hub; if it is private, set HF_TOKEN to a token that may read it" in each["refusal"]
    assert "a Python script, and viska runs no code of strangers; try refs/convert/parquet as corpus.revision" in script["refusal"]
    assert unknown["refusal"] == "data set 'team/open' at 'v9': no such branch, tag or commit; correct corpus.revision"
    specs = [{"name": f"team/{name}", "dev": [], "test": []} for name in ("gated", "private")]
    assert [each["rows"] for each in outcomes(hub.url, tmp_path, *specs, token="hf_accepted")] == [told(0, 5, "train")] * 2
    (stranger,) = outcomes(hub.url, tmp_path, specs[0], token="hf_stranger")
    assert "gated; accept its terms" in stranger["refusal"]


def test_a_hub_out_of_reach_is_said_and_while_a_commit_is_read_it_is_an_accident(tmp_path: Path) -> None:
    unknown, known = outcomes("http://127.0.0.1:9", tmp_path, {"name": "team/set"}, {"name": "team/set", "revision": "0" * 40})
    assert unknown["refusal"].startswith("data set 'team/set' at 'main': the Hub cannot be reached: ")
    assert unknown["refusal"].endswith("; a whole commit as corpus.revision needs no asking")
    assert known["revision"] == {"commit": "0" * 40} and "refusal" not in known and known["accident"]
