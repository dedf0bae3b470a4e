"""A folder in the Hub's layout as the place of publication: each revision whole in a folder of its own, `latest` pointing at one.

    models/<name>/<revision>/README.md, config.json, model.safetensors, ...
    models/<name>/latest -> <revision>

A revision is renamed into place when it is complete, and never changed after; going back to an older one is moving the pointer.
"""

import os
import shutil
import tempfile
from pathlib import Path

from tasks.contracts.errors import ReleaseError
from tasks.store.objects import sha256_of


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


def point_latest(target: Path) -> Path:
    """Make `latest` beside the revision point at it, at once, and return the pointer."""
    latest = target.parent / "latest"
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".latest-") as folder:
        link = Path(folder) / "latest"
        link.symlink_to(target.name)
        os.replace(link, latest)
    return latest
