"""Publishing on the Hub: the real client over HTTP, against a stand-in that refuses what the Hub would refuse."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, constants

from tasks.contracts.errors import ReleaseError
from tasks.hub import read_back
from tasks.hub.read_back import Kind, fetch_back
from tasks.hub.upload import Published, publish
from tasks.model.start import checkpoint_files
from tests.support import fake_hub_writes
from tests.support.fake_hub_writes import WritableHub
from tests.support.tiny import new_folder

ROOT = Path(__file__).parents[2]
CARD = b"---\nlanguage: sv\nlicense: mit\n---\n# a model\n"
FIRST = {
    "README.md": CARD, "config.json": b"{}", "model.safetensors": b"\0\1" * 2000, "notes/history.json": b"[1, 2]", "recipe.json": b"{}"
}  # fmt: skip
SECOND = {"README.md": CARD, "config.json": b'{"a": 1}', "model.safetensors": FIRST["model.safetensors"], "recipe.json": b"{}"}
SPACE = {
    "README.md": b"---\ntitle: Demo\nsdk: gradio\napp_file: app.py\n---\n", "app.py": b"print(1)\n", "tasks/hub/space/listen.py": b"2\n"
}  # fmt: skip
ATTRIBUTES = {".gitattributes": b"*.safetensors filter=lfs\n"}
THEIRS = ATTRIBUTES | {"README.md": CARD, "pytorch_model.bin": b"\3", "runs/events": b"4", "a": b"5", "b": b"6"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WritableHub]:
    """A Hub on loopback, which this process may reach."""
    for name, value in {
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
        "HF_TOKEN_PATH": str(tmp_path / "nobody is logged in"),
    }.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(read_back, "WAITS", (0.01, 0.01, 0.01))
    with WritableHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", "hf_write")
        yield hub


def put(folder: Path, files: Mapping[str, bytes]) -> dict[str, str]:
    """Write the files and return their SHA-256 by name."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return {name: sha256(data).hexdigest() for name, data in files.items()}


def send(folder: Path, files: Mapping[str, bytes], repo: str = "team/model", kind: Kind = "model", **named: Any) -> Published:
    return publish(repo, kind, folder, put(folder, files), **named)


def changes(hub: WritableHub) -> list[str]:
    """Return the requests that could have changed something."""
    return [request for request in hub.requests if request.startswith(("PUT", "POST", "DELETE")) and "validate" not in request]


def test_a_first_publication_is_one_commit_that_holds_exactly_these_files(hub: WritableHub, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("not published")
    told = send(tmp_path, FIRST, tag="v1.0")
    assert told == Published(f"{hub.url}/team/model", hub.history("team/model")[0], False)
    assert hub.files("team/model") == hub.files("team/model", "v1.0") == FIRST
    there = hub.repositories["team/model"]
    assert [there.commits[commit].title for commit in hub.history("team/model")] == ["Publish v1.0", "initial commit"]
    assert there.is_private and set(there.commits[told.commit].large) == {"model.safetensors"}


def test_a_second_publication_changes_adds_and_deletes_in_one_commit_and_sends_no_weights_twice(hub: WritableHub, tmp_path: Path) -> None:
    first = send(tmp_path, FIRST, tag="v1.0")
    hub.requests.clear()
    second = send(tmp_path, SECOND, tag="v2.0", message="Better")
    assert hub.history("team/model")[:2] == [second.commit, first.commit] and not second.was_there
    assert hub.files("team/model") == SECOND and hub.files("team/model", "v1.0") == FIRST  # the older one stays
    assert changes(hub) == [f"POST /api/models/team/model/{what}" for what in ("preupload/main", "commit/main", f"tag/{second.commit}")]
    assert hub.repositories["team/model"].commits[second.commit].title == "Better"


def test_what_is_there_already_is_not_sent(hub: WritableHub, tmp_path: Path) -> None:
    first = send(tmp_path, FIRST)
    hub.requests.clear()
    assert send(tmp_path, FIRST) == Published(first.url, first.commit, True) and changes(hub) == []
    assert send(tmp_path, FIRST, tag="v1.0").was_there and hub.repositories["team/model"].tags == {"v1.0": first.commit}
    assert changes(hub) == [f"POST /api/models/team/model/tag/{first.commit}"]


def test_going_back_to_an_older_release_is_a_commit_and_leaves_its_tag_where_it_was(hub: WritableHub, tmp_path: Path) -> None:
    first = send(tmp_path / "1", FIRST, tag="v1.0")
    send(tmp_path / "2", SECOND, tag="v2.0")
    hub.requests.clear()
    again = send(tmp_path / "1", FIRST, tag="v1.0")
    assert len(hub.history("team/model")) == 4 and hub.files("team/model") == FIRST == hub.files("team/model", again.commit)
    assert hub.repositories["team/model"].tags["v1.0"] == first.commit and not [each for each in hub.requests if each.startswith("PUT")]


def test_a_tag_on_other_files_is_never_moved_and_nothing_is_sent(hub: WritableHub, tmp_path: Path) -> None:
    first = send(tmp_path, FIRST, tag="v1.0")
    hub.requests.clear()
    with pytest.raises(
        ReleaseError, match=rf"team/model on the Hub: tag v1.0 is at commit {first.commit[:7]}, which holds other files \(conf"
    ):
        send(tmp_path, SECOND, tag="v1.0")
    assert changes(hub) == [] and hub.history("team/model")[0] == first.commit


def test_a_file_that_the_hub_moves_to_large_file_storage_for_its_size_is_known_again(
    hub: WritableHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_hub_writes, "LARGE", 1000)
    files = FIRST | {"tokenizer.json": b"{" + b" " * 1000 + b"}", "empty.txt": b""}
    first = send(tmp_path, files)
    assert "tokenizer.json" in hub.repositories["team/model"].commits[first.commit].files[".gitattributes"].decode()
    assert send(tmp_path, files).was_there
    send(tmp_path, files | {"tokenizer.json": b"{}"})
    assert hub.files("team/model")["tokenizer.json"] == b"{}"


def test_a_public_repository_is_refused_if_a_private_one_is_wanted(hub: WritableHub, tmp_path: Path) -> None:
    hub.create("team/model", private=False)
    wrong = "is public, and the recipe wants it private; make it private on the Hub, or set release.private to false"
    for branch in ("main", "training-1"):
        with pytest.raises(ReleaseError, match=f"^team/model on the Hub {wrong}$"):
            send(tmp_path, FIRST, tag="v1.0", branch=branch)
    assert changes(hub) == [] and not hub.files("team/model")
    send(tmp_path, FIRST, private=False)
    assert hub.files("team/model") == FIRST and not hub.repositories["team/model"].is_private
    hub.create("spaces/team/demo", private=False, sdk="gradio")
    with pytest.raises(ReleaseError, match=f"^team/demo on the Hub {wrong}$"):
        send(tmp_path, SPACE, "team/demo", "space", variables={"VISKA_MODEL": "team/model"})
    assert hub.repositories["spaces/team/demo"].settings["variables"] == {} and not hub.files("spaces/team/demo")


def test_a_private_repository_stays_private_and_that_is_said(hub: WritableHub, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tasks.hub.upload")
    send(tmp_path, FIRST, repo="team/open", private=False)
    assert not hub.repositories["team/open"].is_private and "private" not in caplog.text
    hub.create("team/model", private=True)
    send(tmp_path, FIRST, private=False)
    assert hub.files("team/model") == FIRST and hub.repositories["team/model"].is_private
    assert caplog.text.count("team/model on the Hub is private and stays so; to let everybody see it, make it public there") == 1


@pytest.mark.parametrize("name", [".gitattributes", ".gitignore", "LICENSE", "LICENSE.txt", "LICENSE.md"])
def test_what_was_always_somebody_elses_is_never_deleted(hub: WritableHub, tmp_path: Path, name: str) -> None:
    hub.create("team/model")
    kept = ATTRIBUTES | {name: b"*.safetensors filter=lfs\n# theirs"}
    hub.commit("team/model", kept | {"README.md": b"# made by the Hub"})
    told = send(tmp_path, FIRST, tag="v1.0")
    there = hub.repositories["team/model"].commits
    assert there[told.commit].files == FIRST | kept and send(tmp_path, FIRST, tag="v1.0").was_there
    assert there[send(tmp_path, SECOND).commit].files == SECOND | kept
    if "LICENSE" in name:
        assert there[send(tmp_path, SECOND | {name: b"ours"}).commit].files == SECOND | kept | {name: b"ours"}
        folder = {f"docs/{name}": b"ours, in a folder"}
        assert there[send(tmp_path, SECOND | folder).commit].files == SECOND | kept | {name: b"ours"} | folder
        assert f"docs/{name}" not in there[send(tmp_path, SECOND).commit].files


@pytest.mark.parametrize(("kind", "repo", "files", "mark"), [
    ("model", "team/model", FIRST, "recipe.json"),
    ("space", "spaces/team/model", SPACE, "tasks/hub/space/listen.py"),
])  # fmt: skip
def test_a_repository_with_files_that_are_not_of_viska_is_refused_and_nothing_is_sent(
    hub: WritableHub, tmp_path: Path, kind: Kind, repo: str, files: dict[str, bytes], mark: str
) -> None:
    hub.create(repo, sdk="gradio" if kind == "space" else "")
    hub.commit(repo, THEIRS | {"LICENSE": b"MIT", "app.py": b"7", "model.safetensors": b"8"} if kind == "model" else THEIRS)
    before, lost = hub.history(repo), r"5 files .* \(a, app.py, b\)" if kind == "model" else r"4 files .* \(a, b, pytorch_model.bin\)"
    variables = {"VISKA_MODEL": "team/model"} if kind == "space" else {}
    for branch in ("main", "training-1"):
        with pytest.raises(
            ReleaseError,
            match=rf"^team/model on the Hub holds {lost}, and no {mark}, .*; publish to another repository, or remove them there first$",
        ):
            send(tmp_path, files, "team/model", kind, tag="v1.0", branch=branch, variables=variables if branch == "main" else {})
    there = hub.repositories[repo]
    assert changes(hub) == [] and hub.history(repo) == before and set(there.refs) == {"main"} and not there.tags
    hub.commit(repo, THEIRS | {mark: b"{}"})  # it is ours after all
    send(tmp_path, files, "team/model", kind, tag="v1.0", branch="training-1")
    assert set(hub.files(repo)) == {*THEIRS, mark} - {".gitattributes"} and hub.files(repo, "training-1") == files
    send(tmp_path, files, "team/model", kind)
    assert hub.files(repo) == files


def test_a_space_gets_its_variables_before_its_files(hub: WritableHub, tmp_path: Path) -> None:
    told = send(tmp_path, SPACE, "team/demo", "space", variables={"VISKA_MODEL": "team/model"})
    there = hub.repositories["spaces/team/demo"]
    assert told.url == f"{hub.url}/spaces/team/demo" and there.sdk == "gradio" and there.is_private
    assert there.settings["variables"] == {"VISKA_MODEL": "team/model"} and hub.files("spaces/team/demo") == SPACE
    places = [number for number, each in enumerate(hub.requests) if each.endswith(("POST /api/spaces/team/demo/variables", "commit/main"))]
    assert len(places) == 2 and "variables" in hub.requests[places[0]]
    hub.requests.clear()
    assert send(tmp_path, SPACE, "team/demo", "space", variables={"VISKA_MODEL": "team/model"}).was_there and changes(hub) == []
    assert send(tmp_path, SPACE, "team/demo", "space", variables={"VISKA_MODEL": "team/better"}).was_there
    assert there.settings["variables"] == {"VISKA_MODEL": "team/better"} and changes(hub) == ["POST /api/spaces/team/demo/variables"]
    assert HfApi(endpoint=hub.url, token="hf_write").get_space_runtime("team/demo").stage == "RUNNING"


@pytest.mark.parametrize(("card", "why"), [
    (CARD.replace(b"sv", b"sv-SE"), "card: language 'sv-SE', expected an ISO 639 code"),
    (b"# a model", "the card has no metadata"),
    (None, "no README.md, and a model is not published without its card"),
])  # fmt: skip
def test_a_card_that_viska_refuses_is_refused_before_the_hub_is_asked(
    hub: WritableHub, tmp_path: Path, card: bytes | None, why: str
) -> None:  # fmt: skip
    with pytest.raises(ReleaseError, match=why):
        send(tmp_path, {name: data for name, data in (FIRST | {"README.md": card}).items() if data is not None})
    assert hub.requests == []


def test_a_card_that_only_the_hub_refuses_is_refused_at_its_endpoint_before_any_bytes_travel(hub: WritableHub, tmp_path: Path) -> None:
    odd = CARD.replace(b"license: mit", b"license: mit\nmodel-index:\n- results:\n  - {metrics: [{}], dataset: {type: x, name: y}}")
    with pytest.raises(
        ReleaseError, match="team/model on the Hub: POST /api/validate-yaml: 400 \"model-index\": a result lacks 'task'; correct"
    ):
        send(tmp_path, FIRST | {"README.md": odd})
    assert changes(hub) == ["POST /api/repos/create"] and len(hub.history("team/model")) == 1


@pytest.mark.parametrize(("named", "why"), [
    ({"repo": "model"}, "'model': not a name on the Hub, expected owner/name"),
    ({"repo": "team/a b"}, "'team/a b': not a name"),
    ({"repo": "team/a--b"}, "'team/a--b': not a name on the Hub, expected owner/name: Cannot have -- or"),
    ({"repo": "others/model"}, r"others/model on the Hub: POST /api/repos/create: 403 You don't .*; set HF_TOKEN .* access to others"),
    ({"tag": "v 1"}, "tag 'v 1', expected letters, digits"),
    ({"tag": "v1..2"}, "tag 'v1..2', expected"),
    ({"variables": {"A": "b"}}, r"variables \['A'\] for a model; only a Space has them"),
    ({"token": "hf_read"}, "team/model on the Hub: POST /api/repos/create: 403 You .*; set HF_TOKEN to a token with write access to team"),
    ({"token": "hf_gone"}, "team/model on the Hub: POST /api/repos/create: 401 Invalid credentials.*; set HF_TOKEN to a valid token"),
    ({"token": "hf_wri te"}, "team/model: the token holds a blank"),
])  # fmt: skip
def test_what_is_refused_is_said_with_what_to_do(hub: WritableHub, tmp_path: Path, named: dict[str, Any], why: str) -> None:
    with pytest.raises(ReleaseError, match=why) as refused:
        send(tmp_path, FIRST, **named)
    assert hub.repositories == {} and named.get("token", "hf_write") not in str(refused.value)


def test_a_read_only_token_leaves_an_existing_repository_as_it_was(hub: WritableHub, tmp_path: Path) -> None:
    before = send(tmp_path, FIRST)
    with pytest.raises(ReleaseError, match=r"preupload/main: 403 You don't have .*; set HF_TOKEN to a token with write access to team"):
        send(tmp_path, SECOND, token="hf_read")
    assert hub.history("team/model")[0] == before.commit and send(tmp_path, FIRST, token="hf_read").was_there


def test_without_a_token_nothing_is_asked(hub: WritableHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ReleaseError, match="team/model: no token, and publishing on the Hub needs one; set HF_TOKEN"):
        send(tmp_path, FIRST)
    assert hub.requests == [] and not send(tmp_path, FIRST, token=" hf_write\n").was_there


def test_offline_is_a_setting_and_no_accident(hub: WritableHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ReleaseError, match="HF_HUB_OFFLINE keeps huggingface_hub off the network; unset it"):
        send(tmp_path, FIRST)
    assert hub.requests == []


@pytest.mark.parametrize("name", ["model.safetensors", "../out.json", "missing.json", "./config.json"])
def test_files_that_are_not_what_they_should_be_are_not_sent(hub: WritableHub, tmp_path: Path, name: str) -> None:
    checksums = put(tmp_path / "folder", FIRST)
    put(tmp_path, {"out.json": b"{}"})
    with pytest.raises(ReleaseError, match="changed: SHA-256 .*, expected 000" if "model" in name else "is not a file in .* that can be"):
        publish("team/model", "model", tmp_path / "folder", checksums | {name: "0" * 64})
    with pytest.raises(ReleaseError, match="no files to publish"):
        publish("team/model", "model", tmp_path / "folder", {})
    assert hub.requests == []


def test_what_is_read_back_is_the_commit_and_not_what_main_became_or_a_cache_holds(hub: WritableHub, tmp_path: Path) -> None:
    first = send(tmp_path / "sent", FIRST)
    send(tmp_path / "sent", SECOND)
    checksums = {name: sha256(data).hexdigest() for name, data in FIRST.items()}
    folder = fetch_back("team/model", first.commit, tmp_path / "back", checksums)
    assert {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == FIRST
    with pytest.raises(ReleaseError, match="not empty, and what is read back must not be mixed"):
        fetch_back("team/model", first.commit, tmp_path / "back", checksums)
    with pytest.raises(ReleaseError, match=r"resolve/.*/x.json: 404 x.json does not exist on .*; correct the name, or set HF_TOKEN"):
        fetch_back("team/model", first.commit, tmp_path / "other", {"x.json": "0" * 64})


def test_a_private_page_is_read_with_a_token_alone(hub: WritableHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = send(tmp_path / "sent", FIRST)
    checksums = put(tmp_path / "sent", FIRST)
    fetch_back("team/model", told.commit, tmp_path / "back", checksums, token="hf_read")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ReleaseError, match="401 Repository not found; set HF_TOKEN to a valid token"):
        fetch_back("team/model", told.commit, tmp_path / "none", checksums)


LOAD = """
import json, sys, torch
from transformers import WhisperForConditionalGeneration
torch.manual_seed(0)
sound, words = torch.randn(1, 80, 100), torch.tensor([[3, 5, 7]])
logits = [WhisperForConditionalGeneration.from_pretrained(name, revision=revision).eval()(sound, decoder_input_ids=words).logits
          for name, revision in json.loads(sys.argv[1])]
print(json.dumps([bool(torch.equal(logits[0], each)) for each in logits] + [bool(logits[0].isfinite().all())]))
"""


def test_a_published_model_hears_what_the_one_at_home_hears_to_the_last_bit(hub: WritableHub, tmp_path: Path) -> None:
    model = new_folder(tmp_path / "model")
    sent = {name: path.read_bytes() for name, path in checkpoint_files(model).items()} | {"README.md": CARD, "recipe.json": b"{}"}
    checksums = put(model, sent)
    told = publish("team/model", "model", model, checksums, tag="v1")
    put(tmp_path / "other", FIRST)
    send(tmp_path / "other", FIRST)  # main goes on, the revision stays
    back = fetch_back("team/model", told.commit, tmp_path / "back", checksums)
    places = [[str(model), "main"], ["team/model", told.commit], ["team/model", "v1"], [str(back), "main"]]
    environment = os.environ | {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "home"), "TQDM_DISABLE": "1"}
    said = subprocess.run([sys.executable, "-c", LOAD, json.dumps(places)], env=environment, text=True, capture_output=True, timeout=120)
    assert said.returncode == 0 and json.loads(said.stdout) == [True] * 5, said.stderr
