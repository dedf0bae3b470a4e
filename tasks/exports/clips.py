"""Clips in which an export is compared with the model that it was made of."""

from dataclasses import dataclass

import numpy as np

from tasks.shards.format import Example


@dataclass(frozen=True)
class Clip(Example):
    """One clip with its sound: whisper.cpp computes features of its own."""

    samples: np.ndarray  # [n_samples] float32 at 16 kHz
