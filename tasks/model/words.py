"""What was heard word by word, each with its time and with how sure the model was of it. Used by the demo.

The sureness is that of the greedy decoding itself. The times are estimates: a piece's words share the time in which there is sound in it,
each by its letters, because people speak at a fairly steady rate and pause between words.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import exp

import numpy as np
from transformers import WhisperTokenizer

from tasks.audio import SAMPLE_RATE
from tasks.audio.log_mel import log_mel
from tasks.model.generate import encode, pad_features, say
from tasks.model.transcribe import FRAME, cut, is_speech, loudness_of, pause_of
from tasks.model.whisper import Whisper
from tasks.shards.format import Example

UNSPACED = {"zh", "yue", "ja", "th", "lo", "my", "km", "bo"}  # languages that are written without spaces between words
HALF = "\ufffd"  # what a part of a character is decoded as
ALONE = 1  # pieces heard at once on a CPU: the first words appear soonest
TOGETHER = 8  # on a GPU


@dataclass(frozen=True)
class Word:
    """One word; where a language is written without spaces, what the model says at once."""

    text: str
    start: float  # seconds from the start of the recording
    end: float
    probability: float  # that the model gave to the word, after what it had said before


@dataclass(frozen=True)
class Piece:
    """One piece of a recording, not longer than the model's window."""

    start: float  # seconds
    end: float
    text: str
    words: tuple[Word, ...]


def hear_words(whisper: Whisper, samples: np.ndarray) -> Iterator[Piece]:
    """Yield the words of a recording, piece by piece, as `transcribe_samples` does.

    Args:
        whisper: the model.
        samples: [n_samples] float32 at 16 kHz, of any length.
    """
    window, pieces = whisper.shape.window, cut(samples, whisper.shape.window)
    batch = TOGETHER if whisper.model.device.type == "cuda" else ALONE
    for first in range(0, len(pieces), batch):
        places = pieces[first : first + batch]
        features = [log_mel(samples[slice(*place)], whisper.shape.n_mels, window) for place in places]
        examples = [Example("", "", 0, frames, fill) for frames, fill in features]
        all_heard, ids, logprobs = say(whisper, encode(whisper, pad_features(examples, whisper.shape.n_frames)))
        for (start, end), heard, tokens, sure in zip(places, all_heard, ids.tolist(), logprobs.tolist(), strict=True):
            if is_speech(heard):
                said = spell(whisper.tokenizer, tokens[: heard.n_tokens], sure, (whisper.borrower or whisper.language) not in UNSPACED)
                times = share_time(samples[start:end], [len(text) for text, _ in said])
                at = start / SAMPLE_RATE
                words = (Word(text, round(at + since, 3), round(at + until, 3), round(probability, 4))
                         for (text, probability), (since, until) in zip(said, times, strict=True))  # fmt: skip
                yield Piece(start / SAMPLE_RATE, end / SAMPLE_RATE, heard.text, tuple(words))


def spell(tokenizer: WhisperTokenizer, ids: Sequence[int], logprobs: Sequence[float], spaced: bool = True) -> list[tuple[str, float]]:
    """Return the words of tokens, each with its probability: the product of those of its tokens.

    Punctuation belongs to a word, but its probability does not count: whether a comma stands there says nothing about the word.

    Args:
        tokenizer: of the model.
        ids: what was said; special tokens are passed over.
        logprobs: natural logarithms of their probabilities; more of them than ids may be given.
        spaced: whether words begin with a space.
    """
    words: list[tuple[str, float, float]] = []  # text, log-probability of its letters, and of its other characters
    for text, logprob in _characters(tokenizer, ids, logprobs):
        letters = any(map(str.isalnum, text))
        sums = (logprob, 0.0) if letters else (0.0, logprob)
        if words and (not text.startswith(" ") if spaced else not letters):
            before = words.pop()
            words.append((before[0] + text, before[1] + sums[0], before[2] + sums[1]))
        else:
            words.append((text, *sums))
    return [(text.strip(), exp(inner if any(map(str.isalnum, text)) else outer)) for text, inner, outer in words if text.strip()]


def _characters(tokenizer: WhisperTokenizer, ids: Sequence[int], logprobs: Sequence[float]) -> Iterator[tuple[str, float]]:
    """Yield the text of one token, or of several if it takes them all to say a character."""
    said = [(id, logprob) for id, logprob in zip(ids, logprobs, strict=False) if id not in _special(tokenizer)]
    pending: list[int] = []
    together = 0.0
    for number, (id, logprob) in enumerate(said, 1):
        pending.append(id)
        together += logprob
        text = tokenizer.decode(pending)
        if not text.endswith(HALF) or len(pending) == 4 or number == len(said):  # a character of UTF-8 has four bytes at most
            yield text, together
            pending, together = [], 0.0


def share_time(samples: np.ndarray, lengths: Sequence[int]) -> list[tuple[float, float]]:
    """Return [start, end) in seconds of words of these lengths, in letters, which share the time in which there is sound.

    Args:
        samples: [n_samples] float32 at 16 kHz of the piece.
        lengths: of its words.
    """
    seconds = len(samples) / SAMPLE_RATE
    loudness = loudness_of(samples) if len(samples) >= FRAME else np.ones(1)
    sounding = np.flatnonzero(loudness > pause_of(loudness))
    if not sounding.size:
        sounding = np.arange(loudness.size)
    edges = np.cumsum([0, *lengths]) / max(1, sum(lengths)) * sounding.size  # in frames that sound
    first = np.clip(np.floor(edges[:-1] + 1e-9), 0, sounding.size - 1).astype(int)  # in which a word begins
    last = np.clip(np.ceil(edges[1:] - 1e-9) - 1, 0, sounding.size - 1).astype(int)  # and ends
    starts, ends = sounding[first] + edges[:-1] - first, sounding[last] + edges[1:] - last
    scale = FRAME / SAMPLE_RATE
    return [
        (round(start * scale, 3), round(min(end * scale, seconds), 3)) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]


@cache
def _special(tokenizer: WhisperTokenizer) -> frozenset[int]:
    return frozenset(tokenizer.get_added_vocab().values()) | frozenset(tokenizer.all_special_ids)
