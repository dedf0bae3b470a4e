"""The tables of a Common Voice release: which clips are wanted, and what is said of them.

Columns are found by name; all may be absent but `path` and `sentence`. Releases differ in nothing else but where durations stand.
"""

import logging
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from sys import intern
from typing import IO, NamedTuple

from tasks.contracts.corpora import CommonVoiceTables
from tasks.contracts.errors import CorpusError
from tasks.contracts.values import Reject
from tasks.corpora import Recording
from tasks.corpora.table import Row, read_table
from tasks.scoring.normalise import plain

log = logging.getLogger(__name__)
SPLITS = ("train", "dev", "test")
CLIPS = {f"{table}.tsv" for table in (*SPLITS, "validated", "invalidated", "other")}
REPORTED, DURATIONS = "reported.tsv", "clip_durations.tsv"
TIMES = "times.txt"  # durations before 16.1: lines of `cv-corpus-15.0-2023-09-08/sv-SE/clips/<name>.mp3` = milliseconds
SPARE = ("validated.tsv", "other.tsv")  # where clips stand that were in a split once
TABLES = CLIPS | {REPORTED, DURATIONS, TIMES}
MILLISECONDS = re.compile(r"\d{1,9}(\.\d*)?")
GENDERS = {"male_masculine": "male", "female_feminine": "female"}  # as since 17.0, and before
PIECE = 16 * 2**20  # bytes of a table in memory at once: English has one of 600 MB


def needed(tables: CommonVoiceTables) -> set[str]:
    """Return the files of the tables that must be there."""
    used = {*tables.train, *tables.dev, *tables.test, *((*SPLITS, "validated") if tables.free_data else ())}
    return {f"{table}.tsv" for table in used}


class _Row(NamedTuple):
    """What the tables say of a clip."""

    text: str
    speaker: str
    split: str
    table: str
    line: int
    about: dict[str, str]
    place: int  # among all rows that are wanted, in the tables' order
    seconds: float = 0.0


class Release:
    """The rows of one locale, by clip."""

    def __init__(self, name: str, tables: CommonVoiceTables, files: dict[str, IO[bytes]], also: frozenset[str]) -> None:
        self.name, self.tables, self.files = name, tables, files
        self.also = also  # ids of clips that are wanted wherever they stand, in test
        self.rows: dict[str, _Row] = {}  # that are wanted, by the clip's file name
        self.n_unwanted = 0
        if missing := needed(tables) - files.keys():
            raise CorpusError(f"{name}: no {', '.join(sorted(missing))}; found {', '.join(sorted(files)) or 'no table'}")
        self.reported = self._reported() if tables.reported == "drop" else (set(), set(), set())

    def choose(self) -> Iterator[Reject]:
        """Find the rows that are wanted, and yield those that are refused.

        Raises:
            CorpusError: if a table is no UTF-8, or has no column path or sentence.
        """
        for split in SPLITS:
            for table in getattr(self.tables, split):
                for line, row in self._read(f"{table}.tsv"):
                    yield from self._add(f"{table}.tsv", line, row, split)
        if self.tables.free_data and "validated" not in (*self.tables.train, *self.tables.dev, *self.tables.test):
            yield from self._free()
        for table in SPARE if self.also else ():
            for line, row in self._read(table) if table in self.files else ():
                if isinstance(row, dict) and _id(row["path"]) in self.also and _clip(row["path"]) not in self.rows:
                    yield from self._add(table, line, row, "test")
        for clip, milliseconds in self._durations():
            if clip in self.rows and MILLISECONDS.fullmatch(milliseconds):
                self.rows[clip] = self.rows[clip]._replace(seconds=float(milliseconds) / 1000)

    def take(self, clip: str, read: Callable[[], bytes], stamp: str = "") -> Iterator[Recording]:
        """Yield the clip's row, if there is one that is wanted."""
        if row := self.rows.pop(clip, None):
            yield Recording(_id(clip), read, row.text, row.speaker, row.split, stamp, row.seconds, place=row.place, about=row.about)
        else:
            self.n_unwanted += 1

    def left(self) -> Iterator[Reject]:
        """Yield the rows whose clips never came."""
        for clip, row in self.rows.items():
            yield Reject(_id(clip), "download", "missing file", f"{row.table}, line {row.line}: no file clips/{clip}")
        if self.n_unwanted:
            log.info("%s: %d clips stand in no table that is used", self.name, self.n_unwanted)

    def _add(self, table: str, line: int, row: dict[str, str] | str, split: str) -> Iterator[Reject]:
        """Want one row, or say why not."""
        at = f"{table}, line {line}"
        if isinstance(row, str):
            yield Reject(at, "download", "unreadable row", f"{at}: {row}")
        elif not (clip := _clip(row["path"])):
            yield Reject(row["path"] or at, "download", "path outside", f"{at}: {row['path']!r} is not the name of a file in clips/")
        elif first := self.rows.get(clip):
            yield Reject(_id(clip), "download", "double row", f"{at}: {clip} stands in {first.table}, line {first.line} already")
        elif self._is_reported(row) and _id(clip) not in self.also:
            yield Reject(
                _id(clip), "download", "reported sentence", f"{at}: {row['sentence']!r} is in {REPORTED}; corpus.reported keeps it"
            )
        else:
            who, place = intern(row.get("client_id", "")), len(self.rows)
            self.rows[clip] = _Row(row["sentence"], who, split, table, line, _about_row(row), place)

    def _free(self) -> Iterator[Reject]:
        """Want the rows of validated.tsv that are in no split of the release and share nothing with dev and test."""
        in_splits, speakers, sentences = set(), set(), set()
        held_back = {"dev", "test", *self.tables.dev, *self.tables.test}
        for table in {*SPLITS, *held_back}:
            for _, row in self._read(f"{table}.tsv"):
                if not isinstance(row, str):
                    in_splits.add(_clip(row["path"]))
                    if table in held_back:
                        speakers.add(row.get("client_id", ""))
                        sentences.add(plain(row["sentence"]))
        for line, row in self._read("validated.tsv"):
            clip = "" if isinstance(row, str) else _clip(row["path"])
            if isinstance(row, str) or not clip:
                yield from self._add("validated.tsv", line, row, "train")
            elif clip not in in_splits and _id(clip) not in self.also:
                what = "speaker" if row.get("client_id", "") in speakers else "sentence" if plain(row["sentence"]) in sentences else ""
                if what:
                    yield Reject(_id(clip), "download", f"{what} of dev or test", f"validated.tsv, line {line}: not free to train on")
                else:
                    yield from self._add("validated.tsv", line, row, "train")

    def _read(self, table: str) -> Iterator[Row]:
        """Yield the rows of a table with their lines, holding a piece of it at a time."""
        file = self.files[table]
        file.seek(0)
        header, n_before = file.readline(), 0
        lines = file.readlines(PIECE)
        while lines or not n_before:
            name = f"line {n_before} on of {table}" if n_before else table
            for line, row in read_table(header + b"".join(lines), f"{self.name}: {name}", may_be_empty=True):
                if table in CLIPS and isinstance(row, dict) and not row.keys() >= {"path", "sentence"}:
                    raise CorpusError(f"{self.name}: {table}: no column path or sentence in the header {list(row)}")
                yield n_before + line, row
            if not lines:
                return
            n_before += len(lines)
            lines = file.readlines(PIECE)

    def _reported(self) -> tuple[set[str], set[str], set[str]]:
        """Return the ids of reported sentences, their texts, and the texts of those without an id."""
        rows = [row for _, row in self._read(REPORTED)] if REPORTED in self.files else []
        pairs = [(row.get("sentence_id", ""), row.get("sentence", "")) for row in rows if not isinstance(row, str)]
        if len(pairs) < len(rows):
            log.warning("%s: %d lines of %s cannot be read", self.name, len(rows) - len(pairs), REPORTED)
        return {id for id, _ in pairs if id}, {text for _, text in pairs if text}, {text for id, text in pairs if text and not id}

    def _is_reported(self, row: dict[str, str]) -> bool:
        """Say whether a row's sentence was reported: by its id where both have one, else by its words."""
        ids, texts, without_id = self.reported
        id, text = row.get("sentence_id"), row["sentence"]
        return id in ids or text in without_id if id else text in texts

    def _durations(self) -> Iterator[tuple[str, str]]:
        """Yield clips with their milliseconds, if the release has them."""
        if DURATIONS in self.files:
            for _, row in self._read(DURATIONS):
                if not isinstance(row, str):
                    yield row.get("clip", "").rpartition("/")[2], row.get("duration[ms]", "")
        elif TIMES in self.files:
            self.files[TIMES].seek(0)
            for line in self.files[TIMES]:
                path, _, milliseconds = line.decode(errors="replace").partition("=")
                yield path.strip(" `").rpartition("/")[2], milliseconds.strip()


def _clip(path: str) -> str:
    """Return the name of a clip's file, as tables of any release write it; empty if it leads out of clips/."""
    name = path.removeprefix("clips/")
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        return ""
    return name if "." in name else f"{name}.mp3"  # early tables left it out


def _id(clip: str) -> str:
    """Return what names a clip in every release: its file, without the suffix."""
    return clip.rpartition(".")[0] or clip


def _about_row(row: dict[str, str]) -> dict[str, str]:
    """Return what a row says besides, under our names."""
    accent = row.get("accents") or row.get("accent", "")
    return _about(accent, *(row.get(column, "") for column in ("age", "gender", "variant", "sentence_domain", "up_votes", "down_votes")))


@lru_cache(2**14)  # rows that say the same share it
def _about(accent: str, age: str, gender: str, variant: str, domain: str, up_votes: str, down_votes: str) -> dict[str, str]:
    about = {"age": age, "gender": GENDERS.get(gender, gender), "accent": accent, "variant": variant, "domain": domain}
    about |= {"up_votes": up_votes, "down_votes": down_votes, "licence": "CC0-1.0"}
    return {key: value for key, value in about.items() if value}
