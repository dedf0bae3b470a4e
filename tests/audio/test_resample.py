"""A tone stays what it is, and what 16 kHz cannot hold is gone."""

import numpy as np
import pytest

from tasks.audio.resample import resample
from tasks.contracts.errors import AudioError


def tone(hertz: float, rate: int, seconds: float = 1.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_a_440_hz_tone_stays_440_hz(rate: int) -> None:  # pitfall 9
    resampled = resample(tone(440, rate), rate)
    assert resampled.dtype == np.float32 and resampled.shape == (16_000,)
    middle = slice(1_000, -1_000)
    assert np.abs(resampled[middle] - tone(440, 16_000)[middle]).max() < 1e-5
    assert np.abs(np.fft.rfft(resampled)).argmax() == 440  # bins of 1 Hz


@pytest.mark.parametrize("rate", [7_350, 11_025, 32_000, 96_000, 192_000])
def test_the_length_follows_the_rate(rate: int) -> None:
    for n_samples in (rate // 10, rate // 3 + 1, 2 * rate + 7):
        assert abs(resample(np.zeros(n_samples, np.float32), rate).size - n_samples * 16_000 / rate) <= 1


def test_sixteen_kilohertz_is_left_untouched() -> None:
    samples = tone(440, 16_000)
    assert resample(samples, 16_000) is samples


def test_ten_kilohertz_is_gone() -> None:
    heard = np.abs(resample(tone(10_000, 48_000) / 0.3, 48_000)[1_000:-1_000]).max()
    assert 20 * np.log10(heard) < -100  # dB; without a filter it would come back as 6 kHz


def test_a_recording_of_less_than_one_sample_is_refused() -> None:
    with pytest.raises(AudioError, match=r"^1 samples at 48000 Hz, less than one at 16000$"):
        resample(np.ones(1, np.float32), 48_000)
