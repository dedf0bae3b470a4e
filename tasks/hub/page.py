"""A folder in the Hub's layout as the place of publication: each revision whole in a folder of its own, `latest` pointing at one.

    models/<name>/<revision>/README.md, config.json, model.safetensors, ...
    models/<name>/latest -> <revision>      (on a bucket, latest.json, which names it)

A revision is renamed into place when it is complete, and never changed after; going back to an older one is moving the pointer. On a
bucket, which has no renaming, the pointer is written last, and readers start from it.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path

from tasks.contracts.errors import ReleaseError
from tasks.contracts.values import Artifact
from tasks.store.artifacts import fetch
from tasks.store.objects import Store, crc32c_of, sha256_of


def place(store: Store, artifact: Artifact, kind: str) -> tuple[str, bool]:
    """Publish an artifact's files as a revision of `<kind>/<its name>`, and point `latest` at it.

    Returns:
        Where it is: the pointer on a local store, the revision's address on a bucket. And whether it stood there already.

    Raises:
        ReleaseError: if what arrived is not what was sent.
    """
    target = f"{kind}/{artifact.facts['name']}/{artifact.digest[:12]}"
    if store.local:
        folder, checksums = Path(store.uri(target)), {file.name: file.sha256 for file in artifact.files}
        if not (was_there := is_published(folder, checksums)):
            publish(fetch(store, artifact), folder, checksums)
        return str(point_latest(folder)), was_there
    was_there = all(store.holds(f"{target}/{file.name}", file.n_bytes, file.sha256) for file in artifact.files)
    if not was_there:
        _publish_objects(store, artifact, target)
    pointer = json.dumps({"revision": artifact.digest[:12], "files": {file.name: file.sha256 for file in artifact.files}}, indent=1)
    store.replace(f"{kind}/{artifact.facts['name']}/latest.json", pointer.encode())
    return store.uri(target), was_there


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


def point_latest(target: Path) -> Path:
    """Make `latest` beside the revision point at it, at once, and return the pointer."""
    latest = target.parent / "latest"
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".latest-") as folder:
        link = Path(folder) / "latest"
        link.symlink_to(target.name)
        os.replace(link, latest)
    return latest
