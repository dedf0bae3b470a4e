"""The test of a name is drawn once: whatever is added to a corpus, later data sets are scored on the same clips."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prefect.client.schemas import State
from prefect.testing.utilities import prefect_test_harness

from flows.prepare import prepare
from tasks import policy
from tasks.contracts.errors import CorpusError, StoreError
from tasks.contracts.recipe import read_recipe
from tasks.contracts.values import Artifact
from tasks.index import freeze_test
from tasks.store.artifacts import Draft
from tasks.store.objects import Store
from tests.steps.chain import write_corpus

pytestmark = pytest.mark.flow


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


def prepared(**sections: Any) -> dict[str, set[str]]:
    """Prepare the corpus of this folder and return the ids of each split."""
    policy.made.clear()
    model = {"kind": "scratch", "width": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "window": 1, "vocabulary": 300}
    told = {"name": "team", "store": "store", "corpus": {"kind": "folder", "path": "corpus"}, "model": model}
    _, key = prepare(read_recipe(told | sections))
    (index,) = Path("store/dataset", key).glob("index-*.parquet")
    rows = pq.read_table(index, columns=["id", "split"]).to_pylist()
    return {split: {row["id"] for row in rows if row["split"] == split} for split in ("train", "dev", "test")}


def test_the_test_of_a_name_stays_when_the_corpus_grows_or_the_rules_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_corpus(range(100))
    first = prepared()
    frozen = json.loads(Path("store/frozen/team.json").read_text())
    assert set(frozen["scored"]) == first["test"] and len(first["test"]) > 5 and policy.made["test"] == policy.made["frozen"] == 1

    write_corpus(range(200))
    grown = prepared(splits={"test": 0.3, "seed": 7})
    assert grown["test"] == first["test"] and not grown["train"] & first["test"] and len(grown["train"]) > 120
    assert policy.made["test"] == policy.made["frozen"] == 0
    assert prepared() and json.loads(Path("store/frozen/team.json").read_text()) == frozen

    other = prepared(splits={"test": 0.3, "seed": 7, "frozen": "another"})
    assert other["test"] != first["test"]

    write_corpus(number for number in range(200) if f"clip-{number:03d}.wav" != min(first["test"]))
    with pytest.raises(
        CorpusError, match=rf"1 are missing in the corpus and 0 are changed, for example '{min(first['test'])}' \(missing\)"
    ):
        prepared()
    next(Path("store/test", frozen["test"]).glob("test-*.parquet")).unlink()
    with pytest.raises(StoreError, match=r"the frozen test 'team': .* is not there, or not whole; .*splits\.frozen"):
        prepared()


def test_gates_that_refuse_other_clips_of_the_frozen_test_than_before_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_corpus(range(100))
    one, two, *rest = sorted(prepared(name="probe")["test"])
    too_long = {id: {int(id[5:8]): "ordet " * 20} for id in (one, two)}  # refused by gates.max_text_rate, after decoding
    write_corpus(range(100), texts=too_long[one])
    assert prepared()["test"] == {two, *rest}, "what is refused when the test is frozen is not in it"

    write_corpus(range(100), texts=too_long[one] | too_long[two])
    with pytest.raises(CorpusError, match=rf"has {len(rest) + 1} clips; 1 of them are refused now and 0 .*'{two}' \(much text\)"):
        prepared()
    write_corpus(range(100))
    with pytest.raises(CorpusError, match=rf"0 of them are refused now and 1 others are not, for example '{one}' \(new\)\. Change gates"):
        prepared()
    assert prepared(name="another")["test"] == {one, two, *rest}


def write_release(split_of: dict[int, str]) -> None:
    """Write a Common Voice release of tones: validated.tsv has all of them, whatever table they are in besides."""
    home = Path("cv/sv-SE")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    write_corpus(split_of, folder=str(home / "clips"), name="common_voice_sv-SE_{:03d}.wav")
    (home / "clips" / "manifest.tsv").unlink()
    tables: dict[str, list[int]] = {name: [] for name in ("train", "dev", "test", "validated", "other", "invalidated")}
    for number, split in split_of.items():
        tables["validated"].append(number)
        if split in tables and split != "validated":
            tables[split].append(number)
    for name, numbers in tables.items():
        rows = [f"speaker {number}\tcommon_voice_sv-SE_{number:03d}.wav\tklipp {number}" for number in numbers]
        (home / f"{name}.tsv").write_text("\n".join(["client_id\tpath\tsentence", *rows, ""]))


def test_a_release_that_draws_its_splits_anew_is_scored_on_the_clips_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    corpus = {"kind": "common_voice", "path": "cv"}
    write_release({n: "test" if n < 10 else "dev" if n < 20 else "train" for n in range(60)})
    first = prepared(corpus=corpus)
    # Of the ten test clips two are still in test, four are in train, four in no split; ten others are in test.
    moved = {
        n: "test" if n < 2 or 20 <= n < 30 else "train" if n < 6 else "validated" if n < 10 else "dev" if n < 20 else "train"
        for n in range(70)
    }
    write_release(moved)
    second = prepared(corpus=corpus)
    assert second["test"] == first["test"] and len(first["test"]) == 10
    assert not (second["train"] | second["dev"]) & first["test"] and len(second["train"]) == 40
    assert sum(policy.made.values()) and prepared(corpus=corpus) == second and not policy.made

    write_release({n: split for n, split in moved.items() if n != 7})  # somebody withdrew it
    with pytest.raises(
        CorpusError, match=r"of the 10 clips of the frozen test 1 are missing .*sv-SE_007' \(missing\).* \(splits\.may_miss\)"
    ):
        prepared(corpus=corpus)
    assert prepared(corpus=corpus, splits={"may_miss": 0.1})["test"] == first["test"] - {"common_voice_sv-SE_007"}


def test_a_run_that_fails_freezes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_corpus(range(100), texts=dict.fromkeys(range(60), ""))
    with pytest.raises(CorpusError, match=r"60\.0% of the clips are in quarantine"):
        prepared()
    assert not Path("store/frozen").exists()
    write_corpus(range(100))
    assert len(prepared()["test"]) > 5


def test_of_two_tests_that_are_frozen_at_once_the_second_is_refused(tmp_path: Path) -> None:
    draft = Draft(Store(str(tmp_path)), "dataset", "key")
    with draft.staged("index.parquet") as path:
        pq.write_table(pa.table({"id": ["a"], "recording": ["sound"], "split": ["test"]}), path)
    dataset = draft.seal({}, {})
    first, second = (Artifact("test", key, (), {"n_clips": 1}) for key in ("one", "two"))
    assert freeze_test(str(tmp_path), "team", first, dataset) == first
    assert isinstance(freeze_test(str(tmp_path), "team", first, dataset), State)
    with pytest.raises(StoreError, match=r"^test 'team': another run has frozen another test in the meantime; run again to use that one"):
        freeze_test(str(tmp_path), "team", second, dataset)
