"""A whole checkpoint in float16, half the bytes: what transformers loads on a GPU. Here it is heard as float32, as a CPU would."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tasks.contracts.errors import ModelError
from tasks.exports.clips import Clip
from tasks.model.generate import Heard, hear_all
from tasks.model.whisper import Whisper, load_whisper, save_whisper


def write_float16(folder: Path, target: Path, language: str) -> None:
    """Write the checkpoint in `folder` to `target` in float16, with all that belongs to it.

    Raises:
        ModelError: if a weight is larger than float16 can hold.
    """
    whisper = load_whisper(folder, language, "cpu")
    model = whisper.model.half()
    for name, weight in model.state_dict().items():
        if not weight.isfinite().all():
            raise ModelError(f"{folder}: a weight of {name} is larger than float16 can hold, 65,504; leave float16 out")
    save_whisper(replace(whisper, model=model), folder, target)


class Float16:
    """Transcribes clips, and yields each one's number with what was heard."""

    def __init__(self, target: Path, whisper: Whisper) -> None:
        """Load the checkpoint in `target`, on the device of `whisper` and for its language."""
        self.whisper = load_whisper(target, whisper.language, whisper.model.device.type)

    def __call__(self, clips: Sequence[Clip], batch: int) -> Iterator[tuple[int, Heard]]:
        """Hear the longest clips first, so many at once."""
        return hear_all(self.whisper, clips, batch)
