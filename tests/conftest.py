"""What many tests need: a store in a folder of its own, tones, and the real recordings where there are some."""

import os
from pathlib import Path

os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # before anything imports gcsfs
os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach the Hub
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models: threads that wait for each other on a busy machine take ten times as long

from collections.abc import Iterator

import numpy as np
import pytest
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

REAL = Path(os.environ.get("VISKA_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: processes share the files out, and none should be left alone with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("flow") is None)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads what an earlier session, or the person at this machine, fetched."""
    os.environ["VISKA_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _without_heartbeats() -> Iterator[None]:
    """Nobody here misses those of a run, and each flow would wait a second for them at its end."""
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


@pytest.fixture
def real_data() -> Path:
    if not REAL.is_dir():
        pytest.skip(f"no real recordings at {REAL}; set VISKA_REAL_DATA")
    return REAL


@pytest.fixture
def tone() -> np.ndarray:
    """One second of 440 Hz at 16 kHz, [16000] float32."""
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)).astype(np.float32)
