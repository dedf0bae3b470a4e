"""Report: whether a training made the model better, where, and how sure that is; as JSON, as one HTML file, and in the Prefect UI."""

import base64
import json
import logging
import platform
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from tasks.contracts.recipe import Recipe
from tasks.contracts.values import HISTORY, Artifact, File
from tasks.policy import for_people, step
from tasks.scoring.heard import Hearing
from tasks.scoring.html import render_report
from tasks.scoring.long_rates import compare_long
from tasks.scoring.normalise import Normaliser, normaliser_for
from tasks.scoring.pictures import curves_of, inline, picture
from tasks.scoring.predict import read_predictions
from tasks.scoring.rates import error_rates
from tasks.scoring.report import FORMAT, compare, compare_others, describe_clips
from tasks.scoring.summary import slices_table, summary
from tasks.shards.format import Sound
from tasks.store.artifacts import Draft, fetch_file, load
from tasks.store.lines import from_lines
from tasks.store.objects import Store

log = logging.getLogger(__name__)
DATA_FACTS = ("splits", "hours", "n_rejected", "rejected", "leaks", "n_bytes", "corrections")
READ = ("id", "split", "text", "speaker", "recording", "language", "corpus", "licence", "weight", "seconds", "shard", "sound_row", "age",
        "gender", "accent", "domain", "snr")  # columns of the index  # fmt: skip
N_HEARD, N_MADE_UP = 12, 5  # clips that can be listened to in the report: the worst, and such with signs of hallucination


@step("report", version=5)
def write_report(
    draft: Draft, told: dict[str, Any], normalisers: list[str], start: Artifact, checkpoint: Artifact, dataset: Artifact, data: str,
    others: list[Artifact], before: Hearing, after: Hearing,
) -> dict[str, Any]:  # fmt: skip
    """Compare what both models heard, and write the report as JSON and as one HTML file that opens offline.

    Args:
        draft: where to.
        told: what the recipe said of everything up to here.
        normalisers: names of those of `normalisers_of`: with another version of one the report is another.
        start: the model before its training.
        checkpoint: and after it.
        dataset: the clips.
        data: the data set's digest: its quarantine is reported too.
        others: data sets of the further tests, in the recipe's order.
        before: what the first model heard.
        after: what the second one heard.
    """
    store, wish = draft.store, told["scoring"]
    draws = (wish["resamples"], wish["seed"])
    normaliser, *packs = packs_of(told)
    assert [normaliser.name, *(each.name for each in packs)] == normalisers, "of this process"
    clips, index = read_clips(store, dataset)
    heard = read_predictions(store, before.test), read_predictions(store, after.test)
    rows = [index[each.id] for each in heard[0]]
    known = known_words(clips, normaliser)
    learnt = set(clips.filter(pc.field("split") == "train")["recording"].to_pylist()) if others else set()
    further = zip(wish["others"], others, zip(before.others, after.others, strict=True), packs, strict=True)
    report = compare(*heard, rows, normaliser, known, *draws) | {
        "format": FORMAT,
        "name": told["name"],
        "language": told["language"],
        "decoding": after.test.facts["decoding"],
        "engine": after.test.facts["engine"],
        "forgetting": [_other(store, told, set, *pair, learnt, pack, draws) for told, set, pair, pack in further],
        "start": {"name": start.facts["name"], "commit": start.facts["commit"], "digest": start.digest},
        "checkpoint": checkpoint.facts | {"digest": checkpoint.digest, "key": checkpoint.key},
        "dataset": {key: dataset.facts[key] for key in DATA_FACTS if key in dataset.facts}
        | describe_clips(clips)
        | {"digest": data, "key": dataset.key},
        "others": [each.key for each in others],
        "heard": {"before": before.keys(), "after": after.keys()},
        "predictions": {"before": before.test.key, "after": after.test.key},
        "test": {"name": told["splits"]["frozen"] or told["name"], "n_clips": _n_frozen(store, dataset)},
        "history": from_lines(fetch_file(store, checkpoint.file(HISTORY)).read_bytes()),
        "recipe": told,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in ("viska", "torch", "transformers", "jiwer")},
    }
    if before.long and after.long:
        report["long_form"] = compare_long(lines_of(store, before.long), lines_of(store, after.long), *heard, normaliser, *draws)
    shown = [each["id"] for each in report["worst"][:N_HEARD] + report["hallucinations"]["after"]["clips"][:N_MADE_UP]]
    draft.write("groups.json", json.dumps(_groups([row["speaker"] for row in rows])).encode())
    draft.write("report.json", json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False).encode())
    draft.write("report.html", render_report(report, _sounds(store, dataset, index, shown), normaliser).encode())
    facts = {key: report[key] for key in ("name", "before", "after", "gain", "n_clips", "n_speakers", "normaliser")}
    return facts | {"checkpoint": checkpoint.key, "dataset": dataset.key}


@for_people
def show_report(root: str, report: Artifact) -> None:
    """Show the report in the Prefect UI: figures, slices, and where the page lies."""
    store = Store(root)
    numbers = json.loads(fetch_file(store, report.file("report.json")).read_text())
    curves = inline(picture(curves_of(numbers["history"])), "Curves of loss and dev WER")
    create_markdown_artifact(f"{summary(numbers)}\n\n{curves}", key="report", description=f"WER before and after: {numbers['name']}")
    if numbers["slices"]:
        create_table_artifact(slices_table(numbers), key="slices", description="WER of parts of the test split, in percent")
    page = store.uri(report.file("report.html").path)
    create_link_artifact(page if "://" in page else f"file://{page}", "The whole report", key="report-page")


@for_people
def show_heard(root: str, recipe: Recipe, heard: Hearing) -> None:
    """Show the error rates of one model in the Prefect UI."""
    names, tests = ["test", *(each.name for each in recipe.scoring.others)], [heard.test, *heard.others]
    rows = []
    for name, test, pack in zip(names, tests, packs_of(recipe.up_to_the_report()), strict=True):
        said = read_predictions(Store(root), test)
        rates = error_rates([each.reference for each in said], [each.text for each in said], pack)
        percent = {f"{key.upper()}, %": round(100 * float(rates[key]), 2) for key in ("wer", "cer")}
        rows.append({"test": name, "clips": len(said)} | percent | {"normaliser": pack.name})
    create_table_artifact(rows, key="score", description=f"Error rates of one model: {recipe.name}")


def read_clips(store: Store, dataset: Artifact) -> tuple[pa.Table, dict[str, dict[str, Any]]]:
    """Return what is known of the clips of a data set, and of those of its test by id."""
    clips = pq.read_table(fetch_file(store, dataset.file("index.parquet")), columns=list(READ))
    return clips, {row["id"]: row for row in clips.filter(pc.field("split") == "test").to_pylist()}


def known_words(clips: pa.Table, normaliser: Normaliser) -> set[str]:
    """Return the normalised words of the training split."""
    texts = clips.filter(pc.field("split") == "train")["text"].unique().to_pylist()
    return set(" ".join(map(normaliser, texts)).split())


def normalisers_of(recipe: Recipe) -> list[str]:
    """Return the names, with their versions, of what is no error in the test and in each further test."""
    return [each.name for each in packs_of(recipe.up_to_the_report())]


def packs_of(told: dict[str, Any]) -> list[Normaliser]:
    """Return what is no error in the test and in each further test; each looks at a text once, because texts are compared in many ways."""
    language, wish = told["language"], told["scoring"]["normaliser"]
    others = [each["language"] or language for each in told["scoring"]["others"]]
    packs = [normaliser_for(each, wish if each == language else "auto") for each in (language, *others)]
    return [replace(each, function=cache(each.function)) for each in packs]


def _groups(speakers: list[str]) -> list[int]:
    """Return a number for the speaker of each clip, 0 for one that is not known: who it is, is nobody's business."""
    numbers = {speaker: number for number, speaker in enumerate(dict.fromkeys(filter(None, speakers)), 1)}
    return [numbers.get(speaker, 0) for speaker in speakers]


def _n_frozen(store: Store, dataset: Artifact) -> int:
    """Return how many clips the frozen test has; some may sound too bad to be used."""
    return int(load(store, "manifest", dataset.facts["refers_to"]["manifest"][0]).facts["splits"]["test"])


def lines_of(store: Store, artifact: Artifact) -> list[dict[str, Any]]:
    """Return the rows of an artifact of one file."""
    (file,) = artifact.files
    return from_lines(fetch_file(store, file).read_bytes())


def _other(
    store: Store, told: dict[str, Any], dataset: Artifact, before: Artifact, after: Artifact, learnt: set[str], pack: Normaliser,
    draws: tuple[int, int],
) -> dict[str, Any]:  # fmt: skip
    """Return what became of another test; `learnt`: recordings that were trained on."""
    table = pq.read_table(fetch_file(store, dataset.file("index.parquet")), columns=["id", "split", "speaker", "recording"])
    rows = {row["id"]: row for row in table.filter(pc.field("split") == "test").to_pylist()}
    first, second = read_predictions(store, before), read_predictions(store, after)
    n_learnt = sum(rows[each.id]["recording"] in learnt for each in first)
    if n_learnt:
        log.warning("%s: %d of its %d clips were trained on; what it says of forgetting is too good", told["name"], n_learnt, len(first))
    rates = compare_others(first, second, [rows[each.id]["speaker"] for each in first], pack, *draws)
    return {"name": told["name"], "language": dataset.facts["language"], "n_learnt": n_learnt} | rates


def _sounds(store: Store, dataset: Artifact, index: dict[str, dict[str, Any]], ids: list[str]) -> dict[str, str]:
    """Return the 16 kHz FLAC of some clips as data addresses."""
    shards = cache(lambda name: Sound(fetch_file(store, File(*dataset.facts["sounds"][name]))))
    return {id: "data:audio/flac;base64," + base64.b64encode(shards(index[id]["shard"])[index[id]["sound_row"]][1]).decode() for id in ids}
