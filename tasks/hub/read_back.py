"""The Hub as viska asks it: no call without a time-out, refusals told from accidents, and what was published read back byte for byte.

Nothing is sent from here; that is `upload`. What huggingface_hub leaves to its caller: most calls wait for ever and are not repeated,
and of a download only the size is compared. Source: huggingface_hub 2.4, utils/_http.py and file_download.py.
"""

import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from math import inf
from pathlib import Path
from time import sleep
from typing import Any, Literal, TypeVar

import httpx2
from huggingface_hub import HfApi, get_session, get_token, set_client_factory
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import parse_ratelimit_headers, validate_repo_id  # type: ignore[attr-defined]  # they come when asked for

from tasks.contracts.errors import ReleaseError
from tasks.store.objects import sha256_of

log = logging.getLogger(__name__)
T = TypeVar("T")
Kind = Literal["model", "space"]
SILENCE = 60.0  # seconds in which the Hub must say something
WAITS = (1.0, 3.0, 10.0)  # seconds before a call is tried again
LONGEST = 330.0  # seconds; the Hub counts requests in windows of five minutes, and a longer wait is for whoever runs the step
PASSES = {408, 409, 412, 425, 429, *range(500, 600)}  # 409, 412: somebody else tagged or committed in between
N_DOWNLOADS = 3
TO_DO = {
    401: "set HF_TOKEN to a valid token with write access",
    403: "set HF_TOKEN to a token with write access to {owner}",
    404: "correct the name, or set HF_TOKEN to a token that may read it",
}


@dataclass(frozen=True)
class Place:
    """A repository of the Hub, and how it is asked."""

    repo: str
    kind: Kind
    api: HfApi = field(repr=False)  # it holds the token

    @property
    def url(self) -> str:
        """Return the page's address."""
        return f"{self.api.endpoint}/{'spaces/' if self.kind == 'space' else ''}{self.repo}"


def connect(repo: str, kind: Kind, token: str | None, to_write: bool = False) -> Place:
    """Return a repository at the endpoint of HF_ENDPOINT; nothing is asked yet. No token: the one of HF_TOKEN or of `hf auth login`.

    Raises:
        ReleaseError: for a name that cannot be one, or a token that is missing or malformed.
    """
    try:
        validate_repo_id(repo if "/" in repo else "")
    except HFValidationError as error:
        raise ReleaseError(f"{repo!r}: not a name on the Hub, expected owner/name: {error!s:.200}") from error
    token = (token or get_token() or "").strip()
    if to_write and not token:
        raise ReleaseError(f"{repo}: no token, and publishing on the Hub needs one; set HF_TOKEN to a token with write access")
    if not re.fullmatch(r"[!-~]*", token):
        raise ReleaseError(f"{repo}: the token holds a blank or a letter that no token has; copy it into HF_TOKEN again")
    _limit_silence()
    return Place(repo, kind, HfApi(os.environ.get("HF_ENDPOINT", "").rstrip("/") or None, token=token or False, library_name="viska"))


def fetch_back(
    repo: str, commit: str, target: Path, checksums: Mapping[str, str], token: str | None = None, kind: Kind = "model"
) -> Path:  # fmt: skip
    """Download the files of a commit into an empty folder, past every cache, and compare each with what was sent.

    Args:
        commit: as `publish` returned it.
        target: the folder, made if need be.
        checksums: SHA-256 by name.
        token: that may read it; none: the one of HF_TOKEN.

    Raises:
        ReleaseError: if a file is missing, or arrives damaged time and again.
    """
    place = connect(repo, kind, token)
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise ReleaseError(f"{target}: not empty, and what is read back must not be mixed with what was there; name another folder")
    for name, sha256 in checksums.items():
        _download(place, commit, target, name, sha256)
    shutil.rmtree(target / ".cache", ignore_errors=True)  # the client's notes on what it fetched
    return target


def _download(place: Place, commit: str, target: Path, name: str, sha256: str) -> None:
    fetch = partial(place.api.hf_hub_download, place.repo, name, repo_type=place.kind, revision=commit)
    anew = partial(fetch, local_dir=target, force_download=True)  # not what a cache holds
    for _ in range(N_DOWNLOADS):
        if (got := sha256_of(Path(again(place, anew)))) == sha256:
            return
    wrong = f"{name} is damaged: SHA-256 {got[:12]}, expected {sha256[:12]}, {N_DOWNLOADS} times over"
    raise ReleaseError(f"{place.repo} at {commit[:7]}: {wrong}; delete the file there, and publish again")


def again(place: Place, call: Callable[[], T]) -> T:
    """Return what `call` returns; what passes by itself is tried again, so it must look first, or be harmless twice.

    Raises:
        ReleaseError: for what the Hub refuses.
        OSError: an accident that outlived the tries. It carries neither the request, with its token, nor a signed address.
    """
    waits = iter(WAITS)
    while True:
        try:
            return call()
        except Exception as error:
            reason = _reason(error)
            if refusal := _refusal(place, reason):
                raise refusal from None
            if not isinstance(reason, HfHubHTTPError | httpx2.TransportError | TimeoutError | json.JSONDecodeError):
                raise
            words, is_late = f"{place.repo} on the Hub: {_words(reason)}", isinstance(reason, TimeoutError | httpx2.TimeoutException)
            pause = max(next(waits, inf), _asked(reason))
            if is_late or pause > LONGEST:
                raise (TimeoutError if is_late else ConnectionError)(words) from None
        log.info("%s; again in %.0f s", words, pause)
        sleep(pause)


def _reason(error: BaseException) -> BaseException:
    """Return what lies behind the client's words, such as "Error while uploading"."""
    reason: BaseException | None = error
    while reason is not None and not isinstance(reason, HfHubHTTPError | httpx2.TransportError | TimeoutError | OfflineModeIsEnabled):
        reason = reason.__cause__
    return reason or error


def _refusal(place: Place, reason: BaseException) -> ReleaseError | None:
    """Return why it would be refused again; None for an accident. The large-file storage refuses only what became too old."""
    if isinstance(reason, OfflineModeIsEnabled):
        return ReleaseError(f"{place.repo}: HF_HUB_OFFLINE keeps huggingface_hub off the network; unset it")
    if not isinstance(reason, HfHubHTTPError) or reason.response.status_code in PASSES or reason.response.request.method == "PUT":
        return None
    to_do = TO_DO.get(reason.response.status_code, "correct it").format(owner=place.repo.partition("/")[0])
    return ReleaseError(f"{place.repo} on the Hub: {_words(reason)}; {to_do}")


def _words(reason: BaseException) -> str:
    if not isinstance(reason, HfHubHTTPError):
        return f"{type(reason).__name__} {_unsigned(str(reason))[:200]}"
    said = " ".join((reason.server_message or "").split())[:200]
    return f"{reason.response.request.method} {reason.response.request.url.path}: {reason.response.status_code} {said}".rstrip()


def _asked(reason: BaseException) -> float:
    """Return the seconds that the Hub asks to be left alone."""
    if not isinstance(reason, HfHubHTTPError):
        return 0.0
    headers = reason.response.headers
    window, asked = parse_ratelimit_headers(headers), headers.get("Retry-After", "")
    if reason.response.status_code == 429 and window and not window.remaining:
        return float(window.reset_in_seconds)
    return float(asked) if asked.isdigit() else 0.0


class _Impatient(httpx2.Client):
    """Ends a request that names no time-out after SILENCE, with an error that huggingface_hub does not answer by five more tries."""

    def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
        if any(request.extensions.get("timeout", {}).values()):
            return super().send(request, **how)
        request.extensions = {**request.extensions, "timeout": httpx2.Timeout(SILENCE).as_dict()}
        try:
            return super().send(request, **how)
        except httpx2.TimeoutException as error:
            raise TimeoutError(f"{request.method} {request.url.path}: no answer within {SILENCE:g} s") from error


@cache
def _limit_silence() -> None:
    """Have huggingface_hub use such a client, in the whole process, for it knows but one; and keep signed addresses out of the log."""
    hooks = get_session().event_hooks
    set_client_factory(lambda: _Impatient(event_hooks=hooks, follow_redirects=True, timeout=None))

    def unsigned(record: logging.LogRecord) -> bool:
        record.msg, record.args = _unsigned(record.getMessage()), ()
        return True

    for name in ("huggingface_hub.utils._http", "huggingface_hub.file_download", "httpx2"):
        logging.getLogger(name).addFilter(unsigned)


def _unsigned(words: str) -> str:
    return re.sub(r"\?[^\s'\"]+", "?...", words)
