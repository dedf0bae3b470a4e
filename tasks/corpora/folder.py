"""A folder of recordings with a table beside them: CSV, TSV or JSON Lines."""

import unicodedata
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from typing import Any

from tasks.contracts.errors import CorpusError
from tasks.contracts.recipe import FolderCorpus
from tasks.contracts.values import Reject, fingerprint
from tasks.corpora import Recording
from tasks.corpora.table import read_table
from tasks.store.objects import MISSING, Source

TABLES = [f"{stem}.{suffix}" for stem in ("manifest", "metadata", "index") for suffix in ("csv", "tsv", "jsonl")]
GUESSES = {  # the names people give these columns, the likeliest first
    "audio": ("audio", "path", "file_name", "file", "filename", "audio_filepath", "wav", "clip"),
    "text": ("text", "sentence", "transcription", "transcript", "label", "words"),
    "speaker": ("speaker", "speaker_id", "client_id", "spk"),
    "split": ("split", "set", "subset", "partition"),
}
SPLITS = {"train": "train", "training": "train", "dev": "dev", "validation": "dev", "valid": "dev", "val": "dev", "test": "test", "": ""}


def revision(spec: FolderCorpus) -> Any:
    """Return the table's bytes and each recording's size and date as one fingerprint. No recording is read."""
    folder, table, data = _open(spec)
    columns = None
    stamps = []
    for _, row in read_table(data, table):
        columns = columns or _columns(spec, row, table)
        stamps.append(folder.stamp(row[columns["audio"]]) if _is_inside(row[columns["audio"]]) else "outside")
    return {"table": sha256(data).hexdigest(), "recordings": fingerprint(stamps)}


def recordings(spec: FolderCorpus) -> Iterator[Recording | Reject]:
    """Yield a row per line of the table, in its order; a file that is missing or outside the folder as a reject."""
    folder, table, data = _open(spec)
    columns = None
    for line, row in read_table(data, table):
        columns = columns or _columns(spec, row, table)
        path = row.get(columns["audio"], "")
        split = row.get(columns["split"], "").strip().lower()
        if split not in SPLITS:
            why = f"{table}, line {line}: split {split!r}, expected train, dev or test; corpus.split_column - passes over them"
            yield Reject(path, "download", "unknown split", why)
        elif not _is_inside(path):
            yield Reject(path, "download", "path outside", f"{table}, line {line}: {path!r} is not a relative path inside the folder")
        elif (stamp := folder.stamp(path)) == MISSING:
            yield Reject(path, "download", "missing file", f"{table}, line {line}: no file {path!r}")
        else:
            id = unicodedata.normalize("NFC", path)
            words, speaker = row.get(columns["text"], ""), row.get(columns["speaker"], "")
            yield Recording(id, partial(folder.read, path), words, speaker, SPLITS[split], stamp)


def _open(spec: FolderCorpus) -> tuple[Source, str, bytes]:
    """Return the folder, the table's name and its bytes."""
    where = Source(spec.path)
    if where.is_file():
        above, _, name = spec.path.rpartition("/")
        return Source(above or "."), name, where.read()
    names = [spec.table] if spec.table else TABLES
    for name in names:
        try:
            return where, name, where.read(name)
        except FileNotFoundError:
            continue
    raise CorpusError(f"{spec.path}: no table; expected one of {', '.join(names)} in it, found {where.names()[:8] or 'nothing'}")


def _columns(spec: FolderCorpus, row: dict[str, str], table: str) -> dict[str, str]:
    """Return which column holds what; an empty name where there is none."""
    columns = {}
    for what, guesses in GUESSES.items():
        named: str = getattr(spec, f"{what}_column")
        if named == "-" and what in ("speaker", "split"):
            columns[what] = ""
            continue
        if named and named not in row:
            raise CorpusError(f"{table}: no column {named!r}, only {list(row)}; correct corpus.{what}_column")
        columns[what] = named or next((guess for guess in guesses if guess in row), "")
    for what in ("audio", "text"):
        if not columns[what]:
            raise CorpusError(f"{table}: cannot guess which of {list(row)} holds the {what}; name it in corpus.{what}_column")
    return columns


def _is_inside(path: str) -> bool:
    """Say whether a path from a table stays in its folder."""
    return bool(path) and not path.startswith(("/", "~")) and "\0" not in path and "://" not in path and ".." not in path.split("/")
