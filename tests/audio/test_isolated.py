"""Whatever a recording does to the decoder, it costs one recording, says why, and leaves nothing running."""

import csv
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tasks.audio.decode import decode, decode_flac, encode_flac, read, to_int16
from tasks.audio.isolated import Clip, Decoder, Figures, figures
from tasks.audio.resample import resample
from tasks.contracts.errors import AudioError
from tests.support import bad_audio

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder(60) as decoder:
        yield decoder


def pid_of(decoder: Decoder) -> int:
    assert decoder._child
    return decoder._child.pid


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def refusal(hear: object, *args: object) -> str:
    """Return the reason for which a recording is refused, or nothing."""
    try:
        hear(*args)  # type: ignore[operator]
    except AudioError as error:
        return str(error)
    return ""


def seconds(clip: Clip) -> float:
    return len(clip.samples) / 16_000


def test_every_case_of_the_catalogue_decodes_or_is_refused_for_what_it_is(decoder: Decoder) -> None:  # pitfall 9
    wrong = {}
    for name, case in bad_audio.cases().items():
        began = time.monotonic()
        try:
            clip = decoder.hear(case.data)
        except AudioError as error:
            slow, said = time.monotonic() - began > 5, str(error)
            ok = bool(case.reason) and case.reason in said and said == refusal(decode, case.data, 60)  # in this process too
        else:
            slow, said = time.monotonic() - began > 5, f"{seconds(clip)} s"
            ok = not case.reason and abs(seconds(clip) - case.seconds) <= max(0.1, 0.02 * case.seconds)
        if not ok or slow or " at 0x" in said:
            wrong[name] = said
    assert wrong == {} and len(bad_audio.cases()) > 120


REFUSED = {  # of those that libsndfile decodes to something
    "lhotse/stereo.sph": "off centre",
    "lhotse/stereo.mp3": "off centre",
    "made-here/truncated.wav": "truncated: the header says 1.78 s, 0.89 s are there",
    "made-here/truncated.mp3": "truncated: it ends within an MP3 frame",
    "made-here/nan-inf-float.wav": "a NaN or an infinity",
    "mutagen/bad-xing.mp3": "truncated: it ends within an MP3 frame",
    "pocketsphinx/null.wav": "no samples",
    "made-here/header-only.wav": "no samples",
    "pocketsphinx/awful.wav": "sample rate 1092676 Hz",
}


def test_every_odd_recording_of_other_projects_decodes_or_is_refused_for_what_it_is(decoder: Decoder, real_data: Path) -> None:
    folder = real_data / "formats-and-damage"
    with (folder / "cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    n_heard = 0
    for row in rows:
        name = row["path"].removeprefix("audio/")
        try:
            clip = decoder.hear((folder / row["path"]).read_bytes())
        except AudioError as error:
            if row["soundfile"] == "ok":
                assert REFUSED.get(name, "silent") in str(error), name
            continue
        n_heard += 1
        assert name not in REFUSED and clip.samples.any(), name
        if row["soundfile"] == "ok":
            assert (clip.figures.rate, clip.figures.channels) == (int(row["sample_rate"]), int(row["channels"])), name
            assert clip.figures.seconds == pytest.approx(float(row["seconds"]), abs=1e-3), name
            assert seconds(clip) == pytest.approx(float(row["seconds"]), abs=1e-3), name
    assert len(rows) > 70 and n_heard > 40


def test_a_clip_is_what_this_process_makes_of_the_recording(decoder: Decoder) -> None:
    data = bad_audio.encode(bad_audio.sound(44_100), 44_100, "MP3")
    decoded = read(data, 60)
    samples = resample(decoded.samples, decoded.rate)
    clip = decoder.hear(data)
    assert clip.samples.dtype == np.int16 and (clip.samples == to_int16(samples)).all()
    assert clip.flac == encode_flac(clip.samples) == encode_flac(samples)
    assert (decode_flac(clip.flac) == clip.samples / np.float32(32_768)).all()
    assert clip.figures == figures(decoded, samples)


def test_a_stopped_child_is_given_up_in_time_and_the_next_clip_is_heard() -> None:
    with Decoder(60, seconds=1.5) as decoder:
        whole = bad_audio.encode(bad_audio.sound())
        decoder.hear(whole)
        for data in (whole, whole + bytes(3_000_000)):  # the second does not even fit into the pipe
            first = pid_of(decoder)
            os.kill(first, signal.SIGSTOP)
            began = time.monotonic()
            assert refusal(decoder.hear, data) == "took longer than 1.5 s"
            assert 1.5 <= time.monotonic() - began < 5 and not is_running(first)
            assert seconds(decoder.hear(whole)) == 2


class Doomed(Decoder):
    """Its children meet a signal before their first recording; the first `n_spared` do not."""

    def __init__(self, fate: signal.Signals, n_spared: int = 0) -> None:
        super().__init__(60)
        self.fate, self.n_spared, self.n_children = fate, n_spared, 0

    def _start(self) -> "subprocess.Popen[bytes]":
        child = super()._start()
        self.n_children += 1
        if self.n_children > self.n_spared:
            os.kill(child.pid, self.fate)
        return child


@pytest.mark.parametrize("fate", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_crash_is_refused_with_its_signal_and_the_next_clip_is_heard(fate: signal.Signals) -> None:
    data = bad_audio.encode(bad_audio.sound())
    with Doomed(fate) as decoder:
        assert refusal(decoder.hear, data) == f"the decoder crashed (signal {int(fate)})"
        decoder.n_spared = 9
        assert seconds(decoder.hear(data)) == 2


def test_a_child_that_dies_of_an_earlier_clip_costs_no_other() -> None:
    data = bad_audio.encode(bad_audio.sound())
    with Decoder(60) as decoder:
        decoder.hear(data)
        os.kill(pid_of(decoder), signal.SIGSTOP)  # so that it is at work when it is killed
        with ThreadPoolExecutor(1) as pool:
            heard = pool.submit(decoder.hear, data)
            time.sleep(0.1)
            os.kill(pid_of(decoder), signal.SIGKILL)
            assert seconds(heard.result()) == 2
        os.kill(pid_of(decoder), signal.SIGKILL)  # and idle
        assert seconds(decoder.hear(data)) == 2


def test_a_recording_that_needs_too_much_memory_is_refused() -> None:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 16_000, 1, "PCM_16", format="FLAC") as flac:
        for _ in range(120):
            flac.write(np.zeros(60 * 16_000, np.int16))
    with Decoder(3 * 3600, memory=2**29) as decoder:  # two hours are 460 MB
        small = bad_audio.encode(bad_audio.sound())
        for _ in range(2):
            assert refusal(decoder.hear, file.getvalue()) == "needed more than 0.5 GB"
            assert seconds(decoder.hear(small)) == 2


def test_a_recording_larger_than_the_memory_is_refused() -> None:
    with Decoder(60, memory=2**28) as decoder:
        assert refusal(decoder.hear, bytes(2**28)) == "needed more than 0.25 GB"


PARENT = """
import sys, time
from tasks.audio.isolated import Decoder
decoder = Decoder(60)
decoder.hear(open(sys.argv[1], "rb").read())
print(decoder._child.pid, flush=True)
while True:
    decoder.hear(open(sys.argv[1], "rb").read()) if sys.argv[2] == "busy" else time.sleep(1)
"""


@pytest.mark.parametrize("how", ["idle", "busy"])
def test_a_killed_parent_leaves_no_child(tmp_path: Path, how: str) -> None:
    (tmp_path / "a.wav").write_bytes(bad_audio.encode(bad_audio.sound()))
    command = [sys.executable, "-c", PARENT, str(tmp_path / "a.wav"), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.kill()
    until = time.monotonic() + 5
    while is_running(child) and time.monotonic() < until:
        time.sleep(0.01)
    assert not is_running(child)


def test_threads_with_a_decoder_each_get_their_own_clips() -> None:
    tones = [bad_audio.encode(0.3 * np.sin(np.arange(3_000 + 100 * n) / (5 + n)), format="FLAC") for n in range(12)]
    expected = [to_int16(read(tone, 60).samples) for tone in tones]

    def hear_all(_: int) -> bool:
        with Decoder(60) as decoder:
            return all((decoder.hear(tone).samples == samples).all() for tone, samples in zip(tones * 3, expected * 3, strict=True))

    n_threads, n_files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(hear_all, range(4)))
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == (n_threads, n_files), "nothing is left open"


def test_an_interrupted_clip_does_not_answer_for_the_next() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with Decoder(60) as decoder:
            decoder.hear(bad_audio.encode(bad_audio.sound()))
            child = pid_of(decoder)
            assert os.getpgid(child) == child, "Ctrl-C reaches the parent alone"
            os.kill(child, signal.SIGSTOP)
            timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1))
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                decoder.hear(bad_audio.encode(bad_audio.sound()))
            timer.join()
            assert seconds(decoder.hear(bad_audio.encode(bad_audio.sound()[:16_000]))) == 1
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_the_chatter_of_libraries_is_not_heard(decoder: Decoder, capfd: pytest.CaptureFixture[str]) -> None:
    noisy = bad_audio.flip(bad_audio.without_xing(bad_audio.encode(bad_audio.sound(), format="MP3")), 0.5, 400)
    refusal(decoder.hear, noisy)
    assert capfd.readouterr() == ("", "")
    refusal(decode, noisy, 60)
    assert "MPEG-Header" in capfd.readouterr().err, "the same makes noise in this process"


def test_a_decoder_that_does_not_start_is_no_fault_of_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with Decoder(60) as decoder, pytest.raises(RuntimeError, match="does not start"):
        decoder.hear(bad_audio.encode(bad_audio.sound()))


@pytest.mark.parametrize("answer", ["head -c 60 /dev/zero", r"printf '\0\0\0\0\0\0\0\0\2\0\0\0{}'", "yes | head -c 99999"])
def test_a_child_that_was_taken_over_cannot_harm_the_parent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str) -> None:
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\nhead -c 12 /dev/zero; {answer}; exec cat >/dev/null\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    with Decoder(60) as decoder:
        assert refusal(decoder.hear, b"anything") == "the decoder's answer makes no sense"


def test_the_current_folder_has_no_say_in_what_the_child_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("numpy.py", "soundfile.py", "tasks.py"):  # as a corpus from somewhere may hold
        (tmp_path / name).write_text("raise SystemExit('taken over')")
    monkeypatch.chdir(tmp_path)
    with Decoder(60) as decoder:
        assert seconds(decoder.hear(bad_audio.encode(bad_audio.sound()))) == 2


def test_the_child_imports_nothing_heavy() -> None:
    code = "import sys, tasks.audio.isolated; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split())
    assert {"numpy", "soundfile", "soxr", "av"} < loaded
    assert not loaded & {"torch", "prefect", "pyarrow", "transformers", "pydantic", "fsspec"}


def damaged(whole: bytes, random: np.random.Generator) -> bytes:
    """Return `whole` with bytes overwritten, mostly near its head, cut out, doubled, or all of it."""
    data = bytearray(whole)
    for place in random.integers(0, random.choice([64, 1_000, len(data)]), random.choice([1, 4, 30, 300])):
        data[min(place, len(data) - 1)] = random.choice([0, 127, 255, random.integers(256)])
    first, last = sorted(random.integers(0, len(data), 2))
    match random.integers(6):
        case 0:
            del data[first:last]
        case 1:
            data[first:first] = data[first:last]
        case 2:
            del data[last:]
    return bytes(data)


FORMATS = ("PCM_16.wav", "MS_ADPCM.wav", "flac", "mp3", "ogg", "opus", "aiff", "caf", "m4a", "webm", "aac")


def whole(format: str) -> bytes:
    short = bad_audio.sound()[:8_000]
    match format:
        case "m4a" | "webm" | "aac":
            container, codec = {"m4a": ("mp4", "aac"), "webm": ("webm", "libopus"), "aac": ("adts", "aac")}[format]
            return bad_audio.mux(container, codec, 48_000, n_samples=8_000)
        case "ogg" | "opus":
            return bad_audio.encode(short, format="OGG", subtype={"ogg": "VORBIS", "opus": "OPUS"}[format])
        case "PCM_16.wav" | "MS_ADPCM.wav":
            return bad_audio.encode(short, subtype=format.removesuffix(".wav"))
        case _:
            return bad_audio.encode(short, format=format.upper())


@pytest.mark.parametrize("format", FORMATS)
def test_random_damage_never_does_anything_else(decoder: Decoder, format: str) -> None:
    random = np.random.default_rng(FORMATS.index(format))
    sound = whole(format)
    for number in range(200):
        began = time.monotonic()
        try:
            clip = decoder.hear(damaged(sound, random))
            assert clip.samples.dtype == np.int16 and np.isfinite(list(vars(clip.figures).values())).all()
        except AudioError as error:
            assert "the decoder" not in str(error) and " at 0x" not in str(error), f"{number}: {error}"
        assert time.monotonic() - began < 5, number


def figures_of(samples: np.ndarray, rate: int = 16_000) -> Figures:
    decoded = read(bad_audio.encode(samples, rate, subtype="FLOAT"), 60)
    return figures(decoded, resample(decoded.samples, decoded.rate))


@pytest.mark.parametrize("decibels", [0, 10, 20, 40])
def test_the_snr_of_words_and_pauses_in_noise_is_found(decibels: float) -> None:
    random = np.random.default_rng(0)
    words = np.sin(2 * np.pi * 300 * np.arange(80_000) / 16_000) * (np.arange(80_000) // 8_000 % 2)
    noise = random.standard_normal(80_000) * np.sqrt(0.5) * 10 ** (-decibels / 20)
    assert figures_of(0.2 * (words + noise)).snr == pytest.approx(decibels, abs=2)


def test_the_snr_of_steady_noise_is_low_and_that_of_digital_pauses_bounded() -> None:
    assert -10 <= figures_of(0.1 * np.random.default_rng(0).standard_normal(80_000)).snr < 0
    assert 80 < figures_of(np.sin(np.arange(32_000) / 9) * (np.arange(32_000) > 16_000)).snr <= 100
    assert np.isfinite(figures_of(np.array([0.1, -0.1])).snr)


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_the_share_of_clipped_samples_is_found(rate: int) -> None:
    sine = np.sin(2 * np.pi * 200 * np.arange(rate) / rate)
    assert figures_of(np.clip(2 * sine, -1, 1), rate).clipped == pytest.approx(2 / 3, abs=0.01)  # where |sin| is above a half
    assert figures_of(2 * sine, rate).clipped == pytest.approx(2 / 3, abs=0.01), "it will be clipped to 16 bits"
    assert figures_of(0.99 * sine, rate).clipped == 0
    lonely = 0.5 * sine
    lonely[::100] = lonely[1::100] = 1.0  # two in a row
    assert figures_of(lonely, rate).clipped == 0


def test_the_share_of_silence_is_found() -> None:
    sine = 0.5 * np.sin(2 * np.pi * 440 * np.arange(64_000) / 16_000)
    assert figures_of(sine).silence == 0
    assert figures_of(sine * (np.arange(64_000) >= 32_000)).silence == 0.5
    assert figures_of(np.where(np.arange(64_000) < 16_000, 0.009 * sine, sine)).silence == 0.25  # 40.9 dB below
    assert figures_of(np.where(np.arange(64_000) < 16_000, 0.011 * sine, sine)).silence == 0  # 39.2 dB below


def test_the_rest_of_the_figures_are_the_recordings_own(decoder: Decoder) -> None:
    left = 0.5 * np.sin(2 * np.pi * 100 * np.arange(44_100) / 44_100)
    heard = decoder.hear(bad_audio.encode(np.stack([left, left + 0.2], axis=1), 44_100)).figures
    assert (heard.rate, heard.channels, heard.seconds) == (44_100, 2, 1.0)
    assert heard.peak == pytest.approx(0.6, abs=1e-3) and heard.dc == pytest.approx(0.1, abs=1e-3) and heard.clipped == 0
