"""Lessons to tensors: ragged on the way to the device, padded to the window there; labels shifted by hand, the rest masked.

A clip of five seconds fills a sixth of Whisper's window. What is copied, and waits in memory, are the frames that carry sound, in the
precision they are stored in; the fill value behind them is put in where the model runs.

The tutorial's collator compares the first label with the wrong token and trains on a doubled start token; here decoder input and labels
are both cut from one list of ids, so there is nothing to compare.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import numpy as np
import torch

from tasks.model.lessons import IGNORED, Lesson

TENSORS = ("frames", "lengths", "fills", "blanks", "inputs", "labels")  # of a batch


@dataclass(frozen=True)
class Batch:
    """One forward pass."""

    frames: torch.Tensor  # flat: of each clip [n_mels, its n_frames], one clip after the other; float16 or float32
    lengths: torch.Tensor  # [n_clips] int64, frames that carry sound
    fills: torch.Tensor  # [n_clips] float32, the value of every frame behind them
    blanks: torch.Tensor  # [n_clips, 6] int64, SpecAugment: first and last + 1 of a stretch of frames and of two bands of bins
    inputs: torch.Tensor  # [n_clips, n_tokens] int64, what the decoder reads
    labels: torch.Tensor  # [n_clips, n_tokens] int64, what it should say next; IGNORED after the end
    is_blanked: bool  # whether any blank is wider than nothing
    n_mels: int
    n_frames: int  # of the model's window

    def __len__(self) -> int:
        return len(self.lengths)

    def to(self, device: torch.device | str) -> "Batch":
        """Move to a device, without waiting if it lies in pinned memory."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> "Batch":
        """Copy to memory that a GPU reads while the processor goes on."""
        return self._each(torch.Tensor.pin_memory)

    def features(self) -> torch.Tensor:
        """Return [n_clips, n_mels, n_frames] float32 on the batch's device, blanks put in."""
        pad = _pad_at_once if self.frames.is_cuda else _pad_one_by_one
        features = pad(self.frames, self.lengths, self.fills, self.n_mels, self.n_frames)
        return put_blanks(features, self.lengths, self.blanks) if self.is_blanked else features

    def halves(self) -> Iterator["Batch"]:
        """Yield the first half of the clips, then the others."""
        middle = (len(self) + 1) // 2
        cut = int(self.lengths[:middle].sum()) * self.n_mels
        for rows, frames in ((slice(None, middle), self.frames[:cut]), (slice(middle, None), self.frames[cut:])):
            yield replace(self._each(itemgetter(rows)), frames=frames)

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Batch":
        changed: dict[str, Any] = {name: change(getattr(self, name)) for name in TENSORS}
        return replace(self, **changed)


def collate(lessons: Sequence[Lesson], n_frames: int, pad: int, multiple: int = 1, most: int = 0) -> Batch:
    """Return a batch on the CPU.

    Args:
        lessons: what is learnt.
        n_frames: of the model's window.
        pad: the id that fills the decoder's input behind the end. It may equal the end: the labels are masked by length, not by value.
        multiple: the labels' length is rounded up to a multiple of this, so that a compiled model meets few shapes;
        most: but not above this, if it is not 0.
    """
    longest = -(-max(len(each.inputs) for each in lessons) // multiple) * multiple
    longest = min(longest, most) if most else longest
    inputs = torch.full((len(lessons), longest), pad, dtype=torch.int64)
    labels = torch.full((len(lessons), longest), IGNORED, dtype=torch.int64)
    for row, each in enumerate(lessons):
        inputs[row, : len(each.inputs)] = torch.tensor(each.inputs)
        labels[row, : len(each.targets)] = torch.tensor(each.targets)
    frames = np.concatenate([each.features.ravel() for each in lessons])
    fills = np.array([each.fill for each in lessons], frames.dtype)  # as `restore` would give them
    return Batch(
        torch.from_numpy(frames),
        torch.tensor([each.features.shape[1] for each in lessons]),
        torch.from_numpy(fills.astype(np.float32)),
        torch.tensor([each.blanks for each in lessons], dtype=torch.int64),
        inputs,
        labels,
        any(any(each.blanks) for each in lessons),
        lessons[0].features.shape[0],
        n_frames,
    )


def put_blanks(features: torch.Tensor, lengths: torch.Tensor, blanks: torch.Tensor) -> torch.Tensor:
    """Return the features with SpecAugment's blanks (Park et al. 2019): one stretch of time, two bands of bins, nothing behind the sound.

    Args:
        features: [n_clips, n_mels, n_frames].
        lengths: [n_clips], frames that carry sound.
        blanks: [n_clips, 6], first and last + 1 of each.
    """
    frame = torch.arange(features.shape[2], device=features.device)[None, None, :]
    bin = torch.arange(features.shape[1], device=features.device)[None, :, None]
    begin, end, low, high, low_too, high_too = blanks[:, :, None, None].unbind(1)
    blank = (frame >= begin) & (frame < end)
    band = ((bin >= low) & (bin < high) | (bin >= low_too) & (bin < high_too)) & (frame < lengths[:, None, None])
    return features.masked_fill(blank | band, 0.0)


def _pad_one_by_one(frames: torch.Tensor, lengths: torch.Tensor, fills: torch.Tensor, n_mels: int, n_frames: int) -> torch.Tensor:
    """Copy clip by clip: quickest on a CPU."""
    features = torch.empty(len(lengths), n_mels, n_frames)
    start = 0
    for row, (length, fill) in enumerate(zip(lengths.tolist(), fills.tolist(), strict=True)):
        end = start + n_mels * length
        features[row, :, :length] = frames[start:end].view(n_mels, length)
        features[row, :, length:] = fill
        start = end
    return features


def _pad_at_once(frames: torch.Tensor, lengths: torch.Tensor, fills: torch.Tensor, n_mels: int, n_frames: int) -> torch.Tensor:
    """Look every value up: one kernel for the whole batch, and the processor need not know the lengths."""
    starts = (lengths.cumsum(0) - lengths) * n_mels
    frame = torch.arange(n_frames, device=frames.device)[None, None, :]
    bin = torch.arange(n_mels, device=frames.device)[None, :, None]
    place = starts[:, None, None] + bin * lengths[:, None, None] + frame
    heard = frames[place.clamp(max=len(frames) - 1)].float()
    return torch.where(frame < lengths[:, None, None], heard, fills[:, None, None])
