"""Long recordings whose every second can be told from the others: tones that rise, and real sentences one after the other."""

import csv
import io
import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from tasks.audio.decode import decode_flac, to_int16
from tasks.audio.resample import resample

STEP = 40  # Hz; the tone of second n is 300 + STEP * n


class Sentence(NamedTuple):
    """A recording, and where it stands in the long one."""

    text: str
    start: float  # seconds
    end: float
    samples: np.ndarray  # [n_samples] int16 at 16 kHz, of the recording by itself


def tones(n_seconds: int, rate: int = 22_050) -> np.ndarray:
    """Return [n_samples] float32: another tone in each second, without a break in its phase."""
    pitch = np.repeat(300 + STEP * np.arange(n_seconds), rate)
    return (0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / rate)).astype(np.float32)


def second_of(flac: bytes) -> int:
    """Return which second of `tones` a clip was cut out of, by its loudest frequency."""
    samples = decode_flac(flac)
    loudest = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))).argmax()
    return round((float(loudest) * 16_000 / len(samples) - 300) / STEP)


def write_tones(path: Path, n_seconds: int = 12, rate: int = 22_050) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tones(n_seconds, rate), rate)


def write_sentences(path: Path, real_data: Path, n: int = 12, pause: float = 1.5) -> list[Sentence]:
    """Join the first sentences of a reader with pauses into one WAV; return where each stands."""
    folder = real_data / "ljspeech-100"
    with (folder / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))[:n]
    sentences: list[Sentence] = []
    pieces: list[np.ndarray] = []
    place = 0
    for row in rows:
        samples, rate = soundfile.read(io.BytesIO((folder / row["path"]).read_bytes()), dtype="int16")
        n_quiet = int(pause * rate)
        quiet = np.zeros(n_quiet + -(place + n_quiet) % 441, np.int16)  # 441 samples are 320 at 16 kHz: then both are resampled alike
        pieces += [quiet, samples]
        place += len(quiet)
        alone = to_int16(resample(samples / np.float32(32_768), rate))
        sentences.append(Sentence(row["text"], place / rate, (place + len(samples)) / rate, alone))
        place += len(samples)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(np.concatenate(pieces).tobytes())
    return sentences


def likeness(flac: bytes, samples: np.ndarray, before: float = 0.0) -> float:
    """Return the correlation of a clip, from `before` seconds on, with a recording by itself, both at 16 kHz."""
    clip = decode_flac(flac)[round(before * 16_000) :][: len(samples)]
    return float(np.corrcoef(clip, samples[: len(clip)])[0, 1])
