"""Check a store in a bucket before anything relies on it: an object that is created once must not be created twice.

`tasks.store` creates objects with one conditional request (If-None-Match: *). Not every server that speaks S3 honours it, and some look
first and write then, so that two at once both succeed. The bucket is made if it is not there.

    python docker/check_store.py s3://bucket/store [--large]
"""

import secrets
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
from botocore.exceptions import ClientError  # type: ignore[import-untyped]
from botocore.session import get_session  # type: ignore[import-untyped]

from tasks.store.objects import open_url

AT_ONCE = 8  # that want to create one object
ROUNDS = 3
SMALL = 100  # bytes: sent in one request
LARGE = 101 * 2**20  # bytes: s3fs sends what is larger than two parts of 50 MiB in parts


def make_bucket(url: str) -> None:
    """Make the bucket of an S3 address, unless it is there."""
    bucket = fsspec.core.strip_protocol(url).split("/")[0]
    try:
        get_session().create_client("s3").create_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            raise


def winners(url: str, n_bytes: int) -> list[int]:
    """Return, for each round, how many of those that wanted to create one object were told that they had: one, if all is well."""
    fs, root = open_url(url)
    counts = []
    for _ in range(ROUNDS if n_bytes == SMALL else 1):
        path = f"{root}/.check-{secrets.token_hex(8)}"
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(AT_ONCE) as those:
            file = Path(folder, "data")
            with file.open("wb") as data:
                data.truncate(n_bytes)  # zeros that take no room here

            def create(_: int, file: Path = file, path: str = path) -> bool:
                try:
                    fs.put_file(str(file), path, mode="create")
                except FileExistsError:
                    return False
                return True

            counts.append(sum(those.map(create, range(AT_ONCE))))
        fs.rm_file(path)
    return counts


def main(url: str, large: str = "") -> int:
    """Check the store at `url`, with `--large` its uploads in parts too; return the exit status: 0 if it can be relied on."""
    if url.startswith("s3://"):
        make_bucket(url)
    told = f"{url}: {AT_ONCE} at once wanted to create one object{{}}, and {{}} were told that they had, expected 1"
    if (counts := winners(url, SMALL)) != [1] * ROUNDS:
        print(told.format("", f"in {ROUNDS} rounds {counts}"), "each time; take a server that honours If-None-Match: * also then")
        return 1
    print(f"{url}: an object is created once")
    if large and (counts := winners(url, LARGE)) != [1]:
        print(told.format(" in parts", counts[0]) + "; runs that make the same large file at once may replace each other's")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
