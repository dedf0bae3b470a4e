"""Log-Mel features, bit for bit what `WhisperFeatureExtractor` gives, at an eighth of its cost and a twelfth of its bytes.

The extractor pads a clip with zeros to the model's window (30 s) and transforms all of it. Behind the sound every value is one constant,
so here only the frames that carry sound are computed, and the constant is kept beside them; `restore` gives the padded array back.
After Radford et al. 2022, section 2.2. `tests/audio/test_log_mel.py` pins every frame to `transformers.WhisperFeatureExtractor`,
`benchmarks/log_mel.py` measures both.
"""

from functools import cache

import numpy as np
import torch
from transformers.audio_utils import mel_filter_bank

from tasks.audio import SAMPLE_RATE
from tasks.contracts.errors import AudioError

N_FFT = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms
EDGE = N_FFT // 2  # samples that a frame reaches to each side of its centre
LEAST = 64  # frames that are transformed; below 12, MKL multiplies matrices in another order on some processors, and a last bit differs
FLOOR = 1e-10  # power below this is silence
RANGE = 8.0  # decades kept below the loudest bin


def log_mel(samples: np.ndarray, n_mels: int, window: int) -> tuple[np.ndarray, float]:
    """Return the log-Mel features of one clip, and the value of every frame behind its sound.

    Args:
        samples: [n_samples] float32 in [-1, 1] at 16 kHz.
        n_mels: 80 for tiny to large-v2, 128 for large-v3 and turbo.
        window: samples the model hears at once: 480,000 for 30 s.

    Returns:
        [n_mels, n_frames] float32 with n_frames at most window // HOP, and the fill value.

    Raises:
        AudioError: if the clip is empty, longer than the window, or not finite.
    """
    if samples.ndim != 1 or samples.size == 0:
        raise AudioError(f"need one channel of samples, got shape {samples.shape}")
    if samples.size > window:
        raise AudioError(f"{samples.size / SAMPLE_RATE:.2f} s, expected at most the model's window of {window / SAMPLE_RATE:g} s")
    if not np.isfinite(samples).all():
        raise AudioError("samples hold a NaN or an infinity")

    # A frame reaches EDGE samples to each side of its centre: beyond that many zeros nothing but zeros is heard. At the very
    # end of the window the transform mirrors the sound itself, as the extractor's does.
    heard = min(max(_whole_hops(samples.size) + 2 * N_FFT, LEAST * HOP), window)
    padded = np.zeros(heard + N_FFT, dtype=np.float32)
    padded[EDGE : EDGE + samples.size] = samples
    padded[:EDGE] = padded[2 * EDGE : EDGE : -1]  # mirrored at both ends as torch's centred transform does, at a third of its cost
    padded[EDGE + heard :] = padded[EDGE + heard - 2 : heard - 2 : -1]
    spectrum = torch.stft(torch.from_numpy(padded), N_FFT, HOP, window=_hann(), center=False, return_complex=True)
    power = spectrum[:, :-1].abs() ** 2  # [N_FFT // 2 + 1, n_frames]
    log = torch.clamp(_filters(n_mels).T @ power, min=FLOOR).log10()
    loudest = log.max()
    log = torch.maximum(log, loudest - RANGE)
    features = ((log + 4.0) / 4.0).numpy()
    n_frames = min(n_frames_with_sound(samples.size), window // HOP)
    fill = (torch.maximum(torch.tensor(FLOOR).log10(), loudest - RANGE) + 4.0) / 4.0
    return np.ascontiguousarray(features[:, :n_frames]), float(fill)


def restore(features: np.ndarray, fill: float, n_frames: int) -> np.ndarray:
    """Return [n_mels, n_frames]: the stored frames, and the fill value behind them, as the extractor would have given."""
    whole = np.full((features.shape[0], n_frames), fill, dtype=features.dtype)
    whole[:, : features.shape[1]] = features
    return whole


def n_frames_with_sound(n_samples: int) -> int:
    """Return how many frames of a clip can differ from the fill value."""
    return -(-(n_samples + N_FFT // 2) // HOP)


def _whole_hops(n_samples: int) -> int:
    return -(-n_samples // HOP) * HOP


@cache
def _hann() -> torch.Tensor:
    return torch.hann_window(N_FFT)


@cache
def _filters(n_mels: int) -> torch.Tensor:
    """Return the Slaney-scale triangular filters, [N_FFT // 2 + 1, n_mels] float32."""
    bank = mel_filter_bank(N_FFT // 2 + 1, n_mels, 0.0, 8_000.0, SAMPLE_RATE, norm="slaney", mel_scale="slaney")
    return torch.from_numpy(bank).float()
