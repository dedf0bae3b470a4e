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

from tasks.contracts.errors import ReleaseError, StoreError
from tasks.contracts.values import Artifact
from tasks.store.artifacts import fetch
from tasks.store.objects import Store, crc32c_of, sha256_of


@dataclass(frozen=True)
class Placed:
    """Where something was published."""

    where: str  # what a person opens: the pointer on a local store, an address elsewhere
    revision: str  # where exactly these files are: a folder or an address under the store, a commit of the Hub
    was_there: bool = False  # nothing had to be sent

    def identity(self) -> list[str]:
        """Stand for this place in the fingerprint of a step that reads it."""
        return [self.where, self.revision]


def place(source: Store, artifact: Artifact, target: Store, under: str, tag: str = "", is_current: bool = True) -> Placed:
    """Publish an artifact's files as a revision of the folder `under`, and point `latest` at it, and `tag` if one is given.

    Args:
        source: where the artifact is sealed.
        artifact: what is published.
        target: where it is published; often the same store.
        under: the folder of this name.
        tag: a pointer that is never moved.
        is_current: whether people find it; else it only lies there.

    Raises:
        ReleaseError: if what arrived is not what was sent, or the tag points at another revision.
    """
    revision = f"{under}/{artifact.digest[:12]}".removeprefix("./")
    if target.local:
        return _place_folder(source, artifact, target, revision, tag, is_current)
    was_there = all(target.holds(f"{revision}/{file.name}", file.n_bytes, file.sha256) for file in artifact.files)
    if not was_there:
        _publish_objects(fetch(source, artifact), artifact, target, revision)
    if is_current:
        pointer = {"revision": artifact.digest[:12], "files": artifact.checksums}
        data = json.dumps(pointer, indent=1).encode()
        if tag:
            _tag_object(target, f"{under}/{tag}.json", data)
        was_there = was_there and target.exists(f"{under}/latest.json") and target.read(f"{under}/latest.json") == data
        target.replace(f"{under}/latest.json", data)
    return Placed(target.uri(revision), revision, was_there)


def _place_folder(source: Store, artifact: Artifact, target: Store, revision: str, tag: str, is_current: bool) -> Placed:
    folder, checksums = Path(target.uri(revision)), artifact.checksums
    if not (was_there := is_published(folder, checksums)):
        publish(fetch(source, artifact), folder, checksums)
    if not is_current:
        return Placed(str(folder), revision, was_there)
    latest, there = folder.parent / "latest", folder.parent / tag
    if tag and there.is_symlink() and there.readlink().name != folder.name:
        raise ReleaseError(f"{there} points at {there.readlink()}, and what was published stays; it would have been {folder.name}")
    if tag:
        point(folder, tag)
    was_there = was_there and latest.is_symlink() and latest.readlink().name == folder.name
    return Placed(str(point(folder)), revision, was_there)


def _tag_object(target: Store, path: str, data: bytes) -> None:
    try:
        target.create(path, data)
    except StoreError as error:
        raise ReleaseError(f"{target.uri(path)} names another revision, and what was published stays") from error


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
        if target.exists():  # incomplete or altered by hand: out of the way in one go, so that no pointer leads to half of it
            os.replace(target, staged.with_name(f"{staged.name}-was"))
        os.replace(staged, target)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        shutil.rmtree(staged.with_name(f"{staged.name}-was"), ignore_errors=True)


def _publish_objects(folder: Path, artifact: Artifact, target: Store, revision: str) -> None:
    for file in artifact.files:
        data = (folder / file.name).read_bytes()
        target.replace(f"{revision}/{file.name}", data)
        if not target.holds(f"{revision}/{file.name}", file.n_bytes, file.sha256, crc32c_of(data)):
            raise ReleaseError(f"{target.uri(revision)}/{file.name}: what was written is not what is there")


def point(target: Path, name: str = "latest") -> Path:
    """Make the pointer `name` beside the revision point at it, at once, and return the pointer."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".pointing-") as folder:
        link = Path(folder) / name
        link.symlink_to(target.name)
        os.replace(link, target.parent / name)
    return target.parent / name
