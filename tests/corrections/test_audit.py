"""The step that ranks: clips of one language, compared with each other; whatever else a data set holds is left out and counted."""

import logging
import math
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.audit import rank_suspects
from tasks.contracts.errors import StoreError
from tasks.contracts.values import Artifact
from tasks.store.artifacts import Draft, fetch_file
from tasks.store.lines import from_lines, to_lines
from tasks.store.objects import Store
from tests.steps.chain import value_of

SOUND = "a" * 64


def sealed(rows: list[dict[str, Any]], key: str = "d") -> tuple[Artifact, list[Artifact]]:
    """Return a data set of these clips, and what was heard in them, an artifact per split."""
    store = Store("store")
    index = Draft(store, "dataset", key)
    told = ("id", "split", "text", "language", "seconds")
    with index.staged("index.parquet") as path:
        places = [{name: row[name] for name in told} | {"recording": SOUND, "shard": "s", "sound_row": n} for n, row in enumerate(rows)]
        pq.write_table(pa.Table.from_pylist(places), path)
    heard = []
    for split in ("train", "test"):
        draft = Draft(store, "predictions", f"{key}-{split}")
        lines = [{"id": row["id"], "reference": row["text"], "text": row["heard"], "capped": False, "logprob": math.log(row["sure"])}
                 for row in reversed(rows) if row["split"] == split]  # fmt: skip
        draft.write("predictions.jsonl", to_lines(lines))
        heard.append(draft.seal({"split": split}))
    return index.seal({}), heard


def clip(id: str, text: str, heard: str, **told: Any) -> dict[str, Any]:
    return {"id": id, "text": text, "heard": heard, "split": "train", "language": "", "seconds": 1.0, "sure": 0.9, **told}


def ranked(rows: list[dict[str, Any]], key: str = "d") -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the facts of the step, and the list."""
    data, heard = sealed(rows, key)
    audit: Artifact = value_of(rank_suspects.fn("store", data, data.key, heard, "sv"))
    return audit.facts, from_lines(fetch_file(Store("store"), audit.file("suspects.jsonl")).read_bytes())


@pytest.fixture(autouse=True)
def _here(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


SWEDISH = [clip(f"right-{number}", "en röd katt", "en röd katt", split="test", language="sv") for number in range(20)]
SWEDISH += [
    clip("wrong-1", "nio\u2028tio", 'fem "å"\r\n', sure=0.8, seconds=0.625),
    clip("wrong-2", "nio", "sex", language="sv", sure=0.7, seconds=0.3),
]


def test_clips_of_another_language_are_no_suspects_and_move_no_statistic(caplog: pytest.LogCaptureFixture) -> None:
    facts, alone = ranked(SWEDISH)
    assert [row["id"] for row in alone] == ["wrong-1", "wrong-2"] and facts["n_other_languages"] == 0
    others = [clip(f"fi-{number}", "yksi kaksi kolme neljä" * 9, "en röd katt", language="fi", sure=0.99) for number in range(50)]
    with caplog.at_level(logging.INFO, "tasks.audit"):
        facts, found = ranked([*SWEDISH[:5], *others, *SWEDISH[5:]], "mixed")
    assert [row | {"sound_row": 0} for row in found] == [row | {"sound_row": 0} for row in alone]
    assert facts == {"n_clips": 22, "n_suspects": 2, "n_other_languages": 50, "dataset": "mixed"}
    assert "2 of 22 labels have something against them; 50 clips of other languages left out" in caplog.text


def test_a_line_has_what_the_page_shows_and_where_the_sound_lies() -> None:
    assert ranked(SWEDISH)[1][0] == {
        "id": "wrong-1", "label": "nio\u2028tio", "heard": 'fem "å"\r\n', "score": 0.8, "confidence": 0.8, "difference": 0.8571,
        "reasons": ["says 'fem å' where the label says 'nio tio', with confidence 0.80"], "split": "train", "seconds": 0.625,
        "recording": SOUND, "shard": "s", "sound_row": 20,
    }  # fmt: skip


def test_no_word_of_a_clip_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "tasks.audit"):
        ranked(SWEDISH)
    assert "wrong-1" not in caplog.text and "nio" not in caplog.text


@pytest.mark.parametrize(("change", "strange"), [({"id": "gone"}, "gone"), ({"text": "tio"}, "wrong-1")])
def test_predictions_of_other_clips_are_refused(change: dict[str, Any], strange: str) -> None:
    _, heard = sealed([row | (change if row["id"] == "wrong-1" else {}) for row in SWEDISH], "other")
    data, _ = sealed(SWEDISH)
    with pytest.raises(StoreError, match=rf"dataset/d: the predictions are of other clips or labels, for example '{strange}'"):
        rank_suspects.fn("store", data, "d", heard, "sv")
    with pytest.raises(StoreError, match="for example None; transcribe this data set"):
        rank_suspects.fn("store", data, "d", [], "sv")


def test_where_all_clips_are_of_other_languages_the_list_is_empty() -> None:
    facts, found = ranked([row | {"language": "fi"} for row in SWEDISH])
    assert found == [] and (facts["n_clips"], facts["n_other_languages"]) == (0, 22)
