"""Sealed artifacts: several immutable objects and, written last, the small JSON that says they are whole.

`<kind>/<key>/<stem>-<sha256[:24]><suffix>` are the objects, `<kind>/<key>/seal.json` is the seal. Readers start from a seal, never from a
listing. Two writers of one address end with one seal: the loser adopts the winner's.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.contracts.errors import StoreError
from tasks.contracts.values import Artifact, File
from tasks.store.objects import NO_ROOM, Store, cache_folder, measure, sha256_of

SEAL = "seal.json"
FORMAT = 1  # of the seal itself


class Draft:
    """An artifact in the making: write its files, then seal it. Unsealed, it does not exist."""

    def __init__(self, store: Store, kind: str, key: str) -> None:
        self.store, self.kind, self.key = store, kind, key
        self.files: dict[str, File] = {}

    def write(self, name: str, data: bytes | Path) -> File:
        """Write one file of the artifact and return where it lies. `data`: the bytes, or a local file to copy."""
        n_bytes, sha256, crc32c = measure(data)
        stem, dot, suffix = name.partition(".")
        path = f"{self.kind}/{self.key}/{stem}-{sha256[:24]}{dot}{suffix}"
        try:
            self.store.create(path, data)
        except StoreError:  # damaged in place: the name says what belongs there, so put that back
            self.store.replace(path, data)  # in one go: another seal may name it, and its readers must not find it gone
        self.files[name] = File(name, path, n_bytes, sha256, crc32c)
        return self.files[name]

    @contextmanager
    def staged(self, name: str) -> Iterator[Path]:
        """Give a path to write a large file to; when the block ends well it is a file of the artifact, else nothing is left of it."""
        address = f"{self.kind}/{self.key}/{name}"
        with self.store.explained(address, staged=True):
            temporary = tempfile.TemporaryDirectory(dir=self.store.staging())
        with temporary as folder:
            path = Path(folder) / name
            with self.store.explained(address, NO_ROOM, staged=True):  # what is read in the block may be forbidden for reasons of its own
                yield path
            self.write(name, path)

    def adopt(self, file: File) -> None:
        """Take in a file that another sealed artifact of this store holds already: objects never change, so one copy serves both."""
        self.files[file.name] = file

    def seal(self, facts: dict[str, Any], made_from: Any = None, anew: bool = False) -> Artifact:
        """Write the seal, and return the artifact: this one, or the twin's whose seal came first and is whole.

        `anew`: this one in any case; of what has one writer, and a newer state each time.
        """
        path = f"{self.kind}/{self.key}/{SEAL}"
        facts = json.loads(json.dumps(facts, sort_keys=True))  # as every later reader gets them: lists for tuples, text for keys, in order
        artifact = Artifact(self.kind, self.key, tuple(self.files.values()), facts)
        data = _encode(artifact, made_from)
        if anew:
            self.store.replace(path, data)
            return artifact
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
    sealed = peek(store, kind, key)
    if sealed is None:
        return None
    artifact, _ = sealed
    return artifact if all(store.holds(file.path, file.n_bytes, file.sha256, file.crc32c) for file in artifact.files) else None


def peek(store: Store, kind: str, key: str) -> tuple[Artifact, Any] | None:
    """Return what the seal at this address says, and what it was made from, without a look at the objects; None without a good seal."""
    data: bytes | None = None
    for _ in range(3):  # a body can arrive cut or altered; then the work of hours would be taken for undone
        try:
            before, data = data, store.read(f"{kind}/{key}/{SEAL}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        sealed = _decode(data)
        if sealed or data == before:
            break
    return sealed if sealed and (sealed[0].kind, sealed[0].key) == (kind, key) else None


def peek_all(store: Store, kind: str) -> Iterator[tuple[Artifact, Any]]:
    """Yield every sealed artifact of a kind, and what it was made from, by key.

    This lists a folder, so it is a hint and never the truth: what a listing misses is made again.
    """
    with ThreadPoolExecutor(16) as pool:  # a seal is one small request
        yield from filter(None, pool.map(lambda key: peek(store, kind, key), store.names(kind)))


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
        if not store.holds(file.path, file.n_bytes, file.sha256, file.crc32c):
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


def _decode(data: bytes) -> tuple[Artifact, Any] | None:
    try:
        seal = json.loads(data)
        if seal["format"] != FORMAT or seal.pop("sha256") != _sum(seal):
            return None
        return Artifact(seal["kind"], seal["key"], tuple(File(*row) for row in seal["files"]), seal["facts"]), seal["made_from"]
    except (ValueError, LookupError, TypeError):
        return None


def _encode(artifact: Artifact, made_from: Any) -> bytes:
    rows = [[file.name, file.path, file.n_bytes, file.sha256, file.crc32c] for file in artifact.files]
    seal = {"format": FORMAT, "kind": artifact.kind, "key": artifact.key, "files": rows, "facts": artifact.facts, "made_from": made_from}
    return json.dumps(seal | {"sha256": _sum(seal)}, indent=1, sort_keys=True, ensure_ascii=False).encode()


def _sum(seal: dict[str, Any]) -> str:
    """Return the SHA-256 of everything else in a seal: its facts are believed without opening a file."""
    read_back = json.loads(json.dumps(seal))  # keys that are numbers are sorted as the text they become
    return hashlib.sha256(json.dumps(read_back, sort_keys=True).encode()).hexdigest()
