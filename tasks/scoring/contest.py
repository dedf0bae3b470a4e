"""Champion and challenger on the same clips, as far as the gate wants to know: WER, slices, other tests, long recordings."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tasks.scoring.intervals import paired_intervals, unit
from tasks.scoring.long_rates import compare_long
from tasks.scoring.normalise import Normaliser
from tasks.scoring.prediction import Prediction
from tasks.scoring.rates import count_all, count_words
from tasks.scoring.report import compare_others, need_same
from tasks.scoring.slices import slices


@dataclass(frozen=True)
class Draws:
    """How intervals are drawn."""

    resamples: int
    seed: int
    level: float


@dataclass(frozen=True)
class Other:
    """What both heard in another test."""

    name: str
    before: Sequence[Prediction]
    after: Sequence[Prediction]
    speakers: Sequence[str]
    normaliser: Normaliser


@dataclass(frozen=True)
class Long:
    """What both heard in long recordings: rows of `hear_long`."""

    before: Sequence[Mapping[str, Any]]
    after: Sequence[Mapping[str, Any]]


def contest(
    before: Sequence[Prediction], after: Sequence[Prediction], clips: Sequence[Mapping[str, Any]], normaliser: Normaliser,
    known_words: set[str], others: Sequence[Other], long: Long | None, draws: Draws,
) -> dict[str, Any]:  # fmt: skip
    """Return the comparison as JSON values.

    Args:
        before: what the champion heard, in the split's order.
        after: what the challenger heard in the same clips.
        clips: what is known of each, in the same order: `id`, `speaker`, `seconds` and other columns of the data set's index.
        normaliser: what is no error.
        known_words: of the challenger's training split, normalised.
        others: further tests.
        long: long recordings, if they were heard.
        draws: how intervals are drawn.

    Raises:
        StoreError: if these are not of the same clips and references.
    """
    need_same(before, after, clips)
    told, speakers = (draws.resamples, draws.seed, draws.level), [each["speaker"] for each in clips]
    errors = [count_all(side, count_words, normaliser) for side in (before, after)]
    intervals = paired_intervals(errors[0], errors[1], speakers, *told)
    weighed = unit(speakers, errors[1])
    texts = [normaliser(each.reference) for each in before]
    heard = compare_long(long.before, long.after, before, after, normaliser, *told) if long else {}
    return dict(zip(("before", "after", "gain"), map(asdict, intervals), strict=True)) | {
        "n_clips": len(after),
        "n_words": sum(each.n_reference for each in errors[1]),
        "unit": weighed,
        "n_units": len(set(speakers) - {""}) + speakers.count("") if weighed == "speakers" else len(speakers),
        "normaliser": normaliser.name,
        "level": draws.level,
        "slices": slices(clips, texts, errors[0], errors[1], known_words, *told),
        "others": [{"name": each.name} | compare_others(each.before, each.after, each.speakers, each.normaliser, *told) for each in others],
        "long": {key: heard[key] for key in ("n_recordings", "minutes", "before", "after", "gain", "silence")} if heard else {},
    }
