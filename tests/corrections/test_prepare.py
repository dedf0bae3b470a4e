"""What people decided reaches the next data set: corrected, dropped, counted; and a frozen test stays one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.contracts.errors import CorpusError
from tasks.contracts.recipe import read_recipe
from tasks.contracts.values import Artifact
from tasks.corpora.choose import rules_of
from tasks.corrections.decisions import Decision, Verdict, correction, save
from tasks.index import find_corrections, freeze_test, frozen_test, index
from tasks.plan import in_order
from tasks.shard import shard
from tasks.start import fetch_model, fit_of
from tasks.store.artifacts import load
from tasks.store.objects import Store
from tests.corrections.conftest import N_CLIPS, rows_of
from tests.steps.chain import Run, examples, prepare, quarantine, value_of, write_corpus

NAME = "viska"  # of a recipe that says none
Row = dict[str, str]


def decide(row: Row, verdict: Verdict, text: str = "", was: str = "", note: str = "") -> Decision:
    told = {"id": row["id"], "recording": row["recording"], "was": was or row["text"], "verdict": verdict, "text": text, "note": note}
    return Decision.model_validate(told)


def of_split(run: Run, split: str) -> list[Row]:
    return [row for row in rows_of(run) if row["split"] == split]


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_a_label_is_corrected_in_any_split_and_nothing_is_decoded_again(run: Run, split: str) -> None:
    row = of_split(run, split)[0]
    save(Store("store"), NAME, [decide(row, "correct", "  Rätt\u00a0 ord ")])
    mended = prepare()
    assert mended.n_decoded == 0 and mended.kinds <= {"test", "manifest", "dataset"}
    assert examples(mended)[row["id"]][:2] == (split, "Rätt ord"), "as any other text, with single spaces"
    assert {id: each for id, each in examples(mended).items() if id != row["id"]} == {
        id: each for id, each in examples(run).items() if id != row["id"]
    }
    assert mended.dataset.facts["corrections"] == {"n_corrected": 1, "n_dropped": 0, "n_accepted": 0, "n_stale": 0}


def test_a_dropped_clip_is_in_quarantine_with_what_was_said_of_it(run: Run) -> None:
    train, dev = of_split(run, "train")[0], of_split(run, "dev")[0]
    save(Store("store"), NAME, [decide(train, "drop", note="two people at once"), decide(dev, "drop")])
    mended = prepare(gates={"max_rejected": 0.0})
    assert {row["id"]: (row["reason"], row["detail"].rpartition(", ")[0]) for row in quarantine(mended)} == {
        train["id"]: ("dropped by audit", "two people at once"), dev["id"]: ("dropped by audit", "a person listened to it"),
    }  # fmt: skip
    assert mended.dataset.facts["corrections"]["n_dropped"] == 2 and len(examples(mended)) == N_CLIPS - 2


def test_what_was_not_judged_is_not_changed(run: Run) -> None:
    row, other, gone = of_split(run, "train")[:3]
    numbers = [number for number in range(N_CLIPS) if f"{number:03d}" not in gone["id"]]
    write_corpus(numbers, texts={7: "klipp 70", int(row["id"][5:8]): "mer"})
    other_sound = other | {"recording": "0" * 64}
    save(Store("store"), NAME, [decide(row, "correct", "fel"), decide(other_sound, "drop"), decide(gone, "accept")])
    mended = prepare()
    assert examples(mended)[row["id"]][1] == "mer" and other["id"] in examples(mended)
    assert mended.dataset.facts["corrections"] == {"n_corrected": 0, "n_dropped": 0, "n_accepted": 0, "n_stale": 3}


def test_a_correction_passes_the_gates_as_any_text_does(run: Run) -> None:
    foreign, control, twin = of_split(run, "train")[:3]
    texts = {foreign["id"]: "мир", control["id"]: "<|en|> hej", twin["id"]: "ja " * 60}
    save(Store("store"), NAME, [decide(row, "correct", texts[row["id"]]) for row in (foreign, control, twin)])
    refused = {row["id"]: row["reason"] for row in quarantine(prepare())}
    assert refused == {foreign["id"]: "foreign letters", control["id"]: "control text", twin["id"]: "much text"}


def test_undecided_again_is_as_it_was(run: Run) -> None:
    row = of_split(run, "train")[0]
    save(Store("store"), NAME, [decide(row, "drop")])
    assert row["id"] not in examples(prepare())
    save(Store("store"), NAME, [decide(row, "open")])
    assert prepare().dataset == run.dataset, "the same data set, found in the store"


def test_to_find_a_label_right_changes_counts_and_no_content(run: Run) -> None:
    save(Store("store"), NAME, [decide(of_split(run, "train")[0], "accept")])
    mended = prepare()
    assert mended.dataset.facts["corrections"]["n_accepted"] == 1 and mended.content == run.content


def test_a_dropped_clip_does_not_come_back_by_a_second_row_of_its_id(run: Run) -> None:
    row = of_split(run, "train")[0]
    table = Path("corpus/manifest.tsv")
    header, *rows = table.read_text().split("\n")
    again = next(each for each in rows if row["id"] in each)
    table.write_text("\n".join([header, *rows, again.replace(row["text"], "något annat")]))
    save(Store("store"), NAME, [decide(row, "drop")])
    mended = prepare()
    assert row["id"] not in examples(mended) and [each["reason"] for each in quarantine(mended)] == ["dropped by audit"] * 2


def test_other_recipes_do_not_know(run: Run) -> None:
    save(Store("store"), "another", [decide(of_split(run, "train")[0], "drop")])
    assert prepare().dataset == run.dataset


@pytest.fixture
def again(run: Run) -> Callable[[], Artifact]:
    """Prepare with the test that is frozen, and return the data set."""
    store, told = Store("store"), {"corpus": {"kind": "folder", "path": "corpus"}, "model": {"kind": "pretrained", "name": "model-80"}}
    recipe = read_recipe(told)
    freeze_test("store", NAME, load(store, "test", run.manifest.facts["test"]), run.dataset)
    model = value_of(fetch_model.fn("store", recipe.model, "main"))

    def dataset() -> Artifact:
        frozen = frozen_test(store, NAME)
        assert frozen
        manifest = value_of(index.fn("store", run.corpus, frozen, rules_of(recipe), find_corrections("store", NAME)))
        shelves = in_order(run.audio, run.features)
        made: Artifact = value_of(
            shard.fn("store", manifest, *shelves, fit_of(model), recipe.language, recipe.gates, model.facts["window"])
        )
        freeze_test("store", NAME, frozen, made)
        return made

    return dataset


def test_a_clip_of_the_frozen_test_may_be_corrected_or_dropped(run: Run, again: Callable[[], Artifact]) -> None:
    corrected, dropped, *rest = of_split(run, "test")
    save(Store("store"), NAME, [decide(corrected, "correct", "rätt"), decide(dropped, "drop")])
    made = again()
    assert made.facts["corrections"] == {"n_corrected": 1, "n_dropped": 1, "n_accepted": 0, "n_stale": 0}
    assert made.facts["splits"]["test"] == len(rest) + 1
    save(Store("store"), NAME, [decide(dropped, "open")])
    assert again().facts["splits"]["test"] == len(rest) + 2, "and it comes back"


def test_a_clip_of_the_frozen_test_that_a_gate_refuses_still_stops_the_run(run: Run, again: Callable[[], Artifact]) -> None:
    first, second, *_ = of_split(run, "test")
    save(Store("store"), NAME, [decide(first, "correct", "ja " * 60), decide(second, "drop")])
    with pytest.raises(CorpusError, match=rf"1 of them are refused now and 0 .*'{first['id']}' \(much text\)"):
        again()


def test_a_second_round_judges_what_the_first_one_put_there(run: Run) -> None:
    row = of_split(run, "train")[0]
    save(Store("store"), NAME, [correction(row["id"], row["recording"], row["text"], "en gång")])
    assert examples(prepare())[row["id"]][1] == "en gång"
    save(Store("store"), NAME, [correction(row["id"], row["recording"], "en gång", "två gånger")])
    assert examples(prepare())[row["id"]][1] == "två gånger"
    write_corpus(range(N_CLIPS), texts={7: "klipp 70", int(row["id"][5:8]): "en gång"})
    assert examples(prepare())[row["id"]][1] == "två gånger", "also where the corpus itself says by now what the first one put there"
