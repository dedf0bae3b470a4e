"""Whether a model knows when it is wrong: its confidence against how often it is right, and what to throw away for a lower error rate.

The confidence in a clip is the geometric mean of the probabilities of its tokens, exp(logprob). It is no probability that the clip is
right, but it can be held against one.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tasks.scoring.rates import Errors

N_BINS = 10
MIN_BIN = 10  # clips in a bin; with fewer there are fewer bins
KEPT = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.25, 0.1)  # shares of clips for which the threshold is told


def calibration(logprobs: Sequence[float], errors: Sequence[Errors]) -> dict[str, Any]:
    """Return how confidence and truth agree, as JSON values.

    A clip is right that has no word error. `bins` hold about equally many clips each, the least confident first. `error` is the expected
    calibration error (Guo et al. 2017, with bins of equal counts as Nguyen and O'Connor 2015): the mean distance of confidence and share of
    right clips. `auc` is the chance that a right clip has more confidence than a wrong one, ties half; None where all are right or wrong.
    `thresholds` tell, for who keeps the clips of at least a confidence: the share of clips that is kept, and their corpus WER.

    Args:
        logprobs: mean log-probability of the tokens of each clip.
        errors: edits of each clip in words, normalised.
    """
    confidences = np.exp(np.asarray(logprobs, dtype=float))
    order = np.argsort(confidences, kind="stable")
    confidences = confidences[order]
    edits, lengths = (np.array([getattr(errors[place], name) for place in order]) for name in ("n_edits", "n_reference"))
    bins = _bins(confidences, edits == 0)
    return {
        "bins": bins,
        "error": sum(each["n_clips"] * abs(each["confidence"] - each["right"]) for each in bins) / len(confidences),
        "auc": _auc(confidences[edits == 0], confidences[edits > 0]),
        "thresholds": _thresholds(confidences, edits, lengths),
    }


def _bins(confidences: np.ndarray, right: np.ndarray) -> list[dict[str, Any]]:
    """Cut the sorted clips into equal bins; clips of one confidence stay together."""
    n_bins = min(max(len(confidences) // MIN_BIN, 1), N_BINS)
    starts = [each[0] for each in np.array_split(confidences, n_bins)]
    cuts = np.unique([*np.searchsorted(confidences, starts), len(confidences)])
    return [
        {
            "low": float(confidences[start]),
            "high": float(confidences[end - 1]),
            "n_clips": end - start,
            "confidence": float(confidences[start:end].mean()),
            "right": float(right[start:end].mean()),
        }
        for start, end in pairwise(cuts.tolist())
    ]


def _auc(right: np.ndarray, wrong: np.ndarray) -> float | None:
    """Return the area under the ROC curve as a rank statistic (Mann and Whitney); both sorted."""
    if not len(right) or not len(wrong):
        return None
    below = np.searchsorted(wrong, right, side="left") + np.searchsorted(wrong, right, side="right")
    return float(below.mean() / 2 / len(wrong))


def _thresholds(confidences: np.ndarray, edits: np.ndarray, lengths: np.ndarray) -> list[dict[str, float]]:
    """Return a row for each of KEPT, or rather for the nearest share that ties allow; of equal ones one."""
    n_clips = len(confidences)
    places = [int(np.searchsorted(confidences, confidences[min(round(n_clips * (1 - kept)), n_clips - 1)])) for kept in KEPT]
    return [
        {
            "confidence": float(confidences[place]),
            "kept": (n_clips - place) / n_clips,
            "wer": float(edits[place:].sum() / max(lengths[place:].sum(), 1)),
        }
        for place in dict.fromkeys(places)
    ]
