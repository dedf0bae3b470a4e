import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tests.support.stack import Stack, postgres, told


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.stack)
            item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A database, a server, and a worker of each pool; what a test breaks, it mends."""
    if not postgres() or os.name != "posix" or not Path("/proc").exists():
        pytest.skip("needs Linux and PostgreSQL (Debian: apt-get install postgresql)")
    with tempfile.TemporaryDirectory(prefix="viska-stack-", ignore_cleanup_errors=True) as folder, Stack(Path(folder)) as stack:
        stack.cpu, stack.cuda = stack.worker("cpu"), stack.worker("cuda")
        yield stack


@pytest.fixture(scope="session")
def undisturbed(stack: Stack) -> UUID:
    """A retraining that nobody has disturbed."""
    run = stack.start("retrain/cpu", told("calm"))
    assert stack.until_ended(run) == "Released", stack.words(run)
    return run
