"""Index a corpus: which clip is in which split and part. What cannot be used goes into quarantine, with its reason."""

import logging
import re
import unicodedata
from collections import Counter
from dataclasses import asdict
from typing import Any

from tasks.contracts.errors import CorpusError
from tasks.contracts.recipe import Splits
from tasks.contracts.values import Artifact, Reject, fingerprint
from tasks.policy import step
from tasks.shards.plan import SPLITS, choose_split, cut, sample
from tasks.store.artifacts import Draft, fetch_file
from tasks.store.lines import from_lines, to_lines

log = logging.getLogger(__name__)
CONTROL = re.compile(r"<\|.*?\|>")  # would become a token that ends the label, or changes its language


@step("manifest", version=1)
def index(draft: Draft, corpus: Artifact, splits: Splits) -> dict[str, Any]:
    """Write the manifest, a row per clip that may be used, and the quarantine."""
    rows_in, rejected = (from_lines(fetch_file(draft.store, corpus.file(name)).read_bytes()) for name in ("clips.jsonl", "rejects.jsonl"))
    rejects = [Reject(**row) for row in rejected]
    clips = _accept(rows_in, rejects)
    n_clips = len(clips)
    clips = _assign(clips, splits)

    rows: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    for split in SPLITS:
        mine = [clip for clip in clips if clip["split"] == split]
        if not mine:
            raise CorpusError(
                f"no clips in split {split!r}: of {n_clips + len(rejects)} rows {len(rejects)} are in quarantine "
                f"({_reasons(rejects)}), the rest are {dict(Counter(clip['split'] for clip in clips))}; give the table a split "
                f"column, or raise splits.{'test' if split == 'test' else 'dev'}, or set splits.by to clip if there are few speakers"
            )
        for number, part in enumerate(cut(mine, [clip["id"] for clip in mine])):
            name = f"{split}-{number:05d}"
            rows += [clip | {"part": name} for clip in part]
            audio = fingerprint([(clip["id"], clip["sha256"]) for clip in part])
            words = fingerprint([(clip["id"], clip["text"]) for clip in part])
            parts.append({"name": name, "n_clips": len(part), "audio": audio, "words": words})
    draft.write("manifest.jsonl", to_lines(rows))
    draft.write("quarantine.jsonl", to_lines(asdict(reject) for reject in rejects))
    counts = Counter(row["split"] for row in rows)
    log.info("%d clips to train on, %d dev, %d test; %d in quarantine", *(counts[split] for split in SPLITS), len(rejects))
    packs = {file.name: asdict(file) for file in corpus.files if file.name.startswith("raw-")}
    return {"splits": dict(counts), "n_rejected": len(rejects), "parts": parts, "packs": packs}


def _accept(clips: list[dict[str, Any]], rejects: list[Reject]) -> list[dict[str, Any]]:
    """Return the clips with words and an id of their own, texts in NFC; add the others to `rejects`."""
    seen: set[str] = set()
    accepted = []
    for clip in clips:
        text = " ".join(unicodedata.normalize("NFC", clip["text"]).split())
        if CONTROL.search(text):
            rejects.append(Reject(clip["id"], "index", "control text", f"{text!r:.80} holds one of Whisper's special tokens"))
        elif not text:
            rejects.append(Reject(clip["id"], "index", "empty text", "no words beside the recording"))
        elif clip["id"] in seen:
            rejects.append(Reject(clip["id"], "index", "double id", "an earlier row has the same recording; the first one is kept"))
        else:
            seen.add(clip["id"])
            accepted.append(clip | {"text": text})
    return accepted


def _assign(clips: list[dict[str, Any]], splits: Splits) -> list[dict[str, Any]]:
    """Return the clips with their splits decided, and no more of each than the recipe wants.

    A corpus that comes with a test split but no dev split gets its dev clips out of train, and the other way round.
    """
    given = {clip["split"] for clip in clips}
    share = {"dev": 0.0 if "dev" in given else splits.dev, "test": 0.0 if "test" in given else splits.test}

    def decide(clip: dict[str, Any]) -> str:
        fixed = clip["split"] if clip["split"] != "train" or not any(share.values()) else ""
        return choose_split(clip["id"], clip["speaker"], fixed, share["dev"], share["test"], splits.by, splits.seed)

    decided = [clip | {"split": decide(clip)} for clip in clips]
    wanted: set[str] = set()
    for split, most in (("train", splits.max_train), ("dev", 0), ("test", splits.max_test)):
        wanted |= sample([clip["id"] for clip in decided if clip["split"] == split], most, splits.seed)
    return [clip for clip in decided if clip["id"] in wanted]


def _reasons(rejects: list[Reject]) -> str:
    counts = ", ".join(f"{n} {reason}" for reason, n in Counter(reject.reason for reject in rejects).most_common())
    return f"{counts}; for example {rejects[0].detail}" if rejects else "none"
