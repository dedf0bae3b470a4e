"""Which labels are probably wrong: a score between 0 and 1 for each clip, and reasons that a person can read. Plain Python, no I/O.

Two signs, each between 0 and 1, joined as if they were independent: 1 - (1 - words) (1 - length).

words    min(1, sqrt(d / OTHER)) * min(1, USUAL * c / t): d is the share of characters in which what was heard differs from the label, case
         and punctuation aside: from OTHER on it says other words, and not other spellings, and more is not more wrong; c is how sure the
         model was, the geometric mean of its tokens' probabilities; t is the mean of c over the clips in which it says the same words
         and the label has them, and, as if FEW clips more, over all in which it hears the label. Wrong words with confidence accuse the
         label, wrong words without accuse the model. That is the rule of confident learning (Northcutt, Jiang and Chuang 2021, "Confident
         Learning: Estimating Uncertainty in Dataset Labels", section 3.1: a label is suspect where another one has at least the confidence
         that is usual when that one is right), for texts instead of classes. A clip that ran into the longest label says little.
length   characters a second against the corpus' median, in deviations (median absolute deviation of the logarithms, Leys et al. 2013,
         "Detecting outliers"): from NORMAL on it counts, from ABSURD on fully, up to MOST_LENGTH. NVIDIA's Speech Data Explorer shows the
         same two figures, character error rate and character rate, to find bad labels by eye.

A model that learnt a wrong label by heart hears it. Pleiss et al. 2020 ("Identifying Mislabeled Data using the Area Under the Margin
Ranking") watch the training for that; here: take a model of few epochs, and see docs/audit.md for what was found.

Of a million clips only a few numbers each are held; texts are aligned, and reasons said, for the clips that are listed.
"""

import heapq
import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from tasks.scoring.normalise import plain
from tasks.scoring.rates import aligned, count_characters

OTHER = 0.25  # share of the characters
USUAL = 0.9  # of the sign `words` where the model is as sure as it usually is when it is right
FEW = 3  # clips
ASTRAY = 0.25  # of the sign `words` of a clip that ran into the longest label
NORMAL, ABSURD = 4.0, 10.0  # deviations
MOST_LENGTH = 0.5
SPREAD = 1.4826  # times the median absolute deviation is the standard deviation of a normal distribution
LEAST_SPREAD = 0.1  # of the logarithm: in a corpus of one sentence each breath would be an outlier


@dataclass(frozen=True, slots=True)
class Clip:
    """A label, and what a model heard."""

    id: str
    reference: str
    text: str
    capped: bool  # ran into the longest label
    logprob: float  # mean log-probability of the tokens that were said, with the end; at most 0
    seconds: float


@dataclass(frozen=True, slots=True)
class Suspect:
    """A clip with the score of its label."""

    clip: Clip
    row: int  # of the clips that were ranked
    score: float  # 0: nothing against it; 1: everything
    confidence: float
    difference: float  # share of characters
    reasons: tuple[str, ...]


@dataclass
class _Figures:
    """What is held of each clip, a number a row: no text but the ids, which order equals."""

    ids: list[str] = field(default_factory=list)
    difference: "array[float]" = field(default_factory=lambda: array("d"))
    confidence: "array[float]" = field(default_factory=lambda: array("d"))
    pace: "array[float]" = field(default_factory=lambda: array("d"))  # logarithm of characters a second; NaN: no text or no sound
    words: "array[int]" = field(default_factory=lambda: array("q"))  # hash of what was heard: 64 bits tell a million texts apart
    capped: bytearray = field(default_factory=bytearray)


def rank(clips: Iterable[Clip], most: int) -> list[Suspect]:
    """Return the clips with the most suspicious labels, the worst first.

    Args:
        clips: of one corpus, one language and one model: they are compared with each other. They are gone through twice, so no iterator.
        most: how many of them.
    """
    figures = _measure(clips)
    usual = _usual_confidence(figures)
    middle, spread = _pace(figures)
    off = [abs(pace - middle) / spread if pace == pace else 0.0 for pace in figures.pace]
    score = array("d", (_score(figures, row, usual[row], off[row]) for row in range(len(off))))
    surest = array("d", (round(each, 4) for each in figures.confidence))
    first = heapq.nsmallest(most, range(len(off)), key=lambda row: (-score[row], -surest[row], figures.ids[row]))
    wanted = frozenset(first)
    listed = {
        row: Suspect(clip, row, score[row], surest[row], round(figures.difference[row], 4), _reasons(clip, figures, row, off[row], middle))
        for row, clip in enumerate(clips)
        if row in wanted
    }
    return [listed[row] for row in first]


def differences(label: str, heard: str) -> list[tuple[str, str]]:
    """Return what was written and what was heard, aligned: pairs of words that are equal or differ; one of a pair may be empty."""
    return [(" ".join(one), " ".join(other)) for one, other in aligned(plain(label).split(), plain(heard).split())]


def _measure(clips: Iterable[Clip]) -> _Figures:
    figures = _Figures()
    for clip in clips:
        label, heard = plain(clip.reference), plain(clip.text)
        edits = count_characters(label, heard).n_edits if label != heard else 0
        figures.ids.append(clip.id)
        figures.difference.append(edits / max(len(label), len(heard), 1))  # of the longer text: at most 1
        figures.confidence.append(math.exp(min(clip.logprob, 0.0)))
        figures.pace.append(math.log(len(label) / clip.seconds) if label and clip.seconds > 0 else math.nan)
        figures.words.append(hash(heard))
        figures.capped.append(clip.capped)
    return figures


def _usual_confidence(figures: _Figures) -> np.ndarray:
    """Return for each clip the confidence with which its words are usually heard where the label has them, [n_clips]."""
    confidence, right = np.asarray(figures.confidence), np.asarray(figures.difference) == 0
    _, words = np.unique(np.asarray(figures.words), return_inverse=True)
    total = np.bincount(words[right], confidence[right], minlength=len(words))
    n = np.bincount(words[right], minlength=len(words))
    usual = confidence[right].mean() if right.any() else 1.0
    return np.asarray((total[words] + FEW * usual) / (n[words] + FEW))


def _pace(figures: _Figures) -> tuple[float, float]:
    """Return the median of the logarithms of characters a second, and their spread."""
    paces = np.asarray(figures.pace)
    paces = paces[~np.isnan(paces)]
    if not len(paces):
        return 0.0, 1.0
    middle = float(np.median(paces))
    return middle, max(SPREAD * float(np.median(np.abs(paces - middle))), LEAST_SPREAD)


def _score(figures: _Figures, row: int, usual: float, off: float) -> float:
    words = min(1.0, math.sqrt(figures.difference[row] / OTHER)) * min(1.0, USUAL * figures.confidence[row] / usual)
    words *= ASTRAY if figures.capped[row] else 1.0
    return round(1 - (1 - words) * (1 - _length(off)), 4)


def _length(off: float) -> float:
    return MOST_LENGTH * min(1.0, max(0.0, (off - NORMAL) / (ABSURD - NORMAL)))


def _reasons(clip: Clip, figures: _Figures, row: int, off: float, middle: float) -> tuple[str, ...]:
    reasons = []
    if figures.difference[row]:
        reasons.append(_says(clip, figures.confidence[row]))
        if clip.capped:
            reasons.append("the model ran into the longest label: it went astray")
    if _length(off):
        reasons.append(f"{math.exp(figures.pace[row]):.1f} characters a second, {math.exp(middle):.1f} are usual here")
    return tuple(reasons)


def _says(clip: Clip, confidence: float) -> str:
    """Say in words where label and hearing differ; of several places the first two."""
    words = []
    for written, heard in differences(clip.reference, clip.text):
        if written and heard and written != heard:
            words.append(f"says {heard!r} where the label says {written!r}")
        elif written and not heard:
            words.append(f"does not say {written!r}, which is in the label")
        elif heard and not written:
            words.append(f"says {heard!r}, which is not in the label")
    more = f", and {len(words) - 2} more" if len(words) > 2 else ""
    return f"{' and '.join(words[:2])}{more}, with confidence {confidence:.2f}"
