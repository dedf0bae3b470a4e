"""Three models that say words, trained once: two that whisper.cpp can run, and a small one with a vocabulary and a window of its own."""

from pathlib import Path

import pytest

from tests.support.spoken import OWN, spoken_folder


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 bins, 30 s, the vocabulary of tiny to large-v2."""
    return spoken_folder(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """128 bins, 30 s, the vocabulary of large-v3, which has Cantonese."""
    return spoken_folder(tmp_path_factory.mktemp("wide"), n_mels=128, language="yue")


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 bins, 2 s, a vocabulary of 300 pieces."""
    return spoken_folder(tmp_path_factory.mktemp("own"), window=2, n_pieces=OWN)
