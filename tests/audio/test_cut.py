"""Clips of long recordings: equal to cutting the whole, decoded once, and whatever is wrong costs the clips that it concerns."""

import io
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tasks.audio import cut
from tasks.audio.cut import TO_THE_END, Long, Scissors, called, stamp_of
from tasks.audio.decode import decode_flac, encode_flac, read, to_int16
from tasks.audio.resample import resample
from tasks.contracts.errors import AudioError
from tests.support import bad_audio
from tests.support.long_audio import second_of, tones, write_sentences

Spans = tuple[tuple[float, float], ...]


def cuts(data: bytes, *spans: tuple[float, float]) -> list[bytes | str]:
    """Return each clip, or the words of its refusal."""
    scissors, long = Scissors(), Long(lambda: io.BytesIO(data), spans)
    return [attempt(scissors.read, long, *span) for span in spans]


def attempt(read: Callable[..., bytes], *args: Any) -> bytes | str:
    try:
        return read(*args)
    except AudioError as refusal:
        return str(refusal)


def integers(flac: bytes | str) -> np.ndarray:
    assert isinstance(flac, bytes), flac
    return (decode_flac(flac) * 32_768).astype(np.int32)


def noise(rate: int, n_channels: int, seconds: float = 8.0) -> np.ndarray:
    return np.clip(np.random.default_rng(rate).normal(scale=0.2, size=(int(seconds * rate), n_channels)), -1, 1).astype(np.float32)


SPANS: Spans = ((0, 8), (0.7431, 0.7435), (0.74, 0.75), (1.0001, 3.3333), (2, 5), (3, 4), (4.999, 7.9999), (7.5, TO_THE_END))


@pytest.mark.parametrize(("rate", "n_channels", "format", "lsb"), [
    (44_100, 2, "WAV", 0), (48_000, 1, "FLAC", 0), (22_050, 1, "WAV", 0), (8_000, 1, "AIFF", 0), (16_000, 6, "WAV", 0),
    (96_000, 2, "FLAC", 0), (44_100, 2, "MP3", 1), (48_000, 1, "MP3", 1),
])  # fmt: skip
def test_a_clip_is_what_cutting_the_whole_recording_gives(rate: int, n_channels: int, format: str, lsb: int) -> None:
    data = bad_audio.encode(noise(rate, n_channels), rate, format)
    decoded = read(data, 60)
    whole = to_int16(resample(decoded.samples, decoded.rate)).astype(np.int32)
    for (start, end), clip in zip(SPANS, cuts(data, *SPANS), strict=True):
        expected = whole[round(start * 16_000) : len(whole) if end == TO_THE_END else round(end * 16_000)]
        assert len(integers(clip)) == len(expected) > 0 and np.abs(integers(clip) - expected).max() <= lsb, (start, end)


def test_a_steady_tone_has_no_seam_where_blocks_meet() -> None:
    time = np.arange(44_100 * 12) / 44_100
    [clip] = cuts(bad_audio.encode((0.5 * np.sin(2 * np.pi * 997 * time)).astype(np.float32), 44_100), (1, 11))
    ideal = 0.5 * 32_768 * np.sin(2 * np.pi * 997 * np.arange(16_000, 16_000 * 11) / 16_000)
    assert len(ideal) * 44_100 / 16_000 > 10 * 2**15 and np.abs(integers(clip) - ideal).max() <= 2


def test_every_second_stands_where_it_should() -> None:
    spans = tuple((second + 0.1, second + 0.9) for second in range(0, 120, 7))
    for format in ("WAV", "MP3"):
        clips = cuts(bad_audio.encode(tones(120), 22_050, format), *spans)
        assert [second_of(clip) for clip in clips if isinstance(clip, bytes)] == list(range(0, 120, 7)), format


def test_real_sentences_come_out_as_they_were(real_data: Path, tmp_path: Path) -> None:
    sentences = write_sentences(tmp_path / "long.wav", real_data)
    spans = [(each.start, each.end) for each in sentences]
    for sentence, clip in zip(sentences, cuts((tmp_path / "long.wav").read_bytes(), *spans), strict=True):
        inside = slice(400, len(sentence.samples) - 400)  # beside it one hears the end of what is around
        assert np.abs(integers(clip)[inside] - sentence.samples[inside]).max() <= 1 and len(integers(clip)) == len(sentence.samples)


def test_equal_sound_gives_equal_bytes_from_any_file() -> None:
    samples = to_int16(noise(16_000, 1))
    first, again = (cuts(bad_audio.encode(samples, 16_000, format), (1, 2), (1.5, 4)) for format in ("WAV", "FLAC"))
    assert first == again and first[0] == encode_flac(samples[16_000:32_000, 0])


def test_spans_are_called_by_milliseconds() -> None:
    assert (called(12.34, 15.02), called(12.34, TO_THE_END)) == ("12340-15020", "12340-end")
    assert stamp_of("5:1", 0, 1) == "5:1#0-1000/1" != stamp_of("5:1", 0, 1.001)


def film(path: Path, audio_from: float, gap: float) -> None:
    """Write 4 s of film; its sound, 1 s of 440 Hz and 1 s of 880 Hz, begins later, and stops for `gap` seconds in between."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=10, width=64, height=64, pix_fmt="yuv420p")
        audio = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for _ in range(40):
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        container.mux(video.encode(None))
        for number, pitch in enumerate((440, 880)):
            for part in range(10):
                time = (np.arange(1_600) + 1_600 * part) / 16_000
                frame = av.AudioFrame.from_ndarray((8_000 * np.sin(2 * np.pi * pitch * time)).astype(np.int16)[None], "s16", "mono")
                frame.rate, frame.pts = 16_000, round(16_000 * (audio_from + number * (1 + gap) + part / 10))
                container.mux(audio.encode(frame))
        container.mux(audio.encode(None))


def test_sound_that_begins_late_in_a_film_and_stops_for_a_while_keeps_its_time(tmp_path: Path) -> None:
    film(tmp_path / "film.mkv", audio_from=0.75, gap=0.5)
    early, first, between, second = map(
        integers, cuts((tmp_path / "film.mkv").read_bytes(), (0, 0.7), (0.8, 1.7), (1.8, 2.2), (2.3, 3.2))
    )  # fmt: skip
    assert not early.any() and not between.any()
    for clip, pitch in ((first, 440), (second, 880)):
        assert np.abs(np.fft.rfft(clip)).argmax() / len(clip) * 16_000 == pytest.approx(pitch, abs=2)


class Opened:
    """A recording that counts how often it is opened."""

    def __init__(self, data: bytes, *spans: tuple[float, float]) -> None:
        self.n, self.long = 0, Long(self._open, spans)
        self._data = data

    def _open(self) -> io.BytesIO:
        self.n += 1
        return io.BytesIO(self._data)


def test_sixteen_threads_decode_a_recording_once() -> None:
    spans = tuple((second, second + 1.0) for second in range(16))
    opened, scissors = Opened(bad_audio.encode(tones(16), 22_050), *spans), Scissors()
    with ThreadPoolExecutor(16) as pool:
        clips = list(pool.map(lambda span: scissors.read(opened.long, *span), spans))
    assert [second_of(clip) for clip in clips] == list(range(16)) and opened.n == 1


def test_the_clips_of_the_last_two_recordings_are_kept() -> None:
    scissors, data = Scissors(), bad_audio.encode(tones(2), 22_050)
    first, second, third = (Opened(data, (0, 1), (1, 2)) for _ in range(3))
    for each in (first, second, first, third, first):
        scissors.read(each.long, 0, 1)
    assert (first.n, second.n, third.n) == (1, 1, 1)
    scissors.read(second.long, 1, 2)
    assert (first.n, second.n, third.n) == (1, 2, 1)


def test_a_clip_beyond_the_end_says_where_that_is_and_those_before_are_cut() -> None:
    whole = bad_audio.encode(tones(12), 22_050)
    spans: Spans = ((0, 1), (4, 4.9), (4, 5.4), (4.9, 5.45), (4, 6), (9, TO_THE_END), (4.5, TO_THE_END))
    for data in (whole[: 44 + 5 * 44_100], bad_audio.encode(tones(5), 22_050, "FLAC")):
        first, inside, nearly, mostly_beyond, beyond, after, rest = cuts(data, *spans)
        assert second_of(first) == 0 and second_of(inside) == 4  # type: ignore[arg-type]
        assert len(integers(nearly)) == 16_000 and len(integers(rest)) == 8_000
        assert mostly_beyond == "the recording ends at 5.0 s, the clip goes on to 5.5"
        assert beyond == "the recording ends at 5.0 s, the clip goes on to 6.0"
        assert after == "the recording ends at 5.0 s, the clip goes on from 9.0"


def test_what_cannot_be_a_clip_says_why() -> None:
    spans: Spans = ((0, 61), (1, TO_THE_END), (2, 2), (3, 2), (-1, 2), (5, 65))
    too_long, rest, *without_length, longest = cuts(bad_audio.encode(tones(70, 8_000), 8_000), *spans)
    assert (too_long, rest) == ("the clip is 61.0 s long, expected at most 60", "the clip is 69.0 s long, expected at most 60")
    assert without_length == [
        f"the clip has no length: it goes from {start:.3f} s to {end:.3f}" for start, end in ((2, 2), (3, 2), (-1, 2))
    ]  # fmt: skip
    assert len(integers(longest)) == 960_000


def test_damage_ends_a_recording_where_it_stands() -> None:
    flac = bad_audio.encode(noise(16_000, 1, 20), 16_000, "FLAC")
    nan = noise(16_000, 1, 20)
    nan[200_000] = np.nan
    for data, why in (
        (bad_audio.flip(flac), "damaged or truncated: Error : "),
        (bad_audio.encode(nan, 16_000, subtype="FLOAT"), "no sound after 12.3 s: the peak is nan, expected at most 8"),
    ):
        before, beyond, rest = cuts(data, (1, 2), (5, 18), (6, TO_THE_END))
        assert len(integers(before)) == 16_000
        assert isinstance(beyond, str) and beyond.startswith("the recording ends at ") and f" s, the clip goes on to 18.0; {why}" in beyond
        assert isinstance(rest, str) and f" s, the clip goes on from 6.0; {why}" in rest, "its last words are not in what is left of it"
    [nearly] = cuts(data, (11, 12.4))
    assert isinstance(nearly, str) and "ends at 12.3 s, the clip goes on to 12.4; no sound" in nearly, "the sound went on"


@pytest.mark.parametrize(("name", "why"), [
    ("empty.wav", "the file is empty: 0 bytes"), ("header only.wav", "no samples in the recording"),
    ("HLS to a local file.mp3", "cannot be decoded"), ("ffconcat.wav", "cannot be decoded"), ("SDP.wav", "cannot be decoded"),
    ("garbage in the middle.mp3", "damaged: no MP3 frame follows after 0.65 of 2.09 s"), ("bit flip.ogg", "fails its checksum"),
    ("24 bits in 4 bytes.wav", "block align 4"), ("film without sound.mp4", "no sound in it, only other streams"),
    ("bits 0.wav", "the header contradicts itself"), ("nine channels.wav", "9 channels, expected 1 to 8"),
    ("opposite phase.wav", "channels of opposite phase cancel"), ("times 100.wav", "the peak is 3.7e+01, expected at most 8"),
    ("rate 1.wav", "sample rate 1 Hz"), ("no moov.m4a", "cannot be decoded: libsndfile says"),
])  # fmt: skip
def test_a_recording_that_cannot_be_used_costs_each_of_its_clips(name: str, why: str) -> None:
    refusals = cuts(bad_audio.cases()[name].data, (0, 1), (1, 2))
    assert all(isinstance(each, str) and why in each for each in refusals), refusals


def test_what_whole_recordings_decode_to_long_ones_do_too() -> None:
    for name, case in bad_audio.cases().items():
        if case.seconds == 2 and name != "twice.mp3":
            [clip] = cuts(case.data, (0.5, 1.5))
            assert len(integers(clip)) == 16_000 and np.abs(np.fft.rfft(integers(clip))).argmax() == 440, name


def test_a_missing_recording_is_missing_for_each_clip(tmp_path: Path) -> None:
    scissors, long = Scissors(), Long(lambda: (tmp_path / "none.wav").open("rb"), ((0, 1), (1, 2)))
    for span in long.spans:
        with pytest.raises(FileNotFoundError):
            scissors.read(long, *span)


def test_a_recording_that_is_too_large_is_not_copied_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut, "MAX_BYTES", 2**21)

    class Endless(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return bytes(size or 0)

    assert attempt(Scissors().read, Long(Endless, ((0, 1),)), 0, 1) == "larger than 0.00195312 GB; split it"


class Doomed(cut._Cutter):
    """Its children meet a signal before their first recording."""

    def __init__(self, fate: signal.Signals) -> None:
        super().__init__(seconds=1)
        self.fate = fate

    def _start(self) -> "subprocess.Popen[bytes]":
        child = super()._start()
        os.kill(child.pid, self.fate)
        return child


@pytest.mark.parametrize(("fate", "why"), [(signal.SIGSTOP, "took longer than 1 s"), (signal.SIGSEGV, "the decoder crashed (signal 11)")])
def test_a_decoder_that_hangs_or_crashes_costs_one_recording(fate: signal.Signals, why: str) -> None:
    data = bad_audio.encode(tones(3), 22_050)
    with Doomed(fate) as cutter:
        assert attempt(lambda: cutter.cut(lambda: io.BytesIO(data), [(0, 16_000)])[0, 16_000]) == why  # type: ignore[arg-type,return-value]
        cutter.fate = signal.SIGCONT
        assert second_of(cutter.cut(lambda: io.BytesIO(data), [(16_000, 32_000)])[16_000, 32_000]) == 1  # type: ignore[arg-type]


def test_the_child_of_another_recording_keeps_nothing_of_it() -> None:
    scissors = Scissors()
    threads = threading.active_count()
    for n in (9, 2, 5):  # shorter after longer: neither its file nor its buffer may show through
        long = Long(lambda n=n: io.BytesIO(bad_audio.encode(tones(n), 22_050)), ((n - 1, TO_THE_END), (n, n + 2.0)))  # type: ignore[misc]
        assert second_of(scissors.read(long, n - 1, TO_THE_END)) == n - 1
        assert attempt(scissors.read, long, n, n + 2.0) == f"the recording ends at {n:.1f} s, the clip goes on to {n + 2:.1f}"
    assert threading.active_count() == threads


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_a_long_recording_is_never_held_as_a_whole() -> None:
    def peak(cutter: cut._Cutter, n_seconds: int) -> int:
        data = bad_audio.wav(bytes(4 * 48_000 * n_seconds), channels=2, rate=48_000)
        cutter.cut(lambda: io.BytesIO(data), [(0, 160_000), (-1, -1), (1_600_000, 2_560_000)])
        assert cutter._child
        [line] = [line for line in Path(f"/proc/{cutter._child.pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) // 1_000  # MB

    with cut._Cutter() as cutter:
        short = peak(cutter, 20)
        assert peak(cutter, 600) < short + 30, "115 MB of file, 230 MB decoded"
