"""Sealed artifacts: several immutable objects and, written last, the small JSON that says they are whole.

`<kind>/<key>/<stem>-<sha256[:24]><suffix>` are the objects, `<kind>/<key>/seal.json` is the seal. Readers start from a seal, never from a
listing. Two writers of one address end with one seal: the loser adopts the winner's.
"""

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from tasks.contracts.errors import StoreError
from tasks.contracts.values import Artifact, File
from tasks.store.objects import Store, crc32c_of, sha256_of

SEAL = "seal.json"
FORMAT = 1  # of the seal itself


class Draft:
    """An artifact in the making: write its files, then seal it. Unsealed, it does not exist."""

    def __init__(self, store: Store, kind: str, key: str) -> None:
        self.store, self.kind, self.key = store, kind, key
        self.files: dict[str, tuple[File, str]] = {}

    def write(self, name: str, data: bytes | Path) -> File:
        """Write one file of the artifact and return where it lies. `data`: the bytes, or a local file to copy."""
        whole = data.read_bytes() if isinstance(data, Path) else data
        sha256, crc32c = hashlib.sha256(whole).hexdigest(), crc32c_of(whole)
        stem, dot, suffix = name.partition(".")
        path = f"{self.kind}/{self.key}/{stem}-{sha256[:24]}{dot}{suffix}"
        try:
            self.store.create(path, data)
        except StoreError:  # damaged in place: the name says what belongs there, so put that back
            self.store.delete(path)
            self.store.create(path, data)
        file = File(name, path, len(whole), sha256)
        self.files[name] = (file, crc32c)
        return file

    def seal(self, facts: dict[str, Any], made_from: Any = None) -> Artifact:
        """Write the seal, and return the artifact: this one, or the twin's whose seal came first and is whole."""
        path = f"{self.kind}/{self.key}/{SEAL}"
        facts = json.loads(json.dumps(facts))  # as every later reader gets them: lists for tuples, text for keys
        artifact = Artifact(self.kind, self.key, tuple(file for file, _ in self.files.values()), facts)
        data = _encode(artifact, {name: crc32c for name, (_, crc32c) in self.files.items()}, made_from)
        try:
            self.store.create(path, data)
            return artifact
        except StoreError:
            twin = find(self.store, self.kind, self.key)
            if twin is not None:
                return twin
        self.store.replace(path, data)  # the seal that stands there names objects that are gone or damaged
        return artifact


def find(store: Store, kind: str, key: str) -> Artifact | None:
    """Return the artifact at this address if it is sealed and whole, else None: it must then be made (again)."""
    try:
        seal = json.loads(store.read(f"{kind}/{key}/{SEAL}"))
        if seal["format"] != FORMAT or seal.pop("sha256") != _sum(seal):
            return None
        artifact = Artifact(seal["kind"], seal["key"], tuple(File(*row[:4]) for row in seal["files"]), seal["facts"])
        checksums = [row[4] for row in seal["files"]]
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return None
    whole = all(store.holds(file.path, file.n_bytes, file.sha256, crc) for file, crc in zip(artifact.files, checksums, strict=True))
    return artifact if whole and (artifact.kind, artifact.key) == (kind, key) else None


def load(store: Store, kind: str, key: str) -> Artifact:
    """Return the artifact at this address.

    Raises:
        StoreError: if it is not there, or not whole.
    """
    artifact = find(store, kind, key)
    if artifact is None:
        raise StoreError(f"{store.uri(f'{kind}/{key}')} is not there, or not whole; make it with the step that writes {kind!r}")
    return artifact


def fetch_file(store: Store, file: File) -> Path:
    """Return a local path that holds this file, checked. A local store's own file is used where it lies.

    Raises:
        StoreError: if the bytes are not those of the seal; they are removed, so that the next run makes them again.
        FileNotFoundError: if the object is gone.
    """
    if store.local:
        if not store.holds(file.path, file.n_bytes, file.sha256):
            store.delete(file.path)
            raise StoreError(f"{store.uri(file.path)} was damaged, and has been removed; run again to make it again")
        return Path(store.uri(file.path))
    target = cache_folder() / "objects" / file.sha256[:2] / f"{file.sha256}{Path(file.name).suffix}"
    if not (target.exists() and sha256_of(target) == file.sha256):
        store.download(file.path, target, file.sha256)
    return target


def fetch(store: Store, artifact: Artifact) -> Path:
    """Return a local folder with the artifact's files under their own names, as `from_pretrained` wants them.

    Raises:
        StoreError: if a file is damaged, or its name leads outside that folder.
    """
    folder = cache_folder() / "folders" / artifact.digest
    for file in artifact.files:
        if file.name.startswith("/") or ".." in file.name.split("/"):
            raise StoreError(f"{artifact.kind}/{artifact.key}: the file name {file.name!r} leads outside; viska did not write this seal")
        source, target = fetch_file(store, file).resolve(), folder / file.name
        if target.is_symlink() and target.resolve() == source:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as temporary:  # two steps may fetch the same model at once
            link = Path(temporary) / "link"
            link.symlink_to(source)
            os.replace(link, target)
    return folder


def cache_folder() -> Path:
    """Return where this machine keeps copies of what it fetched: VISKA_CACHE, or ~/.cache/viska. Safe to delete at any time."""
    return Path(os.environ.get("VISKA_CACHE") or "~/.cache/viska").expanduser()


def _encode(artifact: Artifact, checksums: dict[str, str], made_from: Any) -> bytes:
    rows = [[file.name, file.path, file.n_bytes, file.sha256, checksums[file.name]] for file in artifact.files]
    seal = {"format": FORMAT, "kind": artifact.kind, "key": artifact.key, "files": rows, "facts": artifact.facts, "made_from": made_from}
    return json.dumps(seal | {"sha256": _sum(seal)}, indent=1, sort_keys=True, ensure_ascii=False).encode()


def _sum(seal: dict[str, Any]) -> str:
    """Return the SHA-256 of everything else in a seal: its facts are believed without opening a file."""
    read_back = json.loads(json.dumps(seal))  # keys that are numbers are sorted as the text they become
    return hashlib.sha256(json.dumps(read_back, sort_keys=True).encode()).hexdigest()
