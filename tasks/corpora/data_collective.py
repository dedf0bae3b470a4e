"""A Common Voice release from the Mozilla Data Collective: fetched once, checked, and read like any other (`common_voice.py`).

We speak to its API ourselves: the official client (datacollective 0.7.0, where the API was read) never checks what it fetched, loads .env
files of the folder it is started in, and reads tables with quoting. The checksum is the archive's SHA-256 (its docs/upload_with_curl.md).
"""

import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tasks.contracts.corpora import DataCollectiveCorpus
from tasks.contracts.errors import CorpusError
from tasks.contracts.values import Reject, fingerprint
from tasks.corpora import Recording
from tasks.corpora.common_voice import read_release
from tasks.store.objects import cache_folder
from tasks.store.source import Source
from tasks.store.web import ask, fetch, is_allowed, shown

log = logging.getLogger(__name__)
HOLDS_MORE = True  # as any Common Voice release
SITE = "https://mozilladatacollective.com"
KEYS = f"{SITE}/api-reference"  # where a person makes one
REFUSALS = {
    401: f"the key in MDC_API_KEY is not accepted (401); make a new one at {KEYS}",
    402: "it is sold, not given away (402); buy it at {page}, or use another release",
    403: "access is denied (403): open {page}, sign in as the owner of the key, accept its terms of use there, and run again",
    404: "there is no such data set (404); copy the id from the address of its page, each release has one of its own",
    410: "it was taken away (410); use another release, and with it another id",
}


@dataclass(frozen=True)
class Release:
    """What the API says of a data set."""

    id: str
    filename: str
    n_bytes: int  # 0: unknown
    checksum: str  # in hexadecimal: SHA-256, or MD5; empty: unknown, or of an unknown kind


def revision(spec: DataCollectiveCorpus) -> Any:
    """Return its id and the archive's checksum; nothing is downloaded, no key is needed."""
    release = _release(spec)
    return {"id": release.id, "checksum": release.checksum or fingerprint([release.filename, release.n_bytes])}


def recordings(spec: DataCollectiveCorpus, also: frozenset[str] = frozenset()) -> Iterator[Recording | Reject]:
    """Yield every row of the release's tables, once its archive is on this machine and whole.

    Raises:
        CorpusError: if the data set, the key or the terms of use stand in the way; a person must act.
        StoreError: if the archive is not the one that the API promises.
        OSError: if the API or the bucket cannot be reached, is busy, or there is no room.
    """
    yield from read_release(Source(str(_archive(spec))), spec, also)


def _archive(spec: DataCollectiveCorpus) -> Path:
    """Return where the archive lies on this machine, fetched if it is not there yet."""
    release = _release(spec)
    if release.filename and not release.filename.endswith((".tar.gz", ".tgz")):
        raise CorpusError(f"data set {spec.dataset}: {release.filename!r}, expected the .tar.gz of a Common Voice release")
    if not release.checksum:
        log.warning("data set %s: no checksum of a known kind; only the size of its archive is checked", spec.dataset)
    name = release.checksum or fingerprint([release.id, release.filename, release.n_bytes])
    target = cache_folder() / "downloads" / f"{name}.tar.gz"
    n_bytes = release.n_bytes or _size(_asked(spec, "POST", f"{release.id}/download").get("sizeBytes"))
    if not n_bytes:
        raise CorpusError(
            f"data set {spec.dataset}: the API does not say how large its archive is; download it, and use kind: common_voice"
        )
    try:
        fetch(partial(_signed, spec, release), target, n_bytes, release.checksum)
    except FileNotFoundError as error:
        raise CorpusError(
            f"data set {spec.dataset}: its archive is not where the API says ({error.strerror}); see {_page(spec)}"
        ) from error
    return target


def _signed(spec: DataCollectiveCorpus, release: Release) -> str:
    """Return an address of the archive that is good for a while: to be sent without the key, and shown to nobody."""
    session = _asked(spec, "POST", f"{release.id}/download")
    if (now := _digest(session.get("checksum"))) and release.checksum and now != release.checksum:
        raise ConnectionError(
            f"data set {spec.dataset} was replaced while it was asked for: {release.checksum[:12]}... is now {now[:12]}..."
        )
    url = session.get("downloadUrl")
    if not isinstance(url, str) or not is_allowed(url):
        raise CorpusError(f"data set {spec.dataset}: the API gives no address with https:// for its archive; is MDC_API_URL right?")
    return url


def _release(spec: DataCollectiveCorpus) -> Release:
    about = _asked(spec, "GET", spec.dataset)
    id = str(about.get("id") or spec.dataset)
    return Release(id, str(about.get("filename") or ""), _size(about.get("sizeBytes")), _digest(about.get("checksum")))


def _asked(spec: DataCollectiveCorpus, method: str, what: str) -> dict[str, Any]:
    """Return what the API answers; CorpusError with what a person must do if it refuses. The key goes with a POST alone."""
    api = os.environ.get("MDC_API_URL", "").rstrip("/") or f"{SITE}/api"
    if not is_allowed(api):
        raise CorpusError(f"MDC_API_URL is {shown(api)}; expected https://, or the key could be read on the way")
    key = _key() if method == "POST" else ""
    url = f"{api}/datasets/{quote(what)}"
    answer = ask(method, url, {"Authorization": f"Bearer {key}"} if key else {})
    try:
        told = json.loads(answer.body)
    except ValueError:
        told = None
    if answer.status in (200, 201) and isinstance(told, dict):
        return told
    if answer.status in (200, 201):
        raise CorpusError(f"data set {spec.dataset}: {shown(url)} answers with something else than JSON; is MDC_API_URL right?")
    why = REFUSALS.get(answer.status, f"{shown(url)} answers {answer.status}; see {{page}}").format(page=_page(spec))
    words = " ".join(str(told.get("message") or told.get("error") or "").split())[:200] if isinstance(told, dict) else ""
    said = f" It says: {words.replace(key, '***') if key else words}" if words else ""
    raise CorpusError(f"data set {spec.dataset}: {why}.{said}")


def _key() -> str:
    key = os.environ.get("MDC_API_KEY", "").strip()
    if not key:
        raise CorpusError(
            f"no key for the Mozilla Data Collective: make one at {KEYS}, and give it in the environment as MDC_API_KEY; never in a recipe"
        )
    if not re.fullmatch(r"[!-~]+", key):  # or httpx would show it in its error
        raise CorpusError(f"MDC_API_KEY holds a character that no key has, such as a space or a line end; copy it again from {KEYS}")
    return key


def _page(spec: DataCollectiveCorpus) -> str:
    return f"{SITE}/datasets/{spec.dataset}"


def _size(told: Any) -> int:
    """Return a number of bytes that may come as text; 0 if it is none."""
    try:
        return max(0, int(float(told)))
    except (TypeError, ValueError, OverflowError):
        return 0


def _digest(told: Any) -> str:
    """Return a checksum if its kind is known by its length; else an empty one."""
    return found[0] if (found := re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{32}", str(told).lower())) else ""
