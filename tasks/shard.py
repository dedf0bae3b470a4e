"""Shard: seal the shards of all splits into one data set with an index, once every label is known to fit the model."""

import logging
from collections import Counter
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from transformers import WhisperTokenizer

from tasks.audio import SAMPLE_RATE
from tasks.contracts.errors import CorpusError
from tasks.contracts.values import Artifact, Reject
from tasks.model.tokens import label_ids, prefix_ids
from tasks.policy import step
from tasks.shards.format import Shard
from tasks.shards.plan import SPLITS
from tasks.start import Fit
from tasks.store.artifacts import Draft, fetch, fetch_file
from tasks.store.lines import from_lines, to_lines

log = logging.getLogger(__name__)
INDEX = pa.schema([("id", pa.string()), ("split", pa.string()), ("text", pa.string()), ("speaker", pa.string()), ("seconds", pa.float32()),
                   ("n_frames", pa.int32()), ("fill", pa.float32()), ("shard", pa.string()), ("row", pa.int32()), ("path", pa.string()),
                   ("offset", pa.int64())])  # fmt: skip


@step("dataset", version=1)
def shard(
    draft: Draft, manifest: Artifact, audio: list[Artifact], features: list[Artifact], fit: Fit, language: str, max_rejected: float
) -> dict[str, Any]:
    """Write the index of all accepted clips and the quarantine of all stages.

    Args:
        draft: where to.
        manifest: the clips; `audio` and `features` are made of its parts, in their order.
        audio: 16 kHz sound of each part.
        features: shard of each part.
        fit: the tokenizer and the longest label.
        language: of the labels' prefix.
        max_rejected: share of the clips that may be in quarantine.
    """
    tokenizer = WhisperTokenizer.from_pretrained(fetch(draft.store, fit.model))
    prefix = prefix_ids(tokenizer, language, fit.multilingual)
    clips = {row["id"]: row for row in from_lines(fetch_file(draft.store, manifest.file("manifest.jsonl")).read_bytes())}
    rejects = [Reject(**row) for each in [manifest, *audio, *features]
               for row in from_lines(fetch_file(draft.store, each.file("quarantine.jsonl")).read_bytes())]  # fmt: skip
    rows: list[dict[str, Any]] = []
    shards: dict[str, Any] = {}
    for part, each in zip(manifest.facts["parts"], features, strict=True):
        file = each.file("shard.arrow")
        shards[part["name"]] = list(asdict(file).values())
        examples = Shard(fetch_file(draft.store, file))
        for number, (id, text) in enumerate(zip(examples.ids, examples.texts, strict=True)):
            n_tokens = len(label_ids(tokenizer, prefix, text))
            if n_tokens > fit.max_tokens:
                rejects.append(Reject(id, "shard", "label too long", f"{n_tokens} tokens, the model takes at most {fit.max_tokens}"))
                continue
            where = {"shard": part["name"], "row": number, "path": file.path, "offset": examples.offset(number)}
            size = {"n_frames": examples.n_frames[number], "fill": examples.fills[number]}
            seconds = examples.n_samples[number] / SAMPLE_RATE
            row = {"id": id, "split": clips[id]["split"], "text": text, "speaker": clips[id]["speaker"], "seconds": seconds}
            rows.append(row | size | where)
    _refuse_leftovers(rows, rejects, max_rejected)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, INDEX), sink)
    draft.write("index.parquet", bytes(sink.getvalue()))
    draft.write("quarantine.jsonl", to_lines(asdict(reject) for reject in rejects))
    counts = Counter(row["split"] for row in rows)
    hours = {split: round(sum(row["seconds"] for row in rows if row["split"] == split) / 3600, 4) for split in SPLITS}
    log.info("%d clips in %d shards, %.2f h; %d in quarantine", len(rows), len(shards), sum(hours.values()), len(rejects))
    return {"splits": dict(counts), "hours": hours, "n_rejected": len(rejects), "rejected": dict(Counter(each.reason for each in rejects)),
            "shards": shards, "n_bytes": sum(file[2] for file in shards.values()),
            "sounds": {part["name"]: asdict(each.file("audio.arrow"))
                       for part, each in zip(manifest.facts["parts"], audio, strict=True)}}  # fmt: skip


def _refuse_leftovers(rows: list[dict[str, Any]], rejects: list[Reject], max_rejected: float) -> None:
    """Stop when a split is empty, or more than the recipe allows is in quarantine."""
    reasons = ", ".join(f"{n} {reason}" for reason, n in Counter(each.reason for each in rejects).most_common()) or "none"
    for split in SPLITS:
        if not any(row["split"] == split for row in rows):
            raise CorpusError(f"no clip of split {split!r} is left: {len(rejects)} in quarantine ({reasons}); see quarantine.jsonl")
    share = len(rejects) / (len(rows) + len(rejects))
    if share > max_rejected:
        raise CorpusError(
            f"{share:.1%} of the clips are in quarantine ({reasons}), expected at most {max_rejected:.1%}; for example {rejects[0].id!r}: "
            f"{rejects[0].detail}. Mend the corpus, or raise splits.max_rejected"
        )
