"""What resampling to 16 kHz does to sound: sines, one at a time, through `tasks.audio.resample` and other ways.

    python benchmarks/resample.py

Prints for each: the ripple up to 7 kHz (or to 7/8 of the band that the source has), where the response has fallen by 3 dB, the loudest
false tone that any sine leaves behind (an alias of what lies above 8 kHz, or the image of what lies below 4 kHz of an 8 kHz recording),
and the median time. In float32, as it is used. scipy's polyphase filter is measured where scipy is installed.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import soxr

from tasks.audio import SAMPLE_RATE
from tasks.audio.resample import resample

SECONDS = 1.0
EDGE = SAMPLE_RATE // 8  # samples left out at each end, where the filter meets nothing
FLOOR = 1e-12

Way = Callable[[np.ndarray, int], np.ndarray]


def main() -> None:
    """Measure and print."""
    ways: dict[str, Way] = {
        "viska (soxr VHQ)": resample,
        "soxr HQ": lambda samples, rate: np.asarray(soxr.resample(samples, rate, SAMPLE_RATE, quality="HQ")),
    }
    try:
        from scipy.signal import resample_poly  # type: ignore[import-not-found,unused-ignore]

        ways["scipy polyphase"] = lambda samples, rate: resample_poly(samples, *_ratio(rate)).astype(np.float32)
    except ImportError:
        pass
    print(f"{'to 16 kHz by':17} {'from Hz':>8} {'ripple dB':>10} {'-3 dB at Hz':>12} {'false tones dB':>15} {'ms per s':>9}")
    for name, way in ways.items():
        for rate in (48_000, 44_100, 32_000, 22_050, 8_000):
            ripple, corner, false = _response(way, rate)
            print(f"{name:17} {rate:8} {ripple:10.4f} {corner:12.0f} {false:15.1f} {_milliseconds(way, rate):9.2f}")


def _response(way: Way, rate: int) -> tuple[float, float, float]:
    """Return the ripple in dB, the -3 dB point in Hz, and the loudest false tone in dB below the sine that made it."""
    band = min(rate, SAMPLE_RATE) / 2
    steady = [_through(way, rate, hertz) for hertz in np.arange(50, 7 / 8 * band + 1, 50)]
    edge = np.arange(7 / 8 * band, band, 5)
    corner = next(hertz for hertz in edge if _through(way, rate, hertz)[0] < -3)
    gains = [gain for gain, _ in steady]
    above = [max(_through(way, rate, hertz)) for hertz in np.arange(band + 5, rate / 2, 45)] if rate > SAMPLE_RATE else []
    return max(gains) - min(gains), corner, max([false for _, false in steady] + above)


def _through(way: Way, rate: int, hertz: float) -> tuple[float, float]:
    """Return how loud a sine of full scale comes out, and how loud whatever else comes out, both in dB."""
    sine = np.sin(2 * np.pi * hertz * np.arange(int(SECONDS * rate)) / rate).astype(np.float32)
    heard = way(sine, rate).astype(np.float64)[EDGE:-EDGE]
    turn = 2 * np.pi * hertz * np.arange(EDGE, EDGE + len(heard)) / SAMPLE_RATE
    basis = np.stack([np.sin(turn), np.cos(turn)], axis=1)
    if hertz >= SAMPLE_RATE / 2:  # it should be gone: whatever is left is false
        return -240.0, _decibels(np.sqrt(2 * np.mean(heard**2)))
    amplitudes = np.linalg.lstsq(basis, heard, rcond=None)[0]
    return _decibels(np.hypot(*amplitudes)), _decibels(np.sqrt(2 * np.mean((heard - basis @ amplitudes) ** 2)))


def _milliseconds(way: Way, rate: int) -> float:
    noise = (0.1 * np.random.default_rng(0).standard_normal(5 * rate)).astype(np.float32)
    seconds = []
    for _ in range(15):
        began = time.perf_counter()
        way(noise, rate)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds) / 5 * 1000


def _decibels(amplitude: float) -> float:
    return float(20 * np.log10(max(amplitude, FLOOR)))


def _ratio(rate: int) -> tuple[int, int]:
    common = int(np.gcd(rate, SAMPLE_RATE))
    return SAMPLE_RATE // common, rate // common


if __name__ == "__main__":
    main()
