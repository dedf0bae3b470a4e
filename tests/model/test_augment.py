"""Sound that is learnt differs each time, within its bounds, follows from the generator alone, and stays sound."""

import subprocess
import sys
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest

from tasks.model.augment import GRID, PAUSES, join, no_speech, perturb

SECOND = 16_000  # samples
ROOT = Path(__file__).parents[2]
ALL = (0.1, 6.0, 1.0)  # speed, gain, noise


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


def decibels(ratio: float) -> float:
    return float(20 * np.log10(ratio))


def pitch(sound: np.ndarray) -> float:
    """Return the frequency of the loudest bin, in Hz."""
    return float(np.abs(np.fft.rfft(sound * np.hanning(sound.size))).argmax() * SECOND / sound.size)


def slope(sound: np.ndarray) -> float:
    """Return how steeply power falls with frequency between 100 Hz and 7 kHz: 0 is white, 2 brown."""
    power, frequencies = np.abs(np.fft.rfft(sound)) ** 2, np.fft.rfftfreq(sound.size, 1 / SECOND)
    bands = np.geomspace(100, 7_000, 12)
    heard = [power[(frequencies >= low) & (frequencies < high)].mean() for low, high in pairwise(bands)]
    return float(-np.polyfit(np.log(np.sqrt(bands[1:] * bands[:-1])), np.log(heard), 1)[0])


def test_a_clip_to_which_nothing_is_done_is_the_same_object(tone: np.ndarray) -> None:
    assert perturb(tone, generator(), 0, 0, 0, 2 * SECOND) is tone
    assert perturb(tone * 5, generator(), 0, 0, 0, SECOND).max() == (tone * 5).max(), "even where it clips already"


def test_turning_one_change_on_does_not_change_what_the_others_draw(tone: np.ndarray) -> None:
    quiet = tone / 8
    quiet.flags.writeable = False  # nor is a clip changed where it lies
    for seed in range(10):
        generators = {on: generator(seed) for on in product((0, 0.1), (0, 6), (0, 1))}
        sounds = {on: perturb(quiet, random, *on, 2 * SECOND) for on, random in generators.items()}
        assert len({random.random() for random in generators.values()}) == 1
        louder = rms(sounds[0, 6, 0]) / rms(quiet)
        for speed in (0, 0.1):
            assert len({sounds[speed, gain, noise].size for gain in (0, 6) for noise in (0, 1)}) == 1
            np.testing.assert_allclose(sounds[speed, 6, 1], sounds[speed, 0, 1] * louder, rtol=1e-4, atol=1e-6)


def test_speed_changes_length_and_pitch_alike_and_evenly_to_both_sides(tone: np.ndarray) -> None:
    random, factors = generator(), []
    for _ in range(120):
        faster = perturb(tone, random, 0.1, 0, 0, 2 * SECOND)
        factors.append(tone.size / faster.size)
        assert faster.dtype == np.float32 and abs(pitch(faster) / 440 - factors[-1]) < 0.005
        assert abs(rms(faster) / rms(tone) - 1) < 0.01
    assert 0.9 <= min(factors) < 0.92 and 1.08 < max(factors) <= 1.1 and abs(np.mean(factors) - 1) < 0.02


@pytest.mark.parametrize("n_samples", [1, 2, 3, 319, 320, 4_001, 16_000])
def test_no_clip_becomes_longer_than_the_longest(tone: np.ndarray, n_samples: int) -> None:
    random = generator()
    for longest in (n_samples, n_samples + 1, n_samples + n_samples // 20):
        lengths = {perturb(tone[:n_samples] + 0.1, random, 0.3, 0, 0, longest).size for _ in range(40)}
        assert 1 <= min(lengths) and longest - 1 <= max(lengths) <= longest, "those that would be, fill it"
        assert longest > n_samples or max(lengths) == longest


def test_a_clip_that_is_too_long_already_is_refused(tone: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"^a clip of 16000 samples, expected at most 15999$"):
        perturb(tone, generator(), 0, 0, 0, SECOND - 1)


def test_gain_is_even_in_decibels(tone: np.ndarray) -> None:
    random = generator()
    gains = [decibels(rms(perturb(tone / 8, random, 0, 6, 0, SECOND)) / rms(tone / 8)) for _ in range(400)]
    assert -6.001 < min(gains) < -5.8 and 5.8 < max(gains) < 6.001 and abs(np.mean(gains)) < 0.6 and 3 < np.std(gains) < 4


@pytest.mark.parametrize("peak", [0.3, 0.99, 1.0, 1.3])
def test_nothing_clips_that_did_not(tone: np.ndarray, peak: float) -> None:
    random = generator()
    loud = (tone / tone.max() * peak).astype(np.float32)
    peaks = [np.abs(perturb(loud, random, 0.1, 30, 0.5, 2 * SECOND)).max() for _ in range(100)]
    ceiling = max(1.0, float(loud.max()))
    assert np.isfinite(peaks).all() and max(peaks) <= ceiling and np.isclose(sorted(peaks)[75], ceiling), "limited, not left out"


def test_noise_comes_as_often_as_asked_5_to_40_db_below_the_clip_and_between_white_and_brown(tone: np.ndarray) -> None:
    random = generator()
    noises = [noisy - tone for noisy in (perturb(tone, random, 0, 0, 0.5, SECOND) for _ in range(400)) if noisy is not tone]
    assert 160 < len(noises) < 240 and abs(np.corrcoef(noises[0], noises[1])[0, 1]) < 0.2, "each noise is another"
    ratios, slopes = [decibels(rms(tone) / rms(noise)) for noise in noises], [slope(noise) for noise in noises]
    assert 4.99 < min(ratios) < 8 and 37 < max(ratios) < 40.1 and 20 < np.mean(ratios) < 25
    assert -0.4 < min(slopes) < 0.3 and 1.7 < max(slopes) < 2.4 and 0.8 < np.mean(slopes) < 1.2


@pytest.mark.parametrize("n_samples", [1, 2, 400, 16_000])
def test_silence_stays_silent_and_finite(n_samples: int) -> None:
    for seed in range(20):
        silence = perturb(np.zeros(n_samples, np.float32), generator(seed), *ALL, 2 * SECOND)
        assert silence.dtype == np.float32 and silence.size >= 1 and not silence.any() and np.isfinite(silence).all()


def test_nobody_speaks_for_half_a_second_up_to_the_whole_window() -> None:
    random = generator()
    lengths = [no_speech(random, 2 * SECOND).size for _ in range(400)]
    assert SECOND // 2 <= min(lengths) < 0.55 * SECOND and 1.95 * SECOND < max(lengths) <= 2 * SECOND
    assert abs(np.mean(lengths) / SECOND - 1.25) < 0.1
    assert {no_speech(random, longest).size for longest in [5_000] * 9} == {5_000}, "a window of less is filled"


def test_where_nobody_speaks_there_is_silence_noise_or_hum_at_many_levels() -> None:
    random = generator()
    sounds = [no_speech(random, SECOND) for _ in range(300)]
    assert all(sound.dtype == np.float32 and np.isfinite(sound).all() and sound.any() and np.abs(sound).max() < 1 for sound in sounds)
    levels = np.array([decibels(rms(sound)) for sound in sounds])
    silent = levels < -90
    assert 70 < silent.sum() < 130 and -99 < levels[silent].min() and levels[silent].max() < -97
    assert -70.1 < levels[~silent].min() < -66 and -24 < levels.max() < -19.9 and -50 < levels[~silent].mean() < -40
    hums = [sound for sound, level in zip(sounds, levels, strict=True) if level > -65 and is_hum(sound)]
    assert 60 < len(hums) < 130 and {round(pitch(sound[:8_000]) / 10) for sound in hums} >= {5, 6}


def is_hum(sound: np.ndarray) -> bool:
    """Say whether nearly all power lies in a few lines."""
    power = np.sort(np.abs(np.fft.rfft(sound * np.hanning(sound.size))) ** 2)
    return bool(power[-60:].sum() > 0.99 * power.sum())


def test_joined_clips_begin_on_timestamps_and_lie_within_their_spans() -> None:
    random = generator()
    for _ in range(100):
        pieces = [np.full(int(random.integers(1, 40_000)), number + 1, np.float32) for number in range(int(random.integers(1, 7)))]
        sound, spans = join(pieces, random, 30 * SECOND)
        assert sound.dtype == np.float32 and len(spans) == len(pieces)
        rest = sound.copy()
        for piece, (begin, end) in zip(pieces, spans, strict=True):
            first = round(begin * SECOND)
            assert first == begin * SECOND and first % GRID == 0
            assert np.array_equal(sound[first : first + piece.size], piece)
            assert 0 <= end * SECOND - (first + piece.size) < GRID and round(end * SECOND) % GRID == 0
            rest[first : first + piece.size] = 0
        assert not rest.any() and sound[-1] == len(pieces) and spans[0][0] == 0.0


def pauses_of(pieces: list[np.ndarray], spans: list[tuple[float, float]]) -> np.ndarray:
    """Return the pauses between the clips, in samples."""
    ends = [round(begin * SECOND) + piece.size for piece, (begin, _) in zip(pieces, spans, strict=True)]
    return np.array([round(begin * SECOND) - end for (begin, _), end in zip(spans[1:], ends, strict=False)])


def test_pauses_are_a_tenth_of_a_second_to_a_second() -> None:
    random, pieces = generator(), [np.ones(3_207, np.float32)] * 5
    pauses = np.concatenate([pauses_of(pieces, join(pieces, random, 30 * SECOND)[1]) for _ in range(100)])
    assert 1_600 <= pauses.min() < 2_000 and 15_500 < pauses.max() <= 16_000 and 8_000 < pauses.mean() < 9_500


def test_pauses_take_what_room_there_is_and_the_window_is_never_left() -> None:
    pieces = [np.ones(3_207, np.float32)] * 4
    least = 3 * 3_520 + 3_207  # on the grid, without pauses
    for room in [*range(0, 5_000, 111), 10_000, 40_000]:
        for seed in range(5):
            sound, spans = join(pieces, generator(seed), least + room)
            assert sound.size <= least + room and spans[-1][1] <= (least + room) / SECOND
            pauses = pauses_of(pieces, spans)
            assert pauses.min() >= 313 and pauses.max() <= 16_000
            if room >= 3 * PAUSES[0] * GRID:
                assert pauses.min() >= 1_600, "as long as there is room for it"


def test_a_window_is_filled_to_the_last_sample() -> None:
    sound, spans = join([np.ones(SECOND, np.float32)], generator(), SECOND)
    assert sound.size == SECOND and spans == [(0.0, 1.0)]
    sound, spans = join([np.ones(GRID, np.float32), np.ones(GRID + 7, np.float32)], generator(), 2 * GRID + 7)
    assert sound.all() and spans == [(0.0, 0.02), (0.02, (2 * GRID + 7) / SECOND)], "the end is at most the window's"


def test_clips_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^2 clips of 647 samples on the grid of timestamps, expected at most 646$"):
        join([np.ones(GRID - 1, np.float32), np.ones(GRID + 7, np.float32)], generator(), 2 * GRID + 6)


CODE = """
from hashlib import sha256
import numpy as np
from tasks.model.augment import join, no_speech, perturb
random = np.random.default_rng(5)
tone = np.sin(np.arange(16_000) / 9).astype(np.float32) / 2
made = [perturb(tone, random, 0.1, 6, 1, 32_000) for _ in range(3)] + [no_speech(random, 32_000) for _ in range(6)]
digest = sha256(b"".join([*made, join(made[:3], random, 160_000)[0]])).hexdigest()
print(digest)
"""


def test_equal_generators_give_equal_bytes_in_every_process() -> None:
    here: dict[str, str] = {}
    exec(CODE, here)
    there = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here["digest"]
