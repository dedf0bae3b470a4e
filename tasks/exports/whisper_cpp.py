"""Hear with whisper.cpp, through the wheel `pywhispercpp`: greedy, language forced, no timestamps, no second try at another temperature.

It computes features of its own from the sound, in its own way and with the filters of the file. It says half of the longest label at most.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tasks.contracts.errors import ModelError
from tasks.exports.clips import Clip
from tasks.exports.ggml import Precision, file_name
from tasks.exports.packages import load
from tasks.model.generate import Heard
from tasks.model.whisper import Whisper

FAILED = "failed to load model"  # what it says in its log, and nowhere else
FOREVER = 1e9  # a threshold that nothing reaches
EXACT = {"flash_attn": False}  # with it, it attends to 36 rows of zeros behind the window too: ggml-org/whisper.cpp#3941


class WhisperCpp:
    """Transcribes clips, and yields each one's number with what was heard."""

    def __init__(self, target: Path, whisper: Whisper, precision: Precision) -> None:
        """Open `ggml-model-<precision>.bin` in `target`, made of `whisper`.

        Raises:
            ModelError: if pywhispercpp is not installed, or cannot read the file.
        """
        path = target / file_name(precision)
        self.model = _open(load("pywhispercpp.model", "pywhispercpp"), path, _told(whisper))
        self.window = whisper.shape.window

    def __call__(self, clips: Sequence[Clip], batch: int) -> Iterator[tuple[int, Heard]]:
        """Hear one clip after the other; `batch` is for others."""
        for number, clip in enumerate(clips):
            sound = np.zeros(self.window, np.float32)  # it refuses clips of less than a second, and hears these zeros in any case
            sound[: len(clip.samples)] = clip.samples
            yield number, Heard(" ".join(each.text for each in self.model.transcribe(sound)).strip(), False)


def _open(package: Any, path: Path, told: dict[str, Any]) -> Any:
    """Return the opened file. The wheel gives an empty model where it could not be read, and the process dies when it hears with it."""
    lines: list[str] = []
    package.pw.whisper_log_set(lambda _level, text: lines.append(text.strip()))
    try:
        model = package.Model(str(path), context_params=EXACT, **told)
    finally:
        package.pw.whisper_log_set(None)
    if any(FAILED in line for line in lines):
        raise ModelError(f"{path}: whisper.cpp cannot open it: {'; '.join(lines[-2:])}")
    return model


def _told(whisper: Whisper) -> dict[str, Any]:
    """Return how it decodes: as `tasks.model.generate` does."""
    settings = whisper.model.generation_config
    return {
        "n_threads": torch.get_num_threads(),
        "language": whisper.language,
        "no_timestamps": True,
        "single_segment": True,
        "no_context": True,
        "print_progress": False,
        "suppress_blank": bool(settings.begin_suppress_tokens),
        "suppress_nst": bool(settings.suppress_tokens),
        "temperature": 0.0,
        "temperature_inc": 0.0,
        "no_speech_thold": FOREVER,
        "logprob_thold": -FOREVER,
        "entropy_thold": -FOREVER,
        "greedy": {"best_of": 1},
    }
