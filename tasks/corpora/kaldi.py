"""Kaldi data directories: wav.scp and text, and if there are any segments, utt2spk, spk2gender, utt2dur, utt2lang. Nothing in them is run.

Each line is an id, blanks and a value; files are joined on ids, and what one lacks is a reject that names the line of the other. A clip
is called by its utterance id alone, whichever directory it is in; if two directories have the same one, the first is kept, and tests are
read first. Source: https://kaldi-asr.org/doc/data_prep.html; https://kaldi-asr.org/doc/extract-segments_8cc.html (an end of -1)
"""

import re
from array import array
from collections.abc import Iterator, Set
from hashlib import sha256
from itertools import chain
from sys import intern
from typing import Any, NamedTuple

from tasks.audio.cut import TO_THE_END
from tasks.contracts.corpora import KaldiCorpus
from tasks.contracts.errors import CorpusError
from tasks.contracts.values import Reject
from tasks.corpora import Recording
from tasks.corpora.spans import Clip, inside, language_of, recordings_of, revision_of, seconds_of
from tasks.store.source import Source

NEEDED = ("wav.scp", "text")
OTHERS = ("segments", "utt2spk", "spk2gender", "utt2dur", "utt2lang")
BLANKS = re.compile(r"[ \t]+")  # a no-break space is a letter of the words


class Table(dict[str, str]):
    """The value of each id."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__()
        self.name, self._data = name, data
        self._lines: dict[str, int] = {}
        self.rejects: list[Reject] = []  # lines that cannot be used
        for number, id, value in self._rows():
            if id in self:
                why = f"{name}, line {number}: {id!r} stands on line {self.line(id)} already; the first one is kept"
                self.rejects.append(Reject(id, "download", "double id", why))
            else:
                self[id] = value

    def line(self, id: str) -> int:
        """Return the line of an id; that of all is only looked for when one is asked for."""
        if not self._lines:
            for number, each, _ in self._rows():
                self._lines.setdefault(each, number)
        return self._lines[id]

    def _rows(self) -> Iterator[tuple[int, str, str]]:
        try:
            text = self._data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise CorpusError(f"{self.name}: not UTF-8 at byte {error.start}; save the table as UTF-8") from error
        for number, line in enumerate(text.split("\n"), start=1):
            if line := line.strip(" \t\r"):
                id, *value = BLANKS.split(line, 1)
                yield number, intern(id), value[0] if value else ""  # ids stand in each table


class Data(NamedTuple):
    """One data directory."""

    split: str
    name: str
    files: dict[str, bytes]
    audio: Source


def revision(spec: KaldiCorpus) -> Any:
    """Return the tables' bytes and each recording's size and date as fingerprints. No recording is read."""
    directories = _directories(spec)
    tables = [{name: sha256(data).hexdigest() for name, data in each.files.items()} for each in directories]
    return {"tables": tables} | revision_of(_clips(directories))


def recordings(spec: KaldiCorpus) -> Iterator[Recording | Reject]:
    """Yield a row per utterance, and a reject per line that belongs to none.

    Raises:
        CorpusError: if a directory lacks wav.scp or text, or a table is not UTF-8.
    """
    yield from recordings_of(_clips(_directories(spec)))


def _directories(spec: KaldiCorpus) -> list[Data]:
    return [_directory(split, address, spec.audio) for split in ("test", "dev", "train") for address in getattr(spec, split)]


def _directory(split: str, address: str, audio: str) -> Data:
    folder = Source(address)
    there = folder.names()
    if missing := [name for name in NEEDED if name not in there]:
        why = f"expected a Kaldi data directory with wav.scp and text, found {there[:8] or 'nothing'}"
        raise CorpusError(f"corpus.{split}: {address}: no {' and no '.join(missing)}; {why}")
    files = {name: folder.read(name) for name in (*NEEDED, *OTHERS) if name in there}
    return Data(split, address.rstrip("/").rpartition("/")[2], files, Source(audio) if audio else folder)


def _clips(directories: list[Data]) -> Iterator[Clip | Reject]:
    """Yield the clips of each recording together."""
    n_before = 0
    seen: dict[str, str] = {}  # in which text an utterance stood first
    for each in directories:
        tables = {name: Table(data, f"{each.name}/{name}") for name, data in each.files.items()}
        text, wav, segments = tables["text"], tables["wav.scp"], tables.get("segments")
        for table in tables.values():
            yield from table.rejects
        of_recording: dict[str, array[int]] = {}  # places in `text`
        for place, id in enumerate(text):
            recording = id if segments is None else segments.get(id, "").partition(" ")[0].partition("\t")[0]
            of_recording.setdefault(recording, array("L")).append(place)
        ids = list(text)
        for place in chain.from_iterable(of_recording.values()):
            id = ids[place]
            if id in seen:
                why = f"{text.name}, line {text.line(id)}: {id!r} stands in {seen[id]} already; ids are unique over directories"
                yield Reject(id, "download", "double id", why)
            else:
                yield _clip(id, n_before + place, tables, each)
            if len(directories) > 1:
                seen.setdefault(id, text.name)
        n_before += len(text)
        yield from _without(wav if segments is None else segments, text.keys(), "text")
        if segments is not None:
            yield from _without(wav, {value.split()[0] for value in segments.values() if value}, "segments")


def _without(table: Table, there: Set[str], other: str) -> Iterator[Reject]:
    """Yield a reject for each line of a table that another one lacks."""
    for id in table:
        if id not in there:
            yield Reject(id, "download", "missing row", f"{table.name}, line {table.line(id)}: {id!r} is not in {other}")


def _clip(id: str, place: int, tables: dict[str, Table], data: Data) -> Clip | Reject:
    text, wav, segments = tables["text"], tables["wav.scp"], tables.get("segments")

    def refuse(reason: str, table: Table, key: str, why: str) -> Reject:
        return Reject(id, "download", reason, f"{table.name}, line {table.line(key)}: {why}")

    def told(name: str, key: str) -> str:
        return tables[name].get(key, "") if name in tables else ""

    recording, span = id, None
    if segments is not None:
        if id not in segments:
            return refuse("missing row", text, id, f"{id!r} is not in segments")
        recording, *times = segments[id].split() or [""]
        if len(times) == 3:
            return refuse("a channel", segments, id, f"{segments[id]!r}: one channel of several; write it to a file of its own first")
        span = _span(times)
        if not span:
            why = f"{segments[id]!r}, expected recording, begin and end in seconds; -1 for its end"
            return refuse("unreadable span", segments, id, why)
    if recording not in wav:
        return refuse("missing row", text if segments is None else segments, id, f"{recording!r} is not in wav.scp")
    named = wav[recording]
    if not named:
        return refuse("no path", wav, recording, f"nothing after {recording!r}, expected the recording's path")
    if named.endswith("|") or named.startswith("|"):
        return refuse("a command", wav, recording, f"{named!r:.200} is a command, which is not run; write its output to files first")
    if re.search(r":\d+$", named):
        return refuse("an archive", wav, recording, f"{named!r} is a place in an archive; write the recordings to files first")
    if not (path := inside(named, data.audio)):
        why = f"{named!r} is not a path inside {data.audio.url}; corpus.audio names the folder that all recordings are in"
        return refuse("path outside", wav, recording, why)
    language, unknown = language_of(told("utt2lang", id))
    if unknown:
        return refuse("unknown language", tables["utt2lang"], id, unknown)
    seconds = seconds_of(told("utt2dur", id) or "0")
    if seconds is None:
        return refuse("unreadable duration", tables["utt2dur"], id, f"{told('utt2dur', id)!r}, expected seconds")
    speaker = told("utt2spk", id)
    gender = told("spk2gender", speaker)
    about = (("gender", gender),) if gender else ()
    speaker = "" if speaker == id else speaker  # so Kaldi writes that it is not known
    line = f"{wav.name}, line {wav.line(recording)}"
    return Clip(line, place, id, data.audio, path, text[id], data.split, speaker, language, seconds, span, about)


def _span(told: list[str]) -> tuple[float, float] | None:
    """Return begin and end in seconds, or None."""
    if len(told) != 2 or (start := seconds_of(told[0])) is None:
        return None
    if re.fullmatch(r"-1(\.0*)?", told[1]):
        return start, TO_THE_END
    end = seconds_of(told[1])
    return (start, end) if end is not None and end > start else None
