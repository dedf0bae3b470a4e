"""Two models on long recordings, compared; and with themselves on the clips of which these were made."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tasks.contracts.errors import StoreError
from tasks.scoring.intervals import LEVEL, paired_intervals
from tasks.scoring.normalise import Normaliser
from tasks.scoring.prediction import Prediction
from tasks.scoring.rates import Errors, count_words

Rows = Sequence[Mapping[str, Any]]


def compare_long(
    before: Rows, after: Rows, clips_before: Sequence[Prediction], clips_after: Sequence[Prediction], normaliser: Normaliser,
    resamples: int, seed: int, level: float = LEVEL,
) -> dict[str, Any]:  # fmt: skip
    """Return what both models heard in long recordings and where nobody speaks, as JSON values.

    Recordings are what the intervals are over: each is mostly one speaker's, but if two are of the same one, they count as two.

    Args:
        before: rows of `hear_long`, by the first model.
        after: of the same recordings, by the second.
        clips_before: what the first one heard in the clips one by one: what the cuts cost is the difference.
        clips_after: what the second one heard in them.
        normaliser: what is no error.
        resamples: draws of the bootstrap, over recordings.
        seed: decides the draws.
        level: of each interval.

    Raises:
        StoreError: if the two are not of the same recordings.
    """
    if [(each["id"], each["reference"]) for each in before] != [(each["id"], each["reference"]) for each in after]:
        raise StoreError(f"{len(before)} and {len(after)} long recordings are not the same; let both models hear the same ones")
    spoken = [number for number, each in enumerate(after) if each["clips"]]
    silent = [number for number, each in enumerate(after) if not each["clips"]]
    errors = [[_errors(side[number], normaliser) for number in spoken] for side in (before, after)]
    intervals = paired_intervals(errors[0], errors[1], [""] * len(spoken), resamples, seed, level)
    used = {id for number in spoken for id in after[number]["clips"]}
    return {
        "n_recordings": len(spoken),
        "unit": "recordings",
        "minutes": round(sum(after[number]["seconds"] for number in spoken) / 60, 2),
        **dict(zip(("before", "after", "gain"), map(asdict, intervals), strict=True)),
        "clips_before": _one_by_one(clips_before, used, normaliser),
        "clips_after": _one_by_one(clips_after, used, normaliser),
        "n_cuts": sum(after[number]["n_cuts"] for number in spoken),
        "n_inside": sum(after[number]["n_inside"] for number in spoken),
        "silence": {
            "seconds": round(sum(after[number]["seconds"] for number in silent), 1),
            "before": sum(len(words_of(before[number]).split()) for number in silent),
            "after": sum(len(words_of(after[number]).split()) for number in silent),
            "sounds": [{"name": after[number]["id"], "before": words_of(before[number]), "after": words_of(after[number])}
                       for number in silent],
        },
        "recordings": [
            {"id": after[number]["id"], "seconds": after[number]["seconds"], "reference": after[number]["reference"],
             "before": words_of(before[number]), "after": words_of(after[number]), "segments": after[number]["segments"]}
            for number in spoken
        ],
    }  # fmt: skip


def words_of(row: Mapping[str, Any]) -> str:
    """Return all words that were heard in a recording."""
    return " ".join(filter(None, (each["text"] for each in row["segments"])))


def _errors(row: Mapping[str, Any], normaliser: Normaliser) -> Errors:
    return count_words(normaliser(row["reference"]), normaliser(words_of(row)))


def _one_by_one(clips: Sequence[Prediction], used: set[str], normaliser: Normaliser) -> float:
    """Return the WER of the clips that are in a recording; without a single reference word over one word, as in `paired_intervals`."""
    errors = [count_words(normaliser(each.reference), normaliser(each.text)) for each in clips if each.id in used]
    return sum(each.n_edits for each in errors) / max(sum(each.n_reference for each in errors), 1)
