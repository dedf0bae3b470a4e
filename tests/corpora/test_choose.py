"""Which clips are used: words as wished, splits that share nothing, a test set that never moves, subsets drawn fairly."""

import random
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tasks.contracts.corpora import MixCorpus
from tasks.contracts.errors import CorpusError
from tasks.contracts.recipe import Gates, Leaks, Splits, Text, read_recipe
from tasks.contracts.values import Reject
from tasks.corpora.choose import Choice, Rules, choose, learnable, rules_of
from tasks.index import CHOSEN
from tasks.shards.plan import SPLITS

NUMBERS = {"seconds": pa.float32(), "weight": pa.float32(), "place": pa.int64()}
TABLE = pa.schema({name: NUMBERS.get(name, pa.string()) for name in CHOSEN})
USUAL: dict[str, Any] = dict.fromkeys(CHOSEN, "") | {"seconds": 0.0, "weight": 1.0, "place": 0}


def clip(id: str, split: str = "", **told: Any) -> dict[str, Any]:
    """A clip that shares nothing with another, but for what is told."""
    return USUAL | {"id": id, "split": split, "text": f"words of {id}", "recording": f"sound of {id}", "speaker": f"who said {id}"} | told


def chosen(
    clips: list[dict[str, Any]], frozen: dict[str, str] | None = None, language: str = "sv", refused: Sequence[Reject] = (), **rules: Any
) -> Choice:
    batches = [pa.RecordBatch.from_pylist(clips[start : start + 7], TABLE) for start in range(0, len(clips), 7)]
    choice = choose(batches, Rules(language, **rules), frozen, refused)
    n_placed = sum(choice.counts.values()) + len(choice.rejects) + choice.n_left
    assert n_placed == len(clips), "every row is used, refused or left"
    return choice


def ids(choice: Choice, split: str) -> list[str]:
    return [str(each) for each in choice.clips["id"].take(choice.rows[split]).to_pylist()]


def refused(choice: Choice) -> dict[str, str]:
    return {each.id: each.reason for each in choice.rejects}


@pytest.mark.parametrize(("wishes", "text", "words"), [
    ({}, "  Hej\tdu,  a\u030ang\u00a0mig!  ", "Hej du, ång mig!"),
    ({"case": "lower"}, "ÅNGAN på Ön", "ångan på ön"),
    ({"punctuation": "remove"}, "Hej! It\u2019s 14:30 -- 'sant'?", "Hej It's 14 30 sant"),
    ({"quotes": "unwrap"}, '"Hej sa hon."', "Hej sa hon."),
    ({"quotes": "unwrap"}, "”Hej”, sa han.", "”Hej”, sa han."),
    ({"quotes": "unwrap"}, '"Ja", sa "han"', '"Ja", sa "han"'),
    ({"case": "lower"}, "\u0130stanbul", "i\u0307stanbul"),
])  # fmt: skip
def test_words_are_learnt_as_the_recipe_wishes(wishes: dict[str, Any], text: str, words: str) -> None:
    assert learnable(text, Text(**wishes)) == words


def test_text_gates_judge_what_is_left_of_a_text() -> None:
    rows = [clip("a", "test"), clip("b", "dev"), clip("c", "train"), clip("d", "train", text="”7!”"), clip("e", "train", text="<|en|>")]
    assert refused(chosen(rows)) == {"e": "control text"}


@pytest.mark.parametrize(("text", "reason"), [
    ("?!", "empty text"), ("...", "empty text"), ("\u200b", "empty text"), ("\ufeff \u00ad", "empty text"),
    ("hej\0du", "control text"), ("hej \x1b[0m", "control text"),
    ("हिन्दी", ""), ("ไทย", ""), ("7", ""), ("hej\u2028du\x85nu", ""), ("\u200fשלום\u200e", ""),
])  # fmt: skip
def test_a_text_without_a_word_or_with_control_characters_is_refused(text: str, reason: str) -> None:
    rows = [clip("a", "test"), clip("b", "dev"), clip("c", "train"), clip("d", "test", text=text)]
    assert refused(chosen(rows, gates=Gates(alphabet="any"))) == ({"d": reason} if reason else {})


@pytest.mark.parametrize("what, key, reason", [
    ("speaker", "speaker", "leaked speaker"), ("text", "text", "leaked sentence"), ("sound", "recording", "leaked sound"),
])  # fmt: skip
def test_what_test_shares_is_taken_out_of_dev_and_what_either_shares_out_of_train(what: str, key: str, reason: str) -> None:
    same = {"one": {key: "hej du"}, "two": {key: "nej"}}
    rows = [clip("t1", "train", **same["one"]), clip("t2", "train", **same["two"]), clip("t3", "train"),
            clip("d1", "dev", **same["one"]), clip("d2", "dev", **same["two"]), clip("e1", "test", **same["one"])]  # fmt: skip
    choice = chosen(rows)
    assert refused(choice) == dict.fromkeys(("d1", "t1", "t2"), reason)
    assert (ids(choice, "train"), ids(choice, "dev"), ids(choice, "test")) == (["t3"], ["d2"], ["e1"])
    found = [(each["what"], each["split"], each["with"], each["clips"], each["removed"]) for each in choice.leaks]
    assert found == [(what, "dev", "test", 1, True), (what, "train", "test", 1, True), (what, "train", "dev", 1, True)]
    assert all(f"see leaks.{what}" in each.detail for each in choice.rejects)

    kept = chosen(rows, leaks=Leaks(**{what: "keep"}))
    assert kept.rejects == [] and kept.counts == {"train": 3, "dev": 2, "test": 1}
    assert [(each["what"], each["clips"], each["removed"]) for each in kept.leaks] == [(what, 1, False), (what, 1, False), (what, 2, False)]


def test_sentences_are_compared_without_case_and_punctuation_and_unknown_speakers_are_nobody() -> None:
    rows = [clip("t", "train", text="Hej, du!", speaker=""), clip("d", "dev", speaker=""), clip("e", "test", text="hej du", speaker="")]
    choice = chosen([*rows, clip("u", "train", speaker="", recording=""), clip("f", "test", speaker="", recording="")])
    assert refused(choice) == {"t": "leaked sentence"}


def test_splits_that_are_made_keep_speakers_apart() -> None:
    rows = [clip(f"c{number}", speaker=f"s{number % 60}") for number in range(600)]
    choice = chosen(rows, splits=Splits(dev=0.2, test=0.2))
    speakers = {split: set(choice.clips["speaker"].take(choice.rows[split]).to_pylist()) for split in choice.rows}
    assert all(speakers.values()) and sum(map(len, speakers.values())) == 60
    assert choice.leaks == [] and choice.rejects == []
    loose = chosen(rows, splits=Splits(dev=0.2, test=0.2, by="clip"))
    assert {each["what"] for each in loose.leaks} == {"speaker"} and len(loose.rejects) > 200


def test_of_few_speakers_somebody_is_always_held_back() -> None:
    for seed in range(20):
        choice = chosen([clip(f"c{n}", speaker=f"s{n % 4}") for n in range(40)], splits=Splits(seed=seed))
        assert all(choice.counts.values()) and choice.leaks == [] and choice.counts["train"] >= 10
    assert chosen([clip(f"c{n}", speaker=f"s{n % 2}") for n in range(40)], splits=Splits(dev=0.01, test=0.01)).counts["dev"] == 0
    given = [clip(f"c{n}", "train", speaker=f"s{n % 4}") for n in range(40)] + [clip("e", "test")]
    assert chosen(given).counts["test"] == 1 and chosen(given).counts["dev"] >= 10


def release(n_clips: int, dice: random.Random) -> list[dict[str, Any]]:
    """A release that draws its splits anew, as Common Voice does; twenty speakers in each hundred clips."""
    speakers = {number: dice.choice(["train", "train", "dev", "test"]) for number in range(n_clips // 5)}
    return [clip(f"c{number:04d}", speakers[number // 5], speaker=f"s{number // 5}") for number in range(n_clips)]


def test_a_frozen_test_is_the_same_in_every_release_and_never_trained_on() -> None:
    dice = random.Random(0)
    first = chosen(release(400, dice))
    frozen = dict(first.clips.take(first.rows["test"]).select(["id", "recording"]).to_pandas().itertuples(index=False))
    again = chosen(release(500, dice))
    assert set(ids(again, "train")) & set(frozen), "as it would be otherwise"
    later = chosen(release(500, dice), frozen)
    assert set(ids(later, "test")) == set(frozen)
    assert not set(ids(later, "train")) & set(frozen) and not set(ids(later, "dev")) & set(frozen)
    who = {split: set(later.clips["speaker"].take(later.rows[split]).to_pylist()) for split in later.rows}
    assert not who["train"] & who["test"] and not who["dev"] & who["test"]
    assert Counter(refused(later).values())["not in the frozen test"] > 50, "what is now in test elsewhere is not trained on either"


def test_of_splits_that_are_made_new_clips_are_trained_on() -> None:
    rows = [clip(f"c{number}") for number in range(300)]
    first = chosen(rows[:200])
    later = chosen(rows, {id: f"sound of {id}" for id in ids(first, "test")})
    assert ids(later, "test") == ids(first, "test") and later.rejects == []


def test_a_frozen_clip_that_is_missing_refused_or_changed_is_an_error_with_instructions() -> None:
    rows = [clip(f"t{n}", "train") for n in range(3)] + [clip("d", "dev")] + [clip(f"e{n}", "test") for n in range(4)]
    frozen = {f"e{n}": f"sound of e{n}" for n in range(4)}
    assert len(ids(chosen(rows, frozen), "test")) == 4
    rows[4] = clip("e0", "test", recording="other sound")
    rows[5] = clip("e1", "test", text="")
    message = (
        "of the 4 clips of the frozen test 2 are missing in the corpus and 1 are changed, for example 'e1' (empty text), 'e2' (missing), "
        "'e0' (other sound). Bring them back; or score on another test from now on, under another name (splits.frozen, or"
    )
    with pytest.raises(CorpusError, match=re.escape(message)):
        chosen([row for row in rows if row["id"] != "e2"], frozen)
    by_source = [Reject("e2", "download", "reported sentence", "reported.tsv has it")]
    with pytest.raises(CorpusError, match=re.escape("'e1' (empty text), 'e2' (reported sentence), 'e0' (other sound)")):
        chosen([row for row in rows if row["id"] != "e2"], frozen, refused=by_source)
    corrected = [row | {"text": f"{row['text']} corrected"} for row in rows[:4]] + [
        clip(f"e{n}", "test", text=f"corrected {n}") for n in range(4)
    ]
    assert len(ids(chosen(corrected, frozen), "test")) == 4, "a transcript may be corrected"


def test_a_frozen_clip_that_has_another_id_now_is_known_by_its_sound() -> None:
    rows = [clip(f"train/{n}", "train") for n in range(5)] + [clip("validation/d", "dev"), clip("test/1", "test"), clip("test/2", "test")]
    rows[3] = clip("train/moved", "train", recording="sound of test/0")
    choice = chosen(rows, {f"test/{n}": f"sound of test/{n}" for n in range(3)})
    assert set(ids(choice, "test")) == {"test/1", "test/2", "train/moved"}


def test_a_subset_is_drawn_by_speaker_and_a_larger_one_holds_it() -> None:
    rows = [
        clip(f"c{number:04d}", "train", speaker="a" if number < 800 else "b" if number < 960 else f"s{number}") for number in range(1000)
    ]
    rows += [clip("d", "dev"), clip("e", "test")]
    few, more = (chosen(rows, splits=Splits(max_train=most)) for most in (100, 200))
    assert len(ids(few, "train")) == 100 and set(ids(few, "train")) < set(ids(more, "train"))
    share = Counter(few.clips["speaker"].take(few.rows["train"]).to_pylist())
    assert abs(share["a"] - 80) < 5 and abs(share["b"] - 16) < 2, "the first hundred rows are one speaker"
    assert ids(few, "train") == sorted(ids(few, "train")) != [f"c{n:04d}" for n in range(100)]
    assert set(ids(few, "train")) != set(ids(chosen(rows, splits=Splits(max_train=100, seed=1)), "train"))


def test_the_first_rows_are_those_of_the_sources_own_order() -> None:
    rows = [clip(f"c{number}", "train", place=1000 - number) for number in range(20)] + [clip("d", "dev"), clip("e", "test")]
    assert ids(chosen(rows, splits=Splits(max_train=3, subset="first")), "train") == ["c17", "c18", "c19"]


def test_a_sentence_is_learnt_so_many_times_at_most() -> None:
    rows = [clip(f"c{n}", "train", text="samma") for n in range(5)] + [clip("d", "dev"), clip("e", "test")]
    choice = chosen(rows, gates=Gates(max_same_text=2))
    assert ids(choice, "train") == ["c0", "c1"] and Counter(refused(choice).values()) == {"double text": 3}


def test_clips_in_another_language_are_trained_on_and_never_scored() -> None:
    rows = [clip("t", "train"), clip("d", "dev"), clip("e", "test"), clip("ru", "train", language="ru", text="привет"),
            clip("ru-e", "test", language="ru", text="пока"), clip("sv", "train", text="привет")]  # fmt: skip
    choice = chosen(rows)
    assert refused(choice) == {"ru-e": "another language", "sv": "foreign letters"}
    assert ids(choice, "train") == ["t", "ru"] and choice.clips["language"].to_pylist() == ["sv", "sv", "sv", "ru", "ru"]


def test_each_part_of_a_mix_gives_its_own_splits_and_its_cap() -> None:
    parts = [{"name": "cv", "corpus": {"kind": "folder", "path": "a"}, "max_train": 5},
             {"name": "own", "corpus": {"kind": "folder", "path": "b"}},
             {"name": "extra", "corpus": {"kind": "folder", "path": "c"}, "use": "train"}]  # fmt: skip
    recipe = read_recipe({"corpus": {"kind": "mix", "parts": parts}})
    assert isinstance(recipe.corpus, MixCorpus) and rules_of(recipe).caps == {"cv": 5} and rules_of(recipe).train_only == ("extra",)
    rows = [clip(f"cv/{n}", split, corpus="cv") for n, split in enumerate(["train"] * 20 + ["dev", "test"])]
    rows += [clip(f"own/{n}", corpus="own") for n in range(100)] + [clip(f"extra/{n}", "train", corpus="extra") for n in range(100)]
    choice = choose([pa.RecordBatch.from_pylist(rows, TABLE)], rules_of(recipe))
    where = {split: Counter(choice.clips["corpus"].take(found).to_pylist()) for split, found in choice.rows.items()}
    assert where["train"]["cv"] == 5 and where["train"]["extra"] == 100
    assert where["test"]["cv"] == where["dev"]["cv"] == 1 and where["test"]["own"] > 3 and where["dev"]["own"] > 3
    assert choice.n_left == 15
    assert np.array_equal(choice.rows["train"], np.sort(choice.rows["train"]))


def test_a_corpus_without_a_row_gives_splits_without_a_clip() -> None:
    assert choose([], Rules("sv")).counts == {"train": 0, "dev": 0, "test": 0}


def test_the_order_in_which_an_archive_brings_its_clips_decides_nothing() -> None:
    rows = [clip(f"c{n:02}", SPLITS[n % 3], place=n, text=f"words {n % 5}", recording=f"sound {n // 2}") for n in range(60)]
    rows += [rows[7] | {"place": 60, "text": "the same id again"}]
    shuffled = random.Random(1).sample(rows, len(rows))
    leaks = Leaks(speaker="keep", text="keep", sound="keep")
    first, second = (chosen(each, leaks=leaks, gates=Gates(max_same_text=2), splits=Splits(max_train=9)) for each in (rows, shuffled))
    assert second.clips.drop_columns("stored").equals(first.clips.drop_columns("stored")) and refused(second) == refused(first)
    assert all(sorted(ids(second, split)) == sorted(ids(first, split)) for split in SPLITS)


def test_of_a_mix_every_corpus_keeps_its_own_order() -> None:
    rows = [clip(f"a{n}", "train", corpus="a", place=9 - n) for n in range(3)] + [clip(f"b{n}", "train", corpus="b") for n in range(2)]
    rows += [clip("d", "dev", corpus="b"), clip("t", "test", corpus="b")]
    assert chosen(rows).clips["id"].to_pylist() == ["a2", "a1", "a0", "b0", "b1", "d", "t"]


def test_rows_come_in_the_order_in_which_they_are_stored_and_are_judged_in_that_of_their_tables() -> None:
    rows = [clip(f"c{n}", "train", place=100 - n, text="samma" if n < 5 else f"ord {n}") for n in range(10)]
    choice = chosen([*rows, clip("d", "dev", place=200), clip("e", "test", place=300)], gates=Gates(max_same_text=2))
    assert ids(choice, "train") == ["c3", "c4", "c5", "c6", "c7", "c8", "c9"], "the first two of the table are the last of the archive"
