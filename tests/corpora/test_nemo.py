"""NeMo manifests: every line becomes a recording, whole or cut out of a longer one, or a reject that says where it stands."""

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.contracts.corpora import NemoCorpus
from tasks.contracts.errors import AudioError, CorpusError
from tasks.contracts.values import Reject
from tasks.corpora import Recording, recordings, revision
from tasks.store.source import Source
from tests.support.long_audio import likeness, second_of, write_sentences, write_tones


def write(path: Path, *rows: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def part(second: int, path: str = "wav/talk.wav", **more: Any) -> dict[str, Any]:
    return {"audio_filepath": path, "text": f"sekund {second}", "offset": second, "duration": 1.0} | more


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tones(tmp_path / "wav" / "talk.wav")
    (tmp_path / "wav" / "a.wav").write_bytes(b"sound of a")
    return tmp_path


def read(*train: str, **spec: Any) -> tuple[list[Recording], list[Reject]]:
    rows = list(recordings(NemoCorpus(train=train, **spec)))
    return [each for each in rows if isinstance(each, Recording)], [each for each in rows if isinstance(each, Reject)]


def test_a_row_without_an_offset_is_its_whole_file(folder: Path) -> None:
    row = {"audio_filepath": "wav/a.wav", "text": "-", "duration": 2.5, "lang": "sv-SE", "speaker": 17, "gender": "female", "pnc": "yes"}
    [each], rejects = read(write(folder / "train.json", row))
    assert not rejects and each.read() == b"sound of a"
    told = (each.id, each.text, each.speaker, each.split, each.seconds, each.language, each.about)
    assert told == ("wav/a.wav", "-", "17", "train", 2.5, "sv", {"gender": "female"})


def test_what_a_row_does_not_tell_is_not_known(folder: Path) -> None:
    rows = {"audio_filename": "wav/a.wav"}, {"audio_filepath": "wav/talk.wav", "text": None, "offset": None, "language": "Swedish"}
    [old, other], rejects = read(write(folder / "train.jsonl", *rows))
    assert not rejects and [(each.id, each.text, each.speaker, each.seconds) for each in (old, other)] == [
        ("wav/a.wav", "", "", 0), ("wav/talk.wav", "", "", 0)
    ]  # fmt: skip
    assert (old.language, other.language) == ("", "sv")


def test_a_row_with_an_offset_is_cut_out(folder: Path) -> None:
    [first, third], _ = read(write(folder / "train.json", part(0), part(3, offset=3.25, duration=0.5, speaker_id="Anna")))
    assert (first.id, first.seconds, third.id, third.seconds) == ("wav/talk.wav#0-1000", 1, "wav/talk.wav#3250-3750", 0.5)
    assert [second_of(each.read()) for each in (first, third)] == [0, 3] and third.speaker == "Anna"


def test_a_shuffled_manifest_decodes_each_recording_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b", "c"):
        write_tones(folder / "wav" / f"{name}.wav", 5)
    rows = [part(second, f"wav/{name}.wav") for name in ("talk", "b", "c") for second in range(5)]
    rows.append({"audio_filepath": "wav/a.wav", "text": "hel", "duration": 1})
    random.Random(0).shuffle(rows)
    opened: list[str] = []
    really = Source.open
    monkeypatch.setattr(Source, "open", lambda self, name="": opened.append(name) or really(self, name))
    clips, _ = read(write(folder / "train.json", *rows))
    assert all(second_of(each.read()) == int(each.text[-1]) for each in clips if each.text != "hel")
    assert sorted(opened) == ["wav/b.wav", "wav/c.wav", "wav/talk.wav"], "each once"
    assert [each.text for each in sorted(clips, key=lambda each: each.place)] == [row["text"] for row in rows]


def test_real_sentences_come_out_of_one_recording(tmp_path: Path, real_data: Path) -> None:
    sentences = write_sentences(tmp_path / "long.wav", real_data)
    rows = [
        {"audio_filepath": "long.wav", "text": each.text, "offset": each.start, "duration": each.end - each.start} for each in sentences
    ]
    clips, rejects = read(write(tmp_path / "train.json", *rows))
    assert not rejects and [each.text for each in clips] == [each.text for each in sentences]
    assert all(likeness(clip.read(), each.samples) > 0.999 for clip, each in zip(clips, sentences, strict=True))


def test_several_manifests_make_the_splits_and_tests_come_first(folder: Path) -> None:
    train = [write(folder / f"{name}.json", part(second)) for name, second in (("a", 1), ("b", 2))]
    clips, _ = read(*train, dev=[write(folder / "dev.json", part(3))], test=[write(folder / "test.json", part(4))])
    assert [(each.split, each.text[-1]) for each in clips] == [("test", "4"), ("dev", "3"), ("train", "1"), ("train", "2")]


def test_ids_begin_below_the_folder_of_all_manifests_or_that_of_the_audio(folder: Path) -> None:
    train, dev = (write(folder / split / "manifest.json", {"audio_filepath": "wav/a.wav"}) for split in ("train", "dev"))
    for split in ("train", "dev"):
        (folder / split / "wav").mkdir()
        (folder / split / "wav" / "a.wav").write_bytes(split.encode())
    clips, _ = read(train, dev=[dev])
    assert [(each.id, each.read()) for each in clips] == [("dev/wav/a.wav", b"dev"), ("train/wav/a.wav", b"train")]
    clips, _ = read(train, dev=[dev], audio=str(folder))
    assert [(each.id, each.read()) for each in clips] == [("wav/a.wav", b"sound of a")] * 2


def test_an_absolute_path_is_allowed_inside_the_folder(folder: Path) -> None:
    rows = [{"audio_filepath": path} for path in (f"{folder}/wav/a.wav", f"{folder}//wav/../wav/./a.wav", "./wav/a.wav")]
    clips, rejects = read(write(folder / "train.json", *rows))
    assert not rejects and [each.id for each in clips] == ["wav/a.wav"] * 3 and clips[0].read() == b"sound of a"
    clips, _ = read(write(folder / "elsewhere" / "train.json", rows[0]), audio=str(folder / "wav"))
    assert [each.id for each in clips] == ["a.wav"]


def test_a_path_that_leads_out_of_the_folder_is_refused(folder: Path) -> None:
    outside = [
        "../secret.wav", "wav/../../secret.wav", "/etc/passwd", f"{folder}-2/a.wav", f"{folder}/../secret.wav", "file:///etc/passwd",
        "http://127.0.0.1:9/x.wav", "s3://bucket/x.wav", "a\0.wav", ".", str(folder),
    ]  # fmt: skip
    (folder.parent / "secret.wav").write_bytes(b"x")
    clips, rejects = read(write(folder / "train.json", *({"audio_filepath": path} for path in outside)))
    assert not clips and [(each.id, each.reason) for each in rejects] == [(path, "path outside") for path in outside]
    assert f"train.json, line 3: '/etc/passwd' is not a path inside {folder}; corpus.audio names the folder" in rejects[2].detail


def test_a_bucket_is_no_way_out_either() -> None:
    bucket = Source("memory://bucket/corpus")
    bucket.fs.pipe_file("/bucket/corpus/wav/a.wav", b"sound")
    paths = [
        "wav/a.wav",
        "memory://bucket/corpus/wav/a.wav",
        "/bucket/corpus/wav/a.wav",
        "memory://bucket/x.wav",
        "../x.wav",
        "gs://bucket/x",
    ]
    bucket.fs.pipe_file("/bucket/corpus/train.json", "\n".join(json.dumps({"audio_filepath": path}) for path in paths).encode())
    clips, rejects = read("memory://bucket/corpus/train.json")
    assert [(each.id, each.read()) for each in clips] == [("wav/a.wav", b"sound")] * 2
    assert [(each.id, each.reason) for each in rejects] == [(path, "path outside") for path in paths[2:]]


def test_rows_that_cannot_be_used_become_rejects_with_their_line(folder: Path) -> None:
    os.mkfifo(folder / "wav" / "pipe.wav")
    cases = [
        ("{'audio_filepath': 'wav/a.wav'}", "unreadable row", "not JSON"), ({"text": "hej"}, "no path", "no audio_filepath"),
        ({"audio_filepath": "wav/a.wav", "duration": float("nan")}, "unreadable duration", "duration 'NaN', expected seconds"),
        ({"audio_filepath": "wav/a.wav", "duration": "2,5"}, "unreadable duration", "duration '2,5'"),
        ({"audio_filepath": "wav/a.wav", "duration": -1}, "unreadable duration", "duration '-1'"),
        (part(1, offset=-1), "unreadable duration", "offset '-1', duration '1.0', expected seconds, and a duration with an offset"),
        (part(1, offset="1e400"), "unreadable duration", "offset '1e400'"), (part(1, duration=None), "unreadable duration", "duration ''"),
        (part(1, duration=0), "unreadable duration", "duration '0'"), (part(1, lang="xq"), "unknown language", "'xq': not a language"),
        (part(1, source_lang="sv", target_lang="en"), "a translation", "'sv' is spoken, the text is 'en'"),
        (part(1, "wav/none.wav"), "missing file", f"no file 'wav/none.wav' in {folder}"),
        (part(1, "wav/pipe.wav"), "missing file", "pipe.wav"),
        ({"audio_filepath": "wav"}, "missing file", "'wav'"),
    ]  # fmt: skip
    clips, rejects = read(write(folder / "train.json", *(row for row, _, _ in cases), part(1, source_lang="sv", target_lang="sv-SE")))
    assert [each.language for each in clips] == ["sv"] and all(each.stage == "download" for each in rejects)
    found = {each.detail.partition(": ")[0]: each for each in rejects}
    for line, (_, reason, why) in enumerate(cases, start=1):
        each = found.pop(f"train.json, line {line}")
        assert each.reason == reason and why in each.detail, each
    assert not found


def test_a_recording_that_cannot_be_decoded_costs_its_clips_alone(folder: Path) -> None:
    (folder / "wav" / "list.mp3").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/hostname.mp3\n#EXT-X-ENDLIST\n")
    clips, _ = read(write(folder / "train.json", part(0, "wav/list.mp3"), part(1, "wav/list.mp3"), part(2), part(15)))
    for each in clips[:2]:
        with pytest.raises(AudioError, match="cannot be decoded: libsndfile says"):
            each.read()
    assert second_of(clips[2].read()) == 2
    with pytest.raises(AudioError, match=r"the recording ends at 12.0 s, the clip goes on from 15.0|goes on to 16.0"):
        clips[3].read()


@pytest.mark.parametrize(("rows", "name", "why"), [
    ([{"audio_filepath": "a_1.wav", "shard_id": 3}], "m.json", r"m.json, line 1: shard_id, so the recordings are in tar files; .* unpack"),
    ([], "m.json", "m.json: empty"), ([{}], "m.txt", r"m.txt, expected a manifest whose name ends in .json or .jsonl"),
])  # fmt: skip
def test_a_manifest_that_is_none_of_files_is_refused(folder: Path, rows: list[Any], name: str, why: str) -> None:
    with pytest.raises(CorpusError, match=why):
        read(write(folder / name, *rows))


def test_a_missing_manifest_is_named(folder: Path) -> None:
    with pytest.raises(CorpusError, match=r"corpus.dev: no manifest .*/none.json"):
        read(write(folder / "train.json", part(1)), dev=[f"{folder}/none.json"])


def test_a_stamp_changes_with_its_file_and_its_span_alone(folder: Path) -> None:
    spec = NemoCorpus(train=(write(folder / "train.json", part(1), part(2), {"audio_filepath": "wav/a.wav"}),))

    def stamps() -> Iterator[str]:
        return (each.stamp for each in recordings(spec) if isinstance(each, Recording))

    whole, first, second = stamps()
    assert first != second and all((whole, first, second)) and list(stamps()) == [whole, first, second]
    seen = [revision(spec)]
    assert revision(spec) == seen[0]
    write(folder / "train.json", part(1), part(2, text="annat"), {"audio_filepath": "wav/a.wav"})
    assert list(stamps()) == [whole, first, second]
    seen.append(revision(spec))
    os.utime(folder / "wav" / "talk.wav", (0, 0))
    assert [old == new for old, new in zip((whole, first, second), stamps(), strict=True)] == [True, False, False]
    seen.append(revision(spec))
    (folder / "wav" / "a.wav").unlink()
    seen.append(revision(spec))
    assert len({str(each) for each in seen}) == 4
