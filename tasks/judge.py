"""Judge: whether a challenger may take the place of what is published, with the reasons; as JSON, in the report, and in the Prefect UI."""

import json
import logging
from dataclasses import asdict
from typing import Any

import pyarrow.parquet as pq
from prefect.artifacts import create_markdown_artifact

from tasks.contracts.release import Gate
from tasks.contracts.values import Artifact
from tasks.policy import for_people, step
from tasks.report import known_words, lines_of, packs_of, read_clips
from tasks.scoring.contest import Draws, Long, Other, contest
from tasks.scoring.gate import judge, reasons
from tasks.scoring.heard import Hearing
from tasks.scoring.normalise import Normaliser
from tasks.scoring.predict import read_predictions
from tasks.scoring.verdict import as_markdown, with_verdict
from tasks.store.artifacts import Draft, fetch_file
from tasks.store.objects import Store

log = logging.getLogger(__name__)
VERDICT = "verdict.json"


@step("verdict", version=1, task_run_name="judge")
def judge_challenger(
    draft: Draft, told: dict[str, Any], normalisers: list[str], gate: Gate, champion: str, dataset: Artifact, data: str,
    others: list[Artifact], before: Hearing, after: Hearing, report: Artifact,
) -> dict[str, Any]:  # fmt: skip
    """Compare what both heard, and write the verdict, alone and at the head of the challenger's report.

    Args:
        draft: where to.
        told: what the challenger's recipe said of everything up to its report.
        normalisers: names of those of `normalisers_of`.
        gate: what is asked of it.
        champion: what people call the other model.
        dataset: the clips.
        data: the data set's digest: slices are of its columns.
        others: data sets of the further tests.
        before: what the champion heard.
        after: what the challenger heard.
        report: the challenger's.
    """
    store, wish = draft.store, told["scoring"]
    normaliser, *packs = packs_of(told)
    assert [normaliser.name, *(each.name for each in packs)] == normalisers, "of this process"
    clips, index = read_clips(store, dataset)
    heard = read_predictions(store, before.test), read_predictions(store, after.test)
    long = Long(lines_of(store, before.long), lines_of(store, after.long)) if before.long and after.long else None
    pairs = zip(before.others, after.others, strict=True)
    further = [
        _other(store, each["name"], set, pair, pack) for each, set, pair, pack in zip(wish["others"], others, pairs, packs, strict=True)
    ]
    found = contest(
        *heard, [index[each.id] for each in heard[0]], normaliser, known_words(clips, normaliser), further, long,
        Draws(wish["resamples"], wish["seed"], gate.confidence),
    )  # fmt: skip
    checks = [asdict(each) for each in judge(found, gate.model_dump(mode="json"))]
    why = reasons(checks)
    verdict = {"wins": not why, "reasons": why, "champion": champion, "checks": checks, "gate": gate.model_dump(mode="json")} | {
        key: found[key] for key in ("n_clips", "n_words", "unit", "normaliser", "level")
    }
    draft.write(VERDICT, json.dumps(verdict, indent=1, ensure_ascii=False, allow_nan=False).encode())
    page = fetch_file(store, report.file("report.html")).read_text(encoding="utf-8")
    draft.write("report.html", with_verdict(page, verdict).encode())
    log.info("%s against %s: %s", told["name"], champion, "; ".join(why) or "better")
    return {"wins": not why, "reasons": why, "champion": champion, "gain": found["gain"]}


def _other(store: Store, name: str, dataset: Artifact, heard: tuple[Artifact, Artifact], pack: Normaliser) -> Other:
    """Return what both heard in another test."""
    table = pq.read_table(fetch_file(store, dataset.file("index.parquet")), columns=["id", "speaker"])
    speakers = dict(zip(table["id"].to_pylist(), table["speaker"].to_pylist(), strict=True))
    first, second = (read_predictions(store, each) for each in heard)
    return Other(name, first, second, [speakers[each.id] for each in first], pack)


def read_verdict(root: str, verdict: Artifact) -> dict[str, Any]:
    """Return the verdict as `judge_challenger` wrote it."""
    found: dict[str, Any] = json.loads(fetch_file(Store(root), verdict.file(VERDICT)).read_text())
    return found


@for_people
def show_verdict(root: str, verdict: Artifact) -> None:
    """Show the verdict in the Prefect UI."""
    told = as_markdown(read_verdict(root, verdict))
    create_markdown_artifact(told, key="verdict", description="Whether the challenger is published, and why")
