"""The Mozilla Data Collective: a release is fetched once and whole, a kill costs nothing, a refusal says what to do, no secret is shown."""

import gzip
import hashlib
import io
import logging
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.contracts.corpora import DataCollectiveCorpus
from tasks.contracts.errors import CorpusError, StoreError, ViskaError
from tasks.contracts.values import Reject
from tasks.corpora import data_collective, recordings, revision
from tasks.store import web
from tests.support.fake_data_collective import KEY, SIGNATURE, FakeDataCollective, Kind

ROOT = Path(__file__).parents[2]
SPEC = DataCollectiveCorpus(dataset="cv-sv")
HEADER = "client_id\tpath\tsentence_id\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\tlocale\n"
CLIPS = {f"common_voice_sv-SE_{n}.mp3": random.Random(n).randbytes(200_000) for n in range(6)}


def release() -> bytes:
    """Return a Common Voice archive with two clips in each of train, dev and test."""
    below = "cv-corpus-26.0-2026-06-12/sv-SE/"
    files = {f"{below}clips/{name}": data for name, data in CLIPS.items()}
    names = iter(CLIPS)
    for split in ("train", "dev", "test"):
        rows = "".join(f"speaker-{split}\t{next(names)}\tid\tEn mening för {split}.\t2\t0\t\t\t\tsv-SE\n" for _ in range(2))
        files[f"{below}{split}.tsv"] = (HEADER + rows).encode()
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as unpacked, tarfile.open(fileobj=unpacked, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


ARCHIVE = release()
SHA256 = hashlib.sha256(ARCHIVE).hexdigest()
BUCKET = "/bucket/cv-sv.tar.gz"


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeDataCollective]:
    monkeypatch.setattr(web, "PAUSE", 0.01)
    with FakeDataCollective() as server:
        server.publish("cv-sv", ARCHIVE)
        for name, value in (("MDC_API_URL", server.api + "/"), ("MDC_API_KEY", f" {KEY}\n"), ("VISKA_CACHE", str(tmp_path))):
            monkeypatch.setenv(name, value)
        yield server


def rows() -> list[tuple[str, bytes, str, str]]:
    return [(each.id, each.read(), each.text, each.split) for each in recordings(SPEC) if not isinstance(each, Reject)]


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "downloads").iterdir() if path.suffix != ".lock")


def test_a_release_is_fetched_once_and_read_as_common_voice(there: FakeDataCollective, tmp_path: Path) -> None:
    first = rows()
    assert [(id, text, split) for id, _, text, split in first] == [
        (name.removesuffix(".mp3"), f"En mening för {split}.", split)
        for name, split in zip(CLIPS, ["train", "train", "dev", "dev", "test", "test"], strict=True)
    ]
    assert [data for _, data, *_ in first] == list(CLIPS.values())
    assert rows() == first and there.n_sent(BUCKET) == len(ARCHIVE) and len(there.lines("POST")) == 1
    assert kept(tmp_path) == [f"{SHA256}.tar.gz"]


def test_an_archive_that_is_here_needs_no_key(there: FakeDataCollective, monkeypatch: pytest.MonkeyPatch) -> None:
    first = rows()
    monkeypatch.delenv("MDC_API_KEY")
    assert rows() == first


def test_the_key_goes_to_the_api_with_a_post_and_nowhere_else(there: FakeDataCollective) -> None:
    there.fail("GET /bucket", "cut")
    rows()
    with_key = {request.line for request in there.requests if "authorization" in request.headers}
    assert with_key == {"POST /api/datasets/cv-sv/download"}
    assert len(there.lines("GET /api")) == 1 and len(there.lines("GET /bucket")) == 2


def test_a_revision_is_id_and_checksum_and_downloads_nothing(there: FakeDataCollective, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MDC_API_KEY")
    before = revision(SPEC)
    assert before == revision(SPEC) == {"id": "cv-sv", "checksum": SHA256}
    there.publish("cv-sv", ARCHIVE + b"x")
    assert revision(SPEC) != before
    there.publish("cv-sv", ARCHIVE, checksum=None)
    unknown = revision(SPEC)
    there.publish("cv-sv", ARCHIVE, checksum=None, sizeBytes=5)
    assert revision(SPEC) != unknown and not there.lines("POST|bucket")


def test_a_data_set_may_be_named_by_its_slug(there: FakeDataCollective) -> None:
    there.datasets["cv-slug-80d4"] = there.datasets["cv-sv"]
    spec = DataCollectiveCorpus(dataset="cv-slug-80d4")
    assert revision(spec) == revision(SPEC)
    assert len(list(recordings(spec))) == 6 and there.lines("POST") == ["POST /api/datasets/cv-sv/download"]


def test_an_interrupted_download_goes_on_and_no_byte_comes_twice(there: FakeDataCollective) -> None:
    for kind in ("cut", "expired", "short", "503", "cut"):
        there.fail("GET /bucket", kind)  # type: ignore[arg-type]
    assert len(rows()) == 6
    assert there.n_sent(BUCKET) == len(ARCHIVE)
    assert len(there.lines("POST")) == 2, "the address that had expired was asked for anew, and only that one"


FETCH = """
import sys
from tasks.contracts.corpora import DataCollectiveCorpus
from tasks.corpora import recordings
print(len(list(recordings(DataCollectiveCorpus(dataset="cv-sv")))))
"""


def start() -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", FETCH], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_killed_download_goes_on_where_it_was(there: FakeDataCollective, tmp_path: Path) -> None:
    there.fail("GET /bucket", "hold")
    process = start()
    part = tmp_path / "downloads" / f"{SHA256}.tar.gz.part"
    until = time.monotonic() + 60
    while time.monotonic() < until and not (there.held.is_set() and part.exists() and part.stat().st_size == (len(ARCHIVE) + 1) // 2):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and process.stdout
    process.stdout.close()
    assert part.stat().st_size == (len(ARCHIVE) + 1) // 2 and kept(tmp_path) == [part.name]
    assert len(rows()) == 6
    assert there.n_sent(BUCKET) == len(ARCHIVE) and kept(tmp_path) == [f"{SHA256}.tar.gz"]


def test_two_processes_at_once_fetch_it_once(there: FakeDataCollective, tmp_path: Path) -> None:
    there.fail("GET /bucket", "hold")
    processes = [start(), start()]
    assert there.held.wait(60)
    until = time.monotonic() + 60
    while time.monotonic() < until and len(there.lines("GET /api")) < 2:  # both are under way
        time.sleep(0.02)
    there.release.set()
    assert [process.communicate()[0] for process in processes] == ["6\n", "6\n"]
    assert there.n_sent(BUCKET) == len(ARCHIVE) and kept(tmp_path) == [f"{SHA256}.tar.gz"]


PAGE = "https://mozilladatacollective.com/datasets/cv-sv"


@pytest.mark.parametrize(("status", "message"), [
    (400, r"http://127\.0\.0\.1:\d+/api/datasets/cv-sv/download answers 400; see " + PAGE),
    (401, r"the key in MDC_API_KEY is not accepted \(401\); make a new one at https://mozilladatacollective\.com/api-reference"),
    (402, rf"it is sold, not given away \(402\); buy it at {PAGE}"),
    (403, rf"access is denied \(403\): open {PAGE}, sign in as the owner of the key, accept its terms of use there"),
    (404, r"there is no such data set \(404\); copy the id"), (410, r"it was taken away \(410\); use another release"),
])  # fmt: skip
def test_a_refusal_says_what_a_person_must_do_and_is_not_asked_again(there: FakeDataCollective, status: int, message: str) -> None:
    there.refusals["POST cv-sv"] = (status, f"Agree first, {KEY}\n please")
    with pytest.raises(CorpusError, match=rf"^data set cv-sv: {message}.*\. It says: Agree first, \*\*\* please$"):
        rows()
    assert len(there.lines("POST")) == 1 and not there.lines("bucket")
    there.refusals["POST cv-sv"] = (status, "")
    with pytest.raises(CorpusError, match=r"[^ ]\.$"):
        rows()


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_revision_is_refused_in_the_same_words(there: FakeDataCollective, status: int) -> None:
    there.refusals["GET cv-sv"] = (status, "")
    with pytest.raises(CorpusError, match=rf"^data set cv-sv: .*\({status}\)"):
        revision(SPEC)


@pytest.mark.parametrize(("match", "kind", "message"), [
    ("POST", "503", r"/download: answers 503; 5 tries"), ("POST", "429", r"/download: answers 429; 5 tries"), ("GET", "reset", "; 5 tries"),
    ("GET /bucket", "503", r"/bucket/cv-sv\.tar\.gz: answers 503; 5 tries"), ("GET /bucket", "expired", "answers 403; 5 tries"),
])  # fmt: skip
def test_a_server_that_is_not_well_is_an_accident(there: FakeDataCollective, match: str, kind: Kind, message: str) -> None:
    there.fail(match, kind, times=99)
    with pytest.raises(ConnectionError, match=message):
        rows()
    assert not issubclass(ConnectionError, ViskaError), "so the step is tried again"


def test_a_server_that_is_not_there_is_an_accident(there: FakeDataCollective, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDC_API_URL", "http://127.0.0.1:1/api")
    with pytest.raises(ConnectionError, match=r"^http://127\.0\.0\.1:1/api/datasets/cv-sv: .*Connection refused; 5 tries"):
        revision(SPEC)


def test_a_busy_server_is_tried_again(there: FakeDataCollective) -> None:
    there.fail("POST", "429")
    there.fail("POST", "503")
    there.fail("GET /bucket", "reset")
    assert len(rows()) == 6


@pytest.mark.parametrize(("url", "message"), [
    ("http://mozilladatacollective.com/api", r"MDC_API_URL is http://mozilladatacollective\.com/api; expected https://"),
    ("mozilladatacollective.com", "MDC_API_URL is .*expected https://"),
])  # fmt: skip
def test_the_api_is_asked_over_https_alone(there: FakeDataCollective, monkeypatch: pytest.MonkeyPatch, url: str, message: str) -> None:
    monkeypatch.setenv("MDC_API_URL", url)
    with pytest.raises(CorpusError, match=message):
        revision(SPEC)


def test_a_key_comes_from_the_environment_and_is_looked_at(there: FakeDataCollective, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("", "  \n"):
        monkeypatch.setenv("MDC_API_KEY", key)
        with pytest.raises(
            CorpusError, match=r"make one at https://mozilla.*/api-reference, and give it in .* MDC_API_KEY; never in a recipe"
        ):
            rows()
    for key in (f"{KEY}\n{KEY}", f"{KEY} {KEY}", f"{KEY}å", f"{KEY}\x7f"):
        monkeypatch.setenv("MDC_API_KEY", key)
        with pytest.raises(CorpusError, match="MDC_API_KEY holds a character that no key has") as caught:
            rows()
        assert KEY not in str(caught.value)
    assert not there.lines("POST")


@pytest.mark.parametrize(("about", "error", "message"), [
    ({"filename": "cv.zip"}, CorpusError, r"data set cv-sv: 'cv\.zip', expected the \.tar\.gz of a Common Voice release"),
    ({"session": {"downloadUrl": "http://example.org/?canary-signature"}}, CorpusError, "gives no address with https:// for its archive"),
    ({"session": {"downloadUrl": None}}, CorpusError, "gives no address with https:// for its archive"),
    ({"session": {"checksum": "0" * 64}}, ConnectionError, rf"was replaced while it was asked for: {SHA256[:12]}\.\.\. is now 0000"),
    ({"sizeBytes": None, "session": {"sizeBytes": "x"}}, CorpusError, "does not say how large its archive is"),
    ({"checksum": "0" * 64}, StoreError, r"/bucket/cv-sv\.tar\.gz: other bytes than promised came twice: checksum not 000000000000\.\.\."),
])  # fmt: skip
def test_what_the_api_should_not_say_is_refused(
    there: FakeDataCollective, tmp_path: Path, about: dict[str, Any], error: type[Exception], message: str
) -> None:
    there.publish("cv-sv", ARCHIVE, **about)
    with pytest.raises(error, match=message) as caught:
        rows()
    assert "canary" not in str(caught.value) and not list(tmp_path.glob("downloads/*.tar.gz*[!k]"))


def test_an_archive_that_is_not_where_the_api_says_is_refused(there: FakeDataCollective) -> None:
    there.datasets["cv-sv"]["session"] = {"downloadUrl": f"{there.url}/nowhere"}
    with pytest.raises(CorpusError, match=rf"its archive is not where the API says \(no such file \(404\)\); see {PAGE}"):
        rows()


def test_an_answer_that_is_no_json_is_refused(there: FakeDataCollective) -> None:
    there.redirects["/api/datasets/cv-sv"] = "/page"
    there.files["/page"] = b"<html>"
    with pytest.raises(CorpusError, match=r"/api/datasets/cv-sv answers with something else than JSON; is MDC_API_URL right\?"):
        revision(SPEC)


@pytest.mark.parametrize(("about", "is_checked"), [
    ({"checksum": hashlib.md5(ARCHIVE).hexdigest().upper()}, True), ({"checksum": "etag-23"}, False), ({"checksum": None}, False),
    ({"sizeBytes": None}, True), ({"sizeBytes": float(len(ARCHIVE))}, True), ({"filename": None}, True),
])  # fmt: skip
def test_what_is_unknown_of_an_archive_is_not_checked_and_said(
    there: FakeDataCollective, caplog: pytest.LogCaptureFixture, about: dict[str, Any], is_checked: bool
) -> None:
    there.publish("cv-sv", ARCHIVE, **about)
    there.fail("GET /bucket", "cut")
    assert len(rows()) == 6 and len(rows()) == 6 and there.n_sent(BUCKET) == len(ARCHIVE)
    assert ("no checksum of a known kind; only the size" in caplog.text) != is_checked


def test_a_damaged_archive_on_this_machine_is_fetched_again(there: FakeDataCollective, tmp_path: Path) -> None:
    first = rows()
    archive = tmp_path / "downloads" / f"{SHA256}.tar.gz"
    archive.write_bytes(ARCHIVE[:-1] + bytes([ARCHIVE[-1] ^ 1]))
    assert rows() == first and archive.read_bytes() == ARCHIVE


def test_no_secret_is_shown_whatever_happens(
    there: FakeDataCollective, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="tasks")  # another test may have imported the policy, which sets it
    logging.getLogger(data_collective.__name__).debug("the log is on")
    shown = []
    for match, kind in (("POST", "503"), ("POST", "429"), ("POST", "reset"), ("POST", "cut"), ("bucket", "503"), ("bucket", "expired"),
                        ("bucket", "reset"), ("bucket", "flip"), ("bucket", "short"), ("POST", "short")):  # fmt: skip
        there.faults.clear()
        there.fail(match, kind, times=99)  # type: ignore[arg-type]
        try:
            rows()
        except (ViskaError, OSError) as error:
            shown.append("".join(traceback.format_exception(error)))
        for path in (tmp_path / "downloads").glob("*.gz*"):
            path.unlink()
    there.faults.clear()
    assert len(rows()) == 6 and len(shown) >= 8
    for status in (401, 403, 500):
        there.refusals["POST cv-sv"] = (status, f"{KEY} is no good")
        (tmp_path / "downloads" / f"{SHA256}.tar.gz").unlink(missing_ok=True)
        with pytest.raises((CorpusError, OSError)) as caught:
            rows()
        shown.append("".join(traceback.format_exception(caught.value)))
    out = capfd.readouterr()
    everything = "".join([*shown, caplog.text, out.out, out.err])
    assert "the log is on" in everything and SIGNATURE in "".join(there.lines("bucket"))
    assert KEY not in everything and SIGNATURE not in everything
