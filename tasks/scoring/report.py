"""Two models on one split, compared: rates with intervals, raw and normalised, the clips that went worst; and what clips there were."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.contracts.errors import StoreError
from tasks.scoring.intervals import LEVEL, paired_intervals
from tasks.scoring.normalise import NAME, plain
from tasks.scoring.rates import Errors, count_characters, count_words

N_WORST = 20
N_LICENCES = 5  # of a corpus that are named


@dataclass(frozen=True)
class Prediction:
    """What one model heard in one clip."""

    id: str
    reference: str
    hypothesis: str
    capped: bool
    speaker: str


def compare(before: Sequence[Prediction], after: Sequence[Prediction], resamples: int, seed: int) -> dict[str, Any]:
    """Return the comparison as JSON values.

    Args:
        before: of the model that training started from, in the split's order.
        after: of the trained model, on the same clips.
        resamples: draws of the bootstrap.
        seed: decides the draws.

    Raises:
        StoreError: if the two are not of the same clips and references.
    """
    if [(each.id, each.reference) for each in before] != [(each.id, each.reference) for each in after]:
        raise StoreError(f"{len(before)} and {len(after)} predictions are not of the same clips; score both models on one data set")
    speakers = [each.speaker for each in before]
    measures = {
        "wer": (_counted(before, count_words, True), _counted(after, count_words, True)),
        "cer": (_counted(before, count_characters, True), _counted(after, count_characters, True)),
        "wer_raw": (_counted(before, count_words, False), _counted(after, count_words, False)),
        "cer_raw": (_counted(before, count_characters, False), _counted(after, count_characters, False)),
    }
    intervals = {name: paired_intervals(*pair, speakers, resamples, seed) for name, pair in measures.items()}
    words = measures["wer"][1]
    worst = sorted(range(len(after)), key=lambda place: (-words[place].n_edits, after[place].id))[:N_WORST]
    return {
        "before": {name: asdict(interval[0]) for name, interval in intervals.items()} | {"n_capped": sum(each.capped for each in before)},
        "after": {name: asdict(interval[1]) for name, interval in intervals.items()} | {"n_capped": sum(each.capped for each in after)},
        "gain": {name: asdict(interval[2]) for name, interval in intervals.items()},
        "normaliser": NAME,
        "level": LEVEL,
        "n_clips": len(after),
        "n_speakers": len({speaker for speaker in speakers if speaker}),
        "n_words": sum(each.n_reference for each in words),
        "n_empty_references": sum(not plain(each.reference) for each in after),
        "worst": [{"id": after[place].id, "reference": after[place].reference, "before": before[place].hypothesis,
                   "after": after[place].hypothesis, "n_edits": words[place].n_edits} for place in worst],
    }  # fmt: skip


def describe_clips(clips: pa.Table) -> dict[str, Any]:
    """Return what readers of the report may know of the clips, as JSON values: how many speakers there are, and of none of them who.

    Args:
        clips: with columns id, split, speaker, language, corpus, licence, weight and seconds.
    """
    named, of = clips.filter(pc.field("speaker") != ""), ("corpus", "language")
    seconds, weights = _grouped(clips, of, "seconds", "sum"), _grouped(clips, of, "weight", "max")
    speakers, splits = _grouped(named, of, "speaker", "count_distinct"), _grouped(clips, (*of, "split"), "id", "count")
    licences = sorted(_grouped(clips, (*of, "licence"), "id", "count").items(), key=lambda each: (-each[1], each[0]))
    return {
        "n_speakers": {split: n for (split,), n in _grouped(named, ("split",), "speaker", "count_distinct").items()},
        "corpora": [
            {
                "name": key[0],
                "language": key[1],
                "splits": {split: n for (*its, split), n in splits.items() if tuple(its) == key},
                "hours": round(seconds[key] / 3600, 4),
                "n_speakers": speakers.get(key, 0),
                "weight": round(weights[key], 4),
                "licences": dict([(licence, n) for (*its, licence), n in licences if tuple(its) == key][:N_LICENCES]),
            }
            for key in sorted(seconds)
        ],
    }


def _grouped(clips: pa.Table, by: tuple[str, ...], column: str, how: str) -> dict[tuple[str, ...], Any]:
    rows = clips.group_by(list(by)).aggregate([(column, how)]).to_pylist()
    return {tuple(row[name] for name in by): row[f"{column}_{how}"] for row in rows}


def _counted(predictions: Sequence[Prediction], count: Any, normalised: bool) -> list[Errors]:
    clean = plain if normalised else str
    return [count(clean(each.reference), clean(each.hypothesis)) for each in predictions]
