"""Bytes of a recording to samples, and 16 kHz samples to FLAC and back.

libsndfile (soundfile) decodes WAV, FLAC, MP3, OGG and their kin; FFmpeg's libraries (PyAV) the rest: m4a, aac, webm, wma, video. Both
come in their wheels. Bytes only, never a path: a playlist disguised as an MP3 cannot make FFmpeg open a file of this machine. Neither
library tells when half a file is missing, so what the headers promise is compared with what is there. A C library can still hang or
crash: strangers' files go through `isolated.Decoder`.
"""

import io
from collections.abc import Iterator
from typing import NamedTuple

import av
import numpy as np
import soundfile

from tasks.audio import SAMPLE_RATE
from tasks.audio.whole import check_header, check_mp3, check_ogg, compare, is_short
from tasks.contracts.errors import AudioError

MIN_RATE, MAX_RATE = 7_350, 192_000  # Hz; a header that says 1 Hz would make a gigabyte of a kilobyte
MAX_CHANNELS = 8
FFMPEG_FORMATS = "aac,ac3,aiff,amr,asf,au,avi,caf,flac,flv,matroska,webm,mov,mp4,m4a,mp3,mpeg,mpegts,ogg,wav,w64,wv"
MATROSKA_DURATION = b"\x44\x89"  # the name of the element; a recorder that does not know leaves it out
SILENCE = 1e-4  # peaks below this hold no speech
LOUDEST = 8.0  # peaks above this are no sound in floats, whatever the header says
MAX_DC = 0.2  # of full scale; more is a broken microphone, or bytes of another format
CANCELLED = 0.01  # share of the channels' energy; if less is left in their mean, they are of opposite phase


class Decoded(NamedTuple):
    """A recording as it came: its own rate, one channel."""

    samples: np.ndarray  # [n_samples] float32, the mean of the channels
    rate: int  # Hz
    n_channels: int
    peak: float  # largest absolute sample
    dc: float  # mean sample


def decode(data: bytes, max_seconds: float) -> tuple[np.ndarray, int]:
    """Return the samples and the rate of `read`, for who needs no more."""
    return read(data, max_seconds)[:2]


def read(data: bytes, max_seconds: float) -> Decoded:
    """Decode one recording to a single channel, the mean of its channels.

    Args:
        data: a whole file, in any format of libsndfile or FFmpeg.
        max_seconds: refuse longer recordings; checked before they are held in memory.

    Returns:
        Samples in [-1, 1] unless the file itself exceeds it.

    Raises:
        AudioError: if it cannot be decoded or is not whole, or what it holds is no sound: empty, silent, too long, not finite, far beyond
            full scale, off centre, channels that cancel, an unbelievable rate or number of channels.
    """
    if not data:
        raise AudioError("the file is empty: 0 bytes")
    check_ogg(data)
    mp3_seconds, mp3_end = check_mp3(data)
    try:
        channels, rate = _by_soundfile(data, max_seconds)
        if is_short(mp3_seconds, len(channels) / rate):  # without a Xing header it guesses the length, and stops there
            channels, rate = _by_ffmpeg(data[:mp3_end], max_seconds, "only a part can be heard")
    except soundfile.LibsndfileError as refusal:
        channels, rate = _by_ffmpeg(data, max_seconds, refusal.error_string)  # str() of it has an address of memory
    check_header(data, len(channels) / rate)
    if not len(channels):
        raise AudioError("no samples in it")
    return _one_channel(channels, rate)


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Return [n_samples] float32 as int16 of the same sound; what lies beyond full scale is clipped to it."""
    scaled = samples * np.float32(32_768)  # a power of two: exact
    return np.clip(np.rint(scaled, out=scaled), -32_768, 32_767, out=scaled).astype(np.int16)


def mono(channels: np.ndarray) -> np.ndarray:
    """Return the mean of [n_samples, n_channels] float32 as [n_samples]."""
    samples: np.ndarray = channels[:, 0]
    if channels.shape[1] > 1:
        samples = samples.copy()
        for channel in channels.T[1:]:  # column by column: three times as fast as a mean over rows, and the same on every machine
            samples += channel
        samples /= channels.shape[1]
    return samples


def encode_flac(samples: np.ndarray) -> bytes:
    """Return [n_samples] at 16 kHz, int16 or float32 (then see `to_int16`), as 16-bit FLAC."""
    integers = samples if samples.dtype == np.int16 else to_int16(samples)
    file = io.BytesIO()
    soundfile.write(file, integers, SAMPLE_RATE, format="FLAC", subtype="PCM_16", compression_level=0.25)  # half the time for 2 % more
    return file.getvalue()


def decode_flac(data: bytes) -> np.ndarray:
    """Return the [n_samples] float32 that `encode_flac` stored: its int16 divided by 32,768, exactly."""
    samples, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    return np.asarray(samples, dtype=np.float32)


def _by_soundfile(data: bytes, max_seconds: float) -> tuple[np.ndarray, int]:
    """Return [n_samples, n_channels] float32 and the rate. LibsndfileError: try FFmpeg."""
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        check_form(file.samplerate, file.channels)
        limit = int(max_seconds * file.samplerate) + 1
        try:
            samples = file.read(limit, dtype="float32", always_2d=True)  # headers lie about length, so count what is there
        except soundfile.LibsndfileError as error:
            if file.frames > 2**62:  # a FLAC that was written to a pipe: its length is unknown, and libsndfile cannot seek in it
                raise
            raise AudioError(f"damaged or truncated: {error.error_string}") from error
        if len(samples) == limit:
            raise AudioError(f"longer than {max_seconds:g} s; split it into shorter clips")
        if file.format != "MP3":  # there it may be a guess
            compare(file.frames / file.samplerate, len(samples) / file.samplerate)
        return samples, file.samplerate


def _by_ffmpeg(data: bytes, max_seconds: float, refusal: str) -> tuple[np.ndarray, int]:
    """Return [n_samples, n_channels] float32 and the rate."""
    try:
        # Tags may be in any encoding; nobody reads them.
        with av.open(io.BytesIO(data), options={"format_whitelist": FFMPEG_FORMATS}, metadata_errors="replace") as container:
            stream = sound_of(container)
            frames, n_samples = [np.zeros((stream.channels, 0), np.float32)], 0
            for frame in _float_frames(container, stream, int(1_000 + 500 * max_seconds)):
                frames.append(frame)
                n_samples += frame.shape[1]
                if n_samples > max_seconds * stream.rate:
                    raise AudioError(f"longer than {max_seconds:g} s; split it into shorter clips")
            delays = 3 * 1_024 / stream.rate  # of codecs: counted by some headers, left out by decoders
            compare(_seconds_in_header(data, container, stream) - delays, n_samples / stream.rate)
            return np.concatenate(frames, axis=1).T, stream.rate
    except MemoryError:
        raise  # of FFmpeg too: no fault of the file
    except (av.FFmpegError, ValueError) as error:  # ValueError: rate or channels change on the way
        raise AudioError(f"cannot be decoded: libsndfile says {refusal!r:.120}, FFmpeg says {str(error)!r:.120}") from error


def sound_of(container: av.container.InputContainer) -> av.AudioStream:
    """Return the first stream of sound; AudioError if there is none that can be decoded."""
    if not container.streams.audio:
        raise AudioError("no sound in it, only other streams")
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise AudioError("sound of a codec that FFmpeg does not know")
    check_form(stream.rate, stream.channels)
    return stream


def _seconds_in_header(data: bytes, container: av.container.InputContainer, stream: av.AudioStream) -> float:
    """Return the length that the header promises, or 0: where it promises none, FFmpeg guesses from bytes."""
    name = container.format.name
    if name.startswith("mov"):
        return float((stream.duration or 0) * stream.time_base)
    if len(container.streams) == 1 and (name in ("asf", "wv") or (name.startswith("matroska") and MATROSKA_DURATION in data[:4096])):
        return (container.duration or 0) / float(av.time_base)  # that of all streams
    return 0.0


def _float_frames(container: av.container.InputContainer, stream: av.AudioStream, limit: int) -> Iterator[np.ndarray]:
    """Yield [n_channels, n_samples] float32 of each decoded frame, at the stream's own rate and channel layout."""
    resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
    n_steps = 0  # 400 a second is the most that a codec makes (Opus); empty ones add no samples, and there may be millions
    for packet in container.demux(stream):
        frames = [] if packet.is_corrupt else packet.decode()
        n_steps += max(1, len(frames))
        if n_steps > limit:
            raise AudioError(f"more than {limit} packets, nearly empty")
        if packet.is_corrupt or any(frame.is_corrupt for frame in frames):
            raise AudioError("damaged or truncated: FFmpeg found a packet that is not whole")
        for frame in frames:
            for converted in resampler.resample(frame):
                yield converted.to_ndarray()
    for converted in resampler.resample(None):
        yield converted.to_ndarray()


def check_form(rate: int, n_channels: int) -> None:
    """Refuse unbelievable rates and numbers of channels."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(f"sample rate {rate} Hz, expected {MIN_RATE} to {MAX_RATE}")
    if not 1 <= n_channels <= MAX_CHANNELS:
        raise AudioError(f"{n_channels} channels, expected 1 to {MAX_CHANNELS}")


@np.errstate(all="ignore")  # what overflows is refused
def _one_channel(channels: np.ndarray, rate: int) -> Decoded:
    """Return the mean of [n_samples, n_channels], or say why it is no sound."""
    n_channels = channels.shape[1]
    samples = mono(channels)
    low, high = float(samples.min()), float(samples.max())  # both are NaN if one sample is
    peak, dc = max(high, -low), float(samples.mean())
    if not np.isfinite(low + high):
        raise AudioError("samples hold a NaN or an infinity")
    if peak > LOUDEST:
        raise AudioError(f"far beyond full scale: the peak is {peak:.1e}, expected at most {LOUDEST:g}")
    if n_channels > 1:
        flat = channels.ravel(order="K")  # as it lies in memory: no copy
        energy = float(flat @ flat) / n_channels
        if float(samples @ samples) < CANCELLED * energy and energy > SILENCE**2 * len(samples):
            raise AudioError("channels of opposite phase cancel: less than 1 % of their energy is left in their mean")
    if peak < SILENCE:
        raise AudioError(f"silent: the peak is {peak:.1e}, expected at least {SILENCE:.0e}")
    if abs(dc) > MAX_DC and len(samples) > rate // 10:  # of less, the mean is no offset
        raise AudioError(f"off centre: the mean sample (DC offset) is {dc:.2f}, expected within {MAX_DC} of 0")
    return Decoded(samples, rate, n_channels, peak, dc)
