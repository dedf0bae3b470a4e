"""What a training learns at each place of each step: the sound of one or several clips, changed as the recipe says, and its label.

Everything random here follows from the seed, the step and the place, each kind of change with its own, so that turning one on does not
change what another draws, and a training that goes on after a kill learns the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tasks.audio.log_mel import log_mel
from tasks.contracts.errors import TrainingError
from tasks.model.augment import GRID, join, no_speech, perturb
from tasks.model.bpe import Pieces
from tasks.model.order import seed_of
from tasks.model.tokens import TIMESTAMP, no_speech_id, prefix_ids, timestamp_id
from tasks.model.units import add_no_speech, make_units, unit_weights
from tasks.model.whisper import Whisper
from tasks.shards.format import Example
from tasks.shards.plan import draw

if TYPE_CHECKING:  # pydantic is not needed to train
    from tasks.contracts.recipe import Training

IGNORED = -100  # a label that the loss passes over
NOTHING = (0,) * 6  # no blanks


class Clips(Protocol):
    """Clips by number. What else a split may have: `ids`, `texts`, `speakers`, `languages`, `weights`, and `samples(number)`."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> Example: ...


@dataclass(frozen=True)
class Lesson:
    """One row of a batch."""

    clips: tuple[str, ...]  # ids; none: a sound without speech
    features: np.ndarray  # [n_mels, n_frames], only the frames that carry sound
    fill: float  # the value of every frame behind them
    inputs: list[int]  # what the decoder reads: the label without its last id
    targets: list[int]  # what it should say next: the label without its first id
    blanks: tuple[int, ...] = NOTHING  # SpecAugment's, see Batch


class Lessons:
    """All that a training can learn, by number: units of clips, and examples without speech."""

    def __init__(self, whisper: Whisper, clips: Clips, settings: "Training") -> None:
        self.whisper, self.clips, self.settings = whisper, clips, settings
        n_clips = len(clips)
        examples = None if hasattr(clips, "texts") else [clips[number] for number in range(n_clips)]
        self.ids: Sequence[str] = [each.id for each in examples] if examples else clips.ids  # type: ignore[attr-defined]
        self.texts: Sequence[str] = [each.text for each in examples] if examples else clips.texts  # type: ignore[attr-defined]
        self.languages: Sequence[str] = getattr(clips, "languages", None) or [""] * n_clips
        self._prefixes = {
            language: prefix_ids(whisper.tokenizer, language, whisper.shape.multilingual) if language else whisper.prefix
            for language in set(self.languages)
        }
        self._pieces = Pieces(whisper.tokenizer)
        self._words: dict[tuple[int, ...], list[int]] = {}  # of the units met so far
        self.units, self.weights = self._units()
        if needs_sound(settings) and not hasattr(clips, "samples"):
            raise TrainingError("training.augment.speed, gain, noise and training.keep.stitched need the clips' sound, and these have none")

    def __len__(self) -> int:
        return len(self.units)

    def lesson(self, number: int, step: int, place: int) -> Lesson:
        """Return what is learnt when the example `number` comes up at a place of a step."""
        unit = self.units[number]
        if not unit:
            return self._silence(step, place)
        spans = None
        if len(unit) > 1 or _changes_sound(self.settings):
            features, fill, n_samples, spans = self._sound(unit, step, place)
        else:
            example = self.clips[unit[0]]
            features, fill, n_samples = example.features, example.fill, example.n_samples
        ids = self._label(unit, spans or [(0.0, ceil(n_samples / GRID) * TIMESTAMP)], step, place)
        return Lesson(tuple(self.ids[each] for each in unit), features, fill, ids[:-1], ids[1:], self._blanks(features, step, place))

    def _units(self) -> tuple[list[tuple[int, ...]], np.ndarray | None]:
        clips, keep = self.clips, self.settings.keep
        weights = getattr(clips, "weights", None)
        units: list[tuple[int, ...]] = [(number,) for number in range(len(clips))]
        if keep.stitched:
            n_samples = clips.n_samples if hasattr(clips, "n_samples") else [clips[number].n_samples for number in range(len(clips))]
            speakers = getattr(clips, "speakers", None) or [""] * len(clips)
            longest = self.whisper.shape.window
            units = make_units(self.ids, n_samples, speakers, self.languages, weights, keep.stitched, longest, self.settings.seed)
            units = sorted(piece for unit in units for piece in self._fitting(unit))
        units = add_no_speech(units, keep.no_speech)
        return units, unit_weights(units, weights)

    def _fitting(self, unit: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return the unit, or its clips by themselves if their words together are too long a label."""
        if len(unit) == 1:
            return [unit]
        n_ids = len(self._prefixes[self.languages[unit[0]]]) + len(self._words_of(unit)) + 1
        return [unit] if n_ids <= self.whisper.shape.max_tokens else [(number,) for number in unit]

    def _sound(self, unit: tuple[int, ...], step: int, place: int) -> tuple[np.ndarray, float, int, list[tuple[float, float]]]:
        """Return features, fill, length and where each clip lies, computed from the 16 kHz sound."""
        augment, window = self.settings.augment, self.whisper.shape.window
        random = self._random("sound", step, place)
        pieces = [self.clips.samples(number) for number in unit]  # type: ignore[attr-defined]
        room = window if len(pieces) == 1 else 0  # joined clips are not slowed down: they have to fit together
        changed = [perturb(each, random, augment.speed, augment.gain, augment.noise, room or len(each)) for each in pieces]
        samples, spans = join(changed, random, window) if len(changed) > 1 else (changed[0], [])
        return *log_mel(samples, self.whisper.shape.n_mels, window), len(samples), spans

    def _label(self, unit: tuple[int, ...], spans: list[tuple[float, float]], step: int, place: int) -> list[int]:
        """Return prefix, words and end; with the recipe's probability the words of each clip between timestamps."""
        prefix, tokenizer = self._prefixes[self.languages[unit[0]]], self.whisper.tokenizer
        dropout, stamped = self.settings.augment.bpe_dropout, self.settings.keep.timestamps
        is_stamped = stamped and draw(self.settings.seed, "timestamps", step, place) < stamped
        if not (dropout or is_stamped):
            return [*prefix, *self._words_of(unit), tokenizer.eos_token_id]
        random = self._random("words", step, place)
        texts = [" " * bool(number) + self.texts[each] for number, each in enumerate(unit)]
        if is_stamped:
            prefix = prefix[:-1]  # without "no timestamps"
            words = [
                id
                for text, (begin, end) in zip(texts, spans, strict=True)
                for id in (timestamp_id(tokenizer, begin), *self._pieces.encode(text, dropout, random), timestamp_id(tokenizer, end))
            ]
        else:
            words = self._pieces.encode("".join(texts), dropout, random)
        if len(prefix) + len(words) + 1 > self.whisper.shape.max_tokens:  # timestamps, or smaller pieces, made it too long
            prefix, words = self._prefixes[self.languages[unit[0]]], self._words_of(unit)
        return [*prefix, *words, tokenizer.eos_token_id]

    def _words_of(self, unit: tuple[int, ...]) -> list[int]:
        """Return the ids of the words, as the tokenizer gives them."""
        if unit not in self._words:
            self._words[unit] = self.whisper.tokenizer.encode(" ".join(self.texts[each] for each in unit), add_special_tokens=False)
        return self._words[unit]

    def _silence(self, step: int, place: int) -> Lesson:
        """A sound without speech: the first answer is that there is none, and behind the usual prefix there is nothing to say.

        Between the two nothing is learnt: no language is spoken. (Radford et al. 2022, section 2.3 has only the first.)
        """
        shape, prefix = self.whisper.shape, self.whisper.prefix
        samples = no_speech(self._random("silence", step, place), shape.window)
        features, fill = log_mel(samples, shape.n_mels, shape.window)
        targets = [no_speech_id(self.whisper.tokenizer), *[IGNORED] * (len(prefix) - 2), self.whisper.tokenizer.eos_token_id]
        return Lesson((), features, fill, list(prefix), targets, self._blanks(features, step, place))

    def _blanks(self, features: np.ndarray, step: int, place: int) -> tuple[int, ...]:
        """Return where SpecAugment's blanks lie: shares of the frames that carry sound, so that padding is never masked."""
        augment, (n_mels, length) = self.settings.augment, features.shape
        if not (augment.mask_time or augment.mask_bins):
            return NOTHING
        width, where, *bands = self._random("mask", step, place).random(6).tolist()
        n_blank = int(width * augment.mask_time * length)
        begin = int(where * (length - n_blank))
        blanks = [begin, begin + n_blank]
        for size, at in (bands[:2], bands[2:]):
            n_bins = int(size * augment.mask_bins)
            low = int(at * (n_mels - n_bins))
            blanks += [low, low + n_bins]
        return tuple(blanks)

    def _random(self, what: str, step: int, place: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(seed_of(self.settings.seed, what, step, place)))


def needs_sound(settings: "Training") -> bool:
    """Say whether a training computes features from the 16 kHz sound, so that it has to be fetched."""
    return _changes_sound(settings) or settings.keep.stitched > 0


def _changes_sound(settings: "Training") -> bool:
    augment = settings.augment
    return bool(augment.speed or augment.gain or augment.noise)


def lesson_of(example: Example, label: list[int]) -> Lesson:
    """Return an example as it is, with its whole label: prefix, words, end."""
    return Lesson((example.id,), example.features, example.fill, label[:-1], label[1:])
