"""The stand-in for the Hub answers the real client as the Hub does; what tests of publishing rest on."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, HTTPError, RemoteEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

from tests.support.fake_hub import Kind, flipped, oid
from tests.support.fake_hub_writes import WritableHub

REPO = "team/model"
CARD = "---\nlanguage: sv\nlicense: mit\n---\n"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[WritableHub]:
    for name, value in {"HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True}.items():
        monkeypatch.setattr(constants, name, value)
    with WritableHub() as hub:
        yield hub


@pytest.fixture
def api(hub: WritableHub) -> HfApi:
    api = HfApi(endpoint=hub.url, token="hf_write")
    api.create_repo(REPO)
    return api


def add(api: HfApi, *gone: CommitOperationDelete, parent: str | None = None, **files: bytes) -> str:
    """Commit files; `__` in a name stands for a dot."""
    added = [CommitOperationAdd(name.replace("__", "."), data) for name, data in files.items()]
    return str(api.create_commit(REPO, [*gone, *added], commit_message="more", parent_commit=parent).oid)


def status(refused: "pytest.ExceptionInfo[HfHubHTTPError]") -> int:
    return refused.value.response.status_code


def told(hub: WritableHub, method: str, path: str, said: Any = None) -> httpx.Response:
    """Send what the client would not."""
    return httpx.request(method, hub.url + path, json=said, headers={"Authorization": "Bearer hf_write"})


def test_who_asks_and_what_they_may_is_told(hub: WritableHub, api: HfApi) -> None:
    assert api.whoami()["name"] == "team" and api.whoami("hf_read")["auth"]["accessToken"]["role"] == "read"
    for token, asked, code in (("hf_read", REPO, 403), ("hf_stranger", REPO, 401), (False, "team/b", 401), ("hf_write", "others/b", 403)):
        with pytest.raises(HfHubHTTPError) as refused:
            HfApi(endpoint=hub.url, token=token).create_repo(asked)
        assert status(refused) == code, (token, asked)
    hub.repositories[REPO].is_private = True
    with pytest.raises(RepositoryNotFoundError):
        HfApi(endpoint=hub.url, token=False).model_info(REPO)


def test_a_repository_is_made_once_with_its_visibility_and_a_first_commit(hub: WritableHub, api: HfApi) -> None:
    with pytest.raises(HfHubHTTPError) as refused:
        api.create_repo(REPO)
    assert status(refused) == 409
    assert api.create_repo(REPO, private=True, exist_ok=True) == f"{hub.url}/{REPO}" and not api.model_info(REPO).private
    api.create_repo("team/secret", private=True)
    assert api.model_info("team/secret").private and [each.title for each in api.list_repo_commits("team/secret")] == ["initial commit"]
    answer = told(hub, "POST", "/api/repos/create", {"name": "-a--"})
    assert answer.status_code == 400 and "Invalid repo name: -a--" in answer.text


def test_a_commit_keeps_its_parent_its_title_and_all_files(hub: WritableHub, api: HfApi) -> None:
    first = add(api, a__txt=b"a", weights__safetensors=b"w" * 99)
    second = add(api, b__txt=b"b", parent=first)
    assert [each.commit_id for each in api.list_repo_commits(REPO)] == hub.history(REPO) == [second, first, hub.history(REPO)[2]]
    assert hub.files(REPO) == {"a.txt": b"a", "weights.safetensors": b"w" * 99, "b.txt": b"b"} and "b.txt" not in hub.files(REPO, first)
    with pytest.raises(HfHubHTTPError) as refused:
        add(api, c__txt=b"c", parent=first)
    assert status(refused) == 412 and hub.history(REPO)[0] == second


def test_files_are_listed_under_the_names_that_git_and_large_file_storage_give_them(api: HfApi) -> None:
    commit = add(api, a__txt=b"a\n", weights__safetensors=b"w" * 99)
    there = {entry.path: entry for entry in api.list_repo_tree(REPO, recursive=True, revision=commit)}
    assert there["a.txt"].blob_id == "78981922613b2afb6025042ff6bd878ac1994e85" and there["a.txt"].lfs is None  # git hash-object
    sha256 = hashlib.sha256(b"w" * 99).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize 99\n".encode()
    large = there["weights.safetensors"]
    assert (large.size, large.blob_id) == (99, oid(pointer))
    assert (large.lfs.size, large.lfs.sha256, large.lfs.pointer_size) == (99, sha256, len(pointer))
    about = get_hf_file_metadata(hf_hub_url(REPO, "weights.safetensors", revision=commit, endpoint=api.endpoint), token="hf_write")
    assert (about.commit_hash, about.etag, about.size) == (commit, sha256, 99)
    assert get_hf_file_metadata(hf_hub_url(REPO, "a.txt", revision=commit, endpoint=api.endpoint)).etag == there["a.txt"].blob_id


def test_files_and_folders_are_deleted_and_what_is_not_there_cannot_be(hub: WritableHub, api: HfApi) -> None:
    added = [CommitOperationAdd(name, b"x") for name in ("old/a.txt", "old/b.txt", "olden.txt")]
    api.create_commit(REPO, added, commit_message="x")
    add(api, CommitOperationDelete("old/a.txt"))
    assert set(hub.files(REPO)) == {"old/b.txt", "olden.txt"}
    add(api, CommitOperationDelete("old/"))
    assert set(hub.files(REPO)) == {"olden.txt"}
    with pytest.raises(RemoteEntryNotFoundError):
        add(api, CommitOperationDelete("old/b.txt"))


def test_a_large_file_is_sent_once_and_only_as_it_was_announced(hub: WritableHub, api: HfApi) -> None:
    add(api, one__bin=b"same" * 9)
    add(api, two__bin=b"same" * 9)
    assert sum(request.startswith("PUT") for request in hub.requests) == 1
    sha256 = hashlib.sha256(b"right").hexdigest()
    batch = told(hub, "POST", f"/{REPO}.git/info/lfs/objects/batch", {"objects": [{"oid": sha256, "size": 5}]})
    href = batch.json()["objects"][0]["actions"]["upload"]["href"]
    assert httpx.put(href, content=b"wrong").status_code == 400 and httpx.put(href.partition("?")[0], content=b"right").status_code == 403
    assert sha256 not in hub.objects and httpx.put(href, content=b"right").status_code == 200
    assert httpx.get(href).content == b"right"


def test_a_commit_is_refused_for_a_card_a_path_or_an_object_that_was_not_sent(hub: WritableHub, api: HfApi) -> None:
    for key, value, why in (
        ("file", {"path": "README.md", "content": base64.b64encode(CARD.replace("sv", "sv-SE").encode()).decode()}, "language.*sv-SE"),
        ("file", {"path": "../out", "content": ""}, "invalid path"),
        ("lfsFile", {"path": "w.bin", "algo": "sha256", "oid": "0" * 64, "size": 1}, "no object 000.* was sent"),
    ):
        lines = [{"key": "header", "value": {"summary": "x"}}, {"key": key, "value": value}]
        body = "".join(json.dumps(line) + "\n" for line in lines)
        answer = httpx.post(f"{hub.url}/api/models/{REPO}/commit/main", content=body, headers={"Authorization": "Bearer hf_write"})
        assert answer.status_code == 400 and re.search(why, answer.text), answer.text
    assert len(hub.history(REPO)) == 1


@pytest.mark.parametrize(("metadata", "wrong"), [
    ("language: sv\nlicense: mit", ""), ("language: [sv, smi]", ""), ("language: sv-SE", "language"),
    ("language: [sv, English]", "English"), ("license: [mit]", "license"), ("a: [", "YAML"), ("- a", "mapping"),
    ("model-index:\n- results:\n  - metrics: [x]", "task"),
])  # fmt: skip
def test_metadata_is_read_and_judged(api: HfApi, metadata: str, wrong: str) -> None:
    if not wrong:
        return api._validate_yaml(f"---\n{metadata}\n---\n")
    with pytest.raises(ValueError, match=f"(?s)Invalid metadata.*{wrong}"):
        api._validate_yaml(f"---\n{metadata}\n---\n")
    with pytest.raises(ValueError, match="sdk"):
        api._validate_yaml(CARD, repo_type="space")


def test_tags_stay_and_branches_begin_where_they_are_told(hub: WritableHub, api: HfApi) -> None:
    first, _ = add(api, a__txt=b"a"), add(api, a__txt=b"b")
    api.create_tag(REPO, tag="v1", revision=first)
    with pytest.raises(HfHubHTTPError) as refused:
        api.create_tag(REPO, tag="v1")
    assert status(refused) == 409
    api.create_branch(REPO, branch="old", revision=first)
    refs = api.list_repo_refs(REPO)
    assert [(tag.name, tag.target_commit) for tag in refs.tags] == [("v1", first)]
    assert {branch.name: branch.target_commit for branch in refs.branches} == {"main": hub.history(REPO)[0], "old": first}
    assert hub.files(REPO, "v1") == hub.files(REPO, "old") == {"a.txt": b"a"}
    api.delete_tag(REPO, tag="v1")
    assert hub.repositories[REPO].tags == {}
    with pytest.raises(RevisionNotFoundError):
        api.create_tag(REPO, tag="v2", revision="nowhere")


def test_a_space_has_an_sdk_variables_and_secrets_that_nobody_reads(hub: WritableHub, api: HfApi) -> None:
    api.create_repo("team/demo", repo_type="space", space_sdk="gradio", space_variables=[{"key": "A", "value": "1"}])
    assert api.get_space_runtime("team/demo").stage == "NO_APP_FILE"
    api.add_space_variable("team/demo", "B", "2")
    api.add_space_secret("team/demo", "C", "3")
    assert {key: each.value for key, each in api.get_space_variables("team/demo").items()} == {"A": "1", "B": "2"}
    assert hub.repositories["spaces/team/demo"].settings["secrets"] == {"C": "3"}
    api.delete_space_variable("team/demo", "A")
    api.upload_file(path_or_fileobj=b"print(1)", path_in_repo="app.py", repo_id="team/demo", repo_type="space")
    assert set(api.get_space_variables("team/demo")) == {"B"} and api.get_space_runtime("team/demo").stage == "RUNNING"
    assert told(hub, "GET", "/api/spaces/team/demo/secrets").json() == {"C": {"key": "C"}}


@pytest.mark.parametrize(("kind", "after"), [
    ("503", False), ("500", False), ("reset", False), ("503", True), ("reset", True), ("cut", False),
])  # fmt: skip
def test_a_fault_comes_before_or_after_the_request_is_carried_out(hub: WritableHub, api: HfApi, kind: Kind, after: bool) -> None:
    met = hub.fail("POST .*/commit/", kind, after=after, retry_after="7")
    with pytest.raises(HTTPError) as accident:  # type: ignore[call-overload]  # of whichever HTTP library the client uses
        add(api, a__txt=b"a")
    is_done = after or kind == "cut"
    assert met.times == 0 and hub.files(REPO) == ({"a.txt": b"a"} if is_done else {}) and len(hub.history(REPO)) == 1 + is_done
    if kind.isdigit():
        assert status(accident) == int(kind) and accident.value.response.headers["Retry-After"] == "7"
    add(api, a__txt=b"b")
    assert hub.files(REPO) == {"a.txt": b"b"}


def test_a_flipped_bit_is_in_what_is_stored_or_in_what_is_sent_back(hub: WritableHub, api: HfApi) -> None:
    hub.fail("PUT /storage/", "flip")
    commit = add(api, w__bin=b"weights")
    assert hub.files(REPO) == {"w.bin": flipped(b"weights")} and flipped(b"weights") != b"weights"
    hub.fail("POST .*/commit/", "flip")
    add(api, w__bin=b"other", a__txt=b"abc")
    assert hub.files(REPO) == {"w.bin": b"other", "a.txt": flipped(b"abc")}
    hub.fail(f"GET .*/{commit}/", "flip")
    address = f"{hub.url}/{REPO}/resolve/{commit}/w.bin"
    assert [httpx.get(address).content for _ in range(2)] == [b"weights", flipped(b"weights")]  # turned over twice, then once
