"""The check that a store creates objects once: against moto's S3 server, and against one that ignores the condition."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

ROOT = Path(__file__).parents[2]
KEYS = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def check(server: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | KEYS | {"AWS_ENDPOINT_URL": server, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, ROOT / "docker/check_store.py", *arguments], env=environment, capture_output=True, text=True, check=False
    )


def test_a_server_that_honours_the_condition_is_accepted_and_the_bucket_made_once(moto: str) -> None:
    for _ in range(2):
        told = check(moto, "s3://viska/store")
        assert (told.returncode, told.stdout) == (0, "s3://viska/store: an object is created once\n"), told.stderr


def test_a_server_that_ignores_the_condition_is_refused(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from moto.s3.responses import S3Response

    put = S3Response.put_object

    def ignore(self: Any, *args: Any) -> Any:
        self.headers = {name: value for name, value in self.headers.items() if name.lower() != "if-none-match"}
        return put(self, *args)

    monkeypatch.setattr(S3Response, "put_object", ignore)
    told = check(moto, "s3://viska/store")
    assert (
        told.returncode == 1 and "8 at once wanted to create one object, and in 3 rounds [8, 8, 8] were told that they had" in told.stdout
    )
