"""Only what no data set needs is listed, adopted files stay, and what is young is left alone."""

import os
import time
from pathlib import Path

import pytest

from flows.__main__ import main
from tasks.contracts.errors import StoreError
from tasks.contracts.values import Artifact
from tasks.store.artifacts import Draft, find
from tasks.store.objects import Store
from tasks.store.prune import leftovers

DAY = 24 * 3600


def sealed(store: Store, kind: str, key: str, adopted: Artifact | None = None, **facts: object) -> Artifact:
    draft = Draft(store, kind, key)
    draft.write(f"{key}.bin", f"{kind} {key}".encode())
    if adopted:
        draft.adopt(adopted.files[0])
    return draft.seal(facts)


def filled(store: Store) -> None:
    """A corpus in two revisions, the second with a pack of the first; a data set of the second; a shelf that nobody uses."""
    first = sealed(store, "corpus", "old")
    sealed(store, "corpus", "new", adopted=Artifact("corpus", "old", (first.files[0],)))
    for key in ("used", "unused"):
        sealed(store, "audio", key)
    sealed(store, "checkpoint", "weights")
    sealed(store, "dataset", "one", refers_to={"corpus": ["new"], "audio": ["used"]})


@pytest.mark.parametrize("where", ["local", "memory", "gs", "s3"])
def test_what_no_data_set_refers_to_is_found_on_every_store(where: str, request: pytest.FixtureRequest) -> None:
    store: Store = request.getfixturevalue(where)
    filled(store)
    found = [each.path for each in leftovers(store, older_than=-1)]
    assert all("seal.json" in path for path in found[:2]) and len(found) == 3, "seals go first, so that nobody reads a half"
    assert sorted({path.rsplit("/", 1)[0] for path in found}) == ["audio/unused", "corpus/old"]
    assert not any(path.endswith(".bin") for path in found if path.startswith("corpus/old")), "its pack is in use by the new revision"
    for path in found:
        store.delete(path)
    assert [find(store, *place.split("/")) is not None for place in ("corpus/new", "audio/used", "dataset/one", "checkpoint/weights")] == [
        True
    ] * 4
    assert leftovers(store, older_than=-1) == []


def test_a_data_set_that_is_forgotten_goes_with_all_that_only_it_needs(local: Store) -> None:
    filled(local)
    sealed(local, "dataset", "two", refers_to={"audio": ["used"]})
    found = {each.path.rsplit("/", 1)[0]: each.why for each in leftovers(local, older_than=-1, forget=["one"])}
    assert found == {
        "dataset/one": "forgotten",
        "corpus/new": found["corpus/new"],
        "corpus/old": found["corpus/old"],
        "audio/unused": found["audio/unused"],
    }
    with pytest.raises(StoreError, match="no sealed data set three; it has one, two"):
        leftovers(local, forget=["three"])


def test_what_a_run_under_way_may_need_is_left_alone(local: Store) -> None:
    filled(local)
    assert leftovers(local) == []
    staged = local.staging() / "half" / "audio.arrow"
    staged.parent.mkdir()
    staged.write_bytes(b"half")
    temporary = Path(local.uri("checkpoint/weights/.tmp-abc"))
    temporary.write_bytes(b"half")
    for path in (staged, temporary):
        os.utime(path, (time.time() - 2 * DAY,) * 2)
    assert {each.why for each in leftovers(local)} == {"left by a killed writer"} and len(leftovers(local)) == 2
    for path in Path(local.root, "corpus", "old").iterdir():
        os.utime(path, (time.time() - 2 * DAY,) * 2)
    found = {each.path for each in leftovers(local, forget=["one"]) if each.path.startswith("corpus/")}
    assert found == {"corpus/old/seal.json"}, "the old pack stays: the young corpus has adopted it"


def test_the_command_lists_and_removes_only_when_told_to(local: Store, capsys: pytest.CaptureFixture[str]) -> None:
    filled(local)
    for arguments, words in (([], "--remove removes them"), (["--remove"], "removed"), ([], "0 objects")):
        assert main(["prune", "--store", local.root, "--older-than", "0", *arguments]) == 0
        assert words in capsys.readouterr().out
    assert main(["prune", "--store", local.root, "--forget", "none"]) == 2
