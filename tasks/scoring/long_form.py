"""Recordings of minutes, made of clips whose words and places are known; and sounds in which nobody speaks.

Short clips say nothing of how a recording is cut into pieces, of what is lost at the cuts, and of what a model makes of a pause. Here clips
of the test split are joined with pauses of room noise between them, and go through the same decoding as in `viska transcribe`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from tasks.audio import SAMPLE_RATE
from tasks.model.transcribe import cut_quietly, transcribe_samples
from tasks.model.whisper import Whisper

PAUSES = (0.3, 1.5)  # seconds between two clips, drawn evenly
FRAME = SAMPLE_RATE // 50  # samples, 20 ms
ROOM = 0.1  # share of a clip's frames that are taken for its room without a voice
FAINT = 0.01  # of its loudest frame, 40 dB less: the loudest that a pause may be, because a clip may have none of its own
NOBODY = 10  # seconds of each sound in which nobody speaks


@dataclass(frozen=True)
class Stitched:
    """One recording to be made."""

    id: str
    clips: tuple[int, ...]  # in the order in which they are heard
    pauses: tuple[int, ...]  # samples after each


class Sounds(Protocol):
    """The clips of a split with their sound, by number."""

    ids: list[str]
    texts: list[str]
    speakers: list[str]
    n_samples: list[int]

    def samples(self, number: int, /) -> np.ndarray: ...


def hear_long(whisper: Whisper, clips: Sounds, minutes: float, most: int, seed: int) -> list[dict[str, Any]]:
    """Return what is heard in long recordings made of the clips, and in sounds in which nobody speaks.

    Args:
        whisper: the model.
        clips: what is joined.
        minutes: of each recording.
        most: recordings.
        seed: decides which clips, in which order, with which pauses.

    Returns:
        A row each: `id`, `seconds`, `clips` (ids; none where nobody speaks), `reference`, `segments` of `start`, `end`, `text`, `logprob`,
        `n_cuts`, and `n_inside`, how many of them fell into a clip and not into a pause.
    """
    rows = []
    for number, plan in enumerate(plan_recordings(clips.speakers, clips.n_samples, minutes, most, seed)):
        samples, spans = stitch([clips.samples(each) for each in plan.clips], plan.pauses, seed + number)
        ends = [end / SAMPLE_RATE for _, end in cut_quietly(samples, whisper.shape.window)[:-1]]
        words = " ".join(clips.texts[each] for each in plan.clips)
        told = {"clips": [clips.ids[each] for each in plan.clips], "n_cuts": len(ends), "n_inside": cuts_inside(ends, spans)}
        rows.append(_heard(whisper, plan.id, samples, words) | told)
    return rows + [_heard(whisper, name, samples, "") | {"clips": []} for name, samples in nobody_speaks(seed).items()]


def _heard(whisper: Whisper, id: str, samples: np.ndarray, reference: str) -> dict[str, Any]:
    segments = [asdict(each) for each in transcribe_samples(whisper, samples)]
    return {"id": id, "seconds": round(len(samples) / SAMPLE_RATE, 2), "reference": reference, "segments": segments}


def plan_recordings(speakers: Sequence[str], n_samples: Sequence[int], minutes: float, most: int, seed: int) -> list[Stitched]:
    """Return recordings of about so many minutes, of one speaker each where a speaker has so much, each clip in one of them at most.

    Args:
        speakers: who says each clip.
        n_samples: of each clip, at 16 kHz.
        minutes: of each recording; the last one may be shorter if it is the only one.
        most: recordings.
        seed: decides order and pauses.
    """
    dice = np.random.default_rng(seed)
    names = list(dict.fromkeys(speakers))
    place = dict(zip(names, dice.permutation(len(names)).tolist(), strict=True))
    order = sorted(dice.permutation(len(speakers)).tolist(), key=lambda number: place[speakers[number]])  # a stable sort
    pauses = (dice.uniform(*PAUSES, size=len(order)) * SAMPLE_RATE).astype(int).tolist()
    recordings: list[Stitched] = []
    start, length = 0, 0
    for end, (number, pause) in enumerate(zip(order, pauses, strict=True), 1):
        length += n_samples[number] + pause
        if length >= minutes * 60 * SAMPLE_RATE or (end == len(order) and not recordings):
            recordings.append(Stitched(f"recording-{len(recordings)}", tuple(order[start:end]), tuple(pauses[start:end])))
            start, length = end, 0
        if len(recordings) == most:
            break
    return recordings


def stitch(clips: Sequence[np.ndarray], pauses: Sequence[int], seed: int) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Return the recording and the seconds in which each clip is heard.

    Args:
        clips: [n_samples] float32 each, at 16 kHz.
        pauses: samples after each, filled with noise as loud as the quietest tenth of the clip, and at least 40 dB below its loudest.
        seed: decides the noise.
    """
    dice = np.random.default_rng(seed)
    pieces, spans, at = [], [], 0
    for clip, pause in zip(clips, pauses, strict=True):
        pieces += [clip, (dice.standard_normal(pause) * _room(clip)).astype(np.float32)]
        spans.append((at / SAMPLE_RATE, (at + len(clip)) / SAMPLE_RATE))
        at += len(clip) + pause
    return np.concatenate(pieces), spans


def nobody_speaks(seed: int) -> dict[str, np.ndarray]:
    """Return sounds in which a model should hear nothing, [n_samples] float32 at 16 kHz each, by name."""
    dice, n = np.random.default_rng(seed), NOBODY * SAMPLE_RATE
    white = dice.standard_normal(n).astype(np.float32)
    steps = np.fft.rfft(white)
    pink = np.fft.irfft(steps / np.sqrt(np.maximum(np.arange(len(steps)), 1)), n)
    seconds = np.arange(n) / SAMPLE_RATE
    return {
        "silence": np.zeros(n, np.float32),
        "faint noise": 0.001 * white,
        "noise": 0.03 * white,
        "pink noise": (0.05 * pink / np.abs(pink).std()).astype(np.float32).clip(-1, 1),
        "mains hum": (0.05 * sum(np.sin(2 * np.pi * 50 * k * seconds) / k for k in (1, 2, 3)) + 0.002 * white).astype(np.float32),
    }


def cuts_inside(ends: Sequence[float], spans: Sequence[tuple[float, float]]) -> int:
    """Return how many cuts fall between the first and the last sample of a clip, and not into a pause.

    Args:
        ends: seconds of each place at which the recording was cut.
        spans: seconds in which each clip is heard.
    """
    return sum(any(start < end < stop for start, stop in spans) for end in ends)


def _room(clip: np.ndarray) -> float:
    """Return how loud the room of a clip is, as root mean square."""
    n_frames = len(clip) // FRAME
    if not n_frames:
        return 0.0
    frames = clip[: n_frames * FRAME].reshape(n_frames, FRAME).astype(np.float64)
    loudness = np.sort(np.sqrt((frames**2).mean(axis=1)))
    return float(min(loudness[: max(1, int(ROOM * n_frames))].mean(), FAINT * loudness[-1]))
