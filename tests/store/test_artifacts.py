"""A sealed artifact is whole, and an unsealed one does not exist: on every store, after every damage."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.contracts.errors import StoreError
from tasks.contracts.values import Artifact, File
from tasks.store.artifacts import SEAL, Draft, cache_folder, fetch, fetch_file, find, load, peek_all
from tasks.store.objects import Store
from tests.support.fake_gcs import FakeGcs

pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # aiohttp, of what gcsfs hands it
KIND, KEY = "features", "0123456789abcdef"
CONTENT = {"shard.arrow": bytes(range(256)) * 40, "weights/model.safetensors": b"W" * 5000, "README": b"", "tokenizer.tar.gz": b"ab"}
FACTS = {"n_clips": 12, "hours": 0.1, "splits": {"train": 10, "dev": 2}, "text": "blåbär"}


def make(store: Store, content: dict[str, bytes] = CONTENT, facts: dict[str, object] = FACTS) -> Artifact:
    draft = Draft(store, KIND, KEY)
    for name, data in content.items():
        draft.write(name, data)
    return draft.seal(facts, made_from={"version": 1})


def flip(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]


def test_what_was_sealed_is_found_with_its_files_and_facts(store: Store) -> None:
    made = make(store)
    found = find(store, KIND, KEY)
    assert made == found == load(store, KIND, KEY)
    assert found is not None and found.facts == FACTS
    for name, data in CONTENT.items():
        assert fetch_file(store, found.file(name)).read_bytes() == data
        assert store.read(found.file(name).path) == data


def test_an_artifact_without_a_seal_does_not_exist(store: Store) -> None:
    Draft(store, KIND, KEY).write("shard.arrow", CONTENT["shard.arrow"])
    assert find(store, KIND, KEY) is None
    with pytest.raises(StoreError, match=f"{KIND}/{KEY} is not there, or not whole; make it with the step that writes 'features'"):
        load(store, KIND, KEY)


def test_a_fetched_artifact_is_a_folder_with_the_real_names(store: Store) -> None:
    folder = fetch(store, make(store))
    assert {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == CONTENT
    assert fetch(store, load(store, KIND, KEY)) == folder


def test_a_file_that_was_staged_is_one_of_the_artifact_and_nothing_is_left_beside_it(store: Store) -> None:
    draft = Draft(store, KIND, KEY)
    with draft.staged("shard.arrow") as path:
        path.write_bytes(CONTENT["shard.arrow"])
    made = draft.seal({})
    assert fetch_file(store, made.file("shard.arrow")).read_bytes() == CONTENT["shard.arrow"]
    assert made.file("shard.arrow").path == make(store, {"shard.arrow": CONTENT["shard.arrow"]}).file("shard.arrow").path
    assert list(store.staging().iterdir()) == []


def test_a_file_that_was_not_written_to_its_end_is_no_file_of_anything(store: Store) -> None:
    draft = Draft(store, KIND, KEY)
    with pytest.raises(OSError, match="disk full"), draft.staged("shard.arrow") as path:
        path.write_bytes(b"half")
        raise OSError("disk full")
    assert draft.files == {} and store.names(f"{KIND}/{KEY}") == [] and list(store.staging().iterdir()) == []


def test_a_file_can_belong_to_two_artifacts_and_lies_there_once(store: Store) -> None:
    old = make(store)
    draft = Draft(store, KIND, "younger")
    draft.adopt(old.file("shard.arrow"))
    draft.write("more.arrow", b"more")
    young = draft.seal({})
    assert find(store, KIND, "younger") == young and fetch_file(store, young.file("shard.arrow")).read_bytes() == CONTENT["shard.arrow"]
    assert [name.split("-")[0] for name in store.names(f"{KIND}/younger")] == ["more", SEAL]
    store.delete(old.file("shard.arrow").path)
    assert find(store, KIND, KEY) is find(store, KIND, "younger") is None


def test_all_seals_of_a_kind_are_told_without_a_look_at_their_objects(store: Store) -> None:
    assert list(peek_all(store, KIND)) == []
    made = []
    for key in ("b", "a"):
        draft = Draft(store, KIND, key)
        draft.write("x.bin", key.encode())
        made.append((draft.seal({"key": key}, made_from={"version": key}), {"version": key}))
    Draft(store, KIND, "unsealed").write("x.bin", b"x")
    store.create(f"{KIND}/damaged/{SEAL}", b"{}")
    store.create(f"{KIND}/a-file", b"")
    store.delete(made[0][0].file("x.bin").path)
    assert list(peek_all(store, KIND)) == made[::-1]


DAMAGES: dict[str, Callable[[Store, str], None]] = {
    "deleted": lambda store, path: store.delete(path),
    "truncated": lambda store, path: store.replace(path, store.read(path)[:-1]),
    "emptied": lambda store, path: store.replace(path, b""),
    "flipped": lambda store, path: store.replace(path, flip(store.read(path))),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("what", ["shard.arrow", SEAL])
def test_a_damaged_artifact_is_not_believed_and_can_be_made_again(store: Store, damage: str, what: str) -> None:
    made = make(store)
    DAMAGES[damage](store, f"{KIND}/{KEY}/{SEAL}" if what == SEAL else made.file(what).path)
    if (damage, what) == ("flipped", "shard.arrow") and store.url.startswith("s3:"):
        with pytest.raises(StoreError):  # S3 reports no checksum that we know beforehand: it is seen when the object is read
            fetch_file(store, made.file(what))
    assert find(store, KIND, KEY) is None
    assert make(store) == made == find(store, KIND, KEY)
    assert fetch_file(store, made.file("shard.arrow")).read_bytes() == CONTENT["shard.arrow"]


def test_a_flipped_byte_on_s3_is_caught_when_it_is_fetched(s3: Store) -> None:
    made = make(s3)
    DAMAGES["flipped"](s3, made.file("shard.arrow").path)
    with pytest.raises(StoreError, match=r"shard-\w+\.arrow is damaged.*removed, run again"):
        fetch(s3, made)
    assert find(s3, KIND, KEY) is None
    assert make(s3) == find(s3, KIND, KEY) == made
    fetch(s3, made)


def test_a_flipped_byte_is_caught_even_between_find_and_fetch(store: Store) -> None:
    made = make(store)
    DAMAGES["flipped"](store, made.file("shard.arrow").path)
    with pytest.raises(StoreError, match=r"damaged.* removed"):
        fetch_file(store, made.file("shard.arrow"))
    assert find(store, KIND, KEY) is None


def test_no_altered_byte_of_a_seal_is_believed(memory: Store) -> None:
    made = make(memory)
    seal = memory.read(f"{KIND}/{KEY}/{SEAL}")
    for place in range(len(seal)):
        for bit in (1, 32):  # another digit or letter; another case
            memory.replace(f"{KIND}/{KEY}/{SEAL}", seal[:place] + bytes([seal[place] ^ bit]) + seal[place + 1 :])
            assert find(memory, KIND, KEY) in (None, made), f"byte {place} of the seal"


@pytest.mark.parametrize(
    "seal", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b'{"format": 99}', b'{"format": 1, "files": [["a", "b", 3, "c"]]}']
)
def test_what_is_no_seal_is_none(memory: Store, seal: bytes) -> None:
    memory.create(f"{KIND}/{KEY}/{SEAL}", seal)
    assert find(memory, KIND, KEY) is None
    assert make(memory) == find(memory, KIND, KEY)


def test_a_seal_that_was_copied_to_another_address_is_not_believed(memory: Store) -> None:
    make(memory)
    memory.create(f"{KIND}/another-key/{SEAL}", memory.read(f"{KIND}/{KEY}/{SEAL}"))
    assert find(memory, KIND, "another-key") is None


@pytest.mark.parametrize("other", [{"shard.arrow": b"the other's bytes"}, {**CONTENT, "shard.arrow": CONTENT["shard.arrow"][::-1]}])
def test_of_two_writers_with_different_bytes_the_second_adopts_the_first(store: Store, other: dict[str, bytes]) -> None:
    first, second = Draft(store, KIND, KEY), Draft(store, KIND, KEY)
    for name, data in other.items():
        second.write(name, data)
    for name, data in CONTENT.items():
        first.write(name, data)
    winner = first.seal(FACTS, made_from={"version": 1})
    seal = store.read(f"{KIND}/{KEY}/{SEAL}")
    assert second.seal(FACTS, made_from={"version": 1}) == winner == find(store, KIND, KEY)
    assert store.read(f"{KIND}/{KEY}/{SEAL}") == seal
    assert fetch_file(store, winner.file("shard.arrow")).read_bytes() == CONTENT["shard.arrow"]


def test_a_second_writer_does_not_adopt_a_seal_whose_objects_are_gone(store: Store) -> None:
    store.delete(make(store).file("shard.arrow").path)
    other = make(store, {"shard.arrow": b"the other's bytes"})
    assert other == find(store, KIND, KEY)
    assert fetch_file(store, other.file("shard.arrow")).read_bytes() == b"the other's bytes"


def test_a_copy_that_was_damaged_in_the_cache_is_fetched_again(gs: Store) -> None:
    made = make(gs)
    copy = fetch_file(gs, made.file("shard.arrow"))
    assert copy.is_relative_to(cache_folder())
    copy.write_bytes(flip(copy.read_bytes()))
    assert fetch_file(gs, made.file("shard.arrow")).read_bytes() == CONTENT["shard.arrow"]


@pytest.mark.parametrize("kind", ["flip", "truncate"])
def test_a_body_that_arrives_altered_is_asked_for_again(gcs: FakeGcs, gs: Store, kind: str) -> None:
    made = make(gs)
    gcs.fail("GET .*shard.*alt=media", kind, times=2)  # type: ignore[arg-type]
    assert fetch_file(gs, made.file("shard.arrow")).read_bytes() == CONTENT["shard.arrow"]


def test_a_seal_whose_reply_was_lost_is_sealed_once(gcs: FakeGcs, gs: Store) -> None:
    gcs.fail("POST .*uploadType=multipart", "503_after")
    assert make(gs, {"x.bin": b"x"}) == find(gs, KIND, KEY)
    gcs.fail("GET .*seal.json", "reset")
    assert find(gs, KIND, KEY) is not None


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/outside"])
def test_a_name_that_leads_outside_is_never_followed(gs: Store, name: str) -> None:
    made = make(gs, {"x.bin": b"x"})
    hostile = Artifact(KIND, KEY, (File(name, *list(vars(made.files[0]).values())[1:]),))
    with pytest.raises(StoreError, match="outside"):
        fetch(gs, hostile)


def test_a_path_that_leads_outside_is_neither_read_nor_removed(local: Store, tmp_path: Path) -> None:
    (tmp_path / "private.txt").write_bytes(b"x")
    with pytest.raises(StoreError, match=r"'\.\./private\.txt' leads outside the store"):
        fetch_file(local, File("x", "../private.txt", 1, "not its checksum"))
    assert (tmp_path / "private.txt").exists()


def test_facts_read_the_same_from_the_maker_and_from_the_seal(memory: Store) -> None:
    made = make(memory, facts={"pair": (1, 2), "steps": {10: "b", 2: "a"}, "loss": 0.1 + 0.2})
    assert made == find(memory, KIND, KEY)


def test_a_seal_can_be_read_by_a_person(memory: Store) -> None:
    make(memory)
    text = memory.read(f"{KIND}/{KEY}/{SEAL}").decode()
    assert "blåbär" in text and len(text.splitlines()) > 5
    assert json.loads(text)["made_from"] == {"version": 1}


def test_a_local_artifact_is_used_where_it_lies(local: Store) -> None:
    made = make(local)
    assert fetch_file(local, made.file("shard.arrow")) == Path(local.root) / made.file("shard.arrow").path
    assert os.stat(fetch_file(local, made.file("README"))).st_mode & 0o777 == 0o644, "colleagues read what one of them made"
