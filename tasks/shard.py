"""Shard: put the clips that may be used into one index over all shards, once each has passed the gates and fits the model."""

import csv
import hashlib
import io
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import astuple
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from prefect.artifacts import create_table_artifact
from transformers import WhisperTokenizer

from tasks.audio import SAMPLE_RATE
from tasks.contracts.errors import CorpusError
from tasks.contracts.recipe import Gates
from tasks.contracts.values import Artifact, Reject, fingerprint, typical
from tasks.corpora import ABOUT, EXCUSED
from tasks.model.tokens import label_ids, prefix_ids
from tasks.policy import for_people, step
from tasks.shards.gates import refusals
from tasks.shards.plan import SPLITS
from tasks.start import Fit
from tasks.store.artifacts import Draft, fetch, fetch_file
from tasks.store.lines import from_lines
from tasks.store.objects import Store

log = logging.getLogger(__name__)
FIGURES = ("peak", "clipped", "silence", "snr")
INDEX = pa.schema(
    {name: pa.string() for name in ("id", "split", "text", "speaker", "language", *ABOUT)}
    | {name: pa.float32() for name in ("weight", "seconds", *FIGURES)}
    | {"recording": pa.string(), "n_frames": pa.int32(), "fill": pa.float32(), "shard": pa.string(), "row": pa.int32(), "path": pa.string()}
    | {"offset": pa.int64(), "sound_row": pa.int32()}
)
CONTENT = ("id", "split", "text", "speaker", "recording", "language", "weight")  # what of a clip decides a training
SETTINGS = ("version", "n_mels", "window", "dtype")  # of a shard
ROWS = 2**14  # of a table as Python values at once
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would compute what begins so


@step("dataset", version=4)
def shard(
    draft: Draft, manifest: Artifact, audio: list[Artifact], features: list[Artifact], fit: Fit, language: str, gates: Gates, window: int
) -> dict[str, Any]:
    """Write the index of all accepted clips, and the quarantine of all stages.

    Args:
        draft: where to.
        manifest: the clips.
        audio: shelves that together hold their recordings at 16 kHz.
        features: the shards of these shelves, in the same order.
        fit: the tokenizer and the longest label.
        language: whose token is in the labels' prefix.
        gates: what a clip must be like.
        window: samples that the model hears at once.
    """
    clips = _join(draft, manifest, audio, features)
    clips = clips.take(_order(clips))  # in whatever order a source gives them, they are judged and learnt in this one
    refused = refusals(clips, gates, window, _long_labels(draft, clips, fit, language, manifest.facts["language"]))
    rejects = [Reject(**row) for row in from_lines(fetch_file(draft.store, manifest.file("quarantine.jsonl")).read_bytes())]
    rejects += [Reject(clips["id"][row].as_py(), "shard", *refused[row]) for row in sorted(refused)]
    kept = np.setdiff1d(np.arange(len(clips)), list(refused))
    split_of, seconds = (np.asarray(clips[name].take(kept)) for name in ("split", "seconds"))
    counts = {split: int((split_of == split).sum()) for split in SPLITS}
    asked = {split: counts[split] for split, n in manifest.facts["splits"].items() if n}
    _refuse_leftovers(asked, rejects, _share_refused(manifest, len(refused), len(clips)), gates.max_rejected)

    examples = {split: hashlib.sha256() for split in SPLITS}
    used: set[str] = set()
    with draft.staged("index.parquet") as path, pq.ParquetWriter(path, INDEX) as table:
        for start in range(0, len(kept), ROWS):
            rows = clips.take(kept[start : start + ROWS]).select(INDEX.names).cast(INDEX)
            table.write_table(rows)
            used |= set(rows["shard"].unique().to_pylist())
            for row in zip(*(rows[name].to_pylist() for name in CONTENT), strict=True):
                examples[row[CONTENT.index("split")]].update("\0".join((*map(str, row), "\n")).encode())
    draft.write("quarantine.csv", _table(rejects))
    for file in manifest.files:
        if file.name == "corrections.jsonl":  # what came of what people decided; there if they decided anything
            draft.adopt(file)

    shards = {each.key[:12]: (each, shelf) for each, shelf in zip(features, audio, strict=True) if each.key[:12] in used}
    hours = {split: round(float(seconds[split_of == split].sum()) / 3600, 4) for split in SPLITS}
    settings = [_settings(audio, "version"), _settings(features, *SETTINGS)]
    contents = {split: fingerprint([hash.hexdigest(), settings]) for split, hash in examples.items()}
    log.info("%d clips in %d shards, %.2f h; %d in quarantine", len(kept), len(used), sum(hours.values()), len(rejects))
    return {
        "splits": counts,
        "hours": hours,
        "language": manifest.facts["language"],
        "n_rejected": len(rejects),
        "rejected": dict(Counter(each.reason for each in rejects)),
        "leaks": manifest.facts["leaks"],
        "corrections": manifest.facts["corrections"],
        "n_bytes": sum(each.facts["n_bytes"] for each, _ in shards.values()),
        "content": fingerprint(contents),
        "contents": contents,
        "shards": {name: astuple(each.file("shard.arrow")) for name, (each, _) in shards.items()},
        "sounds": {name: astuple(shelf.file("audio.arrow")) for name, (_, shelf) in shards.items()},
        "refers_to": {"corpus": [manifest.facts["corpus"]], "manifest": [manifest.key],
                      "audio": [each.key for each in audio], "features": [each.key for each in features]},
    }  # fmt: skip


def _order(clips: pa.Table) -> np.ndarray:
    """Return the rows by split, and in a split by id."""
    by_id: np.ndarray = pc.sort_indices(clips["id"]).to_numpy()
    split_of = pc.index_in(clips["split"], value_set=pa.array(SPLITS)).to_numpy()
    return by_id[np.argsort(split_of[by_id], kind="stable")]


def _join(draft: Draft, manifest: Artifact, audio: list[Artifact], features: list[Artifact]) -> pa.Table:
    """Return the manifest's rows beside what is known of their recordings; what has no features has nulls for their place."""

    def reader(artifacts: list[Artifact]) -> Callable[[str], pa.ChunkedArray]:
        """Return what reads one column of all: a million clips have to fit into memory."""
        paths = [fetch_file(draft.store, each.file("clips.parquet")) for each in artifacts]
        return lambda name: pa.concat_tables([pq.read_table(path, columns=[name]) for path in paths])[name]

    clips = pq.read_table(
        fetch_file(draft.store, manifest.file("manifest.parquet")), read_dictionary=["split", "speaker"]
    ).unify_dictionaries()
    column = reader(audio)
    place = pc.index_in(clips["recording"], value_set=column("recording"))
    for name in ("row", "n_samples", "sound", "detail", *FIGURES):
        clips = clips.append_column("sound_row" if name == "row" else name, column(name).take(place))
    column = reader(features)
    place = pc.index_in(clips["recording"], value_set=column("recording"))
    for name in ("row", "n_frames", "fill", "offset"):
        clips = clips.append_column(name, column(name).take(place))
    of_shard = pa.array(np.repeat(np.arange(len(features), dtype=np.int32), [each.facts["n_clips"] for each in features])).take(place)
    for name, values in (("shard", [each.key[:12] for each in features]), ("path", [each.file("shard.arrow").path for each in features])):
        clips = clips.append_column(name, pa.DictionaryArray.from_arrays(of_shard, values))
    clips = clips.rename_columns({"seconds": "told"})  # by the source
    return clips.append_column("seconds", pc.divide(pc.cast(clips["n_samples"], pa.float32()), float(SAMPLE_RATE)))


def _settings(artifacts: list[Artifact], *names: str) -> list[str]:
    return sorted({fingerprint([each.facts[name] for name in names]) for each in artifacts})


def _long_labels(draft: Draft, clips: pa.Table, fit: Fit, token: str, language: str) -> dict[int, tuple[str, str]]:
    """Return the rows whose labels the model cannot take; ModelError if it does not know a language that is spoken in one."""
    tokenizer = WhisperTokenizer.from_pretrained(fetch(draft.store, fit.model))
    spoken = [token if each == language else each for each in clips["language"].unique().to_pylist()]
    prefix = max((prefix_ids(tokenizer, each, fit.multilingual) for each in spoken), key=len)
    long, texts = {}, clips["text"]
    for start in range(0, len(texts), ROWS):
        for row, text in enumerate(texts.slice(start, ROWS).to_pylist(), start):
            if len(text.encode()) + len(prefix) + 1 > fit.max_tokens:  # a token is at least a byte
                n_tokens = len(label_ids(tokenizer, prefix, text))
                if n_tokens > fit.max_tokens:
                    long[row] = ("label too long", f"{n_tokens} tokens, the model takes at most {fit.max_tokens}")
    return long


@for_people
def show_data(root: str, dataset: Artifact) -> None:
    """Show in the Prefect UI how many clips are in quarantine, and why, and what the splits share."""
    rows = [{"reason": reason, "clips": n} for reason, n in sorted(dataset.facts["rejected"].items(), key=lambda each: -each[1])]
    n_clips = dataset.facts["n_rejected"] + sum(dataset.facts["splits"].values())
    where = Store(root).uri(dataset.file("quarantine.csv").path)
    words = f"{dataset.facts['n_rejected']} of {n_clips} clips are in quarantine. Each with its reason: {where}"
    create_table_artifact(rows or [{"reason": "none", "clips": 0}], key="quarantine", description=words)
    leaks = [{"in": each["split"], "shares its": each["what"], "with": each["with"], "clips": each["clips"],
              "done": "removed" if each["removed"] else "kept"} for each in dataset.facts["leaks"]]  # fmt: skip
    create_table_artifact(leaks or [{"in": "no split shares a speaker, a sentence or a file with another"}], key="leaks",
                          description="What splits shared. A score is worth what its test does not share with train.")  # fmt: skip


def _table(rejects: list[Reject]) -> bytes:
    """Return the quarantine as CSV that a spreadsheet opens, and computes nothing of."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "stage", "reason", "detail"])
    for each in rejects:
        writer.writerow(["'" + cell if cell.startswith(FORMULA) else cell for cell in astuple(each)])
    return text.getvalue().encode()


def _share_refused(manifest: Artifact, n_refused: int, n_clips: int) -> float:
    """Return the share of the corpus' rows that cannot be used, as if those that were not drawn sounded like those that were."""
    excused = manifest.facts["n_excused"]
    n_before, n_rows = manifest.facts["n_rejected"] - excused, manifest.facts["n_rows"] - excused
    return float((n_before * n_clips + (n_rows - n_before) * n_refused) / (n_rows * n_clips))


def _refuse_leftovers(counts: dict[str, int], rejects: list[Reject], share: float, max_rejected: float) -> None:
    """Stop when a split is empty, or more than the recipe allows is in quarantine."""
    rejects = [each for each in rejects if each.reason not in EXCUSED] or rejects
    reasons = ", ".join(f"{n} {reason}" for reason, n in Counter(each.reason for each in rejects).most_common()) or "none"
    for split, n_clips in counts.items():
        if not n_clips:
            raise CorpusError(f"no clip of split {split!r} is left: {len(rejects)} in quarantine ({reasons}), for example "
                              f"{typical(rejects).id!r}: {typical(rejects).detail}")  # fmt: skip
    if share > max_rejected:
        raise CorpusError(
            f"{share:.1%} of the clips are in quarantine ({reasons}), expected at most {max_rejected:.1%}; for example "
            f"{typical(rejects).id!r}: {typical(rejects).detail}. Mend the corpus, or change gates"
        )
