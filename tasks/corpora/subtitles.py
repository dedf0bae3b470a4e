"""Long recordings with subtitles: talk.mp4 beside talk.srt, talk.vtt or talk.sv.srt, cut into clips at their cues.

Subtitles are read strictly in time and kindly in form. A cue that cannot be trusted is refused, and nothing is joined across it, or its
words would be heard in a clip that has them not. Where cues go back in time, the fewest are refused that leave the others in order.
Sources: https://www.w3.org/TR/webvtt1/; SubRip has no specification, only what players accept.
"""

import html
import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

from tasks.audio.cut import called
from tasks.contracts.corpora import SubtitlesCorpus
from tasks.contracts.errors import CorpusError
from tasks.contracts.languages import code_of
from tasks.contracts.values import Reject, fingerprint
from tasks.corpora import Recording
from tasks.corpora.spans import LONGEST, Clip, recordings_of
from tasks.store.source import Source

VERSION = 1  # of what is made of equal files
SOUND = frozenset(
    "3gp aac aif aiff amr au avi caf flac flv m4a m4v mka mkv mov mp3 mp4 mpeg mpg oga ogg opus ts w64 wav webm wma wv".split()
)
SUBTITLES = ("srt", "vtt")
FOR_THE_DEAF = (".sdh", ".cc")  # stand after the language: talk.en.sdh.srt
NOTHING = "no speech"
MAX_CUE = 30.0  # seconds that Whisper hears
OVERLAP = 0.05  # seconds that two cues may share
AIR = 0.2  # seconds kept before and after, so that words are not clipped
TIME = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
TIMING = re.compile(rf"\s*{TIME}\s*-->\s*{TIME}(?:\s.*)?", re.ASCII)
VOICE = re.compile(r"<v(?:\.[^\s<>]*)?[ \t]+([^<>]*)>")
MARKUP = re.compile(r"\{\\[^{}]*\}|</?(?:[a-z]\w*(?:[.\s=][^<>]*)?|[\d:.]+)?>", re.IGNORECASE)
DASH = re.compile(r"^[-‐‑–—]\s*(?!\d)|^>>+\s*")  # somebody else speaks; -5 is a number
NOT_SPOKEN = re.compile(r"\[[^\[\]]*\]|\([^()]*\)|[♪♫]+")
NO_SPEECH = re.compile(r"\[[^\[\]]*\]|\([^()]*\)|[♪♫][^♪♫]*[♪♫]?")


class Cue(NamedTuple):
    """Words, and when they are shown."""

    line: int  # of its time stamps
    start: float
    end: float
    words: str
    speaker: str
    reason: str = ""  # for which it is refused
    why: str = ""


def revision(spec: SubtitlesCorpus) -> Any:
    """Return the size and date of every recording and every subtitle file as one fingerprint. Nothing is read."""
    folder = Source(spec.path)
    files = [path for path in folder.walk() if _split(path)[1] in SOUND.union(SUBTITLES)]
    return {"version": VERSION, "files": fingerprint([(path, folder.stamp(path)) for path in files])}


def recordings(spec: SubtitlesCorpus) -> Iterator[Recording | Reject]:
    """Yield the clips of each recording, and a reject for each cue, recording and subtitle file that cannot be used.

    Raises:
        CorpusError: if there are no subtitles in the folder.
    """
    folder, places = Source(spec.path), count()
    sounds, subtitles = _paired(folder.walk())
    if not subtitles:
        raise CorpusError(f"{spec.path}: no subtitles, expected .srt or .vtt files beside recordings of the same name")
    for name in sorted(sounds.keys() | subtitles.keys()):
        sound, words = sounds.get(name, []), subtitles.get(name, [])
        plain = [each for each in words if not each[1]]
        if len(plain) == 1 and len(words) > 1:  # the one without a language is of the language that is spoken
            for path in (path for path, language in words if language):
                yield Reject(path, "download", "other subtitles", f"{path}: {plain[0][0]} is used")
            words = plain
        if len(sound) == 1 and len(words) == 1:
            yield from recordings_of(_clips(spec, folder, name, sound[0], *words[0], places))
        else:
            yield from _unpaired(name, sound, [path for path, _ in words])


def _split(path: str) -> tuple[str, str]:
    """Return a path without its suffix, and the suffix in small letters."""
    name, dot, suffix = path.rpartition(".")
    return (name, suffix.lower()) if dot and "/" not in suffix else (path, "")


def _paired(paths: list[str]) -> tuple[dict[str, list[str]], dict[str, list[tuple[str, str]]]]:
    """Return the recordings, and the subtitles with their languages, of each name."""
    sounds, subtitles = defaultdict(list), defaultdict(list)
    for path in paths:
        if _split(path)[1] in SOUND:
            sounds[_split(path)[0]].append(path)
    for path in paths:
        name, suffix = _split(path)
        if suffix in SUBTITLES:
            alone, language = _without_language(name)
            name, language = (name, "") if name in sounds or alone not in sounds else (alone, language)
            subtitles[name].append((path, language))
    return sounds, subtitles


def _without_language(name: str) -> tuple[str, str]:
    """Return talk and sv of talk.sv; of a name that does not end in a language, the name and nothing."""
    for mark in FOR_THE_DEAF:
        name = name.removesuffix(mark)
    stem, tag = _split(name)
    try:
        return (stem, code_of(tag)) if tag else (name, "")
    except ValueError:
        return name, ""


def _unpaired(name: str, sounds: list[str], subtitles: list[str]) -> Iterator[Reject]:
    """Yield a reject for each file that has no other one, or several."""
    if len(sounds) > 1:
        reason, why = "several recordings", f"{', '.join(sounds)} have one name; leave one of them"
    elif not sounds:
        reason, why = "no recording", f"no recording is called {name} and one of {', '.join(sorted(SOUND))}"
    elif not subtitles:
        reason, why = "no subtitles", f"expected {name}.srt or {name}.vtt, or with a language {name}.sv.srt"
    else:
        reason, why = "several subtitles", f"{', '.join(subtitles)}: leave one, that of the language which is spoken"
    for path in sounds or subtitles:
        yield Reject(path, "download", reason, f"{path}: {why}")


def _clips(
    spec: SubtitlesCorpus, folder: Source, name: str, sound: str, path: str, language: str, places: "count[int]"
) -> Iterator[Clip | Reject]:
    """Yield what comes of one recording."""
    try:
        cues = _checked(_cues(folder.read(path).decode("utf-8-sig"), path.lower().endswith("vtt")))
    except FileNotFoundError:
        yield Reject(path, "download", "missing file", f"{path}: went away, or is no regular file")
        return
    except UnicodeDecodeError as error:
        yield Reject(path, "download", "unreadable subtitles", f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8")
        return
    if not cues:
        yield Reject(
            path, "download", "unreadable subtitles", f"{path}: no cue in it, expected lines such as 00:00:01,000 --> 00:00:02,500"
        )
    for cue in cues:
        if cue.reason:
            yield Reject(f"{path}, line {cue.line}", "download", cue.reason, f"{path}, line {cue.line}: {cue.why}")
    starts, ends = (sorted(getattr(cue, side) for cue in cues if cue.words) for side in ("start", "end"))
    for group in _groups(cues, spec):
        first, last = group[0], group[-1]
        air = max(0.0, min(AIR, (MAX_CUE - (last.end - first.start)) / 2))
        earlier, later = bisect_right(ends, first.start + OVERLAP), bisect_left(starts, last.end - OVERLAP)
        start = max(0.0, first.start - air, min(first.start, ends[earlier - 1]) if earlier else 0.0)  # never into another cue
        end = min(last.end + air, max(last.end, starts[later]) if later < len(starts) else LONGEST)
        words = " ".join(cue.words for cue in group)
        id, line = f"{name}#{called(start, end)}", f"{path}, line {first.line}"
        yield Clip(line, next(places), id, folder, sound, words, "", first.speaker, language, span=(start, end))


def _groups(cues: list[Cue], spec: SubtitlesCorpus) -> Iterator[list[Cue]]:
    """Yield cues that are joined."""
    group: list[Cue] = []
    for cue in cues:
        if cue.reason == NOTHING:
            continue
        if group and not (
            not cue.reason
            and cue.start - group[-1].end <= spec.max_gap
            and cue.end - group[0].start <= spec.max_seconds - 2 * AIR
            and cue.speaker == group[-1].speaker
        ):
            yield group
            group = []
        if not cue.reason:  # the words of a refused one are somewhere here
            group.append(cue)
    if group:
        yield group


def _cues(text: str, is_vtt: bool) -> list[Cue]:
    """Return every cue of a file, in its order. What stands outside of cues, numbers and notes and styles, is passed over."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    marks = [number for number, line in enumerate(lines) if "-->" in line]
    return [_cue(lines, mark, until, is_vtt) for mark, until in zip(marks, [*marks[1:], len(lines)], strict=False)]


def _cue(lines: list[str], mark: int, until: int, is_vtt: bool) -> Cue:
    """Return the cue whose time stamps are on line `mark`; the next one's are on line `until`."""
    body = [line.strip() for line in lines[mark + 1 : until]]
    if is_vtt:
        body = body[: body.index("")] if "" in body else body
    elif until < len(lines) and body and body[-1].isdecimal():
        body.pop()  # the next one's number
    found = TIMING.fullmatch(lines[mark])
    start, end = (_seconds(*found.groups()[:4]), _seconds(*found.groups()[4:])) if found else (0.0, 0.0)
    written = "\n".join(body)
    voices = {html.unescape(voice).strip() for voice in VOICE.findall(written)}
    speaker = voices.pop() if len(voices) == 1 and written.startswith("<v") else ""
    plain = [html.unescape(MARKUP.sub("", line)).strip() for line in body]
    words = " ".join(" ".join(DASH.sub("", line) for line in plain).split())
    is_speech = any(letter.isalnum() for letter in NO_SPEECH.sub("", words))
    words = " ".join(NOT_SPOKEN.sub(" ", words).split()) if is_speech else ""
    cue = Cue(mark + 1, start, end, words, speaker)
    if not found:
        return cue._replace(words="", reason="unreadable cue", why=f"{lines[mark]!r:.80}, expected 00:00:01,000 --> 00:00:02,500")
    if not is_speech:
        return cue._replace(reason=NOTHING, why=f"{' '.join(plain)!r:.80}")
    if end <= start:
        return cue._replace(words="", reason="no length", why=f"it goes from {start:.3f} s to {end:.3f}")
    if end - start > MAX_CUE:
        return cue._replace(reason="too long", why=f"{end - start:.1f} s, expected at most {MAX_CUE:g}")
    return cue


def _seconds(hours: str | None, minutes: str, seconds: str, fraction: str) -> float:
    return int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{fraction}")


def _checked(cues: list[Cue]) -> list[Cue]:
    """Return the cues; those out of order, and all that overlap, with that as the reason."""
    timed = [number for number, cue in enumerate(cues) if cue.words]
    ordered = _in_order([cues[number].start for number in timed])
    checked = list(cues)
    for number in set(timed) - {timed[each] for each in ordered}:
        why = f"its {cues[number].start:.3f} s do not lie between the cues around it"
        checked[number] = cues[number]._replace(reason="out of order", why=why)
    furthest = None
    for number in (timed[each] for each in ordered):
        if furthest is not None and cues[number].start < cues[furthest].end - OVERLAP:
            for one, other in ((number, furthest), (furthest, number)):
                if not checked[one].reason:
                    checked[one] = cues[one]._replace(
                        reason="overlaps", why=f"so does the cue of line {cues[other].line}, at the same time"
                    )
        furthest = number if furthest is None or cues[number].end > cues[furthest].end else furthest
    return checked


def _in_order(values: list[float]) -> list[int]:
    """Return where the longest part of `values` stands that never falls."""
    lowest: list[float] = []  # of the ends of all such parts of a length
    where: list[int] = []
    before: list[int] = []
    for number, value in enumerate(values):
        length = bisect_right(lowest, value)
        before.append(where[length - 1] if length else -1)
        lowest[length : length + 1], where[length : length + 1] = [value], [number]
    part, number = [], where[-1] if where else -1
    while number >= 0:
        part.append(number)
        number = before[number]
    return part[::-1]
