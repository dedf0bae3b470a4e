"""Word and character error rates of a whole split: the sum of edits over the sum of reference words, not a mean of means.

jiwer counts; an `evaluate.Metric` of our own carries it, because `evaluate.load("wer")` fetches a script from the Hub when it runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import evaluate
import jiwer

from tasks.scoring.normalise import NORMALISERS, Normaliser, plain
from tasks.scoring.prediction import Prediction

PLAIN = NORMALISERS["plain"]


@dataclass(frozen=True)
class Errors:
    """Edits between a reference and a hypothesis, in words or characters."""

    n_substituted: int
    n_deleted: int
    n_inserted: int
    n_reference: int

    @property
    def n_edits(self) -> int:
        """All edits together."""
        return self.n_substituted + self.n_deleted + self.n_inserted


Count = Callable[[str, str], Errors]
Clean = Callable[[str], str]


def aligned(said: list[str], heard: list[str]) -> list[tuple[list[str], list[str]]]:
    """Return runs of words, side by side: equal, taken for one another (as many on both sides), missed, or made up."""
    if not said or not heard:  # jiwer refuses an empty reference
        return [(said, heard)] if said or heard else []
    chunks = jiwer.process_words(" ".join(said), " ".join(heard)).alignments[0]
    return [(said[each.ref_start_idx : each.ref_end_idx], heard[each.hyp_start_idx : each.hyp_end_idx]) for each in chunks]


def count_words(reference: str, hypothesis: str) -> Errors:
    """Count word errors of one clip. An empty reference counts every word of the hypothesis as inserted."""
    reference, hypothesis = (" ".join(text.split()) for text in (reference, hypothesis))  # jiwer takes a tab for a letter
    if not reference:
        return Errors(0, 0, len(hypothesis.split()), 0)
    result = jiwer.process_words(reference, hypothesis)
    return Errors(result.substitutions, result.deletions, result.insertions, len(reference.split()))


def count_characters(reference: str, hypothesis: str) -> Errors:
    """Count character errors of one clip, spaces between words included."""
    reference, hypothesis = reference.strip(), hypothesis.strip()  # as jiwer does
    if not reference:
        return Errors(0, 0, len(hypothesis), 0)
    result = jiwer.process_characters(reference, hypothesis)
    return Errors(result.substitutions, result.deletions, result.insertions, len(reference))


def count_all(predictions: Sequence[Prediction], count: Count, clean: Clean) -> list[Errors]:
    """Count the errors of each clip, of texts that `clean` has left what matters of."""
    return [count(clean(each.reference), clean(each.text)) for each in predictions]


def rate(errors: Sequence[Errors]) -> float:
    """Return edits over reference length, of all together; may exceed 1. ZeroDivisionError-free: no reference at all gives infinity."""
    n_reference = sum(each.n_reference for each in errors)
    n_edits = sum(each.n_edits for each in errors)
    return n_edits / n_reference if n_reference else float("inf") if n_edits else 0.0


class ErrorRates(evaluate.Metric):  # type: ignore[misc]  # the library is untyped
    """WER and CER, raw and normalised, as a metric of the `evaluate` library, for a notebook or a trainer; nothing is fetched."""

    def __init__(self, normaliser: Normaliser = PLAIN, **options: Any) -> None:
        """Count what is left after `normaliser`; `options` are those of every `evaluate.Metric`."""
        super().__init__(**options)
        self.normaliser = normaliser

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=__doc__ or "",
            citation="",
            inputs_description="predictions and references: a text per clip",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
        return error_rates(references, predictions, self.normaliser)


def error_rates(references: Sequence[str], hypotheses: Sequence[str], normaliser: Normaliser = PLAIN) -> dict[str, float | int | str]:
    """Return `wer` and `cer` on normalised text, `wer_raw` and `cer_raw` as written, the normaliser, and how many references are empty."""
    pairs = list(zip(references, hypotheses, strict=True))
    normal = [(normaliser(reference), normaliser(hypothesis)) for reference, hypothesis in pairs]
    return {
        "wer": rate([count_words(*pair) for pair in normal]),
        "cer": rate([count_characters(*pair) for pair in normal]),
        "wer_raw": rate([count_words(*pair) for pair in pairs]),
        "cer_raw": rate([count_characters(*pair) for pair in pairs]),
        "normaliser": normaliser.name,
        "n_empty_references": sum(not reference for reference, _ in normal),
    }


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Return the WER alone, of texts without case and punctuation: what a training chooses its checkpoint by."""
    return rate([count_words(plain(reference), plain(hypothesis)) for reference, hypothesis in zip(references, hypotheses, strict=True)])
