"""Words with times to subtitles: SRT as SubRip writes it, WebVTT (W3C, "WebVTT: The Web Video Text Tracks Format"), and plain text.

Cues follow what broadcasters ask for: two lines of 42 characters, seven seconds at most, broken behind a sentence or in a pause.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from tasks.model.words import Piece, Word

WIDTH = 42  # characters of a line
LONGEST = 7.0  # seconds of a cue
SHORTEST = 1.0  # seconds, if nobody speaks before they are over
PAUSE = 0.8  # seconds of silence that end a cue
ENOUGH = 20  # characters; with fewer a sentence does not end a cue
SENTENCE = re.compile(r"[.!?…。！？]['\"”’»)]*$")
CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")


@dataclass(frozen=True)
class Cue:
    """What stands on the screen at once."""

    start: float  # seconds
    end: float
    lines: tuple[str, ...]  # one or two


def cues(pieces: Iterable[Piece], spaced: bool = True) -> list[Cue]:
    """Return the subtitles of a recording: in order, none empty, none overlapping.

    Args:
        pieces: in order.
        spaced: whether the language writes spaces between words.
    """
    words = [part for piece in pieces for word in piece.words for part in _parts(word)]
    space, found, group = " " if spaced else "", list[tuple[float, float, str]](), list[Word]()
    for word in words:
        if group and _ends(group, word, space):
            found.append((group[0].start, group[-1].end, space.join(each.text for each in group)))
            group = []
        group.append(word)
    if group:
        found.append((group[0].start, group[-1].end, space.join(each.text for each in group)))
    starts = [*(start for start, _, _ in found[1:]), float("inf")]  # of what follows
    timed = [(start, min(max(end, start + SHORTEST), limit), text) for (start, end, text), limit in zip(found, starts, strict=False)]
    return [Cue(start, max(end, start + 0.001), _wrap(text, spaced)) for start, end, text in timed]


def to_srt(found: Sequence[Cue]) -> str:
    """Return the cues as SubRip's format. It knows no escapes, so an arrow that would be taken for a time becomes another one."""
    return "".join(f"{number}\n{_time(cue.start, ',')} --> {_time(cue.end, ',')}\n" + "\n".join(cue.lines).replace("-->", "→") + "\n\n"
                   for number, cue in enumerate(found, 1))  # fmt: skip


def to_vtt(found: Sequence[Cue]) -> str:
    """Return the cues as WebVTT."""
    blocks = [f"{_time(cue.start, '.')} --> {_time(cue.end, '.')}\n" + "\n".join(escape(line, quote=False) for line in cue.lines)
              for cue in found]  # fmt: skip
    return "\n\n".join(["WEBVTT", *blocks]) + "\n"


def to_txt(pieces: Iterable[Piece]) -> str:
    """Return a line per piece."""
    return "".join(f"{text}\n" for piece in pieces if (text := " ".join(CONTROL.sub(" ", piece.text).split())))


def _parts(word: Word) -> list[Word]:
    """Return a word in parts that fit a line; nearly always it is one."""
    text = " ".join(CONTROL.sub(" ", word.text).split())
    n_parts = -(-len(text) // WIDTH)
    step = (word.end - word.start) / max(1, n_parts)
    return [Word(text[n * WIDTH : (n + 1) * WIDTH], word.start + n * step, word.start + (n + 1) * step, word.probability)
            for n in range(n_parts)]  # fmt: skip


def _ends(group: Sequence[Word], word: Word, space: str) -> bool:
    """Say whether a cue ends before this word."""
    text = space.join(each.text for each in group)
    return (
        not _fits(f"{text}{space}{word.text}", space)
        or word.end - group[0].start > LONGEST
        or word.start - group[-1].end > PAUSE
        or (len(text) >= ENOUGH and bool(SENTENCE.search(text)))
    )


def _fits(text: str, space: str) -> bool:
    return len(text) <= WIDTH or bool(_breaks(text, bool(space)))


def _breaks(text: str, spaced: bool) -> list[int]:
    """Return the places at which the text becomes two lines that are not too long."""
    return [place for place in range(1, len(text)) if place <= WIDTH and (not spaced or text[place] == " ")
            and len(text[place:].strip()) <= WIDTH]  # fmt: skip


def _wrap(text: str, spaced: bool) -> tuple[str, ...]:
    """Return one line, or two of nearly the same length."""
    if len(text) <= WIDTH:
        return (text,)
    place = min(_breaks(text, spaced), key=lambda place: abs(2 * place - len(text)))
    return text[:place].strip(), text[place:].strip()


def _time(seconds: float, point: str) -> str:
    millis = round(seconds * 1000)
    return f"{millis // 3_600_000:02}:{millis // 60_000 % 60:02}:{millis // 1000 % 60:02}{point}{millis % 1000:03}"
