"""Long recordings to 16 kHz, block by block: three hours need no more memory than a minute.

The libraries are those of `decode`, and the samples exactly those of decoding and resampling as a whole. They get an open file, never a
path: a playlist disguised as an MP3 cannot make FFmpeg open a file of this machine. Damage is an error where it stands. Where a library
would pass over it without a word, the whole recording is refused: all that follows would be out of time.
"""

import os
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO, cast

import av
import numpy as np
import soundfile
import soxr

from tasks.audio import SAMPLE_RATE
from tasks.audio.decode import CANCELLED, FFMPEG_FORMATS, LOUDEST, SILENCE, check_form, mono, sound_of, to_int16
from tasks.audio.whole import check_header, check_mp3, check_ogg
from tasks.contracts.errors import AudioError

BLOCK = 2**15  # samples decoded at once; what is lost where decoding fails
GAP = 0.05  # seconds; where time stamps jump by more there is silence, such as before the sound of a film begins


class Useless(AudioError):
    """Not even the clips before the trouble can be used."""


def at_16_khz(file: BinaryIO) -> Iterator[np.ndarray]:
    """Yield the recording as blocks of [n_samples] int16, exactly those of resampling it as a whole; then AudioError if it is not whole."""
    stream, trouble = None, None
    try:
        for rate, block in _one_channel(_blocks(file)):
            if rate != SAMPLE_RATE:
                stream = stream or soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="VHQ")
                block = stream.resample_chunk(block)
            yield to_int16(block)
    except AudioError as error:
        trouble = error
    if stream:
        yield to_int16(stream.resample_chunk(np.empty(0, np.float32), last=True))
    if trouble:
        raise trouble


def _one_channel(blocks: Iterator[tuple[int, np.ndarray]]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the rate and the mean of the channels, [n_samples] float32, of each block."""
    energy = left = n_samples = 0.0
    for rate, channels in blocks:
        samples = mono(channels)
        peak = float(np.abs(samples).max())
        if not peak <= LOUDEST:  # so is NaN
            raise AudioError(f"no sound after {n_samples / rate:.1f} s: the peak is {peak:.1e}, expected at most {LOUDEST:g}")
        flat = channels.ravel(order="K")
        energy, left, n_samples = energy + float(flat @ flat) / channels.shape[1], left + float(samples @ samples), n_samples + len(samples)
        yield rate, samples
    if left < CANCELLED * energy and energy > SILENCE**2 * n_samples:
        raise Useless("channels of opposite phase cancel: less than 1 % of their energy is left in their mean")


def _blocks(file: BinaryIO) -> Iterator[tuple[int, np.ndarray]]:
    """Yield rate and [n_samples, n_channels] float32 of each block."""
    _refuse_gaps(file)
    refusal, rate = "", 0
    try:
        with soundfile.SoundFile(file) as sound:
            if sound.format != "MP3" and sound.frames < 2**62:  # it guesses where some MP3 end, and cannot read FLAC of unknown length
                check_form(sound.samplerate, sound.channels)
                rate = sound.samplerate
                while len(block := sound.read(BLOCK, dtype="float32", always_2d=True)):
                    yield rate, block
                return
    except soundfile.LibsndfileError as error:
        refusal = error.error_string
        if rate:
            raise AudioError(f"damaged or truncated: {refusal}") from error
    file.seek(0)
    yield from _by_ffmpeg(file, refusal)


def _by_ffmpeg(file: BinaryIO, refusal: str) -> Iterator[tuple[int, np.ndarray]]:
    try:
        with av.open(file, options={"format_whitelist": FFMPEG_FORMATS}, metadata_errors="replace") as container:
            stream = sound_of(container)
            pending: list[np.ndarray] = []
            n_pending = 0
            for frame in _frames(container, stream):
                pending.append(frame)
                n_pending += len(frame)
                if n_pending >= BLOCK:
                    yield stream.rate, np.concatenate(pending)
                    pending, n_pending = [], 0
            if pending:
                yield stream.rate, np.concatenate(pending)
    except MemoryError:
        raise  # of FFmpeg too: no fault of the file
    except (av.FFmpegError, ValueError) as error:  # ValueError: rate or channels change on the way
        says = f"libsndfile says {refusal!r:.120}, " if refusal else ""
        raise AudioError(f"cannot be decoded: {says}FFmpeg says {str(error)!r:.120}") from error


def _frames(container: av.container.InputContainer, stream: av.AudioStream) -> Iterator[np.ndarray]:
    """Yield [n_samples, n_channels] float32 of each frame, and silence where the time stamps jump."""
    rate, begin = stream.rate, (container.start_time or 0) / av.time_base  # of all streams: subtitles count from there
    resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=rate)
    n_samples = 0
    for packet in container.demux(stream):
        frames = [] if packet.is_corrupt else packet.decode()
        if packet.is_corrupt or any(frame.is_corrupt for frame in frames):
            raise AudioError("damaged or truncated: FFmpeg found a packet that is not whole")
        for frame in frames:
            missing = 0 if frame.pts is None else round((float(frame.pts * frame.time_base) - begin) * rate) - n_samples
            for start in range(0, missing if missing > GAP * rate else 0, BLOCK):
                silence = np.zeros((min(BLOCK, missing - start), stream.channels), np.float32)
                n_samples += len(silence)
                yield silence
            is_ready = (frame.format.name, frame.sample_rate, frame.layout.name) == ("fltp", rate, stream.layout.name)
            for ready in [frame] if is_ready else resampler.resample(frame):
                samples = ready.to_ndarray().T
                n_samples += len(samples)
                yield samples


class _Bytes:
    """A file that is sliced as if it were bytes, without memory."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file.fileno(), size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, key: slice | int) -> bytes | int:
        if isinstance(key, int):
            return os.pread(self._file, 1, key)[0]
        start, stop, _ = key.indices(self._size)
        return os.pread(self._file, max(0, stop - start), start)


def _refuse_gaps(file: BinaryIO) -> None:
    """Refuse damage that the libraries would pass over. What is missing at the end is missing there only."""
    size = os.fstat(file.fileno()).st_size
    if not size:
        raise AudioError("the file is empty: 0 bytes")
    head, tail = os.pread(file.fileno(), 2**20, 0), max(0, size - 2**16)
    last_page = tail + os.pread(file.fileno(), 2**16, tail).rfind(b"OggS")  # a download that broke off leaves a part of it
    ogg, whole = _Bytes(file, max(0, last_page)), _Bytes(file, size)
    for check in (partial(check_header, head, 0.0), partial(check_ogg, cast(bytes, ogg)), partial(check_mp3, cast(bytes, whole))):
        try:
            check()
        except AudioError as error:
            if not str(error).startswith("truncated"):
                raise
