"""The stand-in for the Hub, to write to: repositories, commits with files in large-file storage, tags, Spaces, and tokens with roles.

    with WritableHub() as hub:
        hub.fail("POST .*/commit/", "reset", after=True)  # the commit is made, and its reply is lost
        hub.fail("PUT ", "flip")  # one bit of what is stored is not what was sent
        hub.history("team/model")  # commits of main, newest first

What the Hub would refuse is refused: metadata of a card, names, a parent that is not the head, an object that was not sent.
Not here: Xet, uploads in several parts, pull requests. Source: https://huggingface.co/docs/hub/api, huggingface_hub's requests,
https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from typing import Any

import yaml

from tests.support.fake_hub import API, PLACE, REF, Commit, FakeHub, Handler, Refusal, Repository, flipped, oid

LARGE = 10 * 2**20  # bytes; such files go into large-file storage, whatever their name
ATTRIBUTES = "".join(f"*.{end} filter=lfs diff=lfs merge=lfs -text\n" for end in ("safetensors", "bin", "onnx", "gz"))
NAME = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9_][\w.-]{0,94}")
SDKS = ("gradio", "streamlit", "docker", "static")


class WritableHub(FakeHub):
    """A Hub with one team and two tokens; `objects` is its large-file storage."""

    def __init__(self) -> None:
        super().__init__(_Writer)
        self.tokens = {"hf_write": "write", "hf_read": "read"}  # both of the account `team`
        self.accepted |= set(self.tokens)
        self.objects: dict[str, bytes] = {}  # by the SHA-256 they were announced with

    def create(self, repo: str, private: bool = True, sdk: str = "") -> Repository:
        """Make a repository with its first commit, as the Hub does."""
        with self.lock:
            self.repositories[repo] = there = Repository(is_private=private, sdk=sdk)
            self.commit(repo, {".gitattributes": ATTRIBUTES.encode()}, title="initial commit")
        return there

    def history(self, repo: str) -> list[str]:
        """Return the commits of main, newest first."""
        commits, found = self.repositories[repo].commits, [self.repositories[repo].refs["main"]]
        while commits[found[-1]].parent:
            found.append(commits[found[-1]].parent)
        return found

    def files(self, repo: str, ref: str = "main") -> dict[str, bytes]:
        """Return what a branch, tag or commit holds, without .gitattributes."""
        there, commit = self.find(repo, ref, "hf_write")
        return {name: data for name, data in there.commits[commit].files.items() if name != ".gitattributes"}


class _Writer(Handler):
    hub: WritableHub

    def routes(self) -> Iterable[tuple[str, Callable[..., None]]]:
        """Return what answers which path; what changes something asks for a token that may."""
        return (
            ("/api/whoami-v2", self._whoami),
            ("/api/repos/create", self._create),
            ("/api/validate-yaml", self._validate),
            (rf"{API}/preupload/{REF}", self._preupload),
            (rf"/{PLACE}\.git/info/lfs/objects/batch", self._batch),
            (r"/storage/(?P<sha256>[0-9a-f]{64})", self._object),
            (rf"{API}/commit/{REF}", self._commit),
            (rf"{API}/commits/{REF}", self._commits),
            (rf"{API}/branch/{REF}", self._branch),
            (rf"{API}/tag/{REF}", self._tag),
            (rf"{API}/(?P<kind>secrets|variables)", self._settings),
            (rf"{API}/runtime", self._runtime),
            *super().routes(),
        )

    def _told(self) -> Any:
        return json.loads(self.body or b"{}")

    def _may_write(self, repo: str = "team/") -> None:
        """Refuse a token that may not write to this namespace."""
        if self.token not in self.hub.tokens:
            raise Refusal(401, "", "Invalid credentials in Authorization header" if self.token else "Invalid username or password.")
        owner = repo.removeprefix("datasets/").removeprefix("spaces/").partition("/")[0]
        if self.hub.tokens[self.token] != "write" or owner != "team":
            raise Refusal(403, "", f"You don't have the required permissions to write to {owner}")

    def _to_write(self, repo: str, ref: str = "main") -> tuple[Repository, str]:
        found = self.hub.find(repo, ref, self.token)
        self._may_write(repo)
        return found

    def _whoami(self) -> None:
        if not (role := self.hub.tokens.get(self.token, "")):
            raise Refusal(401, "", "Invalid username or password.")
        self._json({"type": "user", "id": "1", "name": "team", "fullname": "Team", "isPro": False, "orgs": [],
                    "auth": {"type": "access_token", "accessToken": {"displayName": role, "role": role}}})  # fmt: skip

    def _create(self) -> None:
        told = self._told()
        kind, owner = told.get("type") or "model", told.get("organization") or "team"
        self._may_write(f"{owner}/")
        if not NAME.fullmatch(told["name"]):
            raise Refusal(400, "", f"Invalid repo name: {told['name']}")
        if kind == "space" and told.get("sdk") not in SDKS:
            raise Refusal(400, "", f"sdk: expected one of {', '.join(SDKS)}")
        repo = ("" if kind == "model" else f"{kind}s/") + f"{owner}/{told['name']}"
        answer = {"url": f"{self.hub.url}/{repo}", "name": f"{owner}/{told['name']}", "id": "0"}
        with self.hub.lock:
            if repo in self.hub.repositories:
                words = {"error": f"You already created this {kind} repo"}
                return self._send(409, json.dumps(answer | words).encode(), {"Content-Type": "application/json"})
            there = self.hub.create(repo, told.get("private") or told.get("visibility") == "private", told.get("sdk", ""))
            there.settings["variables"] |= {each["key"]: each["value"] for each in told.get("variables", [])}
        self._json(answer)

    def _validate(self) -> None:
        told = self._told()
        wrong, doubtful = _faults_of(told["content"], told.get("repoType", "model"))
        said = {"errors": [{"message": each} for each in wrong], "warnings": [{"message": each} for each in doubtful]}
        self._send(400 if wrong else 200, json.dumps(said).encode(), {"Content-Type": "application/json"})

    def _preupload(self, repo: str, ref: str) -> None:
        there, commit = self._to_write(repo, ref)
        now, files = there.commits[commit], []
        for name, size in ((each["path"], each["size"]) for each in self._told()["files"]):
            mode = "lfs" if size >= LARGE or _is_large(name, now.files) else "regular"
            known = now.large.get(name) or (oid(now.files[name]) if name in now.files else None)
            files.append({"path": name, "uploadMode": mode, "shouldIgnore": False, "oid": known})
        self._json({"files": files})

    def _batch(self, repo: str) -> None:
        self._to_write(repo)
        objects = []
        for each in self._told()["objects"]:
            upload = {"upload": {"href": f"{self.hub.url}/storage/{each['oid']}?X-Amz-Signature=signed-by-the-hub"}}
            objects.append(each | ({} if each["oid"] in self.hub.objects else {"actions": upload}))
        self._json({"transfer": "basic", "objects": objects})

    def _object(self, sha256: str) -> None:
        if self.command == "GET":
            return self._send(200, self.hub.objects[sha256], {})
        if self.query.get("X-Amz-Signature") != "signed-by-the-hub":
            raise Refusal(403, "", "SignatureDoesNotMatch")
        if hashlib.sha256(self.body).hexdigest() != sha256:
            raise Refusal(400, "", "BadDigest: what arrived is not what was announced")
        self.hub.objects[sha256] = flipped(self.body) if self.fault and self.fault.kind == "flip" else self.body
        self._send(200, b"stored", {"ETag": f'"{sha256[:32]}"'})

    def _commit(self, repo: str, ref: str) -> None:
        with self.hub.lock:
            there, head = self._to_write(repo, ref)
            lines = [json.loads(line) for line in self.body.splitlines()]
            told = next(line["value"] for line in lines if line["key"] == "header")
            if told.get("parentCommit", head) != head:
                raise Refusal(412, "", "A commit has happened since. Please refresh and try again.")
            now = Commit(dict(there.commits[head].files), dict(there.commits[head].large))
            for line in lines:
                self._change(now, line["key"], line["value"])
            if wrong := _faults_of(now.files.get("README.md", b"").decode(), "space" if repo.startswith("spaces/") else "model")[0]:
                raise Refusal(400, "", f"Invalid metadata in README.md: {wrong[0]}")
            commit = self.hub.commit(repo, now.files, ref, large=now.large, title=told["summary"])
        self._json({"success": True, "commitOid": commit, "commitUrl": f"{self.hub.url}/{repo}/commit/{commit}", "hookOutput": ""})

    def _change(self, now: Commit, key: str, value: dict[str, Any]) -> None:
        """Carry out one line of a commit."""
        name = value.get("path", "x")
        if name.startswith("/") or {"..", ".", ".git", ""} & set(name.rstrip("/").split("/")):
            raise Refusal(400, "", f"invalid path: {name}")
        if key == "file":
            data = base64.b64decode(value["content"], validate=True)
            now.files[name] = flipped(data) if self.fault and self.fault.kind == "flip" and len(data) > 1 else data
            now.large.pop(name, None)
        elif key == "lfsFile":
            if value["oid"] not in self.hub.objects:
                raise Refusal(400, "", f"{name}: no object {value['oid']} was sent")
            if not _is_large(name, now.files):
                now.files[".gitattributes"] += f"{name} filter=lfs diff=lfs merge=lfs -text\n".encode()
            now.files[name], now.large[name] = self.hub.objects[value["oid"]], value["oid"]
        elif key in ("deletedFile", "deletedFolder"):
            gone = [each for each in now.files if each == name or (key == "deletedFolder" and each.startswith(name.rstrip("/") + "/"))]
            if not gone:
                raise Refusal(404, "EntryNotFound", f"A file with this name doesn't exist: {name}")
            for each in gone:
                del now.files[each]
                now.large.pop(each, None)
        elif key != "header":
            raise Refusal(400, "", f"unknown operation: {key}")

    def _commits(self, repo: str, ref: str) -> None:
        there, commit = self.hub.find(repo, ref, self.token)
        about, listed = {"message": "", "authors": [{"user": "team"}], "date": "2026-01-01T00:00:00.000Z"}, []
        while commit:
            listed.append(about | {"id": commit, "title": there.commits[commit].title})
            commit = there.commits[commit].parent
        self._json(listed)

    def _branch(self, repo: str, ref: str) -> None:
        there, start = self._to_write(repo, self._told().get("startingPoint") or "main")
        self._refer(there.refs, ref, start)

    def _tag(self, repo: str, ref: str) -> None:
        there, commit = self._to_write(repo, "main" if self.command == "DELETE" else ref)
        self._refer(there.tags, self._told().get("tag", ref), commit)

    def _refer(self, refs: dict[str, str], name: str, commit: str) -> None:
        with self.hub.lock:
            if self.command == "DELETE":
                refs.pop(name, None)
            elif name in refs:
                raise Refusal(409, "", "Reference already exists")
            else:
                refs[name] = commit
        self._json({})

    def _settings(self, repo: str, kind: str) -> None:
        settings = self._to_write(repo)[0].settings[kind]
        if self.command == "POST":
            settings[self._told()["key"]] = self._told()["value"]
        elif self.command == "DELETE":
            settings.pop(self._told()["key"], None)
        self._json({key: {"key": key} | ({"value": value} if kind == "variables" else {}) for key, value in settings.items()})

    def _runtime(self, repo: str) -> None:
        there, commit = self.hub.find(repo, "main", self.token)
        stage = "RUNNING" if "app.py" in there.commits[commit].files else "NO_APP_FILE"
        self._json({"stage": stage, "hardware": {"current": "cpu-basic", "requested": "cpu-basic"}, "storage": None, "gcTimeout": 172800})


def _is_large(name: str, files: dict[str, bytes]) -> bool:
    """Say whether .gitattributes sends a file into large-file storage."""
    lines = files.get(".gitattributes", b"").decode().splitlines()
    return any("filter=lfs" in rest and fnmatch(name.rpartition("/")[2] if "/" not in pattern else name, pattern)
               for pattern, _, rest in (line.partition(" ") for line in lines))  # fmt: skip


def _faults_of(card: str, kind: str) -> tuple[list[str], list[str]]:
    """Return what the Hub refuses a card for, and what it only warns of."""
    found = re.match(r"---\r?\n(.*?)\r?\n---(\r?\n|$)", card, re.DOTALL)
    if not found:
        return [], ["empty or missing yaml metadata in repo card"]
    try:
        told = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        return [f"YAML Metadata Error: {error!s:.100}"], []
    if not isinstance(told, dict):
        return ["YAML Metadata Error: expected a mapping"], []
    languages = told.get("language", [])
    odd = [each for each in (languages if isinstance(languages, list) else [languages]) if not re.fullmatch("[a-z]{2,3}", str(each))]
    wrong = [f'"language" with value {each!r} is not valid: expected an ISO 639 code of two or three letters' for each in odd]
    if not isinstance(told.get("license", ""), str):
        wrong.append('"license" must be a string')
    for result in (each for model in told.get("model-index") or [] for each in model.get("results", [])):
        wrong += [f'"model-index": a result lacks {key!r}' for key in ("task", "dataset", "metrics") if not result.get(key)]
    return wrong + [f'"sdk" must be one of {", ".join(SDKS)}'] * (kind == "space" and told.get("sdk") not in SDKS), []
