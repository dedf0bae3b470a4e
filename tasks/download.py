"""Download a corpus: every recording as it came, packed into objects that can no longer change."""

import hashlib
import logging
from dataclasses import asdict
from typing import Any

from tqdm import tqdm

from tasks.contracts.recipe import Corpus
from tasks.contracts.values import Reject
from tasks.corpora import recordings
from tasks.policy import step
from tasks.shards.format import encode_sound
from tasks.store.artifacts import Draft
from tasks.store.lines import to_lines

log = logging.getLogger(__name__)
PACK = 64 * 2**20  # bytes of recordings in one object


@step("corpus", version=1, task_run_name="download-{corpus.kind}")
def download(draft: Draft, corpus: Corpus, revision: dict[str, Any]) -> dict[str, Any]:
    """Read every row of the corpus; `revision` is what its source says would change it."""
    clips: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    pack: list[tuple[str, bytes]] = []
    n_packs = n_packed = n_bytes = 0

    for row in tqdm(recordings(corpus), desc="download", unit="clip", disable=None, leave=False):
        if isinstance(row, Reject):
            rejects.append(row)
            continue
        if n_packed + len(row.audio) > PACK and pack:
            draft.write(f"raw-{n_packs:05d}.arrow", encode_sound(pack))
            n_packs, n_packed, pack = n_packs + 1, 0, []
        place = {"raw": f"raw-{n_packs:05d}.arrow", "row": len(pack), "sha256": hashlib.sha256(row.audio).hexdigest()}
        clips.append({"id": row.id, "text": row.text, "speaker": row.speaker, "split": row.split} | place)
        pack.append((row.id, row.audio))
        n_packed += len(row.audio)
        n_bytes += len(row.audio)
    if pack:
        draft.write(f"raw-{n_packs:05d}.arrow", encode_sound(pack))
    draft.write("clips.jsonl", to_lines(clips))
    draft.write("rejects.jsonl", to_lines(asdict(reject) for reject in rejects))
    log.info("downloaded %d recordings, %.1f MB; %d rows refused", len(clips), n_bytes / 1e6, len(rejects))
    return {"n_clips": len(clips), "n_bytes": n_bytes, "n_rejected": len(rejects)}
