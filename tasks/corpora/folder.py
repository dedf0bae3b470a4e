"""A folder of recordings with a table beside them: CSV, TSV or JSON Lines; or one in each folder of a split, as in an AudioFolder.

A table is a stranger's: it may name files of its folder, and of the places in `corpus.elsewhere`. Nothing else is opened.
"""

import re
import unicodedata
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from hashlib import sha256
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import unquote

from tasks.contracts.corpora import FolderCorpus
from tasks.contracts.errors import AudioError, CorpusError, StoreError
from tasks.contracts.languages import code_of
from tasks.contracts.values import Reject
from tasks.corpora import Recording
from tasks.corpora.table import read_table
from tasks.store import web
from tasks.store.source import MISSING, Source

TABLES = [f"{stem}.{suffix}" for stem in ("manifest", "metadata", "index") for suffix in ("csv", "tsv", "jsonl")]
PARQUET = "metadata.parquet"
GUESSES = {  # the names people give these columns, the likeliest first
    "audio": ("audio", "path", "file_name", "file", "filename", "audio_filepath", "wav", "clip"),
    "text": ("text", "sentence", "transcription", "transcript", "label", "words"),
    "speaker": ("speaker", "speaker_id", "client_id", "spk"),
    "split": ("split", "set", "subset", "partition"),
    "seconds": ("seconds", "duration", "duration_seconds", "duration_ms", "duration[ms]"),
    "language": ("language", "lang"),
}
MILLISECONDS = ("duration_ms", "duration[ms]")
ABOUT = {  # what else is kept, by the columns it may stand in
    "age": ("age",),
    "gender": ("gender", "sex"),
    "accent": ("accent", "accents", "dialect"),
    "variant": ("variant",),
    "domain": ("domain",),
    "up_votes": ("up_votes",),
    "down_votes": ("down_votes",),
    "licence": ("licence", "license"),
}
SPLITS = {"train": "train", "training": "train", "dev": "dev", "validation": "dev", "valid": "dev", "val": "dev", "test": "test", "": ""}
AT_ONCE = 16  # files that a bucket or a server is asked about


class Table(NamedTuple):
    """One table of the folder."""

    name: str  # from the folder on
    data: bytes
    below: str = ""  # the folder that its paths start from: "train/"
    split: str = ""  # of its rows, if it has no column for that


class File(NamedTuple):
    """Where a row's recording lies."""

    where: Source | None  # None: `name` is a web address
    name: str

    def read(self) -> bytes:
        """Return its bytes; FileNotFoundError if it is missing, AudioError if a server refuses it."""
        if self.where:
            return self.where.read(self.name)
        try:
            return web.read(self.name)
        except StoreError as refusal:
            raise AudioError(str(refusal)) from refusal

    def stamp(self) -> str:
        """Return what changes when it changes; MISSING for no file, nothing if that is not known."""
        if self.where:
            return self.where.stamp(self.name)
        try:
            return web.stamp(self.name)
        except StoreError:
            return ""  # reading it will say why


class Row(NamedTuple):
    """A row that names a recording, as far as the table tells."""

    line: str  # for people: table and line
    file: File
    recording: Recording


def revision(spec: FolderCorpus) -> Any:
    """Return the tables' bytes and each recording's size and date as fingerprints. No recording is read."""
    folder, tables = _open(spec)
    stamps = sha256()
    for _, stamp in _stamped(_rows(spec, folder, tables), _at_once(spec, folder)):
        stamps.update(f"{stamp}\n".encode())
    return {"tables": {table.name: sha256(table.data).hexdigest() for table in tables}, "recordings": stamps.hexdigest()}


def recordings(spec: FolderCorpus) -> Iterator[Recording | Reject]:
    """Yield a row per line of the tables, in their order; what cannot be used as a reject."""
    folder, tables = _open(spec)
    for row, stamp in _stamped(_rows(spec, folder, tables), _at_once(spec, folder)):
        if isinstance(row, Reject):
            yield row
        elif stamp == MISSING:
            yield Reject(row.recording.id, "download", "missing file", f"{row.line}: no file {row.file.name!r}")
        else:
            yield replace(row.recording, stamp=stamp)


def _open(spec: FolderCorpus) -> tuple[Source, list[Table]]:
    """Return the folder and its tables: one in it, or one in each folder of a split."""
    where = Source(spec.path)
    if where.is_file():
        above, _, name = spec.path.rpartition("/")
        return Source(above or "."), [Table(name, where.read())]
    names = [spec.table] if spec.table else TABLES
    splits = [split for split in SPLITS if split]
    for level in ([("", "")], [(f"{split}/", split) for split in splits], [(f"data/{split}/", split) for split in splits]):
        tables = [table for below, split in level if (table := _table(where, names, below, split))]
        if tables:
            return where, tables
        if parquet := next((below + PARQUET for below, _ in level if where.stamp(below + PARQUET) != MISSING), ""):
            raise CorpusError(f"{spec.path}: {parquet} is a Parquet table; expected one of {', '.join(names)}; kind: hub reads Parquet")
    raise CorpusError(f"{spec.path}: no table; expected one of {', '.join(names)} in it, found {where.names()[:8] or 'nothing'}")


def _table(where: Source, names: list[str], below: str, split: str) -> Table | None:
    for name in names:
        try:
            return Table(below + name, where.read(below + name), below, split)
        except FileNotFoundError:
            continue
    return None


def _at_once(spec: FolderCorpus, folder: Source) -> int:
    return 1 if folder.is_local and not spec.elsewhere else AT_ONCE


def _stamped(rows: Iterator[Row | Reject], at_once: int) -> Iterator[tuple[Row | Reject, str]]:
    """Yield each row with its file's stamp, in their order."""

    def stamped(row: Row | Reject) -> tuple[Row | Reject, str]:
        return row, "" if isinstance(row, Reject) else row.file.stamp()

    if at_once == 1:
        yield from map(stamped, rows)
        return
    with ThreadPoolExecutor(at_once) as pool:
        waiting = deque(pool.submit(stamped, row) for row in islice(rows, at_once))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(stamped, row) for row in islice(rows, 1))


def _rows(spec: FolderCorpus, folder: Source, tables: list[Table]) -> Iterator[Row | Reject]:
    """Yield every row of the tables, before anybody has looked for its file."""
    places = _places(spec)
    for table in tables:
        columns: dict[str, str] = {}
        for number, cells in read_table(table.data, table.name):
            line = f"{table.name}, line {number}"
            if isinstance(cells, str):
                yield Reject(line, "download", "unreadable row", f"{line}: {cells}")
                continue
            columns = columns or _columns(spec, cells, table.name)
            told = {what: cells[column] if column else "" for what, column in columns.items()}
            if not told["split"].strip() and spec.split_column != "-":
                told["split"] = table.split
            if not told["audio"].strip():
                why = f"{line}: nothing in column {columns['audio']!r}, expected the recording's path"
                yield Reject(line, "download", "no path", why)
            else:
                yield _row(told, columns, line, _file(told["audio"], folder, table.below, places), table.below)


def _row(told: dict[str, str], columns: dict[str, str], line: str, file: File | None, below: str) -> Row | Reject:
    """Return what a row tells of its recording, or what is wrong with it."""
    path, split, speaker = told["audio"], told["split"].strip().lower(), told["speaker"].strip()
    id = unicodedata.normalize("NFC", below + path if file and not _is_address(path) else path)
    if split not in SPLITS:
        why = f"{line}: split {split!r}, expected train, dev or test; corpus.split_column - passes over them"
        return Reject(id, "download", "unknown split", why)
    if not file:
        why = f"{line}: {path!r} is not a relative path inside the folder; other places it may lie in are named in corpus.elsewhere"
        return Reject(id, "download", "path outside", why)
    if (seconds := _seconds(told["seconds"], columns["seconds"])) is None:
        why = f"{line}: {told['seconds']!r} in column {columns['seconds']!r}, expected the recording's length as a number"
        return Reject(id, "download", "unreadable duration", why)
    language, unknown = _language(told["language"])
    if unknown:
        return Reject(id, "download", "unknown language", f"{line}: {told['language']!r} in column {columns['language']!r}: {unknown}")
    about = {what: told[what] for what in ABOUT if told[what]}
    known = "" if speaker.lower() == "unknown" else told["speaker"]
    return Row(line, file, Recording(id, file.read, told["text"], known, SPLITS[split], seconds=seconds, language=language, about=about))


def _columns(spec: FolderCorpus, cells: dict[str, str], table: str) -> dict[str, str]:
    """Return which column holds what; an empty name where there is none."""
    columns = {}
    for what, guesses in (GUESSES | ABOUT).items():
        named: str = getattr(spec, f"{what}_column", "")
        if named == "-" and what in ("speaker", "split"):
            columns[what] = ""
            continue
        if named and named not in cells:
            raise CorpusError(f"{table}: no column {named!r}, only {list(cells)}; correct corpus.{what}_column")
        columns[what] = named or next((guess for guess in guesses if guess in cells), "")
    for what in ("audio", "text"):
        if not columns[what]:
            raise CorpusError(f"{table}: cannot guess which of {list(cells)} holds the {what}; name it in corpus.{what}_column")
    return columns


def _places(spec: FolderCorpus) -> list[tuple[str, Source | None]]:
    """Return the beginnings of addresses that a table may name besides its folder, each with its files; None: they come over HTTP."""
    places: list[tuple[str, Source | None]] = []
    for place in spec.elsewhere:
        if not re.match(r"/|~|[a-z0-9+]+://+[^/]", place):
            raise CorpusError(f"corpus.elsewhere: {place!r}, expected an address such as https://host/clips/, or a path from / or ~ on")
        if (over_http := place.startswith(("https://", "http://"))) and not web.is_allowed(place):
            raise CorpusError(f"corpus.elsewhere: {web.shown(place)}, expected https://; plain http only on this machine")
        prefix = place.rstrip("/") + "/"  # or host.se would let through host.se.evil.org
        places.append((prefix, None if over_http else Source(prefix)))
    return places


def _file(path: str, folder: Source, below: str, places: list[tuple[str, Source | None]]) -> File | None:
    """Return where a path of a table leads; None if that is neither in its folder nor in one of the places."""
    if not _is_address(path):
        return File(folder, below + path) if "\0" not in path and ".." not in path.split("/") else None
    for prefix, where in places:
        rest = path.removeprefix(prefix)
        if path.startswith(prefix) and rest and "\0" not in rest and ".." not in re.split(r"[/\\?#]", unquote(rest)):
            return File(where, rest if where else path)
    return None


def _is_address(path: str) -> bool:
    """Say whether a path does not start from the table's folder."""
    return path.startswith(("/", "~")) or "://" in path


def _seconds(told: str, column: str) -> float | None:
    """Return a length in seconds, 0 if nothing is told; None if it cannot be read."""
    if not (told := told.strip()):
        return 0.0
    if not re.fullmatch(r"(\d+\.?\d*|\.\d+)(e[+-]?\d{1,2})?", told, re.ASCII | re.IGNORECASE):
        return None
    return float(told) / (1000 if column in MILLISECONDS else 1)


@cache
def _language(told: str) -> tuple[str, str]:
    """Return a language's code, and what is wrong if there is none."""
    try:
        return (code_of(told.strip()) if told.strip() else ""), ""
    except ValueError as error:
        return "", str(error)
