"""What in a store nobody needs any more: prepared data that no sealed data set refers to, and what killed writers left behind.

Checkpoints, reports and models are never touched. Young objects, and what they refer to, are not either: a run that is under way has not
sealed its data set yet.
"""

from collections.abc import Collection
from dataclasses import dataclass

from tasks.contracts.errors import StoreError
from tasks.store.artifacts import SEAL, peek_all
from tasks.store.objects import STAGING, TEMPORARY, Store

PREPARED = ("corpus", "manifest", "plan", "audio", "features", "heard")  # kinds that exist for what is made of them


@dataclass(frozen=True)
class Leftover:
    """An object that can go."""

    path: str  # under the store's root
    n_bytes: int
    why: str


def leftovers(store: Store, older_than: float = 24 * 3600, forget: Collection[str] = ()) -> list[Leftover]:
    """Return what can go, seals before the objects they name.

    Args:
        store: where to look.
        older_than: seconds; younger objects stay.
        forget: keys of data sets that are no longer wanted; they go at once, and with them what only they refer to.

    Raises:
        StoreError: if a data set to be forgotten is not there.
    """
    datasets = {artifact.key: artifact for artifact, _ in peek_all(store, "dataset")}
    if unknown := sorted(set(forget) - set(datasets)):
        raise StoreError(
            f"{store.uri('dataset')} has no sealed data set {', '.join(unknown)}; it has {', '.join(sorted(datasets)) or 'none'}"
        )
    wanted = [each.facts["refers_to"] for key, each in datasets.items() if key not in forget]
    there = list(store.walk())
    kept = {path for path, _, age in there if age < older_than}
    for kind in PREPARED:
        keys = {key for each in wanted for key in each.get(kind, ())}
        for artifact, _ in peek_all(store, kind):
            seal = f"{kind}/{artifact.key}/{SEAL}"
            if artifact.key in keys or seal in kept:
                kept |= {seal, *(file.path for file in artifact.files)}  # its own files, and those it adopted

    found = []
    for path, n_bytes, age in there:
        kind, key, *_ = [*path.split("/"), ""]
        name = path.rpartition("/")[2]
        if kind == "dataset" and key in forget:
            found.append(Leftover(path, n_bytes, "forgotten"))
        elif age < older_than:
            continue
        elif kind == STAGING or name.startswith(TEMPORARY):
            found.append(Leftover(path, n_bytes, "left by a killed writer"))
        elif kind in PREPARED and path not in kept:
            found.append(Leftover(path, n_bytes, "no data set refers to it"))
    return sorted(found, key=lambda each: (not each.path.endswith(f"/{SEAL}"), each.path))
