"""A stranger's recording to words: decoded in a process of its own, then heard piece by piece, by the model and by its base."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile

from tasks.audio import SAMPLE_RATE
from tasks.audio.decode import encode_flac
from tasks.audio.isolated import Decoder
from tasks.model.transcribe import transcribe_samples
from tasks.model.whisper import Whisper
from tasks.model.words import Piece, Word, hear_words

DECODING = 300.0  # seconds that the decoder may take
MEMORY = 8 * 2**30  # bytes of address space for it: an hour of 48 kHz stereo takes five of them


@dataclass(frozen=True)
class Result:
    """What is known of a recording so far."""

    seconds: float = 0.0  # its length; 0: it is still being decoded
    done: float = 0.0  # seconds that were listened to
    pieces: tuple[Piece, ...] = ()
    base: tuple[str, ...] | None = None  # what the base model hears in each of them; None: it was not asked
    flac: Path | None = None  # where the sound lies at 16 kHz, for an hour or two
    corrected: frozenset[int] = frozenset()  # pieces whose text is the visitor's

    @property
    def words(self) -> list[Word]:
        """All of them, in order."""
        return [word for piece in self.pieces for word in piece.words]


@dataclass(frozen=True)
class Correction:
    """What a visitor gave, with consent: nothing else is known of them."""

    flac: bytes  # of the piece alone, 16 kHz
    seconds: float
    was: str  # what the model heard
    text: str  # what is said


def listen(data: bytes, whisper: Whisper, base: Whisper | None, max_seconds: float, put_away: Callable[[bytes], Path]) -> Iterator[Result]:
    """Yield what is known of a recording: at once, when it is decoded, after each piece, and in the end.

    Args:
        data: a whole file of sound or video, in any format.
        whisper: the model.
        base: another one that hears the same pieces; None: nothing is compared.
        max_seconds: refuse longer ones.
        put_away: stores the FLAC where the page can play it, and says where.

    Raises:
        AudioError: if it cannot be decoded.
    """
    yield Result()
    with Decoder(max_seconds, DECODING, MEMORY) as decoder:
        clip = decoder.hear(data)
    samples = clip.samples.astype(np.float32) / 32_768
    result = Result(len(samples) / SAMPLE_RATE, base=None if base is None else (), flac=put_away(clip.flac))
    yield result
    for piece in hear_words(whisper, samples):
        if not piece.text:
            continue
        result = replace(result, done=piece.end, pieces=(*result.pieces, piece))
        if base is not None and result.base is not None:
            part = samples[round(piece.start * SAMPLE_RATE) : round(piece.end * SAMPLE_RATE)]
            heard = " ".join(each.text for each in transcribe_samples(base, part))
            result = replace(result, base=(*result.base, heard))
        yield result
    yield replace(result, done=result.seconds)


def correct(result: Result, place: int, text: str) -> tuple[Correction, Result]:
    """Return what is to be kept of a piece that says `text`, and the result with that text in it.

    Raises:
        FileNotFoundError: if the recording was deleted meanwhile.
    """
    piece = result.pieces[place]
    if result.flac is None or not result.flac.exists():
        raise FileNotFoundError(result.flac)
    start, stop = round(piece.start * SAMPLE_RATE), round(piece.end * SAMPLE_RATE)
    samples, _ = soundfile.read(result.flac, frames=stop - start, start=start, dtype="int16")
    correction = Correction(encode_flac(samples), len(samples) / SAMPLE_RATE, piece.text, text)
    pieces = (*result.pieces[:place], replace(piece, text=text, words=_spread(piece, text)), *result.pieces[place + 1 :])
    return correction, replace(result, pieces=pieces, corrected=result.corrected | {place})


def _spread(piece: Piece, text: str) -> tuple[Word, ...]:
    """Return the words of a text over the time of a piece, each as long as its letters."""
    words = text.split()
    edges = np.cumsum([0, *map(len, words)]) / max(1, sum(map(len, words))) * (piece.end - piece.start) + piece.start
    return tuple(Word(word, float(edges[n]), float(edges[n + 1]), 1.0) for n, word in enumerate(words))
