"""Index a corpus: which clip may be used, and in which split. What cannot be used goes into quarantine, with its reason."""

import hashlib
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.contracts.errors import CorpusError
from tasks.contracts.recipe import Gates, Splits
from tasks.contracts.values import Artifact, Reject
from tasks.corpora.letters import foreign_letters
from tasks.policy import step
from tasks.shards.plan import SPLITS, choose_split, sample
from tasks.store.artifacts import Draft, fetch_file
from tasks.store.lines import from_lines, to_lines

log = logging.getLogger(__name__)
CONTROL = re.compile(r"<\|.*?\|>")  # would become a token that ends the label, or changes its language
ROWS = 2**14  # of a table as Python values at once; the rest is Arrow, a tenth as large
MANIFEST = pa.schema([(name, pa.string()) for name in ("id", "split", "text", "speaker", "recording")])


@step("manifest", version=2)
def index(draft: Draft, corpus: Artifact, splits: Splits, gates: Gates, language: str) -> dict[str, Any]:
    """Write the manifest, a row per clip that may be used, and the quarantine. Sound is not looked at here."""
    rejects = [Reject(**row) for row in from_lines(fetch_file(draft.store, corpus.file("rejects.jsonl")).read_bytes())]
    clips = _accept(fetch_file(draft.store, corpus.file("clips.parquet")), gates, language, rejects)
    split_of = _assign(clips, splits)
    chosen = {split: _choose(clips, np.flatnonzero(split_of == number), split, splits, gates.max_same_text, rejects)
              for number, split in enumerate(SPLITS)}  # fmt: skip
    counts = {split: len(rows) for split, rows in chosen.items()}
    for split, n_clips in counts.items():
        if not n_clips:
            raise CorpusError(
                f"no clips in split {split!r}: of {len(clips) + len(rejects)} rows {len(rejects)} are in quarantine ({_reasons(rejects)}), "
                f"the rest are {counts}; give the table a split column, or raise splits.{'test' if split == 'test' else 'dev'}, "
                "or set splits.by to clip if there are few speakers"
            )
    words = hashlib.sha256()
    with draft.staged("manifest.parquet") as path, pq.ParquetWriter(path, MANIFEST) as table:
        for split, rows in chosen.items():
            for start in range(0, len(rows), ROWS):
                some = clips.take(rows[start : start + ROWS])
                some = some.set_column(some.schema.get_field_index("split"), "split", pa.array([split] * len(some), pa.string()))
                table.write_table(some.select(MANIFEST.names).cast(MANIFEST))
                if split == "train":
                    words.update("\n".join(some["text"].to_pylist()).encode() + b"\n")
    draft.write("quarantine.jsonl", to_lines(asdict(reject) for reject in rejects))
    log.info("%d clips to train on, %d dev, %d test; %d in quarantine", *counts.values(), len(rejects))
    n_rows = corpus.facts["n_clips"] + corpus.facts["n_rejected"]
    return {"splits": counts, "n_rows": n_rows, "n_rejected": len(rejects), "training_words": words.hexdigest(), "corpus": corpus.key}


def _accept(path: Path, gates: Gates, language: str, rejects: list[Reject]) -> pa.Table:
    """Return the rows with usable words and an id of their own, texts in NFC; add the others to `rejects`."""

    def refusal(text: str) -> tuple[str, str] | None:
        if CONTROL.search(text):
            return "control text", f"{text!r:.80} holds one of Whisper's special tokens"
        if not text:
            return "empty text", "no words beside the recording"
        if foreign := foreign_letters(text, language, gates.alphabet):
            return "foreign letters", f"{text!r:.80}: {foreign} not of the language's alphabet; see gates.alphabet"
        return None

    accepted = []
    for batch in pq.ParquetFile(path, read_dictionary=["speaker", "split"]).iter_batches(ROWS, columns=MANIFEST.names):
        texts = [" ".join(unicodedata.normalize("NFC", text).split()) for text in batch["text"].to_pylist()]
        refusals = [refusal(text) for text in texts]
        rejects += [Reject(id, "index", *why) for id, why in zip(batch["id"].to_pylist(), refusals, strict=True) if why]
        batch = batch.set_column(batch.schema.get_field_index("text"), "text", pa.array(texts, pa.string()))
        accepted.append(batch.filter(pa.array([why is None for why in refusals])))
    clips = pa.Table.from_batches(accepted).unify_dictionaries() if accepted else MANIFEST.empty_table()
    numbers = np.asarray(pc.dictionary_encode(clips["id"]).unify_dictionaries().combine_chunks().indices) if len(clips) else np.empty(0)
    _, first = np.unique(numbers, return_index=True)
    again = np.setdiff1d(np.arange(len(clips)), first)
    why = "an earlier row has the same recording; the first one is kept"
    rejects += [Reject(id, "index", "double id", why) for id in clips["id"].take(again).to_pylist()]
    return clips.take(np.sort(first)) if len(again) else clips


def _assign(clips: pa.Table, splits: Splits) -> np.ndarray:
    """Return for each row the number of its split.

    A corpus that comes with a test split but no dev split gets its dev clips out of train, and the other way round.
    """
    given = set(clips["split"].unique().to_pylist())
    share = {"dev": 0.0 if "dev" in given else splits.dev, "test": 0.0 if "test" in given else splits.test}
    choose: Callable[..., str] = cache(choose_split) if splits.by == "speaker" else choose_split  # few speakers say many clips

    def decide(id: str, speaker: str, split: str) -> int:
        fixed = split if split != "train" or not any(share.values()) else ""
        who = "" if speaker and splits.by == "speaker" else id
        return SPLITS.index(choose(who, speaker, fixed, share["dev"], share["test"], splits.by, splits.seed))

    numbers = [np.fromiter(map(decide, *(batch[name].to_pylist() for name in ("id", "speaker", "split"))), np.int8, len(batch))
               for batch in clips.to_batches(max_chunksize=ROWS)]  # fmt: skip
    return np.concatenate([np.empty(0, np.int8), *numbers])


def _choose(clips: pa.Table, rows: np.ndarray, split: str, splits: Splits, max_same_text: int, rejects: list[Reject]) -> np.ndarray:
    """Return those of the rows of a split that are to be used."""
    if max_same_text and split == "train":  # the same sentence again and again is learnt by heart
        said: Counter[str] = Counter()
        keep = np.ones(len(rows), bool)
        for place, (id, text) in enumerate(zip(*(clips[name].take(rows).to_pylist() for name in ("id", "text")), strict=True)):
            said[text] += 1
            if said[text] > max_same_text:
                keep[place] = False
                why = f"{max_same_text} clips before it say the same; see gates.max_same_text"
                rejects.append(Reject(id, "index", "double text", why))
        rows = rows[keep]
    most = {"train": splits.max_train, "dev": 0, "test": splits.max_test}[split]
    if most and len(rows) > most:
        wanted = sample(ids := clips["id"].take(rows).to_pylist(), most, splits.seed)
        rows = rows[[id in wanted for id in ids]]
    return rows


def _reasons(rejects: list[Reject]) -> str:
    counts = ", ".join(f"{n} {reason}" for reason, n in Counter(reject.reason for reject in rejects).most_common())
    return f"{counts}; for example {rejects[0].detail}" if rejects else "none"
