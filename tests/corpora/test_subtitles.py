"""Recordings with subtitles: cues are parsed kindly, trusted strictly, joined with their neighbours, and cut with a little air."""

import os
from pathlib import Path
from typing import Any

import pytest

from tasks.audio.decode import decode_flac
from tasks.contracts.corpora import SubtitlesCorpus
from tasks.contracts.errors import AudioError, CorpusError
from tasks.contracts.values import Reject
from tasks.corpora import Recording, recordings, revision
from tests.support.long_audio import likeness, second_of, write_sentences, write_tones


def stamp(seconds: float, dot: str = ",") -> str:
    whole = round(seconds * 1000)
    return f"{whole // 3_600_000:02d}:{whole // 60_000 % 60:02d}:{whole // 1000 % 60:02d}{dot}{whole % 1000:03d}"


def srt(*cues: tuple[float, float, str]) -> str:
    return "".join(f"{number}\n{stamp(start)} --> {stamp(end)}\n{text}\n\n" for number, (start, end, text) in enumerate(cues, start=1))


def vtt(*cues: tuple[float, float, str]) -> str:
    return "WEBVTT\n\n" + "".join(f"{stamp(start, '.')} --> {stamp(end, '.')}\n{text}\n\n" for start, end, text in cues)


def read(folder: Path, **spec: Any) -> tuple[list[Recording], list[Reject]]:
    rows = list(recordings(SubtitlesCorpus(path=str(folder), **spec)))
    return [each for each in rows if isinstance(each, Recording)], [each for each in rows if isinstance(each, Reject)]


def of(tmp_path: Path, subtitles: str | bytes, suffix: str = "srt", **spec: Any) -> tuple[list[Recording], list[Reject]]:
    """Return what comes of these subtitles of a recording that nobody reads."""
    (tmp_path / "talk.mp3").touch()
    (tmp_path / f"talk.{suffix}").write_bytes(subtitles if isinstance(subtitles, bytes) else subtitles.encode())
    return read(tmp_path, **spec)


def words(tmp_path: Path, subtitles: str | bytes, suffix: str = "srt") -> list[str]:
    """Return the words of each cue by itself."""
    clips, rejects = of(tmp_path, subtitles, suffix, max_gap=0, max_seconds=1)
    assert not rejects, rejects
    return [each.text for each in clips]


def refused(tmp_path: Path, subtitles: str | bytes, suffix: str = "srt") -> list[tuple[str, str]]:
    return [(each.reason, each.detail) for each in of(tmp_path, subtitles, suffix)[1]]


def test_clips_are_cut_at_their_cues_with_a_little_air(tmp_path: Path) -> None:
    write_tones(tmp_path / "a" / "talk.wav", 20)
    cues = srt((1.3, 1.7, "ett"), (4.25, 4.75, "fyra"), (9.3, 9.7, "nio"))
    (tmp_path / "a" / "talk.srt").write_text(cues)
    clips, rejects = read(tmp_path)
    assert not rejects and [(each.id, each.text, second_of(each.read())) for each in clips] == [
        ("a/talk#1100-1900", "ett", 1), ("a/talk#4050-4950", "fyra", 4), ("a/talk#9100-9900", "nio", 9),
    ]  # fmt: skip
    first = clips[0]
    assert (first.split, first.speaker, first.language) == ("", "", "") and first.seconds == pytest.approx(0.8)
    assert len(decode_flac(first.read())) == 12_800 and first.stamp.endswith("#1100-1900/1")


def test_real_sentences_come_out_of_one_recording(tmp_path: Path, real_data: Path) -> None:
    sentences = write_sentences(tmp_path / "long.wav", real_data)
    (tmp_path / "long.srt").write_text(srt(*((each.start, each.end, each.text) for each in sentences)))
    clips, rejects = read(tmp_path)
    assert not rejects and [each.text for each in clips] == [" ".join(each.text.split()) for each in sentences]
    for clip, each in zip(clips, sentences, strict=True):
        assert likeness(clip.read(), each.samples, before=0.2) > 0.999
        assert len(decode_flac(clip.read())) > len(each.samples) + (6_300 if each is not sentences[-1] else 3_100), "air on both sides"


def test_neighbours_are_joined_up_to_the_longest_clip_and_gap(tmp_path: Path) -> None:
    cues = srt((0, 4, "ett"), (4.5, 8, "två"), (9, 12, "tre"), (13.01, 15, "fyra"), (15, 20, "fem"))
    clips, _ = of(tmp_path, cues)
    assert [(each.id, each.text) for each in clips] == [("talk#0-12200", "ett två tre"), ("talk#12810-20200", "fyra fem")]
    clips, _ = of(tmp_path, cues, max_seconds=9)
    assert [each.text for each in clips] == ["ett två", "tre", "fyra fem"]
    clips, _ = of(tmp_path, cues, max_seconds=8)
    assert [each.text for each in clips] == ["ett", "två tre", "fyra fem"], "8 s, and the air besides, are too long"
    clips, _ = of(tmp_path, cues, max_gap=0.4)
    assert [each.text for each in clips] == ["ett", "två", "tre", "fyra fem"]
    clips, _ = of(tmp_path, srt(*((2.0 * n, 2.0 * n + 2, str(n)) for n in range(60))), max_seconds=30)
    assert max(each.seconds for each in clips) <= 30 and sum(len(each.text.split()) for each in clips) == 60


def test_air_never_comes_out_of_a_neighbour(tmp_path: Path) -> None:
    cues = srt((0.1, 2, "ett"), (2.05, 4, "två"), (4, 4, "inget"), (5, 30, "lång"), (30.1, 60, "längre"))
    clips, _ = of(tmp_path, cues, max_gap=0)
    assert [each.id for each in clips] == ["talk#0-2050", "talk#2000-4200", "talk#4800-30100", "talk#30050-60050"]


def test_a_change_of_speaker_ends_a_clip(tmp_path: Path) -> None:
    cues = vtt(
        (0, 1, "<v Anna>ett"), (1, 2, "<v.loud Anna>två</v>"), (2, 3, "<v Bo Ek>tre"), (3, 4, "fyra"), (4, 5, "<v Anna>fem\n<v Bo Ek>sex"),
        (5, 6, "<v Bo &amp; Åsa>sju"),
    )  # fmt: skip
    clips, rejects = of(tmp_path, cues, "vtt")
    assert not rejects and [(each.speaker, each.text) for each in clips] == [
        ("Anna", "ett två"), ("Bo Ek", "tre"), ("", "fyra fem sex"), ("Bo & Åsa", "sju")
    ]  # fmt: skip


def test_srt_is_read_however_it_is_written(tmp_path: Path) -> None:
    cues = "1\n00:00:01,000 --> 00:00:02,000\nett\n\n2\n00:00:03,000 --> 00:00:04,000\ntvå\n"
    for form in (cues, "\ufeff" + cues, cues.replace("\n", "\r\n"), cues.replace("\n", "\r"), cues.replace(",", "."), cues.rstrip(),
                 cues.replace("1\n00", "00").replace("2\n00", "00"), cues.replace("\n\n", "\n"), cues.replace("00:00:0", "0:00:0"),
                 cues.replace("\n\n", "\n\n\n\n"), cues.replace(" --> ", "-->"), cues.replace(",000\n", ",000  X1:40 Y1:20\n"),
                 cues.replace("00:00:0", "00:0"), cues.replace(",000", ",0")):  # fmt: skip
        clips, rejects = of(tmp_path, form, max_gap=0)
        assert not rejects and [(each.id, each.text) for each in clips] == [("talk#800-2200", "ett"), ("talk#2800-4200", "två")], form


def test_a_number_that_is_said_is_no_cue_number_and_an_empty_line_ends_no_words(tmp_path: Path) -> None:
    cues = (
        "1\n00:00:01,000 --> 00:00:02,000\n1984\n\n2\n00:00:03,000 --> 00:00:04,000\nförst\n\nsedan\n\n3\n00:00:05,0 --> 00:00:06,0\n1985\n"
    )
    assert words(tmp_path, cues) == ["1984", "först sedan", "1985"]


def test_what_stands_beside_the_cues_of_webvtt_is_passed_over(tmp_path: Path) -> None:
    cues = (
        "\ufeffWEBVTT - a title\nKind: captions\nLanguage: sv\n\nSTYLE\n::cue { color: red }\n\nREGION\nid:fred\n\nNOTE one line\n\n"
        "NOTE\nof several\nlines\n\nintro\n01:00.000 --> 01:01.000 align:start position:10% line:90%\nett\n\n"
        "1:00:02.500 --> 1:00:03.500\ntvå\nrader\n\nNOTE the end\n"
    )
    clips, rejects = of(tmp_path, cues, "vtt")
    assert not rejects and [(each.id, each.text) for each in clips] == [("talk#59800-61200", "ett"), ("talk#3602300-3603700", "två rader")]


@pytest.mark.parametrize(("written", "said"), [
    ("<i>Hej</i> <b>på</b> <u>dig</u>", "Hej på dig"), ('<font color="#fff">Hej</font>', "Hej"), ("{\\an8}Hej {\\i1}du{\\i0}", "Hej du"),
    ("<c.yellow.bg_blue>Hej</c> <00:00:01.500><c> då</c>", "Hej då"),
    ("Tre &lt; fem &amp; &quot;så&quot;&nbsp;vidare", 'Tre < fem & "så" vidare'),
    ("- Hej!\n- Hej.", "Hej! Hej."), ("–Vad?\n—Jo.", "Vad? Jo."), ("-5 grader", "-5 grader"), (">> Hello. >> Hi", "Hello. >> Hi"),
    ("två\nrader  här ", "två rader här"), ("[skrattar] Hej", "Hej"), ("Hej (suckar) då", "Hej då"), ("♪ la la ♪ Hej", "la la Hej"),
    ("Är 2 < 3 och 5 > 4?", "Är 2 < 3 och 5 > 4?"), ("<ruby>漢<rt>kan</rt></ruby>字", "漢kan字"), ("e-post och a-b", "e-post och a-b"),
])  # fmt: skip
def test_markup_is_not_said(tmp_path: Path, written: str, said: str) -> None:
    assert words(tmp_path, srt((1, 2, written))) == words(tmp_path, srt((1, 2, written)).rstrip()) == [said]


@pytest.mark.parametrize(
    "written", ["", "[musik]", "(applåder)", "♪ la la la ♪", "♪", "<i>[Musik]</i>\n(applåder)", "...", "- -", "♪ la\nla"]
)
def test_a_cue_without_speech_is_refused_and_joins_its_neighbours(tmp_path: Path, written: str) -> None:
    clips, [reject] = of(tmp_path, srt((1, 2, "ett"), (2, 2.5, written), (2.5, 3, "två")))
    assert [each.text for each in clips] == ["ett två"]
    assert (reject.id, reject.reason) == ("talk.srt, line 6", "no speech") and reject.detail.startswith("talk.srt, line 6: '")


def test_cues_that_cannot_be_trusted_are_refused_with_their_line(tmp_path: Path) -> None:
    form = "expected 00:00:01,000 --> 00:00:02,500"
    assert refused(tmp_path, srt((1, 2, "a"), (3, 3, "b"), (5, 4, "c"), (6, 37, "d"))) == [
        ("no length", "talk.srt, line 6: it goes from 3.000 s to 3.000"), ("no length", "talk.srt, line 10: it goes from 5.000 s to 4.000"),
        ("too long", "talk.srt, line 14: 31.0 s, expected at most 30"),
    ]  # fmt: skip
    assert refused(tmp_path, "00:00:01 --> 00:00:02\na\n\n" + srt((1, 2, "b"))) == [
        ("unreadable cue", f"talk.srt, line 1: '00:00:01 --> 00:00:02', {form}")
    ]
    assert refused(tmp_path, srt((1, 3, "a"), (2.9, 5, "b"), (4.97, 6, "c"))) == [
        ("overlaps", "talk.srt, line 2: so does the cue of line 6, at the same time"),
        ("overlaps", "talk.srt, line 6: so does the cue of line 2, at the same time"),
    ]
    assert refused(tmp_path, srt((1, 2, "a"), (3, 4, "b"), (1000, 1002, "typo"), (5, 6, "c"), (7, 8, "d"))) == [
        ("out of order", "talk.srt, line 10: its 1000.000 s do not lie between the cues around it")
    ], "and not all that follow"
    assert refused(tmp_path, srt((5, 6, "a"), (1, 2, "typo"), (7, 8, "c"), (9, 10, "d")))[0][0] == "out of order"


def test_nothing_is_joined_across_a_refused_cue_nor_heard_of_it(tmp_path: Path) -> None:
    clips, rejects = of(tmp_path, srt((1, 2, "ett"), (2.1, 2.05, "trasig"), (2.4, 3, "två"), (3.1, 34.5, "lång"), (34.6, 36, "tre")))
    assert [(each.id, each.text) for each in clips] == [("talk#800-2200", "ett"), ("talk#2200-3100", "två"), ("talk#34500-36200", "tre")]
    assert [each.reason for each in rejects] == ["no length", "too long"]


def test_a_file_inside_a_cue_overlaps_only_where_it_is(tmp_path: Path) -> None:
    clips, rejects = of(tmp_path, srt((1, 10, "lång"), (2, 3, "inne"), (4, 5, "också"), (12, 13, "efter")))
    assert [each.text for each in clips] == ["efter"] and [each.reason for each in rejects] == ["overlaps"] * 3


def test_files_are_paired_by_name_and_what_is_left_is_named(tmp_path: Path) -> None:
    cue = srt((1, 2, "hej"))
    names = (
        "plain.MP3 plain.srt d/coded.mp4 d/coded.sv-SE.vtt deaf.mkv deaf.en.sdh.srt two.dots.wav two.dots.srt both.wav both.srt both.en.srt"
        " several.wav several.sv.srt several.en.srt twice.wav twice.mp4 twice.srt alone.wav lost.srt lost.sv.srt other.forced.srt"
        " other.wav notes.txt cover.jpg"
    )
    for name in names.split():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(cue if name.endswith(("srt", "vtt")) else "")
    clips, rejects = read(tmp_path)
    assert {(each.id.partition("#")[0], each.language) for each in clips} == {
        ("plain", ""), ("d/coded", "sv"), ("deaf", "en"), ("two.dots", ""), ("both", "")
    }  # fmt: skip
    assert {each.id: each.reason for each in rejects} == {
        "both.en.srt": "other subtitles", "several.wav": "several subtitles", "twice.mp4": "several recordings",
        "twice.wav": "several recordings", "alone.wav": "no subtitles", "lost.srt": "no recording", "lost.sv.srt": "no recording",
        "other.forced.srt": "no recording", "other.wav": "no subtitles",
    }  # fmt: skip
    why = {each.id: each.detail for each in rejects}
    assert why["both.en.srt"] == "both.en.srt: both.srt is used"
    assert why["several.wav"] == "several.wav: several.en.srt, several.sv.srt: leave one, that of the language which is spoken"
    assert why["twice.wav"] == "twice.wav: twice.mp4, twice.wav have one name; leave one of them"
    assert why["alone.wav"] == "alone.wav: expected alone.srt or alone.vtt, or with a language alone.sv.srt"
    assert why["lost.srt"].startswith("lost.srt: no recording is called lost and one of 3gp, aac,")


def test_subtitles_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    assert refused(tmp_path, "00:00:01,000 --> 00:00:02,000\npå\n".encode("latin-1")) == [
        ("unreadable subtitles", "talk.srt: not UTF-8 at byte 31; save it as UTF-8")
    ]
    for nothing in ("", "\n\n", "WEBVTT\n\nNOTE nothing\n"):
        [(reason, why)] = refused(tmp_path, nothing)
        assert reason == "unreadable subtitles" and why.startswith("talk.srt: no cue in it, expected lines such as 00:00:01,000 -->")


def test_a_folder_without_subtitles_is_refused(tmp_path: Path) -> None:
    (tmp_path / "talk.wav").touch()
    with pytest.raises(CorpusError, match=r"no subtitles, expected .srt or .vtt files beside recordings of the same name"):
        read(tmp_path)


def test_a_pipe_and_a_playlist_cost_their_own_clips(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "list.mp3").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/hostname.mp3\n#EXT-X-ENDLIST\n")
    write_tones(tmp_path / "whole.wav", 4)
    for name in ("pipe", "list", "whole"):
        (tmp_path / f"{name}.srt").write_text(srt((1, 2, "hej")))
    [playlist, whole], [pipe] = read(tmp_path)
    assert (pipe.id, pipe.reason) == ("pipe#800-2200", "missing file") and second_of(whole.read()) == 1
    with pytest.raises(AudioError, match="cannot be decoded: libsndfile says"):
        playlist.read()


def test_a_hundred_thousand_cues_are_read_in_seconds(tmp_path: Path) -> None:
    cues = [(n * 0.8, n * 0.8 + 0.7, f"ord {n}") for n in range(100_000)]
    cues[::1000] = [(start + 5000, end + 5000, text) for start, end, text in cues[::1000]]
    clips, rejects = of(tmp_path, srt(*cues))
    assert sum(len(each.text.split()) // 2 for each in clips) + len(rejects) == 100_000 and 90 <= len(rejects) <= 210
    for hostile in ("<", "<v.", "<v ", "</", "{\\", "(", "[", "♪", "-->", "&", "<a "):
        of(tmp_path, srt((1, 2, hostile * 100_000)))


def test_a_revision_changes_with_a_recording_or_its_subtitles_and_only_then(tmp_path: Path) -> None:
    of(tmp_path, srt((1, 2, "hej")))
    spec = SubtitlesCorpus(path=str(tmp_path))
    seen = [revision(spec)]
    (tmp_path / "notes.txt").write_text("x")
    assert revision(spec) == seen[0]
    (tmp_path / "talk.srt").write_text(srt((1, 2, "hejsan")))
    seen.append(revision(spec))
    (tmp_path / "talk.mp3").write_bytes(b"x")
    seen.append(revision(spec))
    (tmp_path / "other.wav").touch()
    seen.append(revision(spec))
    assert len({str(each) for each in seen}) == 4
