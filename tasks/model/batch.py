"""Examples to tensors: features refilled to the window, labels shifted by hand, the rest masked.

The tutorial's collator compares the first label with the wrong token and trains on a doubled start token; here decoder input and labels
are both cut from one list of ids, so there is nothing to compare.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tasks.audio.log_mel import restore
from tasks.shards.format import Example

IGNORED = -100  # a label that the loss passes over


@dataclass(frozen=True)
class Batch:
    """One forward pass."""

    features: torch.Tensor  # [n_clips, n_mels, n_frames]
    lengths: torch.Tensor  # [n_clips] int64, frames that carry sound
    inputs: torch.Tensor  # [n_clips, n_tokens] int64, what the decoder reads
    labels: torch.Tensor  # [n_clips, n_tokens] int64, what it should say next; IGNORED after the end

    def to(self, device: str) -> "Batch":
        """Move to a device; features become float32 there."""
        return Batch(self.features.to(device, torch.float32), *(each.to(device) for each in (self.lengths, self.inputs, self.labels)))


def pad_features(examples: Sequence[Example], n_frames: int) -> torch.Tensor:
    """Return [n_clips, n_mels, n_frames]: each clip's frames, and its own fill value behind them (0 would be a loud sound)."""
    return torch.from_numpy(np.stack([restore(each.features, each.fill, n_frames) for each in examples]))


def collate(examples: Sequence[Example], labels: Sequence[list[int]], n_frames: int, pad: int) -> Batch:
    """Return a batch.

    Args:
        examples: the clips.
        labels: for each clip its whole label: prefix, words, end.
        n_frames: of the model's window.
        pad: the id that fills the decoder's input behind the end. It may equal the end: the labels are masked by length, not by value.
    """
    longest = max(map(len, labels)) - 1
    inputs = torch.full((len(labels), longest), pad, dtype=torch.int64)
    targets = torch.full((len(labels), longest), IGNORED, dtype=torch.int64)
    for row, ids in enumerate(labels):
        inputs[row, : len(ids) - 1] = torch.tensor(ids[:-1])
        targets[row, : len(ids) - 1] = torch.tensor(ids[1:])
    lengths = torch.tensor([each.features.shape[1] for each in examples])
    return Batch(pad_features(examples, n_frames), lengths, inputs, targets)


def mask_features(batch: Batch, time: float, bins: int, random: torch.Generator) -> torch.Tensor:
    """Return the batch's features with SpecAugment's blanks (Park et al. 2019): one stretch of time, two bands of bins.

    Args:
        batch: on the CPU.
        time: longest blank, as a share of the clip's own frames, so that padding is never masked.
        bins: widest band.
        random: decides where.
    """
    features = batch.features.clone()
    n_mels = features.shape[1]
    for row, length in enumerate(batch.lengths.tolist()):
        width, place, *bands = torch.rand(6, generator=random).tolist()
        n_blank = int(width * time * length)
        start = int(place * (length - n_blank))
        features[row, :, start : start + n_blank] = 0.0
        for size, where in (bands[:2], bands[2:]):
            n_bins = int(size * bins)
            low = int(where * (n_mels - n_bins))
            features[row, low : low + n_bins, :length] = 0.0
    return features
