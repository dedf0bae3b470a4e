"""NeMo manifests: JSON Lines with audio_filepath, text and duration, and with offset where the clip is a part of its recording.

A clip is called by its path, from the folder that holds all recordings on; a part also by its span: talk.wav#12340-15020, milliseconds.
Without `corpus.audio` that is the folder above all manifests. Tests come first, so that of rows that stand twice theirs are kept.
Source: https://docs.nvidia.com/nemo/speech/latest/asr/datasets.html, and NeMo's collections/common/parts/preprocessing/manifest.py
"""

import unicodedata
from collections.abc import Iterator
from hashlib import sha256
from itertools import count, takewhile
from os.path import expanduser, normpath
from typing import Any, NamedTuple

from tasks.audio.cut import called
from tasks.contracts.corpora import NemoCorpus
from tasks.contracts.errors import CorpusError
from tasks.contracts.values import Reject
from tasks.corpora import Recording
from tasks.corpora.spans import Clip, inside, language_of, recordings_of, revision_of, seconds_of
from tasks.corpora.table import read_table
from tasks.store.source import Source

KEPT = ("age", "gender", "accent", "variant", "domain", "licence")  # of tasks.corpora.ABOUT, where somebody added such a field


class Manifest(NamedTuple):
    """One manifest."""

    split: str
    name: str
    data: bytes
    folder: Source  # that its paths start from
    below: str  # the same, from the folder above all on: "train/"


def revision(spec: NemoCorpus) -> Any:
    """Return the manifests' bytes and each recording's size and date as fingerprints. No recording is read."""
    manifests = _manifests(spec)
    return {"manifests": [sha256(each.data).hexdigest() for each in manifests]} | revision_of(_clips(manifests))


def recordings(spec: NemoCorpus) -> Iterator[Recording | Reject]:
    """Yield a row per line of the manifests.

    Raises:
        CorpusError: if a manifest is missing or no JSON Lines, or belongs to tar files.
    """
    yield from recordings_of(_clips(_manifests(spec)))


def _manifests(spec: NemoCorpus) -> list[Manifest]:
    addresses = [(split, address) for split in ("test", "dev", "train") for address in getattr(spec, split)]
    above = {address: address.rpartition("/")[0] for _, address in addresses}
    parts = {folder: (folder if "://" in folder else normpath(expanduser(folder))).split("/") for folder in above.values()}
    n_common = sum(1 for _ in takewhile(lambda names: len(set(names)) == 1, zip(*parts.values(), strict=False)))
    folders = {folder: Source(spec.audio or folder or ".") for folder in parts}
    manifests = []
    for split, address in addresses:
        folder, name = above[address], address.rpartition("/")[2]
        if not name.endswith((".json", ".jsonl")):
            raise CorpusError(f"corpus.{split}: {address}, expected a manifest whose name ends in .json or .jsonl")
        try:
            data = Source(address).read()
        except FileNotFoundError as error:
            raise CorpusError(f"corpus.{split}: no manifest {address}") from error
        below = "" if spec.audio else "".join(f"{part}/" for part in parts[folder][n_common:])
        manifests.append(Manifest(split, name, data, folders[folder], below))
    return manifests


def _clips(manifests: list[Manifest]) -> Iterator[Clip | Reject]:
    """Yield whole recordings first, and then the clips of each long one together."""
    parts: dict[tuple[Source, str], list[Clip]] = {}
    for clip in _rows(manifests):
        if isinstance(clip, Clip) and clip.span:
            parts.setdefault((clip.folder, clip.path), []).append(clip)
        else:
            yield clip
    while parts:
        yield from parts.pop(next(iter(parts)))


def _rows(manifests: list[Manifest]) -> Iterator[Clip | Reject]:
    places = count()
    for manifest in manifests:
        for number, row in read_table(manifest.data, manifest.name):
            line = f"{manifest.name}, line {number}"
            if isinstance(row, str):
                yield Reject(line, "download", "unreadable row", f"{line}: {row}")
            elif row.get("shard_id"):
                why = "expected a manifest of files; unpack the tar files, and give the manifest that they were made from"
                raise CorpusError(f"{line}: shard_id, so the recordings are in tar files; {why}")
            else:
                yield _clip(row, line, next(places), manifest)


def _clip(row: dict[str, str], line: str, place: int, manifest: Manifest) -> Clip | Reject:
    named = row.get("audio_filepath") or row.get("audio_filename", "")  # the latter in old manifests
    if not named:
        return Reject(line, "download", "no path", f"{line}: no audio_filepath, expected the recording's path")
    path = inside(named, manifest.folder)
    id = unicodedata.normalize("NFC", manifest.below + path if path else named)

    def refuse(reason: str, why: str) -> Reject:
        return Reject(id, "download", reason, f"{line}: {why}")

    if not path:
        why = "corpus.audio names the folder that all recordings are in"
        return refuse("path outside", f"{named!r} is not a path inside {manifest.folder.url}; {why}")
    offset, seconds = seconds_of(row.get("offset") or "0"), seconds_of(row.get("duration") or "0")
    is_part = bool(row.get("offset"))
    if offset is None or seconds is None or (is_part and not seconds):
        told = f"offset {row.get('offset', '')!r}, duration {row.get('duration', '')!r}"
        return refuse("unreadable duration", f"{told}, expected seconds{', and a duration with an offset' if is_part else ''}")
    span = (offset, offset + seconds) if is_part else None
    id += f"#{called(*span)}" if span else ""
    language, unknown = language_of(row.get("lang") or row.get("language") or row.get("target_lang", ""))
    if unknown:
        return refuse("unknown language", unknown)
    if row.get("source_lang") and language_of(row["source_lang"])[0] not in ("", language):
        return refuse("a translation", f"{row['source_lang']!r} is spoken, the text is {language!r}")
    speaker = row.get("speaker") or row.get("speaker_id", "")
    about = tuple((name, row[name]) for name in KEPT if row.get(name))
    text = row.get("text", "")
    return Clip(line, place, id, manifest.folder, path, text, manifest.split, speaker, language, seconds, span, about)
