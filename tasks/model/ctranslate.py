"""An optional second engine: the same words from CTranslate2, sooner on a CPU. What it hears counts only once `agree` has compared it.

Needs the package `ctranslate2`, which viska does not install (4.8.5 was tried, with transformers 5.23). It asks for no window of 30 s: any
checkpoint that its converter knows as a Whisper will do, but for a language that `add_language` gave it. On a CPU float16 weights are read
as float32. Nobody has run it on a GPU.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError

from tasks.contracts.errors import ModelError
from tasks.model.generate import Heard, hear_all, longest_first, pad_features
from tasks.model.shape import read_shape
from tasks.model.tokens import has_no_speech
from tasks.model.whisper import Whisper
from tasks.shards.format import Example

log = logging.getLogger(__name__)

Quantisation = Literal["float32", "float16", "bfloat16", "int8", "int8_float16"]
TOLERANCE = 0.005  # WER between the engines at which they agree: sums are rounded in another order
NAMED = 3  # clips that a refusal names


@dataclass(frozen=True)
class Engine:
    """A converted model, with the checkpoint that it was made of."""

    model: Any  # ctranslate2.models.Whisper
    whisper: Whisper  # its tokenizer, prefix, sizes and suppressed tokens


@dataclass(frozen=True)
class Listener:
    """Another `hear_all`, with a converted model."""

    engine: Engine

    def __call__(self, _whisper: Whisper, examples: Sequence[Example], batch: int, /) -> Iterator[tuple[int, Heard]]:
        """Transcribe many clips, the longest first, and yield each one's number with what was heard."""
        for numbers in longest_first(examples, batch):
            features = pad_features([examples[number] for number in numbers], self.engine.whisper.shape.n_frames)
            yield from zip(numbers, hear_ctranslate(self.engine, features), strict=True)


def listen_with(
    folder: Path, whisper: Whisper, clips: Sequence[Example], batch: int, wer: Callable[[list[str], list[str]], float]
) -> Listener:
    """Convert a checkpoint, and return what hears with it, once it has heard the same as we do in some clips.

    Args:
        folder: of the checkpoint.
        whisper: the same, loaded.
        clips: some, in which both hear the same words, all but TOLERANCE of them.
        batch: clips heard at once.
        wer: word error rate of (references, hypotheses).

    Raises:
        ModelError: if ctranslate2 is not installed, cannot convert the checkpoint, or hears something else.
    """
    with TemporaryDirectory() as target:  # it is read whole when it is opened
        listener = Listener(open_engine(convert(folder, Path(target) / "model"), whisper))
    ours, theirs = (dict(hear(whisper, clips, batch)) for hear in (hear_all, listener))
    places = range(len(clips))
    share = agree([ours[each] for each in places], [theirs[each] for each in places], [each.id for each in clips], wer, TOLERANCE)
    log.info("ctranslate2 hears %d clips as we do: a WER of %.2f %% between the two", len(clips), 100 * share)
    return listener


def convert(folder: Path, target: Path, quantisation: Quantisation = "float32") -> Path:
    """Write the checkpoint in `folder` to `target` as CTranslate2 reads it, over whatever is there, and return `target`.

    Raises:
        ModelError: if ctranslate2 is not installed, or the checkpoint is not one that it can convert.
    """
    read_shape(folder)
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"{folder}: no weights as safetensors; other files are not read, since they may run code")
    converter = _load("ctranslate2.converters").TransformersConverter(str(folder))
    try:
        converter.convert(str(target), quantization=quantisation, force=True)
    except (OSError, ValueError, RuntimeError, KeyError, AttributeError, SafetensorError) as error:  # as what, depends on what is missing
        raise ModelError(f"{folder}: ctranslate2 cannot convert it: {error!s:.300}") from error
    return target


def open_engine(target: Path, whisper: Whisper, n_threads: int = 0) -> Engine:
    """Open a converted model on the device of `whisper`, the checkpoint that it was made of.

    Args:
        target: what `convert` returned.
        whisper: the checkpoint. Its language is the one that is heard.
        n_threads: of a CPU; 0: as many as torch takes.

    Raises:
        ModelError: if ctranslate2 is not installed, `target` holds no Whisper that it can read, or the language has an added token.
    """
    if max(whisper.prefix) != whisper.prefix[-1]:  # it ends a prefix at the first id behind "no timestamps", and goes on from there itself
        raise ModelError(
            f"{target}: the token of {whisper.language!r} was added behind the timestamps, and is taken for one; score without ctranslate2"
        )
    try:
        model = _load("ctranslate2").models.Whisper(
            str(target), device=whisper.model.device.type, compute_type="default", intra_threads=n_threads or torch.get_num_threads()
        )
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{target}: ctranslate2 cannot open it: {error!s:.300}") from error
    if model.n_mels != whisper.shape.n_mels:
        raise ModelError(f"{target}: made of another checkpoint: {model.n_mels} bins, expected {whisper.shape.n_mels}; convert this one")
    return Engine(model, whisper)


def hear_ctranslate(engine: Engine, features: torch.Tensor, most: int | None = None) -> list[Heard]:
    """Transcribe one batch as `tasks.model.generate.hear` does: greedy, language forced, the same tokens suppressed, the same cap.

    Args:
        engine: the model.
        features: [n_clips, n_mels, n_frames] padded to the window.
        most: tokens behind the prefix, the end among them; None: as many as the longest label has.

    Raises:
        ModelError: if the features do not fit the model, which ctranslate2 would take nevertheless.
    """
    whisper, wanted = engine.whisper, (engine.whisper.shape.n_mels, engine.whisper.shape.n_frames)
    if tuple(features.shape[1:]) != wanted:
        raise ModelError(f"features of {tuple(features.shape[1:])} bins and frames, expected {wanted}; pad them to the window")
    longest = whisper.shape.max_tokens - len(whisper.prefix)
    n_most = longest if most is None else min(most, longest)
    config, listens = whisper.model.generation_config, has_no_speech(whisper.tokenizer)
    heard = engine.model.generate(
        _load("ctranslate2").StorageView.from_array(np.ascontiguousarray(features.cpu().numpy(), np.float32)),
        [whisper.prefix] * len(features),
        beam_size=1,
        max_length=max(2 * n_most, n_most + len(whisper.prefix) - 1),  # it says half of this at most, and what the prefix leaves of it
        suppress_blank=bool(config.begin_suppress_tokens),
        suppress_tokens=config.suppress_tokens or [],
        return_scores=True,
        return_no_speech_prob=listens,
    )
    texts = whisper.tokenizer.batch_decode([each.sequences_ids[0] for each in heard], skip_special_tokens=True)
    return [_heard(text.strip(), each, n_most, listens) for text, each in zip(texts, heard, strict=True)]


def agree(
    ours: Sequence[Heard], theirs: Sequence[Heard], ids: Sequence[str], wer: Callable[[list[str], list[str]], float],
    tolerance: float = 0.0, name: str = "ctranslate2", advice: str = "choose float32, or score without it",
) -> float:  # fmt: skip
    """Return the WER between what the two engines heard in the same clips, ours as the reference.

    Args:
        ours: what `hear` made of the clips.
        theirs: what `hear_ctranslate`, or another engine, made of them, in the same order.
        ids: of the clips.
        wer: word error rate of (references, hypotheses), some of which may be empty.
        tolerance: the highest WER at which they agree, as a share.
        name: of the other engine, for people.
        advice: what they can do.

    Raises:
        ModelError: if it is higher; it names the first clips that were heard differently.
    """
    share = wer([each.text for each in ours], [each.text for each in theirs])
    if share > tolerance:
        clips = zip(ids, ours, theirs, strict=True)
        apart = [f"{id}: {one.text!r} here, {other.text!r} there" for id, one, other in clips if one.text != other.text]
        raise ModelError(
            f"{name} hears {len(apart)} of {len(ids)} clips differently: a WER of {share:.2%} between the engines, expected at most "
            f"{tolerance:.2%}; {advice}. {'; '.join(apart[:NAMED])}"
        )
    return share


def _heard(text: str, result: Any, n_most: int, listens: bool) -> Heard:
    """Return one clip's result; the end is not among its tokens, and its score is a sum over all divided by those that it returns."""
    n_words = len(result.sequences_ids[0])
    capped = n_words == n_most
    n_tokens = n_words + (not capped)
    logprob = result.scores[0] * max(n_words, 1) / n_tokens
    return Heard(text, capped, round(logprob, 4), n_tokens, round(result.no_speech_prob, 4) if listens else 0.0)


def _load(name: str) -> Any:
    """Return a module of ctranslate2: here, since most installations do without it."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ModelError("the engine ctranslate2 is not installed; pip install 'viska[ctranslate2]', or score without it") from error
