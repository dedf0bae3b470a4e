"""Export: a trained model in the files of other engines, each sealed only once its engine has heard what we hear."""

import logging
import tempfile
from pathlib import Path
from typing import Any

from tasks.contracts.values import Artifact, SplitOf
from tasks.exports.formats import format_of, write
from tasks.exports.parity import compare, some_of
from tasks.model.fit import device
from tasks.model.whisper import load_whisper
from tasks.policy import step
from tasks.scoring.rates import word_error_rate
from tasks.shards.dataset import open_split
from tasks.store.artifacts import Draft, fetch

log = logging.getLogger(__name__)


@step("export", version=2, task_run_name="export-{format}")
def export_model(draft: Draft, checkpoint: Artifact, clips: SplitOf, language: str, format: str) -> dict[str, Any]:
    """Write `checkpoint` in a format of `tasks.exports.formats`, and hear some clips with what was written."""
    tolerance, folder = format_of(format).tolerance, fetch(draft.store, checkpoint)
    some = some_of(open_split(draft.store, clips.dataset, clips.split, sound=True))
    with tempfile.TemporaryDirectory(dir=draft.store.staging()) as temporary:
        write(format, folder, Path(temporary), language)
        wer = compare(format, Path(temporary), load_whisper(folder, language, device()), some, word_error_rate)
        for path in sorted(each for each in Path(temporary).rglob("*") if each.is_file()):
            draft.write(path.relative_to(temporary).as_posix(), path)
    n_bytes = sum(file.n_bytes for file in draft.files.values())
    log.info("%s: %.1f MB, and a WER of %.2f %% between it and the model, over %d clips", format, n_bytes / 1e6, 100 * wer, len(some))
    return {"format": format, "n_clips": len(some), "wer": wer, "tolerance": tolerance, "n_bytes": n_bytes}
