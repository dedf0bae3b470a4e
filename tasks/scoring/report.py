"""Two models on one split, compared: rates with intervals, raw and normalised, slices, mistakes, worst clips; and what clips there were."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.contracts.errors import StoreError
from tasks.scoring.calibration import calibration
from tasks.scoring.hallucinations import hallucinations
from tasks.scoring.intervals import LEVEL, paired_intervals, unit
from tasks.scoring.mistakes import mistakes
from tasks.scoring.normalise import Normaliser
from tasks.scoring.prediction import Prediction
from tasks.scoring.rates import Clean, Count, Errors, count_all, count_characters, count_words
from tasks.scoring.slices import slices, worst_slices

FORMAT = 2  # of report.json
N_WORST = 20
N_LICENCES = 5  # of a corpus that are named


def compare(
    before: Sequence[Prediction], after: Sequence[Prediction], clips: Sequence[Mapping[str, Any]], normaliser: Normaliser,
    known_words: set[str], resamples: int, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Return the comparison as JSON values.

    Args:
        before: of the model that training started from, in the split's order.
        after: of the trained model, on the same clips.
        clips: what is known of each, in the same order: `id`, `speaker`, `seconds` and other columns of the data set's index.
        normaliser: what is no error.
        known_words: of the training split, normalised.
        resamples: draws of the bootstrap.
        seed: decides the draws.

    Raises:
        StoreError: if the three are not of the same clips and references.
    """
    need_same(before, after, clips)
    speakers = [each["speaker"] for each in clips]
    ways: dict[str, tuple[Count, Clean]] = {"wer": (count_words, normaliser), "cer": (count_characters, normaliser),
                                            "wer_raw": (count_words, str), "cer_raw": (count_characters, str)}  # fmt: skip
    errors = {name: [count_all(side, *way) for side in (before, after)] for name, way in ways.items()}
    intervals = {name: paired_intervals(each[0], each[1], speakers, resamples, seed) for name, each in errors.items()}
    sides = ("before", before), ("after", after)
    rates = {
        side: {name: asdict(each[place]) for name, each in intervals.items()} | {"n_capped": sum(each.capped for each in said)}
        for place, (side, said) in enumerate(sides)
    }
    texts = [normaliser(each.reference) for each in before]
    sliced = slices(clips, texts, errors["wer"][0], errors["wer"][1], known_words, resamples, seed)
    return {
        **rates,
        "gain": {name: asdict(each[2]) for name, each in intervals.items()},
        "normaliser": normaliser.name,
        "level": LEVEL,
        "unit": unit(speakers, errors["wer"][1]),
        "n_clips": len(after),
        "n_speakers": len({speaker for speaker in speakers if speaker}),
        "n_words": sum(each.n_reference for each in errors["wer"][1]),
        "n_empty_references": sum(not text for text in texts),
        "slices": sliced,
        "worst_slices": worst_slices(sliced, intervals["wer"][1].value),
        "mistakes": {side: mistakes(texts, [normaliser(each.text) for each in said]) for side, said in sides},
        "hallucinations": {side: hallucinations(said, normaliser) for side, said in sides},
        "calibration": {
            side: calibration([each.logprob for each in said], counted) for (side, said), counted in zip(sides, errors["wer"], strict=True)
        },
        "worst": _worst(before, after, errors["wer"][1]),
    }


def need_same(before: Sequence[Prediction], after: Sequence[Prediction], clips: Sequence[Mapping[str, Any]]) -> None:
    """Refuse what cannot be compared.

    Raises:
        StoreError: if these are not of the same clips and references.
    """
    said = [[(each.id, each.reference) for each in side] for side in (before, after)]
    if said[0] != said[1] or [id for id, _ in said[0]] != [each["id"] for each in clips]:
        raise StoreError(f"{len(before)} and {len(after)} predictions are not of the same clips; score both models on one data set")


def compare_others(
    before: Sequence[Prediction], after: Sequence[Prediction], speakers: Sequence[str], normaliser: Normaliser, resamples: int, seed: int,
    level: float = LEVEL,
) -> dict[str, Any]:  # fmt: skip
    """Return the WER of both models on another test, as JSON values; arguments as for `compare`."""
    errors = [count_all(side, count_words, normaliser) for side in (before, after)]
    intervals = paired_intervals(errors[0], errors[1], speakers, resamples, seed, level)
    rates = dict(zip(("before", "after", "gain"), map(asdict, intervals), strict=True))
    return rates | {"n_clips": len(after), "normaliser": normaliser.name}


def _worst(before: Sequence[Prediction], after: Sequence[Prediction], words: Sequence[Errors]) -> list[dict[str, Any]]:
    order = sorted(range(len(after)), key=lambda place: (-words[place].n_edits, after[place].id))[:N_WORST]
    return [{"id": after[place].id, "reference": after[place].reference, "before": before[place].text, "after": after[place].text,
             "n_edits": words[place].n_edits} for place in order]  # fmt: skip


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
