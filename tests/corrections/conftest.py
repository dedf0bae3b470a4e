"""A corpus of tones that is prepared once, and the audit of it: a model's words are made up, everything else is real."""

import math
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tasks.audit import rank_suspects
from tasks.contracts.values import Artifact
from tasks.corrections.desk import Desk
from tasks.store.artifacts import Draft, fetch_file, load
from tasks.store.lines import to_lines
from tasks.store.objects import Store
from tests.steps.chain import Run, prepare, value_of, write_corpus
from tests.support.tiny import new_folder

N_CLIPS = 60
WRONG = {7: ("klipp 7", 0.99), 3: ("<b>klipp</b> 33", 0.75), 11: ("något helt annat", 0.8)}  # what is heard instead, and how surely


def rows_of(run: Run) -> list[dict[str, str]]:
    """Return the rows of a data set's index."""
    rows: list[dict[str, str]] = pq.read_table(fetch_file(Store("store"), run.dataset.file("index.parquet"))).to_pylist()
    return rows


def heard(run: Run) -> list[Artifact]:
    """Return predictions of the three splits, in which some clips are heard as something else."""
    made = []
    for split in ("train", "dev", "test"):
        rows = []
        for each in rows_of(run):
            number = int(each["id"][5:8])
            text, sure = WRONG.get(number, (each["text"], 0.95))
            told = {"id": each["id"], "reference": each["text"], "text": text, "capped": False, "logprob": math.log(sure), "n_tokens": 3}
            rows += [told] if each["split"] == split else []
        draft = Draft(Store("store"), "predictions", f"{run.dataset.key}-{split}")
        draft.write("predictions.jsonl", to_lines(rows))
        made.append(draft.seal({"split": split}))
    return made


def audited(run: Run) -> Artifact:
    """Return the list of suspects."""
    audit: Artifact = value_of(rank_suspects.fn("store", run.dataset, run.dataset.key, heard(run), "sv"))
    return load(Store("store"), "audit", audit.key)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    home = tmp_path_factory.mktemp("audit")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        new_folder(home / "model-80")
        write_corpus(range(N_CLIPS), texts={7: "klipp 70"})
        return home, prepare(threads=1)


@pytest.fixture
def run(prepared: tuple[Path, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """What was prepared, in a copy that the test may spoil."""
    shutil.copytree(prepared[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return prepared[1]


@pytest.fixture
def desk(run: Run) -> Desk:
    return Desk(Store("store"), "viska", audited(run), run.dataset)
