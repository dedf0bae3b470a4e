"""Words with their probabilities and times; subtitles that players and the standards accept. About 4 s."""

import math
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tasks.hub.space.subtitles import LONGEST, WIDTH, Cue, cues, to_srt, to_txt, to_vtt
from tasks.model.transcribe import transcribe_samples
from tasks.model.whisper import load_whisper
from tasks.model.words import Piece, Word, hear_words, share_time, spell
from tests.support.tiny import TEXTS, new_folder

TEXT = "Röd katt, blå 🤫 hund – jo!"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_folder(tmp_path_factory.mktemp("words"))


def spelt(folder: Path, text: str, logprob: float = -0.5, spaced: bool = True) -> list[tuple[str, float]]:
    tokenizer = load_whisper(folder, "sv", "cpu").tokenizer
    ids = tokenizer.encode(text, add_special_tokens=False)
    return spell(
        tokenizer, [*tokenizer.encode("", add_special_tokens=True), *ids, tokenizer.eos_token_id], [logprob] * (len(ids) + 9), spaced
    )


def test_tokens_become_the_words_of_the_text(folder: Path) -> None:
    assert [word for word, _ in spelt(folder, TEXT)] == TEXT.split()
    assert [word for word, _ in spelt(folder, "".join(TEXTS), spaced=False)] and spelt(folder, "") == []
    assert "".join(word for word, _ in spelt(folder, "日本語です。", spaced=False)) == "日本語です。"


def test_a_word_is_as_probable_as_its_tokens_together_and_punctuation_does_not_count(folder: Path) -> None:
    tokenizer = load_whisper(folder, "sv", "cpu").tokenizer
    ids = tokenizer.encode("röd katt, hund", add_special_tokens=False)
    pieces = [tokenizer.decode([id]) for id in ids]
    logprobs = [-9.0 if piece == "," else -0.1 for piece in pieces]
    found = dict(spell(tokenizer, ids, logprobs))
    assert list(found) == ["röd", "katt,", "hund"] and all(probability > 0.5 for probability in found.values())
    assert math.prod(found.values()) == pytest.approx(math.exp(-0.1 * (len(ids) - 1)))


def test_pieces_are_those_that_transcribe_gives(folder: Path) -> None:
    whisper = load_whisper(folder, "sv", "cpu")
    samples = (0.3 * np.sin(np.arange(16_000 * 5) * 0.17)).astype(np.float32)
    pieces, segments = list(hear_words(whisper, samples)), list(transcribe_samples(whisper, samples))
    assert len(pieces) >= 5 and [(each.start, each.end, each.text) for each in pieces] == [
        (each.start, each.end, each.text) for each in segments
    ]
    for piece in pieces:
        assert "".join(word.text for word in piece.words) == "".join(piece.text.split())
        assert all(0 <= word.probability <= 1 for word in piece.words)


def test_words_share_the_time_in_which_there_is_sound() -> None:
    tone = 0.3 * np.sin(np.arange(16_000) * 0.17)
    samples = np.concatenate([tone, np.zeros(32_000), tone]).astype(np.float32)
    first, second, third = share_time(samples, [4, 4, 8])
    assert first == pytest.approx((0, 0.5), abs=0.03) and second == pytest.approx((0.5, 1), abs=0.03), "before the pause"
    assert third == pytest.approx((3, 4), abs=0.03), "behind it"
    assert share_time(samples, []) == [] and share_time(np.zeros(100, np.float32), [3, 3])[-1][1] <= 100 / 16_000


def piece(text: str, start: float = 0.0, seconds: float = 30.0) -> Piece:
    words = text.split()
    step = seconds / max(1, len(words))
    return Piece(
        start, start + seconds, text, tuple(Word(word, start + n * step, start + (n + 1) * step, 0.9) for n, word in enumerate(words))
    )


LONG = ("Det var en gång en katt som hette Måns. Han bodde i ett rött hus vid skogen & åt <fisk> varje dag! " * 4).strip()


def test_cues_are_short_wrapped_and_never_overlap() -> None:
    found = cues([piece(LONG), piece("", 31, 1), piece("Ja.", 31.0, 0.2), piece("o" * 200 + " slut", 31.2, 3), piece("Nej.", 60, 0.1)])
    assert " ".join(line for cue in found for line in cue.lines).replace(" ", "") == (LONG + "Ja." + "o" * 200 + "slut" + "Nej.").replace(
        " ", ""
    )
    for cue in found:
        assert 1 <= len(cue.lines) <= 2 and all(0 < len(line) <= WIDTH and line == line.strip() for line in cue.lines)
        assert cue.start < cue.end <= cue.start + LONGEST + 1e-6
    assert all(one.end <= other.start for one, other in pairwise(found))
    assert found[-1] == Cue(60, 61, ("Nej.",)), "long enough to be read"
    assert any(cue.lines[-1].endswith("Måns.") for cue in found), "broken behind a sentence"
    assert cues([]) == [] and to_txt([piece("ett\n två "), piece("")]) == "ett två\n"


def test_languages_without_spaces_are_wrapped_anywhere() -> None:
    words = tuple(Word("語" * 5, n * 0.5, n * 0.5 + 0.5, 1.0) for n in range(30))
    found = cues([Piece(0, 15, "", words)], spaced=False)
    assert all(len(line) <= WIDTH and " " not in line for cue in found for line in cue.lines)
    assert "".join(line for cue in found for line in cue.lines) == "語" * 150


HOSTILE = [Piece(3_599.9, 3_602, "", (Word("<b>", 3_599.9, 3_600.4, 1), Word("-->", 3_600.4, 3_601, 1), Word("a&b\n\n2", 3_601, 3_602, 1)))]


def test_srt_is_what_players_read() -> None:
    blocks = to_srt(cues([piece(LONG), *HOSTILE])).split("\n\n")
    assert blocks.pop() == ""
    for number, block in enumerate(blocks, 1):
        head, times, *lines = block.split("\n")
        assert head == str(number) and re.fullmatch(r"\d\d:[0-5]\d:[0-5]\d,\d{3} --> \d\d:[0-5]\d:[0-5]\d,\d{3}", times)
        assert 1 <= len(lines) <= 2 and all(lines) and not any("-->" in line for line in lines)
    assert blocks[-1].split("\n")[1:] == ["00:59:59,900 --> 01:00:02,000", "<b> → a&b 2"]


def test_vtt_is_what_the_standard_asks_for() -> None:
    head, *blocks = to_vtt(cues([piece(LONG), *HOSTILE])).rstrip("\n").split("\n\n")
    assert head == "WEBVTT" and to_vtt([]) == "WEBVTT\n"
    before = -1.0
    for block in blocks:
        times, *lines = block.split("\n")
        match = re.fullmatch(r"(\d\d):(\d\d):(\d\d\.\d{3}) --> (\d\d):(\d\d):(\d\d\.\d{3})", times)
        assert match
        hours, minutes, seconds = match.groups()[:3]
        start = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        assert start >= before and lines and all(lines) and not re.search(r"<|-->|&(?!amp;|lt;|gt;)", " ".join(lines))
        before = start
    assert blocks[-1].split("\n")[1] == "&lt;b&gt; --&gt; a&amp;b 2"
