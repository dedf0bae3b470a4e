"""A folder for faster-whisper: CTranslate2's files in float16, and beside them the tokenizer and the features' settings, which it reads."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from tasks.exports.clips import Clip
from tasks.model.ctranslate import Listener, convert, open_engine
from tasks.model.generate import Heard
from tasks.model.whisper import Whisper, load_whisper

BESIDE = ("tokenizer.json", "preprocessor_config.json")


def write_ctranslate(folder: Path, target: Path, language: str) -> None:
    """Write the checkpoint in `folder` to `target` as faster-whisper reads it.

    Raises:
        ModelError: if ctranslate2 is not installed or cannot convert it, or the model does not know the language.
    """
    whisper = load_whisper(folder, language, "cpu")
    convert(folder, target, "float16")
    for name in BESIDE:
        shutil.copyfile(folder / name, target / name)
    if whisper.shape.multilingual:
        _call_multilingual(target / "vocabulary.json", whisper.tokenizer.eos_token_id - 1)


def _call_multilingual(path: Path, spare: int) -> None:
    """See to it that one entry is empty, by which CTranslate2 knows a multilingual model: in Whisper's vocabulary the last before the end.

    Without one, faster-whisper takes the model for English-only, and asks it for English. Words are made by the tokenizer, not from here.
    """
    entries = json.loads(path.read_text(encoding="utf-8"))
    if "" not in entries:
        entries[spare] = ""
        path.write_text(json.dumps(entries, ensure_ascii=False, indent=1), encoding="utf-8")


class CTranslate:
    """Transcribes clips, and yields each one's number with what was heard."""

    def __init__(self, target: Path, whisper: Whisper) -> None:
        """Open what was written, made of `whisper`; ModelError if ctranslate2 cannot."""
        self.hear, self.whisper = Listener(open_engine(target, whisper)), whisper

    def __call__(self, clips: Sequence[Clip], batch: int) -> Iterator[tuple[int, Heard]]:
        """Hear the longest clips first, so many at once."""
        return self.hear(self.whisper, clips, batch)
