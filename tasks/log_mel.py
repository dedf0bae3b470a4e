"""Log-Mel: 16 kHz sound to features, exactly as Whisper's own extractor makes them, stored without the padding. One part, one shard."""

import logging
from dataclasses import asdict
from typing import Any

from tasks.audio.decode import decode_flac
from tasks.audio.log_mel import log_mel as features_of
from tasks.contracts.errors import AudioError
from tasks.contracts.values import Artifact, Part, Reject
from tasks.policy import step
from tasks.shards.format import Example, Sound, encode_features
from tasks.shards.manifest import rows_of
from tasks.store.artifacts import Draft, fetch_file
from tasks.store.lines import to_lines

log = logging.getLogger(__name__)


@step("features", version=1, task_run_name="log-mel-{part.name}")
def log_mel(draft: Draft, part: Part, words: str, audio: Artifact, n_mels: int, window: int, dtype: str) -> dict[str, Any]:
    """Write the part's shard. `words` is the part's own fingerprint of its texts, which stand in the shard too."""
    assert words == part.words
    texts = {row["id"]: row["text"] for row in rows_of(part, draft.store)}
    sound = Sound(fetch_file(draft.store, audio.file("audio.arrow")))
    examples: list[Example] = []
    rejects: list[Reject] = []
    for row in range(len(sound)):
        id, data = sound[row]
        samples = decode_flac(data)
        try:
            features, fill = features_of(samples, n_mels, window)
        except AudioError as refusal:
            reason = "over the window" if len(samples) > window else "unusable audio"
            rejects.append(Reject(id, "log_mel", reason, str(refusal)))
            continue
        examples.append(Example(id, texts[id], len(samples), features, fill))
    shard = draft.write("shard.arrow", encode_features(examples, n_mels, dtype))
    draft.write("quarantine.jsonl", to_lines(asdict(reject) for reject in rejects))
    log.info("%s: %d clips, %.1f MB of log-Mel; %d too long", part.name, len(examples), shard.n_bytes / 1e6, len(rejects))
    return {"n_clips": len(examples), "n_bytes": shard.n_bytes, "n_rejected": len(rejects)}
