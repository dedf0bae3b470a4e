"""The formats of a trained model: what writes each, what hears with it, and how far it may be from the model itself."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from tasks.contracts.errors import RecipeError
from tasks.exports.clips import Clip
from tasks.exports.faster import CTranslate, write_ctranslate
from tasks.exports.float16 import Float16, write_float16
from tasks.exports.ggml import write_ggml
from tasks.exports.onnx_files import write_onnx
from tasks.exports.onnx_hear import OnnxRuntime
from tasks.exports.whisper_cpp import WhisperCpp
from tasks.model.generate import Heard
from tasks.model.whisper import Whisper


class Listen(Protocol):
    """Transcribes clips, so many at once, and yields each one's number with what was heard."""

    def __call__(self, clips: Sequence[Clip], batch: int, /) -> Iterator[tuple[int, Heard]]: ...


@dataclass(frozen=True)
class Format:
    """One way to give a model away."""

    folder: str  # of the model's repository
    write: Callable[[Path, Path, str], None]  # a checkpoint's folder, an empty one, a language
    open: Callable[[Path, Whisper], Listen]  # what was written, and the model that it was made of
    tolerance: float  # WER between the two at which they agree


# Half a percent is what another order of the same sums, or half the digits of each weight, may turn over among words that hang in the
# balance. whisper.cpp has features and a GELU of its own. Of q8_0 and q5_0, 8 and 5 bits of a weight are left: on real digits they turned
# over none and 0.8 % of 261 words.
FORMATS = {
    "ctranslate2": Format("ctranslate2", write_ctranslate, CTranslate, 0.005),
    "ggml-f16": Format("ggml", partial(write_ggml, precision="f16"), partial(WhisperCpp, precision="f16"), 0.01),
    "ggml-q8_0": Format("ggml", partial(write_ggml, precision="q8_0"), partial(WhisperCpp, precision="q8_0"), 0.02),
    "ggml-q5_0": Format("ggml", partial(write_ggml, precision="q5_0"), partial(WhisperCpp, precision="q5_0"), 0.03),
    "onnx": Format("onnx", write_onnx, OnnxRuntime, 0.005),
    "float16": Format("float16", write_float16, Float16, 0.005),
}


def write(format: str, folder: Path, target: Path, language: str) -> None:
    """Write the checkpoint in `folder` in this format, in a folder of `target` that has the format's name.

    Args:
        format: one of FORMATS.
        folder: of the checkpoint.
        target: which becomes the model's repository, or a part of it.
        language: that the model is heard in.

    Raises:
        RecipeError: if there is no such format.
        ModelError: if a package is missing, or the format's engine could not run this model.
    """
    its = format_of(format)
    place = target / its.folder
    place.mkdir(parents=True, exist_ok=True)
    its.write(folder, place, language)


def open_listener(format: str, target: Path, whisper: Whisper) -> Listen:
    """Return what hears with the files that `write` left in `target`, in the engine that people use them with.

    Args:
        format: one of FORMATS.
        target: as for `write`.
        whisper: the model that they were made of, for its language, prefix and suppressed tokens.

    Raises:
        ModelError: if a package is missing, or the engine cannot read the files.
    """
    its = format_of(format)
    return its.open(target / its.folder, whisper)


def format_of(name: str) -> Format:
    """Return a format by its name; RecipeError if there is none of that name."""
    if name not in FORMATS:
        raise RecipeError(f"export {name!r}: no such format; expected one of {', '.join(FORMATS)}")
    return FORMATS[name]
