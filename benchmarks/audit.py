"""Does an audit find labels that were spoilt on purpose, and does mending them pay? On real recordings of spoken digits.

    python benchmarks/audit.py [--data FOLDER] [--work FOLDER] [--steps 600] [--share 0.05] [--listen 0.06] [--seed 1] [--save FILE]

FOLDER (VISKA_REAL_DATA) holds `fsdd-english-digits`, the Free Spoken Digit Dataset with its manifest.csv, and
`whisper-digits-from-scratch`, a checkpoint that knows these digits. A share of all labels, in train, dev and test alike, is replaced by
another digit's word. Then

    spoilt   the recipe deployments/recipes/digits.yaml is trained on that, and the model that comes of it ranks all labels; so does the
             checkpoint. Of the share that a person would listen to, how many of the spoilt ones are there?
    mended   that person tells the truth about each of those clips: decisions are saved, and applied by the next preparation
    clean    the labels as they came

All three are trained alike, and scored on the test recordings against their labels, as a report does, and against the true words; the
checkpoint teaches none of them. In the spoilt case dev has wrong labels too. Models that are done are found in the work folder again; 600
steps take two to four minutes on one busy core.
"""

import argparse
import csv
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from prefect.client.schemas import State

from flows.flags import recipe_from
from tasks.audit import rank_suspects
from tasks.contracts.recipe import Pretrained, Recipe
from tasks.contracts.values import Artifact, SplitOf
from tasks.corpora import revision
from tasks.corpora.choose import rules_of
from tasks.corrections.decisions import Decision, correction, save
from tasks.download import download
from tasks.index import draw_test, find_corrections, index
from tasks.log_mel import log_mel
from tasks.plan import in_order, make_plan
from tasks.resample import resample
from tasks.score import transcribe_split
from tasks.scoring.rates import word_error_rate
from tasks.shard import shard
from tasks.shards.plan import SPLITS
from tasks.start import fit_of, start
from tasks.store.artifacts import fetch_file
from tasks.store.lines import from_lines
from tasks.store.objects import Store
from tasks.train import train_model

RECIPE = Path(__file__).parents[1] / "deployments" / "recipes" / "digits.yaml"
ENOUGH = 0.9  # of the spoilt labels must be in what is listened to


def main(data: Path, work: Path, steps: int, share: float, listen: float, seed: int) -> dict[str, Any]:
    """Spoil, rank, mend, train; print a table and return the figures."""
    truth, spoilt = make_corpora(data / "fsdd-english-digits", work, share, seed)
    root, found = str(work / "store"), {}
    told = {"store": root, "training.steps": steps, "training.evaluate_every": 100}
    folders = {"spoilt": "spoilt", "mended": "spoilt", "clean": "clean"}
    recipes = {name: recipe_from(str(RECIPE), told | {"name": name, "corpus.path": str(work / of)}) for name, of in folders.items()}
    model, dataset = prepare(recipes["spoilt"])
    trained = value_of(train_model.fn(root, model, dataset, "en", recipes["spoilt"].training))
    wer = {"spoilt": score(root, trained, dataset, truth)}
    given = value_of(start(root, Pretrained(name=str(data / "whisper-digits-from-scratch")), "en", 0, dataset))
    for name, listener in (("trained on the spoilt labels", trained), ("the given checkpoint", given)):
        rows = suspects(root, listener, dataset)
        listened = rows[: round(listen * len(truth))]
        first = [row["id"] in spoilt for row in rows]
        found[name] = sum(first[: len(listened)])
        print(f"{name}: of {len(spoilt)} spoilt labels {found[name]} ({found[name] / len(spoilt):.1%}) are among the first "
              f"{len(listened)} of {len(truth)}, {sum(first[: len(spoilt)])} among the first {len(spoilt)}")  # fmt: skip
        if listener is trained:
            save(Store(root), "mended", [judge(row, truth) for row in listened])
    for name in ("mended", "clean"):
        recipe = recipes[name]
        model, dataset = prepare(recipe)
        print(f"{name}: {dataset.facts['corrections']}")
        wer[name] = score(root, value_of(train_model.fn(root, model, dataset, "en", recipe.training)), dataset, truth)
    for name, (reported, true) in wer.items():
        print(f"{name:8} test WER {reported:6.2%} against the labels, as a report has it; {true:6.2%} against what is said")
    assert all(n >= ENOUGH * len(spoilt) for n in found.values()), found
    return {"n_clips": len(truth), "n_spoilt": len(spoilt), "listened": listen, "found": found, "wer": wer, "steps": steps, "seed": seed}


def make_corpora(source: Path, work: Path, share: float, seed: int) -> tuple[dict[str, str], set[str]]:
    """Write the corpora `clean` and `spoilt`; return the true word of each clip, and the ids whose word was replaced."""
    with (source / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    dice, words = random.Random(seed), sorted({row["text"] for row in rows})
    chosen = {row["path"] for row in dice.sample(rows, round(share * len(rows)))}
    for name in ("clean", "spoilt"):
        shutil.copytree(source / "audio", work / name / "audio", dirs_exist_ok=True)
        with (work / name / "manifest.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            for row in rows:
                wrong = name == "spoilt" and row["path"] in chosen
                table.writerow(row | ({"text": dice.choice([word for word in words if word != row["text"]])} if wrong else {}))
    return {row["path"]: row["text"] for row in rows}, chosen


def prepare(recipe: Recipe) -> tuple[Artifact, Artifact]:
    """Return the model to start from and the data set, as flows/prepare.py makes them, without Prefect's engine."""
    root, rules = str(recipe.store), rules_of(recipe)
    corpus = value_of(download.fn(root, recipe.corpus, revision(recipe.corpus)))
    corrections = find_corrections(root, recipe.name)
    test = value_of(draw_test.fn(root, corpus, rules, corrections))
    manifest = value_of(index.fn(root, corpus, test, rules, corrections))
    model = value_of(start(root, recipe.model, recipe.token, recipe.training.seed, manifest))
    parts = value_of(make_plan(root, corpus, manifest))
    audio = [value_of(resample.fn(root, part)) for part in parts]
    window = model.facts["window"]
    told = model.facts["n_mels"], window, recipe.features.dtype
    features = [value_of(log_mel.fn(root, part, shelf, *told)) for part, shelf in zip(parts, audio, strict=True)]
    fit, gates = fit_of(model), recipe.gates
    return model, value_of(shard.fn(root, manifest, *in_order(audio, features), fit, recipe.token, gates, window))


def suspects(root: str, model: Artifact, dataset: Artifact) -> list[dict[str, Any]]:
    """Return what `model` finds suspicious, first the worst."""
    heard = [value_of(transcribe_split.fn(root, model, SplitOf(dataset, split), "en", 32, "audit")) for split in SPLITS]
    audit = value_of(rank_suspects.fn(root, dataset, dataset.key, heard, "en"))
    return from_lines(fetch_file(Store(root), audit.file("suspects.jsonl")).read_bytes())


def judge(row: dict[str, Any], truth: dict[str, str]) -> Decision:
    """Decide as a person would who hears every word rightly."""
    told = row["id"], row["recording"], row["label"]
    if row["label"] != truth[row["id"]]:
        return correction(*told, truth[row["id"]])
    return Decision(id=told[0], recording=told[1], was=told[2], verdict="accept")


def score(root: str, model: Artifact, dataset: Artifact, truth: dict[str, str]) -> tuple[float, float]:
    """Return the WER of `model` on the test's recordings against the labels of the data set, and against what is really said."""
    heard = value_of(transcribe_split.fn(root, model, SplitOf(dataset, "test"), "en", 32, "after"))
    rows = from_lines(fetch_file(Store(root), heard.file("predictions.jsonl")).read_bytes())
    texts = [row["text"] for row in rows]
    return word_error_rate([row["reference"] for row in rows], texts), word_error_rate([truth[row["id"]] for row in rows], texts)


def value_of(result: Any) -> Any:
    """Return what a step gave, made or found."""
    return result.data if isinstance(result, State) else result


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=os.environ.get("VISKA_REAL_DATA"))
    parser.add_argument("--work", type=Path, default=Path("audit-benchmark"))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--listen", type=float, default=0.06)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save", type=Path)
    options = vars(parser.parse_args())
    target = options.pop("save")
    if not options["data"]:
        parser.error("--data, or VISKA_REAL_DATA: where the recordings are")
    figures = main(**options)
    if target:
        target.write_text(json.dumps(figures, indent=1))
