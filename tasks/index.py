"""Index a corpus: which clip may be used, and in which split. What cannot be used goes into quarantine, with its reason."""

import csv
import hashlib
import json
import logging
from collections import Counter
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from prefect.client.schemas import State

from tasks.contracts.corpora import Corpus
from tasks.contracts.errors import CorpusError, StoreError
from tasks.contracts.values import Artifact, Reject, typical
from tasks.corpora import ABOUT, EXCUSED, revision
from tasks.corpora.choose import ROWS, Choice, Rules, choose
from tasks.corrections.decisions import KIND, key_of, newest, read_log, read_table, seal_table
from tasks.download import download
from tasks.policy import found, step, task_of
from tasks.store.artifacts import Draft, fetch_file, find, load
from tasks.store.lines import from_lines, to_lines
from tasks.store.objects import Store

log = logging.getLogger(__name__)
CHOSEN = ("id", "split", "text", "speaker", "recording", "language", "place", "seconds", "weight", *ABOUT)  # columns of a corpus
NUMBERS = {"seconds": pa.float32(), "weight": pa.float32()}
MANIFEST = pa.schema({name: NUMBERS.get(name, pa.string()) for name in CHOSEN if name != "place"})
TEST = pa.schema({"id": pa.string(), "recording": pa.string()})


def corpus_of(root: str, corpus: Corpus, name: str) -> Artifact:
    """Return the corpus as it is now, with the clips of the test that was frozen under this name wherever its source has them.

    Common Voice draws its splits anew with each release: what was in test is then in none of the tables that are used.
    """
    store, now = Store(root), revision(corpus)
    found_now = download(root, corpus, now)
    test = frozen_test(store, name)
    if test is None:
        return found_now
    ids = pq.read_table(fetch_file(store, found_now.file("clips.parquet")), columns=["id"])["id"]
    missing = sorted(set(ids_of(store, test)) - set(ids.to_pylist()))
    return download(root, corpus, now, tuple(missing)) if missing else found_now


def find_corrections(root: str, name: str) -> Artifact:
    """Return the table of what people decided about labels of the recipe of this name; nobody has decided anything: an empty one."""
    store = Store(root)
    return seal_table(store, newest(read_log(store, name)))


def gather_corrections(root: str, name: str) -> Artifact | State[Artifact]:
    """Return what `find_corrections` does; found, if nothing was decided since it was last asked."""
    store = Store(root)
    table = newest(read_log(store, name))
    known = find(store, KIND, key_of(table))
    return found(store.uri(f"{KIND}/{known.key}"), known) if known else seal_table(store, table)


corrections_of = task_of(gather_corrections, "corrections", name="corrections", task_run_name="corrections-{name}")


@step("test", version=3)
def draw_test(draft: Draft, corpus: Artifact, rules: Rules, corrections: Artifact) -> dict[str, Any]:
    """Write which clips the rules draw for the test, without those that people dropped."""
    refused = _rejects(draft.store, corpus)
    choice = _choose(draft.store, corpus, rules, None, refused, corrections)
    _refuse_empty_splits(choice, refused + choice.rejects, corpus, rules)
    clips = choice.clips.take(choice.rows["test"])
    with draft.staged("test.parquet") as path:
        pq.write_table(clips.select(TEST.names).cast(TEST), path)
    return {"n_clips": len(clips)}


def find_test(root: str, name: str, corpus: Artifact, rules: Rules, corrections: Artifact) -> Artifact | State[Artifact]:
    """Return the test set that was frozen under this name, else the one that the rules draw.

    Whatever becomes of the corpus, its releases and the rules: trainings of one name are scored on the same clips.
    """
    test = frozen_test(Store(root), name)
    drawn: Artifact | State[Artifact] = (
        found(f"the test frozen as {name!r}", test) if test else draw_test.fn(root, corpus, rules, corrections)
    )
    return drawn


test_of = task_of(find_test, "test", name="draw-test", task_run_name="draw-test-{name}")


def frozen_test(store: Store, name: str) -> Artifact | None:
    """Return the test set that was frozen under this name, if there is one.

    Raises:
        StoreError: if there is, and it is damaged: another one would silently take its place.
    """
    try:
        return load(store, "test", json.loads(store.read(_frozen_at(name)))["test"])
    except FileNotFoundError:
        return None
    except StoreError as error:
        raise StoreError(f"the frozen test {name!r}: {error}; or freeze another one under a new name: splits.frozen") from error


def freeze_test(root: str, name: str, test: Artifact, dataset: Artifact, may_miss: float = 0.0) -> Artifact | State[Artifact]:
    """Make `test`, of which `dataset` uses all clips that can be used, the test set of this name, and return it.

    If it is already, see to it that the data set scores the clips that the first one scored.

    Raises:
        CorpusError: if it does not: gates, the model's window or its longest label refuse other clips than they did.
        StoreError: if another run has frozen another test in the meantime.
    """
    store, path = Store(root), _frozen_at(name)
    index = pq.read_table(fetch_file(store, dataset.file("index.parquet")), columns=TEST.names, filters=[("split", "=", "test")])
    scored = dict(sorted(zip(*(index[column].to_pylist() for column in TEST.names), strict=True)))
    told = {"name": name, "test": test.key, "scored": scored}
    if not store.exists(path):
        try:
            store.create(path, json.dumps(told, indent=1, ensure_ascii=False).encode())
            log.info("test %r: frozen with %d clips", name, len(scored))
            return test
        except StoreError:
            if not store.exists(path):
                raise  # it cannot be written
    frozen = json.loads(store.read(path))
    if frozen["test"] != test.key:
        why = "another run has frozen another test in the meantime; run again to use that one, or give another name: splits.frozen"
        raise StoreError(f"test {name!r}: {why}")
    _need_same(name, frozen["scored"], scored, may_miss, store, dataset)
    return found(store.uri(path), test)


freeze = task_of(freeze_test, "frozen", name="freeze-test", task_run_name="freeze-test-{name}")


def _need_same(name: str, frozen: dict[str, str], scored: dict[str, str], may_miss: float, store: Store, dataset: Artifact) -> None:
    """Refuse a data set that does not score the recordings of the frozen test, all of them (but for `may_miss`) and no others."""
    dropped = _dropped(store, dataset)
    gone = {id for id, recording in frozen.items() if recording not in scored.values() and recording not in dropped}
    new = {id for id, recording in scored.items() if recording not in frozen.values()}
    if len(gone) > may_miss * len(frozen) or new:
        with fetch_file(store, dataset.file("quarantine.csv")).open(newline="", encoding="utf-8") as file:
            reasons = {row["id"]: row["reason"] for row in csv.DictReader(file)}
        examples = [f"{id!r} ({reasons.get(id, 'refused')})" for id in sorted(gone)[:3]] + [f"{id!r} (new)" for id in sorted(new)[:3]]
        raise CorpusError(
            f"the frozen test {name!r} has {len(frozen)} clips; {len(gone)} of them are refused now and {len(new)} others are not, "
            f"for example {', '.join(examples)}. Change gates, text and model back; or score on another test from now on, under another "
            "name (splits.frozen, or the recipe's own); or allow it (splits.may_miss)"
        )


def _dropped(store: Store, dataset: Artifact) -> set[str]:
    """Return the recordings of the clips that people dropped from a data set: they may be missing in its test."""
    if not dataset.facts.get("corrections", {}).get("n_dropped"):
        return set()
    rows = from_lines(fetch_file(store, dataset.file("corrections.jsonl")).read_bytes())
    return {row["recording"] for row in rows if row["outcome"] == "dropped"}


def _frozen_at(name: str) -> str:
    return f"frozen/{name}.json"


@step("manifest", version=5)
def index(draft: Draft, corpus: Artifact, test: Artifact, rules: Rules, corrections: Artifact) -> dict[str, Any]:
    """Write the manifest, a row per clip that may be used, and the quarantine. Sound is not looked at here.

    Args:
        draft: where to.
        corpus: all its rows.
        test: the frozen test.
        rules: the recipe's.
        corrections: what people decided about labels.
    """
    frozen_of = ids_of(draft.store, test)
    refused = _rejects(draft.store, corpus)
    choice = _choose(draft.store, corpus, rules, frozen_of, refused, corrections)
    rejects = refused + choice.rejects
    _refuse_empty_splits(choice, rejects, corpus, rules)

    words = hashlib.sha256()
    with draft.staged("manifest.parquet") as path, pq.ParquetWriter(path, MANIFEST) as table:
        for split, rows in choice.rows.items():
            for start in range(0, len(rows), ROWS):
                some = choice.clips.take(rows[start : start + ROWS])
                some = some.set_column(some.schema.get_field_index("split"), "split", pa.array([split] * len(some), pa.string()))
                table.write_table(some.select(MANIFEST.names).cast(MANIFEST))
                if split == "train":
                    words.update("\n".join(some["text"].to_pylist()).encode() + b"\n")
    draft.write("quarantine.jsonl", to_lines(asdict(reject) for reject in rejects))
    if choice.applied.table:  # else a manifest is what it was before there were decisions
        draft.write("corrections.jsonl", to_lines(choice.applied.rows()))
    log.info("%d clips to train on, %d dev, %d test; %d in quarantine, %d not drawn", *choice.counts.values(), len(rejects), choice.n_left)
    for leak in choice.leaks:
        log.info("leak: %(clips)d clips of %(split)s share their %(what)s with %(with)s; removed: %(removed)s", leak)
    return {
        "splits": choice.counts,
        "n_rows": corpus.facts["n_clips"] + corpus.facts["n_rejected"],
        "n_rejected": len(rejects),
        "n_excused": sum(each.reason in EXCUSED for each in rejects),
        "n_left": choice.n_left,
        "leaks": choice.leaks,
        "corrections": choice.applied.counts(),
        "language": rules.language,
        "training_words": words.hexdigest(),
        "corpus": corpus.key,
        "test": test.key,
    }


def ids_of(store: Store, test: Artifact) -> dict[str, str]:
    """Return the recording of each clip of a test, by id."""
    clips = pq.read_table(fetch_file(store, test.file("test.parquet")))
    return dict(zip(*(clips[name].to_pylist() for name in TEST.names), strict=True))


def _rejects(store: Store, corpus: Artifact) -> list[Reject]:
    """Return what the source refused."""
    return [Reject(**row) for row in from_lines(fetch_file(store, corpus.file("rejects.jsonl")).read_bytes())]


def _choose(
    store: Store, corpus: Artifact, rules: Rules, frozen: dict[str, str] | None, refused: list[Reject], corrections: Artifact
) -> Choice:
    table = pq.ParquetFile(fetch_file(store, corpus.file("clips.parquet")), read_dictionary=["speaker", "split", "corpus", "language"])
    return choose(table.iter_batches(ROWS, columns=list(CHOSEN)), rules, frozen, refused, read_table(store, corrections))


def _refuse_empty_splits(choice: Choice, rejects: list[Reject], corpus: Artifact, rules: Rules) -> None:
    counts = choice.counts
    for split, n_clips in counts.items():
        if not n_clips and (split == "test" or not rules.only_test):
            n_rows = corpus.facts["n_clips"] + corpus.facts["n_rejected"]
            raise CorpusError(
                f"no clips in split {split!r}: of {n_rows} rows {len(rejects)} are in quarantine ({_reasons(rejects)}), "
                f"the rest are {counts}; give the table a split column, or raise splits.{'test' if split == 'test' else 'dev'}, "
                "or set splits.by to clip if there are few speakers, or leaks to keep if everybody is in every split on purpose"
            )


def _reasons(rejects: list[Reject]) -> str:
    counts = ", ".join(f"{n} {reason}" for reason, n in Counter(reject.reason for reject in rejects).most_common())
    return f"{counts}; for example {typical(rejects).detail}" if rejects else "none"
