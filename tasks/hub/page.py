"""A folder in the Hub's layout as the place of publication: each revision whole in a folder of its own, `latest` pointing at one.

    models/<name>/<revision>/README.md, config.json, model.safetensors, ...
    models/<name>/v3     -> <revision>      (on a bucket, v3.json, which names it)
    models/<name>/latest -> <revision>      (latest.json)

A revision is renamed into place when it is complete, and never changed after; going back to an older one is moving `latest`. On a bucket,
which has no renaming, the pointers are written last, and readers start from them.
"""

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tasks.contracts.errors import ReleaseError
from tasks.contracts.values import Artifact
from tasks.store.artifacts import fetch
from tasks.store.objects import Store, crc32c_of, sha256_of


@dataclass(frozen=True)
class Placed:
    """Where something was published."""

    where: str  # what a person opens: the pointer on a local store, an address elsewhere
    revision: str  # where exactly these files are: a folder or an address under the store, a commit of the Hub
    was_there: bool = False  # nothing had to be sent

    def identity(self) -> str:
        """Stand for this place in the fingerprint of a step that reads it: a store may be moved."""
        return self.revision


def place(store: Store, artifact: Artifact, under: str, tag: str = "") -> Placed:
    """Publish an artifact's files as a revision of the folder `under`, and point `latest` at it, and `tag` if one is given.

    Raises:
        ReleaseError: if what arrived is not what was sent.
    """
    target = f"{under}/{artifact.digest[:12]}".removeprefix("./")
    if store.local:
        folder, checksums = Path(store.uri(target)), {file.name: file.sha256 for file in artifact.files}
        if not (was_there := is_published(folder, checksums)):
            publish(fetch(store, artifact), folder, checksums)
        if tag:
            point(folder, tag)
        return Placed(str(point(folder)), target, was_there)
    was_there = all(store.holds(f"{target}/{file.name}", file.n_bytes, file.sha256) for file in artifact.files)
    if not was_there:
        _publish_objects(store, artifact, target)
    pointer = json.dumps({"revision": artifact.digest[:12], "files": {file.name: file.sha256 for file in artifact.files}}, indent=1)
    for name in filter(None, (tag, "latest")):
        store.replace(f"{under}/{name}.json", pointer.encode())
    return Placed(store.uri(target), target, was_there)


def read_back(store: Store, revision: str, artifact: Artifact, target: Path) -> Path:
    """Copy a published revision to the empty folder `target`, and return that.

    Raises:
        StoreError: if a file is not the one that was published.
    """
    for file in artifact.files:
        store.download(f"{revision}/{file.name}", target / file.name, file.sha256)
    return target


def is_published(target: Path, checksums: dict[str, str]) -> bool:
    """Say whether `target` holds exactly these files.

    Args:
        target: the revision's folder.
        checksums: SHA-256 by name.
    """
    present = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    return present == set(checksums) and all(sha256_of(target / name) == sha256 for name, sha256 in checksums.items())


def publish(source: Path, target: Path, checksums: dict[str, str]) -> None:
    """Copy the files to `target`, read them back, and only then let them be seen.

    Raises:
        ReleaseError: if what arrived is not what was sent.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=".publishing-", dir=target.parent))
    try:
        for name in checksums:
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, staged / name)
        if not is_published(staged, checksums):
            raise ReleaseError(f"{target}: what was written is not what was read back; is the disk full or failing?")
        staged.chmod(0o755)
        if target.exists():  # incomplete or altered by hand
            shutil.rmtree(target)
        os.replace(staged, target)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _publish_objects(store: Store, artifact: Artifact, target: str) -> None:
    folder = fetch(store, artifact)
    for file in artifact.files:
        data = (folder / file.name).read_bytes()
        store.replace(f"{target}/{file.name}", data)
        if not store.holds(f"{target}/{file.name}", file.n_bytes, file.sha256, crc32c_of(data)):
            raise ReleaseError(f"{store.uri(target)}/{file.name}: what was written is not what is there")


def point(target: Path, name: str = "latest") -> Path:
    """Make the pointer `name` beside the revision point at it, at once, and return the pointer."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".pointing-") as folder:
        link = Path(folder) / name
        link.symlink_to(target.name)
        os.replace(link, target.parent / name)
    return target.parent / name
