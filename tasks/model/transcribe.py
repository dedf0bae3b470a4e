"""Any recording, of any length, to text: cut in the longest pauses into pieces that fit the model's window, hear each, join.

Used by `viska transcribe` and by the demo. Needs no store, no recipe and no Prefect.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from tasks.audio import SAMPLE_RATE
from tasks.audio.decode import decode
from tasks.audio.log_mel import log_mel
from tasks.audio.resample import resample
from tasks.contracts.errors import ModelError
from tasks.contracts.languages import LANGUAGES, code_of
from tasks.model.generate import Heard, hear, pad_features
from tasks.model.start import RECIPE, locate_checkpoint
from tasks.model.whisper import Whisper, load_whisper
from tasks.shards.format import Example

BATCH = 8  # pieces heard at once
FRAME = SAMPLE_RATE // 50  # samples, 20 ms, over which loudness is measured
SEARCH = 0.4  # the last share of the window in which a place to cut is looked for
QUIET = 1e-4  # root mean square of a frame that is silence in any case
FAINT = 0.01  # and below which share of the loudest frame it counts as a pause: 40 dB less
MARGIN = 3  # frames of pause that are left at each side
NOBODY, UNSURE = 0.6, -1.0  # a piece is left out if nobody speaks with at least this probability, and its tokens are less likely than that
LONGEST = 4 * 3600.0  # seconds; what a person may upload


@dataclass(frozen=True)
class Segment:
    """One piece of a recording and its words."""

    start: float  # seconds
    end: float
    text: str
    logprob: float = 0.0  # mean log-probability of its tokens


def transcribe(whisper: Whisper, data: bytes, max_seconds: float = LONGEST) -> Iterator[Segment]:
    """Yield the words of a recording, piece by piece; silent pieces yield nothing.

    Args:
        whisper: the model.
        data: a whole audio file in any format.
        max_seconds: refuse longer ones.

    Raises:
        AudioError: if it cannot be decoded.
    """
    return transcribe_samples(whisper, resample(*decode(data, max_seconds)))


def transcribe_samples(whisper: Whisper, samples: np.ndarray) -> Iterator[Segment]:
    """Yield the words of a recording, piece by piece.

    Pieces that are silent yield nothing, and neither do those in which the model hears nobody and is unsure of what it says (Radford et al.
    2022, section 4.5).

    Args:
        whisper: the model.
        samples: [n_samples] float32 at 16 kHz, of any length.
    """
    window, pieces = whisper.shape.window, cut(samples, whisper.shape.window)
    for start in range(0, len(pieces), BATCH):
        places = pieces[start : start + BATCH]
        features = [log_mel(samples[slice(*place)], whisper.shape.n_mels, window) for place in places]
        examples = [Example("", "", 0, frames, fill) for frames, fill in features]
        for (first, last), heard in zip(places, hear(whisper, pad_features(examples, whisper.shape.n_frames)), strict=True):
            if is_speech(heard):
                yield Segment(first / SAMPLE_RATE, last / SAMPLE_RATE, heard.text, heard.logprob)


def cut(samples: np.ndarray, window: int) -> list[tuple[int, int]]:
    """Return the [start, end) that are listened to, each at most `window` long: what is between them is silent."""
    return [piece for piece in (trim(samples, *place) for place in cut_quietly(samples, window)) if piece]


def is_speech(heard: Heard) -> bool:
    """Say whether a piece is kept: the model hears somebody there, or is sure of what it says."""
    return heard.no_speech < NOBODY or heard.logprob > UNSURE


def cut_quietly(samples: np.ndarray, window: int) -> list[tuple[int, int]]:
    """Return consecutive [start, end) that cover `samples`, each at most `window` long, cut in the longest pause, or where it is quietest.

    Args:
        samples: [n_samples] float32.
        window: the longest piece, in samples.
    """
    places, start = [], 0
    while len(samples) - start > window:
        loudness = loudness_of(samples[start : start + window])
        low = int(len(loudness) * (1 - SEARCH))
        end = start + (low + _quietest(loudness[low:], pause_of(loudness))) * FRAME + FRAME // 2
        places.append((start, end))
        start = end
    return [*places, (start, len(samples))]


def _quietest(loudness: np.ndarray, pause: float) -> int:
    """Return the middle of the longest stretch of [n_frames] that is a pause; none is one: of the quietest tenth of a second."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loudness <= pause, [False]])))  # where pauses begin and end, in turn
    lengths = edges[1::2] - edges[::2]
    if not lengths.size:
        return int(np.convolve(loudness**2, np.ones(5) / 5, mode="same").argmin())
    longest = 2 * int(lengths.argmax())
    return int(edges[longest] + edges[longest + 1]) // 2


def loudness_of(samples: np.ndarray) -> np.ndarray:
    """Return the root mean square of each whole frame, [n_frames] float64."""
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64)
    loudness: np.ndarray = np.sqrt((frames**2).mean(axis=1))
    return loudness


def pause_of(loudness: np.ndarray) -> float:
    """Return how loud a pause is at most, among frames of this loudness."""
    return float(max(QUIET, FAINT * loudness.max()))


def trim(samples: np.ndarray, start: int, end: int) -> tuple[int, int] | None:
    """Return the part of [start, end) from just before its first sound to just after its last, or None if it is silent.

    A model that was trained on clips that begin with a word hears one worse that begins with the rest of a pause.
    """
    n_frames = -(-(end - start) // FRAME)
    squares = np.zeros(n_frames * FRAME)
    squares[: end - start] = samples[start:end].astype(np.float64) ** 2
    loudness = np.sqrt(squares.reshape(n_frames, FRAME).mean(axis=1))
    heard = np.flatnonzero(loudness > pause_of(loudness))
    if not heard.size:
        return None
    return max(start, start + (int(heard[0]) - MARGIN) * FRAME), min(end, start + (int(heard[-1]) + 1 + MARGIN) * FRAME)


def open_model(name: str, language: str = "") -> Whisper:
    """Load a model to listen with: a folder, or an id of the Hub.

    Args:
        name: where it is.
        language: what is spoken, as `code_of` reads it; empty: what the model says. One that borrows a token is known by the recipe that
            lies beside a model of ours.

    Raises:
        ModelError: if it is no Whisper, or says no language and none is given, or does not know it.
    """
    folder = locate_checkpoint(name, "main")
    said = json.loads((folder / "generation_config.json").read_text())
    borrower, lender = _loan(folder)
    language = language or borrower or said.get("language") or ("" if said.get("is_multilingual", True) else "en")
    if not language:
        raise ModelError(f"{name}: its generation config names no language; say which is spoken, such as --language sv")
    try:
        code = code_of(language.strip("<|>"))
    except ValueError as error:
        raise ModelError(f"{name}: language {language!r} is {error}") from error
    borrows = code == borrower
    whisper = load_whisper(folder, lender if borrows else code, "cuda" if torch.cuda.is_available() else "cpu")
    return replace(whisper, borrower=code) if borrows else whisper


def _loan(folder: Path) -> tuple[str, str]:
    """Return the language that a model of ours was trained for and the one whose token it borrowed; nothing if it borrowed none."""
    try:
        told = json.loads((folder / RECIPE).read_text())
        lender, borrower = told["language_token"], code_of(told["language"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # no recipe, or somebody else's
        return "", ""
    return (borrower, lender) if lender in LANGUAGES else ("", "")
