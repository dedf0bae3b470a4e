"""`viska plan` says beforehand which clips a run will use, and writes nothing."""

import re
from pathlib import Path
from typing import Any

import pytest

from flows.foresight import SAMPLE, foresee
from tasks.contracts.errors import RecipeError
from tasks.contracts.recipe import Recipe, read_recipe
from tests.steps.chain import prepare, write_corpus
from tests.support.tiny import new_folder


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def recipe(**sections: Any) -> Recipe:
    return read_recipe({"store": "store", "corpus": {"kind": "folder", "path": "corpus"}, "model": {"kind": "scratch"}} | sections)


def told(lines: list[str]) -> dict[str, tuple[int, float]]:
    """Return clips and hours of each split."""
    rows = [line.split() for line in lines if re.match("(train|dev|test) +[0-9,]+ +[0-9]", line)]
    return {row[0]: (int(row[1].replace(",", "")), float(row[2])) for row in rows}


def test_it_foresees_what_prepare_then_seals(tmp_path: Path) -> None:
    write_corpus(range(200), texts={7: "", 8: "да"})
    before = foresee(recipe(), "cpu", None)
    assert not Path("store").exists()
    assert [line for line in before if line.startswith("refused")] == [
        "refused            1  empty text, for example clip-007.wav: no words beside the recording",
        "refused            1  foreign letters, for example clip-008.wav: 'да': да not of the language's alphabet; see gates.alphabet",
    ]
    assert f"hours     estimated: of 200 clips without a length {SAMPLE} were decoded, {SAMPLE} can be used" in before
    new_folder(tmp_path / "model-80")
    run = prepare()
    facts = run.dataset.facts
    assert {split: n for split, (n, _) in told(before).items()} == facts["splits"]
    assert told(foresee(recipe(), "cpu", None)).keys() == told(before).keys(), "from the sealed corpus now"
    for split, (_, hours) in told(before).items():
        assert hours == pytest.approx(facts["hours"][split], abs=0.01)


def test_it_names_leaks_and_the_frozen_test(reads: list[str]) -> None:
    write_corpus(range(100), texts=dict.fromkeys(range(0, 100, 2), "samma ord"))
    lines = foresee(recipe(name="team"), "cpu", None)
    assert any(re.fullmatch(r"leak +\d+  clips of train share their text with test: taken out", line) for line in lines)
    assert "test      would be frozen as 'team'" in lines
    assert len([name for name in reads if name.endswith(".wav")]) == SAMPLE < 100


def test_a_corpus_of_which_nothing_is_left_to_train_on_is_shown_with_its_reasons() -> None:
    write_corpus(range(60), texts=dict.fromkeys(range(60), "alla säger samma sak"))
    lines = foresee(recipe(splits={"by": "clip"}), "cpu", None)
    assert any(line.startswith("refused") and "leaked sentence" in line and "see leaks.text" in line for line in lines)
    assert lines[-1].startswith("warning  there is nothing to train on")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files of the corpus that were read."""
    from tasks.store.source import Source

    names: list[str] = []
    read = Source.read
    monkeypatch.setattr(Source, "read", lambda source, name="": names.append(name) or read(source, name))
    return names


def test_a_price_and_a_device_are_taken_into_account() -> None:
    write_corpus(range(100))
    lines = foresee(recipe(), "T4", 2.0)
    assert any(line.startswith("time on T4") for line in lines) and any(line.startswith("price") for line in lines)
    with pytest.raises(RecipeError, match=r"device 'Z80': nothing is known of it; expected one of T4, "):
        foresee(recipe(), "Z80", None)
