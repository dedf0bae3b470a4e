"""The four kinds of store: a folder, memory, the real gcsfs on our stand-in, the real s3fs on moto. Nothing leaves this machine."""

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import gcsfs
import pytest
import s3fs
from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer

from tasks.store.objects import Store
from tests.support.fake_gcs import FakeGcs

NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def _cache_of_this_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another test fetched would hide that an object is damaged."""
    monkeypatch.setenv("VISKA_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def gcs() -> Iterator[FakeGcs]:
    with FakeGcs() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", server.url)
        gcsfs.GCSFileSystem.clear_instance_cache()
        yield server
        gcsfs.GCSFileSystem.clear_instance_cache()


@pytest.fixture
def gs(gcs: FakeGcs) -> Iterator[Store]:
    name = f"bucket-{next(NUMBERS)}"
    gcs.buckets[name] = {}
    yield Store(f"gs://{name}/viska")
    faults, gcs.faults = gcs.faults, []
    assert [fault for fault in faults if fault.times] == [], "never met, so the test showed nothing"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    # moto looks whether there is an object, and then makes it; S3 does both at once.
    one_by_one, put = threading.Lock(), S3Response.put_object

    def put_alone(self: S3Response) -> Any:
        with one_by_one:
            return put(self)

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S3Response, "put_object", put_alone)
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name, value in (("ACCESS_KEY_ID", "nobody"), ("SECRET_ACCESS_KEY", "nothing"), ("DEFAULT_REGION", "us-east-1")):
            patch.setenv(f"AWS_{name}", value)
        s3fs.S3FileSystem.clear_instance_cache()
        boto3.client("s3").create_bucket(Bucket="bucket")  # not through s3fs, which sends a location that moto refuses
        yield "s3://bucket"
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def s3(moto: str) -> Store:
    return Store(f"{moto}/viska-{next(NUMBERS)}")


@pytest.fixture
def memory() -> Store:
    return Store(f"memory://viska-{next(NUMBERS)}")


@pytest.fixture
def local(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture(params=["local", "memory", "gs", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    return found
