"""Publish on the Hugging Face Hub: one commit that holds exactly these files, read back, and a tag on it.

Whatever happens on the way, main holds these files or what it held before, and publishing again sends what is missing. Never
the Trainer's own push, which swallows failures; never `RepoCard.push_to_hub`, which asks one fixed host.
Source: https://huggingface.co/docs/huggingface_hub/guides/upload, huggingface_hub 2.4, hf_api.py `create_commit`.
"""

import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from tasks.contracts.errors import ReleaseError
from tasks.hub.card import check_card
from tasks.hub.read_back import Kind, Place, again, connect

log = logging.getLogger(__name__)
CARD, MAIN = "README.md", "main"
KEPT = {".gitattributes", ".gitignore", "LICENSE", "LICENSE.txt", "LICENSE.md"}  # the Hub's or a person's: never deleted
MARK = {"model": "recipe.json", "space": "tasks/hub/space/listen.py"}  # is in whatever viska published
TAG = re.compile(r"(?!.*\.\.)[A-Za-z0-9][\w.+-]*(?<!\.lock)(?<!\.)")
BLOCK = 2**20  # bytes


@dataclass(frozen=True)
class Published:
    url: str  # of the repository, to open in a browser
    commit: str  # that holds exactly these files
    was_there: bool  # no file had to be sent


@dataclass(frozen=True)
class File:
    path: Path  # here; the rest is how the Hub will name it
    n_bytes: int
    blob: str  # git's name for it, if it is small
    sha256: str  # its name in large-file storage


def publish(
    repo: str, kind: Kind, folder: Path, checksums: Mapping[str, str], *, tag: str = "", message: str = "", private: bool = True,
    token: str | None = None, variables: Mapping[str, str] = {}, branch: str = MAIN,
) -> Published:  # fmt: skip
    """Make `main`, or another branch, of a repository hold exactly these files, beside those of KEPT, in one commit, and read it back.

    Args:
        repo: owner/name; made if need be.
        kind: a model, or a Space with Gradio.
        folder: where the files lie; others in it stay at home.
        checksums: SHA-256 by name.
        tag: put on the commit; an existing one is never moved.
        message: the commit's title.
        private: of a repository that is made now; an existing one stays as it is, and must not be public if this is wanted.
        token: with write access; none: the one of HF_TOKEN.
        variables: of a Space, set before its files arrive.
        branch: made if need be. Another than main needs no card: it is nothing that people find.

    Raises:
        ReleaseError: if the files, the card, the tag, the token or the repository are refused, or what arrived is not what was sent.
        OSError: if the Hub could not be reached or did not answer; publishing again is safe.
    """
    files = _local(repo, folder, checksums)
    _check(repo, kind, files, tag, variables, branch)
    place = connect(repo, kind, token, to_write=True)
    again(place, partial(_open, place, files, private))
    if tag:
        again(place, partial(_tag, place, tag, "", files))
    if variables:
        again(place, partial(_set, place, variables))
    if branch != MAIN:
        again(place, partial(place.api.create_branch, repo, branch=branch, repo_type=kind, exist_ok=True))
    commit, was_there = _commit(place, files, message or f"Publish {tag}".rstrip(), branch)
    if tag:
        again(place, partial(_tag, place, tag, commit, files))
    log.info("%s on the Hub: commit %s %s %d files", repo, commit[:7], "already held" if was_there else "holds", len(files))
    return Published(place.url, commit, was_there)


def _local(repo: str, folder: Path, checksums: Mapping[str, str]) -> dict[str, File]:
    """Return the files by name, read once."""
    files = {}
    for name, expected in checksums.items():
        path = folder / name
        if str(PurePosixPath(name)) != name or name.startswith("/") or {"..", ".git"} & set(name.split("/")) or not path.is_file():
            raise ReleaseError(f"{repo}: {name!r} is not a file in {folder} that can be published; correct the list of files")
        n_bytes, sha256 = path.stat().st_size, hashlib.sha256()
        blob = hashlib.sha1(b"blob %d\0" % n_bytes)  # git's own hash, not for safety
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                sha256.update(block)
                blob.update(block)
        if sha256.hexdigest() != expected:
            raise ReleaseError(f"{repo}: {path} changed: SHA-256 {sha256.hexdigest()[:12]}, expected {expected[:12]}; compose it again")
        files[name] = File(path, n_bytes, blob.hexdigest(), expected)
    return files


def _check(repo: str, kind: Kind, files: Mapping[str, File], tag: str, variables: Mapping[str, str], branch: str) -> None:
    """Refuse what the Hub would refuse, before it is asked."""
    if not files:
        raise ReleaseError(f"{repo}: no files to publish")
    if tag and not TAG.fullmatch(tag):
        raise ReleaseError(f"{repo}: tag {tag!r}, expected letters, digits, dots, dashes and underscores, such as v1.2")
    if kind == "space" or branch != MAIN:
        return
    if CARD not in files:
        raise ReleaseError(f"{repo}: no {CARD}, and a model is not published without its card")
    check_card(files[CARD].path.read_text(encoding="utf-8", errors="replace"))
    if variables:
        raise ReleaseError(f"{repo}: variables {sorted(variables)} for a model; only a Space has them")


def _open(place: Place, files: Mapping[str, File], private: bool) -> None:
    """Make the repository if there is none; refuse one that is public against the recipe, or whose files are somebody else's."""
    try:
        found = place.api.repo_info(place.repo, repo_type=place.kind)
    except RepositoryNotFoundError:
        sdk = "gradio" if place.kind == "space" else None
        place.api.create_repo(place.repo, repo_type=place.kind, private=private, space_sdk=sdk, exist_ok=True)
        return
    if private and not found.private:
        wrong = "is public, and the recipe wants it private; make it private on the Hub, or set release.private to false"
        raise ReleaseError(f"{place.repo} on the Hub {wrong}")
    if found.private and not private:
        log.info("%s on the Hub is private and stays so; to let everybody see it, make it public there", place.repo)
    there = _files_of(place, str(found.sha))
    if (lost := sorted(there.keys() - files.keys() - KEPT - {CARD})) and (mark := MARK[place.kind]) not in there:
        wrong = f"holds {len(lost)} files that would be deleted ({', '.join(lost[:3])}), and no {mark}, so they are not viska's"
        raise ReleaseError(f"{place.repo} on the Hub {wrong}; publish to another repository, or remove them there first")


def _set(place: Place, variables: Mapping[str, str]) -> None:
    there = place.api.get_space_variables(place.repo)
    for key, value in variables.items():
        if key not in there or there[key].value != value:  # each setting restarts the Space
            place.api.add_space_variable(place.repo, key, value)


def _commit(place: Place, files: Mapping[str, File], message: str, branch: str) -> tuple[str, bool]:
    """Return the commit of the branch that holds the files, and whether it was there; what was carried out unheard is not sent twice."""
    was_there = True

    def look_and_send() -> str:
        nonlocal was_there
        head = str(place.api.repo_info(place.repo, revision=branch, repo_type=place.kind).sha)
        if not (differing := _differing(files, _files_of(place, head))):
            return head
        was_there = False
        gone = [CommitOperationDelete(name, is_folder=False) for name in sorted(differing) if name not in files]
        added = [CommitOperationAdd(name, files[name].path) for name in sorted(differing) if name in files]
        for each in added:
            each.upload_info.sha256 = bytes.fromhex(files[each.path_in_repo].sha256)  # known; gigabytes are not hashed a second time
        return place.api.create_commit(
            place.repo, [*gone, *added], commit_message=message, repo_type=place.kind, revision=branch, parent_commit=head
        ).oid

    commit = again(place, look_and_send)
    if wrong := again(place, lambda: _differing(files, _files_of(place, commit))):
        raise ReleaseError(f"{place.repo} on the Hub: commit {commit[:7]} is not what was sent: {', '.join(sorted(wrong))}; publish again")
    return commit, was_there


def _files_of(place: Place, commit: str) -> dict[str, RepoFile]:
    """Return what the Hub says of each file of a commit, by name."""
    tree = place.api.list_repo_tree(place.repo, recursive=True, revision=commit, repo_type=place.kind)
    return {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}


def _differing(files: Mapping[str, File], there: Mapping[str, RepoFile]) -> set[str]:
    """Return the names that have to be sent or deleted."""
    return there.keys() - files.keys() - KEPT | {name for name, file in files.items() if name not in there or not _is(there[name], file)}


def _is(there: RepoFile, file: File) -> bool:
    return there.size == file.n_bytes and (there.lfs.sha256 == file.sha256 if there.lfs else there.blob_id == file.blob)


def _tag(place: Place, tag: str, commit: str, files: Mapping[str, File]) -> None:
    """Put the tag on the commit, or only see whether that can be done if there is none yet."""
    refs = place.api.list_repo_refs(place.repo, repo_type=place.kind)
    tagged = {ref.name: ref.target_commit for ref in refs.tags}.get(tag)
    if tagged and tagged != commit and (differing := _differing(files, _files_of(place, tagged))):
        raise ReleaseError(
            f"{place.repo} on the Hub: tag {tag} is at commit {tagged[:7]}, which holds other files ({', '.join(sorted(differing)[:5])}); "
            "give this release another name, what was published stays"
        )
    if commit and not tagged:
        place.api.create_tag(place.repo, tag=tag, revision=commit, repo_type=place.kind)
