"""A corpus that was prepared once, in a folder that a test may spoil."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from tasks.store.objects import STAGING
from tasks.store.source import Source
from tests.steps.chain import N, Run, prepare, write_corpus
from tests.support.tiny import new_folder


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """A folder with two models and a corpus, and a store in which it is prepared."""
    home = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        for n_mels in (80, 128):
            new_folder(home / f"model-{n_mels}", n_mels=n_mels)
        write_corpus(range(N))
        run = prepare(threads=1)
    assert run.n_decoded == run.corpus.facts["n_new"] == N == sum(run.dataset.facts["splits"].values())
    return home, run


@pytest.fixture
def first(template: tuple[Path, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterable[Run]:
    """What came of the template, in a copy that the test may spoil; nothing half-made may be left there."""
    shutil.copytree(template[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    yield template[1]
    assert [path for path in tmp_path.glob(f"*/{STAGING}/*")] == []
    assert [path for path in tmp_path.rglob(".tmp-*")] == []


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The recordings of a corpus that were read."""
    names: list[str] = []
    read = Source.read

    def note(source: Source, name: str = "") -> bytes:
        names.extend([name] if name.endswith(".wav") else [])
        return read(source, name)

    monkeypatch.setattr(Source, "read", note)
    return names
