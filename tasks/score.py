"""Score: what a model hears in the clips of a split, one by one and joined to long recordings."""

import logging
from dataclasses import asdict
from math import ceil
from typing import Any

from tasks.audio import SAMPLE_RATE
from tasks.audio.log_mel import log_mel
from tasks.contracts.errors import ModelError
from tasks.contracts.recipe import LongForm
from tasks.contracts.values import Artifact, SplitOf
from tasks.model.ctranslate import listen_with
from tasks.model.fit import device
from tasks.model.generate import NAME, hear_all
from tasks.model.whisper import Whisper, load_whisper
from tasks.policy import step
from tasks.scoring.long_form import hear_long
from tasks.scoring.predict import PREDICTIONS, Hear, predict
from tasks.scoring.rates import word_error_rate
from tasks.shards.dataset import Split, open_split
from tasks.shards.format import Example
from tasks.store.artifacts import Draft, fetch
from tasks.store.lines import to_lines
from tasks.store.objects import Store

log = logging.getLogger(__name__)
COMPARED = 64  # clips, spread over the split, that another engine must hear as ours does


@step("predictions", version=2, neutral=("batch", "name"), task_run_name="transcribe-{clips.split}-{name}")
def transcribe_split(
    draft: Draft, model: Artifact, clips: SplitOf, language: str, batch: int, name: str, engine: str = "viska"
) -> dict[str, Any]:  # fmt: skip
    """Write what `model` hears in every clip of a split. `name` is for people: before or after."""
    folder = fetch(draft.store, model)
    whisper = load_whisper(folder, language, device())
    split = _fitting(draft.store, clips, whisper)
    hear: Hear = hear_all
    if engine == "ctranslate2":
        some = [split[number] for number in range(0, len(split), ceil(len(split) / COMPARED))]
        hear = listen_with(folder, whisper, some, batch, word_error_rate)
    heard = predict(draft.store, draft.key, whisper, split, batch, f"transcribe {name}", hear)
    draft.write(PREDICTIONS, to_lines(map(asdict, heard)))
    n_capped = sum(each.capped for each in heard)
    log.info("%s: %d clips of %s transcribed, %d ran into the longest label", name, len(heard), clips.split, n_capped)
    return {"split": clips.split, "n_clips": len(heard), "n_capped": n_capped, "decoding": NAME, "engine": engine}


def _fitting(store: Store, clips: SplitOf, whisper: Whisper) -> Split | list[Example]:
    """Return the clips with features that the model takes: the stored ones, or others of the same sound, as for a champion of other bins.

    Raises:
        ModelError: if a clip is longer than the model's window.
    """
    split = open_split(store, clips.dataset, clips.split)
    n_mels, window = whisper.shape.n_mels, whisper.shape.window
    if split[0].features.shape[0] == n_mels and max(split.n_samples) <= window:
        return split
    if max(split.n_samples) > window:
        longest = max(split.n_samples) / SAMPLE_RATE
        at_once = window / SAMPLE_RATE
        raise ModelError(
            f"a clip of {clips.split} has {longest:.1f} s, and this model hears {at_once:g} s at once, so it cannot be compared on them; "
            "take shorter clips (gates.max_seconds), or publish under another release.name"
        )
    split = open_split(store, clips.dataset, clips.split, sound=True)
    features = (log_mel(split.samples(number), n_mels, window) for number in range(len(split)))
    return [Example(each.id, each.text, each.n_samples, *its) for each, its in zip(split, features, strict=True)]


@step("long", version=2, neutral=("name",), task_run_name="transcribe-long-{name}")
def transcribe_long(draft: Draft, model: Artifact, clips: SplitOf, language: str, wish: LongForm, name: str) -> dict[str, Any]:
    """Write what `model` hears in long recordings made of the clips, and in sounds in which nobody speaks."""
    whisper = load_whisper(fetch(draft.store, model), language, device())
    split = open_split(draft.store, clips.dataset, clips.split, sound=True)
    heard = hear_long(whisper, split, wish.minutes, wish.recordings, wish.seed)
    draft.write("long.jsonl", to_lines(heard))
    log.info("%s: %d long recordings transcribed", name, sum(bool(each["clips"]) for each in heard))
    return {"split": clips.split, "n_recordings": len(heard)}
