"""Kaldi data directories: joined on ids, cut at segments, and nothing in them is ever run."""

import os
from pathlib import Path
from typing import Any

import pytest

from tasks.audio.decode import decode_flac
from tasks.contracts.corpora import KaldiCorpus
from tasks.contracts.errors import AudioError, CorpusError
from tasks.contracts.values import Reject
from tasks.corpora import Recording, recordings, revision
from tests.support.long_audio import likeness, second_of, write_sentences, write_tones


def write(folder: Path, **files: str) -> str:
    """Write tables, of which wav_scp stands for wav.scp."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return str(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tones(tmp_path / "talk.wav")
    (tmp_path / "a.wav").write_bytes(b"sound of a")
    (tmp_path / "b c.wav").write_bytes(b"sound of b")
    return tmp_path


def read(*train: str, **spec: Any) -> tuple[list[Recording], list[Reject]]:
    rows = list(recordings(KaldiCorpus(train=train, **spec)))
    return [each for each in rows if isinstance(each, Recording)], [each for each in rows if isinstance(each, Reject)]


def test_files_are_joined_on_ids_whatever_their_order(folder: Path) -> None:
    train = write(
        folder, wav_scp="bo-2 b c.wav\r\nanna-1\t a.wav \n", text="anna-1 hej  på\tdig\n\nbo-2\n", utt2spk="bo-2 bo\nanna-1 anna\n",
        spk2gender="anna f\n", utt2dur="anna-1 2.5\n", utt2lang="anna-1 Swedish\nbo-2 sv-SE\n",
    )  # fmt: skip
    [anna, bo], rejects = read(train)
    assert not rejects and (anna.read(), bo.read()) == (b"sound of a", b"sound of b")
    assert (anna.id, anna.text, anna.speaker, anna.seconds, anna.language, anna.about) == (
        "anna-1", "hej  på\tdig", "anna", 2.5, "sv", {"gender": "f"}
    )  # fmt: skip
    assert (bo.id, bo.text, bo.speaker, bo.split, bo.seconds, bo.about) == ("bo-2", "", "bo", "train", 0, {})


def test_a_speaker_that_is_the_utterance_is_not_known(folder: Path) -> None:
    [each, other], _ = read(write(folder, wav_scp="u a.wav\nv a.wav\n", text="u hej\nv hej\n", utt2spk="u u\n", spk2gender="u m\n"))
    assert (each.speaker, each.about, other.speaker) == ("", {"gender": "m"}, "")


def test_segments_are_cut_out_to_the_end_too(folder: Path) -> None:
    tables = {
        "wav_scp": "talk talk.wav\n",
        "text": "u1 ett\nu9 nio\nu3 tre\n",
        "segments": "u3 talk 3.25 3.75\nu1 talk 1 2\nu9 talk 9.5 -1\n",
    }
    clips, rejects = read(write(folder, **tables, utt2dur="u9 2.5\nu1 7\n"))
    assert not rejects and [(each.id, each.seconds) for each in clips] == [("u1", 1), ("u9", 2.5), ("u3", 0.5)]
    assert [second_of(each.read()) for each in (clips[0], clips[2])] == [1, 3]
    assert len({each.stamp for each in clips}) == 3 and clips[1].stamp.endswith("#9500-end/1")
    assert len(decode_flac(clips[1].read())) == 40_000


def test_the_utterances_of_a_recording_come_together_and_their_places_say_where_they_stood(folder: Path) -> None:
    for name in "bc":
        write_tones(folder / f"{name}.wav", 5)
    rows = [(f"{name}-{second}", name, second) for second in range(5) for name in "bc"]  # one after the other, as speakers take turns
    segments = "".join(f"{id} {name} {second} {second + 1}\n" for id, name, second in reversed(rows))
    text = "".join(f"{id} sekund {second}\n" for id, _, second in rows)
    clips, _ = read(write(folder, wav_scp="b b.wav\nc c.wav\n", segments=segments, text=text))
    assert [each.id[0] for each in clips] == ["b"] * 5 + ["c"] * 5 and all(second_of(each.read()) == int(each.text[-1]) for each in clips)
    assert [each.id for each in sorted(clips, key=lambda each: each.place)] == [id for id, _, _ in rows]


def test_real_sentences_come_out_of_one_recording(tmp_path: Path, real_data: Path) -> None:
    sentences = write_sentences(tmp_path / "long.wav", real_data)
    ids = [f"lj-{number:03d}" for number in range(len(sentences))]
    segments = "".join(f"{id} long {each.start:.5f} {each.end:.5f}\n" for id, each in zip(ids, sentences, strict=True))
    text = "".join(f"{id} {each.text}\n" for id, each in zip(ids, sentences, strict=True))
    clips, rejects = read(write(tmp_path, wav_scp="long long.wav\n", text=text, segments=segments))
    assert not rejects and [(each.id, each.text) for each in clips] == [(id, each.text) for id, each in zip(ids, sentences, strict=True)]
    assert all(likeness(clip.read(), each.samples) > 0.999 for clip, each in zip(clips, sentences, strict=True))


def test_commands_are_refused_and_never_run(folder: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    commands = [f"rm -rf {victim} |", f"rm -rf {victim}|", f"| touch {victim}/x", "sph2pipe -f wav -p a.sph | sox - -t wav - |"]
    archives = ["data.ark:1234", f"{folder}/a.wav:0"]
    lines = [f"u{number} {value}\n" for number, value in enumerate([*commands, *archives])]
    train = write(folder, wav_scp="".join(lines), text="".join(f"u{number} hej\n" for number in range(len(lines))))
    clips, rejects = read(train)
    revision(KaldiCorpus(train=(train,)))
    assert not clips and victim.is_dir() and not list(victim.iterdir())
    assert [each.reason for each in rejects] == ["a command"] * 4 + ["an archive"] * 2
    name = folder.name
    assert rejects[0].detail == f"{name}/wav.scp, line 1: {commands[0]!r} is a command, which is not run; write its output to files first"
    assert rejects[4].detail == f"{name}/wav.scp, line 5: 'data.ark:1234' is a place in an archive; write the recordings to files first"


def test_every_line_without_its_other_half_is_named(folder: Path) -> None:
    tables = {
        "wav_scp": "talk talk.wav\nunused a.wav\n",
        "segments": "u1 talk 0 1\nwordless talk 1 2\nu3 lost 0 1\n",
        "text": "u1 ett\nsoundless hej\nu3 tre\n",
    }
    [clip], rejects = read(write(folder, **tables))
    assert clip.id == "u1" and {each.reason for each in rejects} == {"missing row"}
    assert {each.id: each.detail.removeprefix(folder.name + "/") for each in rejects} == {
        "soundless": "text, line 2: 'soundless' is not in segments",
        "u3": "segments, line 3: 'lost' is not in wav.scp",
        "wordless": "segments, line 2: 'wordless' is not in text",
        "unused": "wav.scp, line 2: 'unused' is not in segments",
    }
    _, rejects = read(write(folder / "plain", wav_scp="u1 a.wav\nu2 a.wav\n", text="u2 hej\nu3 hej\n"), audio=str(folder))
    assert [each.detail for each in rejects] == ["plain/text, line 2: 'u3' is not in wav.scp", "plain/wav.scp, line 1: 'u1' is not in text"]


def test_the_first_of_doubled_ids_is_kept_and_the_others_are_named(folder: Path) -> None:
    train = write(folder / "train", wav_scp="u1 a.wav\nu1 b c.wav\nu2 a.wav\n", text="u1 ett\nu2 två\nu2 2\n")
    test = write(folder / "test", wav_scp="u2 b c.wav\n", text="u2 två\n")
    clips, rejects = read(train, test=(test,), audio=str(folder))
    assert [(each.id, each.split, each.text, each.read()) for each in clips] == [
        ("u2", "test", "två", b"sound of b"), ("u1", "train", "ett", b"sound of a")
    ]  # fmt: skip
    assert [(each.id, each.reason, each.detail) for each in rejects] == [
        ("u1", "double id", "train/wav.scp, line 2: 'u1' stands on line 1 already; the first one is kept"),
        ("u2", "double id", "train/text, line 3: 'u2' stands on line 2 already; the first one is kept"),
        ("u2", "double id", "train/text, line 2: 'u2' stands in test/text already; ids are unique over directories"),
    ]


def test_lines_that_cannot_be_used_become_rejects_that_say_where(folder: Path) -> None:
    os.mkfifo(folder / "pipe.wav")
    spans = ["talk 2 1", "talk -1 2", "talk nan 2", "talk 1 1e999", "talk 1", "talk one two", "talk 2 -2", "talk 0 1 0"]
    sounds = ["../secret.wav", "/etc/passwd", "", "none.wav", "pipe.wav"]
    segments = [f"s{number} {value}\n" for number, value in enumerate(spans)] + [
        f"p{number} r{number} 0 1\n" for number in range(len(sounds))
    ]
    wav = ["talk talk.wav\n"] + [f"r{number} {path}\n" for number, path in enumerate(sounds)]
    text = [f"{line.split()[0]} hej\n" for line in segments] + ["l1 hej\n", "ok hej\n"]
    segments += ["l1 talk 0 1\n", "ok talk 2 3\n"]
    clips, rejects = read(
        write(folder, wav_scp="".join(wav), segments="".join(segments), text="".join(text), utt2lang="l1 xq\n", utt2dur="ok 1\n")
    )
    assert [each.id for each in clips] == ["ok"] and second_of(clips[0].read()) == 2
    assert {each.id: each.reason for each in rejects} == {
        **dict.fromkeys([f"s{number}" for number in range(7)], "unreadable span"), "s7": "a channel",
        "p0": "path outside", "p1": "path outside", "p2": "no path", "p3": "missing file", "p4": "missing file", "l1": "unknown language",
    }  # fmt: skip
    why = {each.id: each.detail.removeprefix(folder.name + "/") for each in rejects}
    assert why["s0"] == "segments, line 1: 'talk 2 1', expected recording, begin and end in seconds; -1 for its end"
    assert why["s7"] == "segments, line 8: 'talk 0 1 0': one channel of several; write it to a file of its own first"
    assert why["p0"].startswith(f"wav.scp, line 2: '../secret.wav' is not a path inside {folder}; corpus.audio names")
    assert why["p2"] == "wav.scp, line 4: nothing after 'r2', expected the recording's path"
    assert why["p3"] == f"wav.scp, line 5: no file 'none.wav' in {folder}"
    assert why["l1"].startswith("utt2lang, line 1: 'xq': not a language")


def test_an_unreadable_duration_says_where_it_stands(folder: Path) -> None:
    _, [each] = read(write(folder, wav_scp="u a.wav\n", text="u hej\n", utt2dur="v 1\nu NaN\n"))
    assert (each.reason, each.detail) == ("unreadable duration", f"{folder.name}/utt2dur, line 2: 'NaN', expected seconds")


def test_paths_start_from_the_directory_or_from_the_audio_and_may_be_absolute_inside(folder: Path) -> None:
    tables = {"wav_scp": f"u1 a.wav\nu2 {folder}/a.wav\n", "text": "u1 ett\nu2 två\n"}
    for train, spec in ((write(folder, **tables), {}), (write(folder / "data" / "train", **tables), {"audio": str(folder)})):
        clips, rejects = read(train, **spec)
        assert not rejects and [each.read() for each in clips] == [b"sound of a"] * 2
    _, [missing, outside] = read(str(folder / "data" / "train"))
    assert (missing.reason, outside.reason) == ("missing file", "path outside")


def test_a_recording_that_is_no_sound_costs_its_own_utterances(folder: Path) -> None:
    tables = {"wav_scp": "talk talk.wav\na a.wav\n", "segments": "u1 a 0 1\nu2 talk 2 3\n", "text": "u1 ett\nu2 två\n"}
    [broken, whole], _ = read(write(folder, **tables))
    with pytest.raises(AudioError, match="cannot be decoded: libsndfile says"):
        broken.read()
    assert second_of(whole.read()) == 2


def test_a_folder_that_is_no_data_directory_is_refused(folder: Path) -> None:
    with pytest.raises(CorpusError, match=r"corpus.train: .*: no wav.scp and no text; expected a Kaldi data directory .* found \['a.wav'"):
        read(str(folder))
    with pytest.raises(CorpusError, match=r"corpus.train: .*/none: no wav.scp and no text; .* found nothing"):
        read(f"{folder}/none")
    train = write(folder, wav_scp="u a.wav\n")
    (folder / "text").write_bytes("u på\n".encode("latin-1"))
    with pytest.raises(CorpusError, match=rf"{folder.name}/text: not UTF-8 at byte 3; save the table as UTF-8"):
        read(train)


def test_a_revision_changes_with_a_table_or_a_recording_and_only_then(folder: Path) -> None:
    tables = {"wav_scp": "talk talk.wav\n", "text": "u1 ett\n", "segments": "u1 talk 0 1\n"}
    spec = KaldiCorpus(train=(write(folder, **tables),))
    seen = [revision(spec)]
    (folder / "a.wav").write_bytes(b"of no utterance")
    assert revision(spec) == seen[0]
    for change in ({"text": "u1 en\n"}, {"utt2spk": "u1 anna\n"}, {"segments": "u1 talk 0 1.5\n"}):
        write(folder, **change)
        seen.append(revision(spec))
    os.utime(folder / "talk.wav", (0, 0))
    seen.append(revision(spec))
    assert len({str(each) for each in seen}) == 5


def test_fifty_thousand_utterances_are_joined_in_seconds(folder: Path) -> None:
    ids = [f"speaker-{number // 100:05d}-{number:07d}" for number in range(50_000)]
    tables = {
        "wav_scp": "talk talk.wav\n", "text": "".join(f"{id} några ord till exempel\n" for id in ids),
        "segments": "".join(f"{id} talk {number % 10} {number % 10 + 1}\n" for number, id in enumerate(reversed(ids))),
        "utt2spk": "".join(f"{id} {id[:13]}\n" for id in ids),
    }  # fmt: skip
    clips, rejects = read(write(folder, **tables))
    assert not rejects and [each.id for each in clips] == ids and clips[-1].speaker == "speaker-00499"
