"""Resample: any recording to 16 kHz, one channel, FLAC. One decode serves every bin count, the report's players and augmentation."""

import logging
from dataclasses import asdict
from typing import Any

from tasks.audio import SAMPLE_RATE
from tasks.audio.decode import decode, encode_flac
from tasks.audio.resample import resample as to_16_khz
from tasks.contracts.errors import AudioError
from tasks.contracts.values import File, Part, Reject
from tasks.policy import step
from tasks.shards.format import Sound, encode_sound
from tasks.shards.manifest import rows_of
from tasks.store.artifacts import Draft, fetch_file
from tasks.store.lines import to_lines

log = logging.getLogger(__name__)
MAX_SECONDS = 60.0  # no window is longer than 30 s; this bounds the memory that one recording can take


@step("audio", version=1, task_run_name="resample-{part.name}")
def resample(draft: Draft, part: Part) -> dict[str, Any]:
    """Write the part's recordings at 16 kHz, and the quarantine of those that cannot be decoded."""
    rows = rows_of(part, draft.store)
    packs: dict[str, dict[str, Any]] = part.manifest.facts["packs"]
    sounds = {name: Sound(fetch_file(draft.store, File(**packs[name]))) for name in {row["raw"] for row in rows}}
    done: list[tuple[str, bytes]] = []
    rejects: list[Reject] = []
    n_samples = 0
    for row in rows:
        id, data = sounds[row["raw"]][row["row"]]
        assert id == row["id"], (id, row["id"])
        try:
            samples = to_16_khz(*decode(data, MAX_SECONDS))
        except AudioError as refusal:
            rejects.append(Reject(id, "resample", "unusable audio", str(refusal)))
            continue
        done.append((id, encode_flac(samples)))
        n_samples += len(samples)
    draft.write("audio.arrow", encode_sound(done))
    draft.write("quarantine.jsonl", to_lines(asdict(reject) for reject in rejects))
    hours = n_samples / SAMPLE_RATE / 3600
    log.info("%s: %d clips, %.2f h at 16 kHz; %d unusable", part.name, len(done), hours, len(rejects))
    return {"n_clips": len(done), "hours": round(hours, 4), "n_rejected": len(rejects)}
