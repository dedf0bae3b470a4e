import io
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tasks.contracts.errors import AudioError, ModelError
from tasks.model.transcribe import cut_quietly, open_model, transcribe, trim

RATE = 16_000


def _speech(*seconds: float, seed: int = 0) -> np.ndarray:
    """Bursts of noise of these lengths with 0.3 s of near silence between them, as words with pauses."""
    random = np.random.default_rng(seed)
    pause = random.normal(size=int(0.3 * RATE)) * 1e-4
    pieces = [piece for length in seconds for piece in (random.normal(size=int(length * RATE)) * 0.1, pause)]
    return np.concatenate(pieces).astype(np.float32)


@pytest.mark.parametrize("n_samples", [1, 100, 47_999, 48_000, 48_001, 96_000, 400_000])
def test_pieces_cover_the_recording_in_order_and_fit_the_window(n_samples: int) -> None:
    places = cut_quietly(np.random.default_rng(0).normal(size=n_samples).astype(np.float32), 48_000)
    assert places[0][0] == 0 and places[-1][1] == n_samples
    assert all(first[1] == second[0] for first, second in pairwise(places))
    assert all(0 < end - start <= 48_000 for start, end in places)


def test_a_recording_is_cut_in_its_pauses() -> None:
    samples = _speech(2.2, 1.8, 2.4, 2.0)
    for _, end in cut_quietly(samples, 3 * RATE)[:-1]:
        assert np.abs(samples[end - 800 : end + 800]).max() < 1e-3  # 50 ms to each side


def test_of_several_pauses_the_longest_is_cut_and_a_short_one_within_a_word_is_not() -> None:
    random = np.random.default_rng(0)
    said = [random.normal(size=n) * 0.1 for n in (30_000, 6_000, 20_000)]
    samples = np.concatenate([said[0], np.zeros(1_920), said[1], random.normal(size=5_000) * 5e-4, said[2]]).astype(np.float32)
    (_, end), *_ = cut_quietly(samples, 48_000)
    assert 37_920 < end < 42_920, "the pause of 0.3 s has noise, and the gap of 0.12 s before it has none"


def test_pauses_at_the_edges_of_a_piece_are_left_out_and_silence_is_none() -> None:
    samples = np.concatenate([np.zeros(8_000), _speech(1.0), np.zeros(8_000)]).astype(np.float32)
    start, end = trim(samples, 0, len(samples))
    assert 8_000 - 1_600 < start <= 8_000 and 24_000 <= end < 24_000 + 1_600
    assert trim(np.zeros(4_000, np.float32), 0, 4_000) is None
    assert trim(samples, 8_000, 24_000) == (8_000, 24_000)


def test_digits_in_a_row_longer_than_the_window_are_heard_in_order(real_data: Path) -> None:
    folder = real_data / "fsdd-english-digits" / "audio"
    words = ["three", "one", "four", "one", "five", "nine", "two", "six"]
    numbers = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "nine": 9}
    row = [np.concatenate([soundfile.read(folder / f"{numbers[word]}_jackson_0.wav")[0], np.zeros(4_000)]) for word in words]
    file = io.BytesIO()
    soundfile.write(file, np.concatenate(row), 8_000, format="WAV")
    whisper = open_model(str(real_data / "whisper-digits-from-scratch"), "en")
    segments = list(transcribe(whisper, file.getvalue()))
    assert len(segments) > 1  # the window is 3 s
    heard = " ".join(segment.text for segment in segments).split()
    blocks = SequenceMatcher(None, words, heard, autojunk=False).get_matching_blocks()
    assert sum(each.size for each in blocks) >= len(words) - 1 and len(heard) <= len(words) + 2, "it learnt digits alone"


def test_silence_gives_no_words(real_data: Path) -> None:
    whisper = open_model(str(real_data / "whisper-digits-from-scratch"), "en")
    samples = np.zeros(RATE * 7)
    samples[0] = 0.01  # a click, so that the file is not refused as empty of sound
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV")
    assert all(segment.end < 0.2 for segment in transcribe(whisper, file.getvalue()))


def test_a_recording_that_is_too_long_is_refused(real_data: Path) -> None:
    whisper = open_model(str(real_data / "whisper-digits-from-scratch"), "en")
    file = io.BytesIO()
    soundfile.write(file, _speech(2, 2), RATE, format="WAV")
    with pytest.raises(AudioError, match="longer than 3 s"):
        list(transcribe(whisper, file.getvalue(), max_seconds=3))


def test_a_model_that_does_not_say_its_language_wants_to_be_told(real_data: Path) -> None:
    with pytest.raises(ModelError, match="--language sv"):
        open_model(str(real_data / "whisper-digits-from-scratch"))
