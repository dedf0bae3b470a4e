"""Check: read back what was brought to where it will be published, all of it, and have it transcribe a few clips."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.contracts.errors import ReleaseError
from tasks.contracts.release import Release
from tasks.contracts.values import Artifact
from tasks.hub.page import Placed, read_back
from tasks.hub.read_back import fetch_back
from tasks.model.fit import device
from tasks.model.generate import hear_all
from tasks.model.whisper import load_whisper
from tasks.policy import step
from tasks.push import folder_of, token_of
from tasks.shards.dataset import open_split
from tasks.shards.format import Example
from tasks.store.artifacts import Draft, fetch
from tasks.store.objects import Store

N_HEARD = 5  # clips, spread over the test, that the published model must hear as ours does


@step("published", version=1, neutral=("release",))
def check_published(
    draft: Draft, page: Artifact, placed: Placed, release: Release, checkpoint: Artifact, dataset: Artifact, language: str
) -> dict[str, Any]:
    """Compare what lies there with the checkpoint, byte by byte and word by word.

    Raises:
        ReleaseError: if other bytes came back, or it hears something else than the checkpoint.
    """
    split = open_split(draft.store, dataset, "test")
    clips = [split[number] for number in range(0, len(split), max(len(split) // N_HEARD, 1))][:N_HEARD]
    with tempfile.TemporaryDirectory() as empty:
        back = _bring_back(draft.store, page, placed, release, Path(empty) / "page")
        ours, theirs = (_heard(folder, language, clips) for folder in (fetch(draft.store, checkpoint), back))
    for clip, one, other in zip(clips, ours, theirs, strict=True):
        if one != other:
            raise ReleaseError(f"{placed.where}: clip {clip.id} is heard as {other!r}, expected {one!r}; nothing was published")
    return {"where": placed.where, "n_clips": len(clips)}


def _heard(folder: Path, language: str, clips: Sequence[Example]) -> list[str]:
    return [heard.text for _, heard in sorted(hear_all(load_whisper(folder, language, device()), clips, len(clips)))]


def _bring_back(store: Store, page: Artifact, placed: Placed, release: Release, target: Path) -> Path:
    if release.repository:
        return fetch_back(release.repository, placed.revision, target, page.checksums, token_of(release))
    there, _ = folder_of(store, release)
    return read_back(there, placed.revision, page, target)
