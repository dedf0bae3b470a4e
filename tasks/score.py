"""Score: what a model hears on the frozen test split, and the report that says whether it got better."""

import base64
import json
import logging
from dataclasses import asdict
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from tasks.contracts.values import HISTORY, Artifact, File
from tasks.model.fit import device
from tasks.model.generate import NAME, hear_all
from tasks.model.whisper import load_whisper
from tasks.policy import step
from tasks.scoring.html import render_report
from tasks.scoring.report import Prediction, compare, describe_clips
from tasks.shards.dataset import open_split
from tasks.shards.format import Sound
from tasks.store.artifacts import Draft, fetch, fetch_file, load
from tasks.store.lines import from_lines, to_lines
from tasks.store.objects import Store

log = logging.getLogger(__name__)
DATA_FACTS = ("splits", "hours", "n_rejected", "rejected", "leaks", "n_bytes")
READ = ("id", "split", "speaker", "language", "corpus", "licence", "weight", "seconds", "shard", "sound_row")  # columns of the index
N_HEARD = 12  # clips that can be listened to in the report


@step("predictions", version=1, neutral=("batch", "name"), task_run_name="transcribe-{split}-{name}")
def transcribe_split(draft: Draft, model: Artifact, dataset: Artifact, split: str, language: str, batch: int, name: str) -> dict[str, Any]:
    """Write what `model` hears in every clip of a split. `name` is for people: before or after."""
    whisper = load_whisper(fetch(draft.store, model), language, device())
    examples = list(open_split(draft.store, dataset, split))
    hearing = hear_all(whisper, examples, batch)
    heard = dict(tqdm(hearing, total=len(examples), desc=f"transcribe {name}", unit="clip", disable=None, leave=False))
    rows = [{"id": each.id, "reference": each.text, **asdict(heard[number])} for number, each in enumerate(examples)]
    draft.write("predictions.jsonl", to_lines(rows))
    n_capped = sum(row["capped"] for row in rows)
    log.info("%s: %d clips of %s transcribed, %d ran into the longest label", name, len(rows), split, n_capped)
    return {"split": split, "n_clips": len(rows), "n_capped": n_capped, "decoding": NAME}


@step("report", version=3)
def write_report(
    draft: Draft,
    told: dict[str, Any],
    start: Artifact,
    checkpoint: Artifact,
    dataset: Artifact,
    data: str,
    before: Artifact,
    after: Artifact,
) -> dict[str, Any]:
    """Compare the predictions of both models, and write the report as JSON and as one HTML file that opens offline.

    `told` is what the recipe said of everything up to here; `data` is the data set's digest, because its quarantine is reported too.
    """
    store = draft.store
    clips = pq.read_table(fetch_file(store, dataset.file("index.parquet")), columns=list(READ))
    index = {row["id"]: row for row in clips.filter(pc.field("split") == "test").to_pylist()}
    frozen = load(store, "manifest", dataset.facts["refers_to"]["manifest"][0]).facts["splits"]["test"]  # some may sound too bad to be used
    predictions = [
        [Prediction(row["id"], row["reference"], row["text"], row["capped"], index[row["id"]]["speaker"])
         for row in from_lines(fetch_file(store, each.file("predictions.jsonl")).read_bytes())]
        for each in (before, after)
    ]  # fmt: skip
    report = compare(predictions[0], predictions[1], told["scoring"]["resamples"], told["scoring"]["seed"]) | {
        "name": told["name"],
        "language": told["language"],
        "decoding": NAME,
        "start": {"name": start.facts["name"], "commit": start.facts["commit"], "digest": start.digest},
        "checkpoint": checkpoint.facts | {"digest": checkpoint.digest, "key": checkpoint.key},
        "dataset": {key: dataset.facts[key] for key in DATA_FACTS} | describe_clips(clips) | {"digest": data},
        "test": {"name": told["splits"]["frozen"] or told["name"], "n_clips": frozen},
        "history": from_lines(fetch_file(store, checkpoint.file(HISTORY)).read_bytes()),
        "recipe": told,
    }
    shown = [clip["id"] for clip in report["worst"]][:N_HEARD]
    draft.write("report.json", json.dumps(report, indent=1, ensure_ascii=False).encode())
    draft.write("report.html", render_report(report, _sounds(store, dataset, index, shown)).encode())
    return {key: report[key] for key in ("before", "after", "gain", "n_clips", "n_speakers")}


def _sounds(store: Store, dataset: Artifact, index: dict[str, dict[str, Any]], ids: list[str]) -> dict[str, str]:
    """Return the 16 kHz FLAC of some clips as data addresses."""
    sounds: dict[str, str] = {}
    for id in ids:
        sound = Sound(fetch_file(store, File(*dataset.facts["sounds"][index[id]["shard"]])))
        _, flac = sound[index[id]["sound_row"]]
        sounds[id] = "data:audio/flac;base64," + base64.b64encode(flac).decode()
    return sounds
