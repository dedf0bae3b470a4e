"""What a checkpoint says about itself: bins, window, longest label. Read from its files, never assumed."""

import json
from dataclasses import dataclass
from pathlib import Path

from tasks.audio import SAMPLE_RATE
from tasks.audio.log_mel import HOP
from tasks.contracts.errors import ModelError

STRIDE = 2  # of the encoder's second convolution: two frames become one position
NEEDED = ("config.json", "generation_config.json", "preprocessor_config.json", "tokenizer_config.json", "tokenizer.json")


@dataclass(frozen=True)
class Shape:
    """The sizes that data must fit."""

    width: int  # d_model
    n_mels: int
    n_frames: int  # log-Mel frames of the window, 10 ms each
    max_tokens: int  # of a label with its prefix and its end
    multilingual: bool  # English-only models have no language and no task

    @property
    def window(self) -> int:
        """Samples at 16 kHz that the model hears at once."""
        return self.n_frames * HOP


def read_shape(folder: Path) -> Shape:
    """Return the sizes of the checkpoint in `folder`.

    Raises:
        ModelError: if a file is missing, it is not a Whisper, or its two descriptions of the sound disagree.
    """
    for name in NEEDED:
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: no {name}; a checkpoint needs {', '.join(NEEDED)} and its weights as safetensors")
    config = json.loads((folder / "config.json").read_text())
    sound = json.loads((folder / "preprocessor_config.json").read_text())
    if config.get("model_type") != "whisper":
        raise ModelError(f"{folder}: model_type {config.get('model_type')!r}, expected 'whisper'")
    n_frames = config["max_source_positions"] * STRIDE
    heard = sound.get("chunk_length", 30) * SAMPLE_RATE // HOP
    if n_frames != heard or config["num_mel_bins"] != sound.get("feature_size", 80):
        raise ModelError(
            f"{folder}: config.json wants {config['num_mel_bins']} bins and {n_frames} frames, preprocessor_config.json makes "
            f"{sound.get('feature_size', 80)} and {heard}; one of them belongs to another model"
        )
    multilingual = json.loads((folder / "generation_config.json").read_text()).get("is_multilingual", True)
    return Shape(config["d_model"], config["num_mel_bins"], n_frames, config["max_target_positions"], multilingual)
