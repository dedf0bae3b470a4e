"""Sound that differs each time it is learnt: speed, loudness and noise of a clip, sound without speech, clips joined into one window.

Everything random comes from the generator that is given: equal arguments give equal bytes in every process. Speed after Ko et al. 2015,
"Audio augmentation for speech recognition".
"""

from collections.abc import Sequence
from math import ceil

import numpy as np

from tasks.audio import SAMPLE_RATE
from tasks.model.tokens import TIMESTAMP

GRID = round(TIMESTAMP * SAMPLE_RATE)  # samples between two timestamps
PAUSES = (5, 49)  # steps of the grid between two joined clips: 0.1 s; with what the first clip leaves of its last step, up to 1.0 s
SNR = (5.0, 40.0)  # dB
STEEPEST = 2.0  # power falls with the frequency to this power: 0 is white, 1 pink, 2 brown
FLATTENED = 50.0  # Hz; below it a slope would put nearly all power where nobody hears it
LEVELS = (-70.0, -20.0)  # dB below an RMS of 1: of what is heard when nobody speaks
LEAST = SAMPLE_RATE // 2  # samples without speech
STEP = 2.0**-15  # of 16 bits
CYCLES = SAMPLE_RATE // 10  # samples in which both 50 Hz and 60 Hz come to whole cycles
N_HARMONICS = 12
TINY = float(np.finfo(np.float32).tiny)


def perturb(samples: np.ndarray, random: np.random.Generator, speed: float, gain: float, noise: float, longest: int) -> np.ndarray:
    """Return a clip at another speed and pitch, another loudness, and with noise; the same object if nothing changes.

    As many numbers are drawn whichever of the three are on, so that turning one on does not change what another draws.

    Args:
        samples: [n_samples] float32 in [-1, 1] at 16 kHz, at most `longest`.
        random: where six numbers are drawn.
        speed: it becomes 1 - speed to 1 + speed times as fast, but not so slow that it is longer than `longest`.
        gain: it becomes up to so many dB louder or quieter, but not so loud that something clips that did not.
        noise: probability of coloured noise, 5 to 40 dB below the clip's RMS.
        longest: samples.

    Returns:
        [at most `longest`] float32 whose peak is at most 1, or at most what it was.

    Raises:
        ValueError: if the clip is longer than `longest`.
    """
    if samples.size > longest:
        raise ValueError(f"a clip of {samples.size} samples, expected at most {longest}")
    at_speed, at_gain, is_noisy, at_slope, at_snr, seed = random.random(6).tolist()
    rate = max(round(SAMPLE_RATE * (1 + speed * (2 * at_speed - 1))), ceil(samples.size * SAMPLE_RATE / longest))
    changed = _at_speed(samples, rate, longest)
    if is_noisy < noise:
        behind = np.random.Generator(np.random.PCG64(int(seed * 2**53)))  # of its own: how much it draws depends on the length
        level = _rms(changed) * 10 ** (-_between(SNR, at_snr) / 20)
        changed = changed + np.float32(level) * _coloured(behind, changed.size, STEEPEST * at_slope)
    ceiling = max(1.0, _peak(samples))
    scale = min(10 ** (gain * (2 * at_gain - 1) / 20), ceiling / max(_peak(changed), TINY))
    if scale == 1:
        return changed
    return np.clip(changed * np.float32(scale), -ceiling, ceiling)  # only a rounding is left to clip


def no_speech(random: np.random.Generator, longest: int) -> np.ndarray:
    """Return a sound in which nobody speaks: a digital silence, coloured noise, or the hum of the mains.

    All have a dither of one step of 16 bits; noise and hum are 70 to 20 dB below an RMS of 1.

    Returns:
        [0.5 s to `longest`] float32 at 16 kHz.
    """
    n_samples = int(random.integers(min(LEAST, longest), longest, endpoint=True))
    kind, at_level, at_slope = random.random(3).tolist()
    dither = np.float32(STEP) * (random.random(n_samples, np.float32) - random.random(n_samples, np.float32))
    if kind < 1 / 3:
        return dither
    sound = _coloured(random, n_samples, STEEPEST * at_slope) if kind < 2 / 3 else _hum(random, n_samples)
    return dither + np.float32(10 ** (_between(LEVELS, at_level) / 20)) * sound


def join(pieces: Sequence[np.ndarray], random: np.random.Generator, longest: int) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Return clips one after the other, and where each lies.

    Each begins on a timestamp. The pauses are zeros, 0.1 to 1.0 s, or as much of it as `longest` leaves room for.

    Args:
        pieces: of each [n_samples] float32 at 16 kHz.
        random: where the pauses are drawn.
        longest: samples.

    Returns:
        [at most `longest`] float32, and begin and end of each clip in seconds: the begin exact, the end on the timestamp at or behind
        it, or the end of the window.

    Raises:
        ValueError: if they do not fit, even without pauses.
    """
    steps = [-(-piece.size // GRID) for piece in pieces]
    n_samples = sum(steps[:-1]) * GRID + pieces[-1].size
    if n_samples > longest:
        raise ValueError(f"{len(pieces)} clips of {n_samples} samples on the grid of timestamps, expected at most {longest}")
    pauses = _pauses(random, len(pieces) - 1, (longest - n_samples) // GRID)
    begins = np.cumsum([0, *(step + pause for step, pause in zip(steps, pauses, strict=False))]) * GRID
    joined = np.zeros(begins[-1] + pieces[-1].size, np.float32)
    spans = []
    for piece, begin, step in zip(pieces, begins.tolist(), steps, strict=True):
        joined[begin : begin + piece.size] = piece
        spans.append((begin / SAMPLE_RATE, min(begin + step * GRID, longest) / SAMPLE_RATE))
    return joined, spans


def _pauses(random: np.random.Generator, n_pauses: int, room: int) -> list[int]:
    """Draw pauses in steps of the grid; what is drawn above the shortest is scaled to the room."""
    least = min(PAUSES[0], room // max(n_pauses, 1))
    above = random.integers(PAUSES[0], PAUSES[1], n_pauses, endpoint=True) - PAUSES[0]
    spare = room - least * n_pauses
    pauses: list[int] = (least + above * spare // max(spare, int(above.sum()), 1)).tolist()
    return pauses


def _at_speed(samples: np.ndarray, rate: int, longest: int) -> np.ndarray:
    """Play what was recorded at 16 kHz as if it had been at `rate`."""
    if rate == SAMPLE_RATE:
        return samples
    from tasks.audio.resample import resample  # soxr: a machine that trains without another speed does not need it

    return resample(samples, rate)[:longest]


def _coloured(random: np.random.Generator, n_samples: int, slope: float) -> np.ndarray:
    """Return noise with an RMS of 1, [n_samples] float32, whose power falls as frequency ** -slope."""
    size = 1 << max(10, (n_samples - 1).bit_length())  # a power of two is quickest
    frequencies = np.maximum(np.arange(size // 2 + 1, dtype=np.float32) * (SAMPLE_RATE / size), FLATTENED)
    spectrum = random.standard_normal(2 * frequencies.size, np.float32).view(np.complex64)
    spectrum *= (frequencies / FLATTENED) ** (-slope / 2)
    spectrum[0] = 0
    return _at_rms_one(np.fft.irfft(spectrum, size)[:n_samples])


def _hum(random: np.random.Generator, n_samples: int) -> np.ndarray:
    """Return a mains hum of 50 or 60 Hz and its harmonics with an RMS of 1, [n_samples] float32."""
    mains = random.choice([50, 60])  # Hz
    harmonics = np.arange(1, N_HARMONICS + 1)[:, None]
    heights, phases = random.random((2, N_HARMONICS, 1))
    heights[0] = 1.0
    waves = heights / harmonics * np.sin(2 * np.pi * (harmonics * mains * np.arange(CYCLES) / SAMPLE_RATE + phases))
    return _at_rms_one(np.resize(waves.sum(axis=0), n_samples))


def _at_rms_one(sound: np.ndarray) -> np.ndarray:
    return (sound / max(_rms(sound), TINY)).astype(np.float32)


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def _peak(samples: np.ndarray) -> float:
    return float(np.abs(samples).max())


def _between(ends: tuple[float, float], place: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * place
