"""Bytes of a recording to samples, and 16 kHz samples to FLAC and back.

libsndfile (soundfile) decodes WAV, FLAC, MP3, OGG and their kin; FFmpeg's libraries (PyAV) the rest: m4a, aac, webm, wma, video. Both
come in their wheels. Bytes only, never a path: a playlist disguised as an MP3 cannot make FFmpeg open a file of this machine.
"""

import io
from collections.abc import Iterator

import av
import numpy as np
import soundfile

from tasks.audio import SAMPLE_RATE
from tasks.contracts.errors import AudioError

MIN_RATE, MAX_RATE = 7_350, 192_000  # Hz; a header that says 1 Hz would make a gigabyte of a kilobyte
MAX_CHANNELS = 8
FFMPEG_FORMATS = "aac,ac3,aiff,amr,asf,au,avi,caf,flac,flv,matroska,webm,mov,mp4,m4a,mp3,mpeg,mpegts,ogg,wav,w64,wv"
SILENCE = 1e-4  # peaks below this hold no speech


def decode(data: bytes, max_seconds: float) -> tuple[np.ndarray, int]:
    """Decode one recording to a single channel, the mean of its channels.

    Args:
        data: a whole file, in any format of libsndfile or FFmpeg.
        max_seconds: refuse longer recordings; checked before they are held in memory.

    Returns:
        [n_samples] float32, in [-1, 1] unless the file itself exceeds it, and its sample rate in Hz.

    Raises:
        AudioError: if it cannot be decoded, is empty, silent, too long, not finite, or of an unbelievable rate or channel count.
    """
    if not data:
        raise AudioError("the file is empty: 0 bytes")
    try:
        samples, rate = _by_soundfile(data, max_seconds)
    except soundfile.LibsndfileError as refusal:
        samples, rate = _by_ffmpeg(data, max_seconds, refusal.error_string)  # str() of it has an address of memory
    if samples.size == 0:
        raise AudioError("no samples in it")
    if not np.isfinite(samples).all():
        raise AudioError("samples hold a NaN or an infinity")
    if (peak := float(np.abs(samples).max())) < SILENCE:
        raise AudioError(f"silent: the peak is {peak:.1e}, expected at least {SILENCE:.0e} (channels of opposite phase cancel)")
    return samples, rate


def encode_flac(samples: np.ndarray) -> bytes:
    """Return [n_samples] float32 at 16 kHz as 16-bit FLAC; what lies beyond full scale is clipped to it."""
    integers = np.clip(np.rint(samples.astype(np.float64) * 32_768), -32_768, 32_767).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, integers, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def decode_flac(data: bytes) -> np.ndarray:
    """Return the [n_samples] float32 that `encode_flac` stored, on the grid of 16 bits."""
    samples, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    return np.asarray(samples, dtype=np.float32)


def _by_soundfile(data: bytes, max_seconds: float) -> tuple[np.ndarray, int]:
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        _check(file.samplerate, file.channels)
        limit = int(max_seconds * file.samplerate) + 1
        samples = file.read(limit, dtype="float32", always_2d=True)  # headers lie about length, so count what is there
        if len(samples) == limit:
            raise AudioError(f"longer than {max_seconds:g} s; split it into shorter clips")
        return samples.mean(axis=1, dtype=np.float32), file.samplerate


def _by_ffmpeg(data: bytes, max_seconds: float, refusal: str) -> tuple[np.ndarray, int]:
    try:
        # Tags may be in any encoding; nobody reads them.
        with av.open(io.BytesIO(data), options={"format_whitelist": FFMPEG_FORMATS}, metadata_errors="replace") as container:
            if not container.streams.audio:
                raise AudioError("no sound in it, only other streams")
            stream = container.streams.audio[0]
            if stream.codec_context is None:
                raise AudioError("sound of a codec that FFmpeg does not know")
            _check(stream.rate, stream.channels)
            frames, n_samples = [], 0
            for frame in _float_frames(container, stream):
                frames.append(frame)
                n_samples += frame.shape[1]
                if n_samples > max_seconds * stream.rate:
                    raise AudioError(f"longer than {max_seconds:g} s; split it into shorter clips")
            samples = np.concatenate(frames, axis=1) if frames else np.zeros((1, 0), np.float32)
            return samples.mean(axis=0, dtype=np.float32), stream.rate
    except (av.FFmpegError, ValueError) as error:  # ValueError: rate or channels change on the way
        raise AudioError(f"cannot be decoded: libsndfile says {refusal!r:.120}, FFmpeg says {str(error)!r:.120}") from error


def _float_frames(container: av.container.InputContainer, stream: av.AudioStream) -> Iterator[np.ndarray]:
    """Yield [n_channels, n_samples] float32 of each decoded frame, at the stream's own rate and channel layout."""
    resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
    for frame in container.decode(stream):
        for converted in resampler.resample(frame):
            yield converted.to_ndarray()
    for converted in resampler.resample(None):
        yield converted.to_ndarray()


def _check(rate: int, n_channels: int) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(f"sample rate {rate} Hz, expected {MIN_RATE} to {MAX_RATE}")
    if not 1 <= n_channels <= MAX_CHANNELS:
        raise AudioError(f"{n_channels} channels, expected 1 to {MAX_CHANNELS}")
