"""Every file decodes to finite samples of one channel or is refused with a reason; nothing else happens."""

import csv
import io
import re
import struct
import time
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from tasks.audio.decode import decode, decode_flac, encode_flac, read, to_int16
from tasks.contracts.errors import AudioError
from tests.support import bad_audio


def wav(samples: np.ndarray, rate: int = 16_000, subtype: str = "PCM_16", format: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return file.getvalue()


def aac(samples: np.ndarray, rate: int = 16_000, format: str = "mp4", title: str = "") -> bytes:
    """Write [n_channels, n_samples] by FFmpeg, which libsndfile cannot read."""
    file = io.BytesIO()
    layout = "mono" if len(samples) == 1 else "stereo"
    with av.open(file, "w", format=format) as container:
        container.metadata["title"] = title
        stream = container.add_stream("aac", rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(samples.astype(np.float32), format="fltp", layout=layout)
        frame.rate = rate
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return file.getvalue()


def loudest_hertz(samples: np.ndarray, rate: int) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * rate / samples.size)


def test_every_odd_or_damaged_file_decodes_or_is_refused_with_a_reason(real_data: Path) -> None:  # pitfall 9
    folder = real_data / "formats-and-damage"
    with (folder / "cases.csv").open() as file:
        cases = list(csv.DictReader(file))
    n_refused = 0
    for case in cases:
        began = time.monotonic()
        try:
            samples, rate = decode((folder / case["path"]).read_bytes(), 60)
        except AudioError as refusal:
            n_refused += 1
            assert str(refusal) and " object at 0x" not in str(refusal), "a reason is the same in every process"
            expected = re.search("truncated|off centre", str(refusal)) and re.search("truncated|bad-xing|lhotse/stereo", case["path"])
            believable = not expected and case["soundfile"] == "ok" and 7_350 <= int(case["sample_rate"]) <= 192_000
            assert not (believable and float(case["peak"] or 0) >= 2e-4), f"{case['path']} holds sound, but: {refusal}"
        else:
            assert samples.dtype == np.float32 and samples.ndim == 1 and samples.size and np.isfinite(samples).all(), case["path"]
            if case["soundfile"] == "ok":
                assert (rate, round(samples.size / rate, 3)) == (int(case["sample_rate"]), float(case["seconds"])), case["path"]
        assert time.monotonic() - began < 5, case["path"]
    assert len(cases) > 70 and 0 < n_refused < len(cases) / 2


def test_flipped_bytes_never_raise_anything_else(real_data: Path) -> None:
    folder = real_data / "formats-and-damage" / "audio"
    random = np.random.default_rng(0)
    for name in ("mutagen/has-tags.m4a", "mutagen/silence-1.wma", "mutagen/empty.aac", "lhotse/stereo.mp3", "made-here/opus-in-ogg.opus"):
        whole = (folder / name).read_bytes()
        for n_flipped in [1, 4, 30, 300] * 15:
            data = bytearray(whole[: random.integers(100, len(whole))] if n_flipped == 4 else whole)
            for place in random.integers(0, min(len(data), random.choice([2_000, 20_000])), n_flipped):
                data[place] = random.choice([0, 255, random.integers(256)])
            try:
                samples, _ = decode(bytes(data), 60)
                assert np.isfinite(samples).all()
            except AudioError:
                pass


@pytest.mark.parametrize("subtype, error", [("PCM_16", 1 / 32_768), ("PCM_24", 1 / 2**23), ("FLOAT", 0), ("DOUBLE", 0)])
def test_wav_is_decoded_to_its_own_precision(tone: np.ndarray, subtype: str, error: float) -> None:
    samples, rate = decode(wav(tone, subtype=subtype), 30)
    assert rate == 16_000 and samples.dtype == np.float32 and samples.shape == tone.shape
    assert np.abs(samples - tone).max() <= error


@pytest.mark.parametrize(
    "format, subtype", [("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("AIFF", "PCM_16")]
)
def test_the_usual_formats_are_decoded(format: str, subtype: str) -> None:
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)
    samples, rate = decode(wav(tone, 48_000, subtype, format), 30)
    assert rate == 48_000 and abs(samples.size - 48_000) < 3_000
    assert loudest_hertz(samples, rate) == pytest.approx(440, abs=2) and np.abs(samples).max() == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("format", ["mp4", "adts", "matroska"])
def test_what_libsndfile_does_not_read_is_decoded_by_ffmpeg(tone: np.ndarray, format: str) -> None:
    samples, rate = decode(aac(tone[None], format=format), 30)
    assert rate == 16_000 and abs(samples.size - tone.size) < 3_000
    assert loudest_hertz(samples, rate) == pytest.approx(440, abs=2)
    stereo, _ = decode(aac(np.stack([tone, 0 * tone]), format=format), 30)
    assert np.abs(stereo).max() == pytest.approx(0.15, abs=0.03)


def test_the_rate_is_the_files_own() -> None:
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100)
    samples, rate = decode(wav(tone, 44_100), 30)
    assert rate == 44_100 and samples.size == 44_100


def test_stereo_becomes_the_mean_of_its_channels(tone: np.ndarray) -> None:
    samples, _ = decode(wav(np.stack([tone, tone / 2], axis=1), subtype="FLOAT"), 30)
    assert np.allclose(samples, 0.75 * tone, atol=1e-7)


def test_samples_beyond_full_scale_are_kept(tone: np.ndarray) -> None:
    samples, _ = decode(wav(10 * tone, subtype="FLOAT"), 30)
    assert np.abs(samples).max() == pytest.approx(3.0)


def test_a_wav_written_to_a_pipe_has_no_length_and_is_decoded(tone: np.ndarray) -> None:
    data = bytearray(wav(tone))
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    samples, _ = decode(bytes(data), 30)
    assert samples.shape == tone.shape


def test_a_silent_clip_is_refused(tone: np.ndarray) -> None:
    with pytest.raises(AudioError, match=r"^silent: the peak is 0\.0e\+00, expected at least 1e-04"):
        decode(wav(0 * tone), 30)


def test_channels_of_opposite_phase_are_refused(tone: np.ndarray) -> None:
    with pytest.raises(AudioError, match="channels of opposite phase cancel"):
        decode(wav(np.stack([tone, -tone], axis=1), subtype="FLOAT"), 30)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(tone: np.ndarray, value: float) -> None:
    tone[100] = value
    with pytest.raises(AudioError, match=r"^samples hold a NaN or an infinity$"):
        decode(wav(tone, subtype="FLOAT"), 30)


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "^the file is empty: 0 bytes$"),
        (np.random.default_rng(0).bytes(20_000), "^cannot be decoded: libsndfile says .*Format not recognised.*FFmpeg says"),
        (b"this is no sound", "^cannot be decoded"),
        (wav(np.zeros(0)), "^no samples in it$"),
    ],
    ids=["empty", "random bytes", "text", "header only"],
)
def test_what_is_no_recording_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        decode(data, 30)


def test_a_recording_over_the_limit_is_refused(tone: np.ndarray) -> None:
    two_seconds = np.tile(tone, 2)
    assert decode(wav(two_seconds), 2)[0].size == 32_000
    with pytest.raises(AudioError, match=r"^longer than 2 s; split it into shorter clips$"):
        decode(wav(np.append(two_seconds, 0.1)), 2)
    with pytest.raises(AudioError, match=r"^longer than 1\.5 s; split it into shorter clips$"):
        decode(aac(two_seconds[None]), 1.5)


def test_a_header_of_one_hertz_is_refused_before_anything_is_made_of_it() -> None:
    data = b"\1\0" * 4_000
    header = b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 1, 2, 2, 16)
    with pytest.raises(AudioError, match=r"^sample rate 1 Hz, expected 7350 to 192000$"):
        decode(header + b"data" + struct.pack("<I", len(data)) + data, 30)


def test_too_many_channels_are_refused() -> None:
    with pytest.raises(AudioError, match=r"^9 channels, expected 1 to 8$"):
        decode(wav(np.ones((100, 9)) / 2), 30)


def test_tags_in_another_encoding_do_not_matter(tone: np.ndarray) -> None:
    data = aac(tone[None], title="Malmo i regn")
    assert b"Malmo i regn" in data
    samples, _ = decode(data.replace(b"Malmo i regn", "Malmö i regn".encode("latin-1")), 30)
    assert abs(samples.size - tone.size) < 3_000


def test_sound_of_an_unknown_codec_is_refused(tone: np.ndarray) -> None:
    with pytest.raises(AudioError, match=r"^sound of a codec that FFmpeg does not know$"):
        decode(aac(tone[None], format="matroska").replace(b"A_AAC", b"A_ZZZ"), 30)


def test_a_recording_whose_rate_changes_on_the_way_is_refused(tone: np.ndarray) -> None:
    with pytest.raises(AudioError, match=r"^cannot be decoded"):
        decode(aac(tone[None], format="adts") + aac(np.stack([tone, tone]), 44_100, "adts"), 30)


@pytest.mark.parametrize("name", ["secret.wav", "secret.aac"])
def test_a_playlist_named_as_a_recording_discloses_no_other_file(tone: np.ndarray, tmp_path: Path, name: str) -> None:
    secret = tmp_path / name
    secret.write_bytes(wav(tone) if name.endswith("wav") else aac(tone[None], format="adts"))
    hls = f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:10.0,\nfile://{secret}\n#EXT-X-ENDLIST\n"
    for playlist in (hls, hls.replace("file://", ""), f"ffconcat version 1.0\nfile {secret}\n"):
        with pytest.raises(AudioError, match=r"^cannot be decoded"):
            decode(playlist.encode(), 30)


def test_what_the_recording_said_of_itself_is_kept(tone: np.ndarray) -> None:
    facts = read(wav(np.stack([tone + 0.1, tone], axis=1), 44_100, subtype="FLOAT"), 30)
    assert (facts.rate, facts.n_channels, facts.samples.shape) == (44_100, 2, tone.shape)
    assert facts.peak == pytest.approx(0.35, abs=1e-3) and facts.dc == pytest.approx(0.05, abs=1e-3)


def test_a_mean_over_many_channels_is_exact() -> None:
    channels = np.random.default_rng(0).uniform(-1, 1, (1_000, 8)).astype(np.float32)
    samples, _ = decode(wav(channels, subtype="FLOAT"), 30)
    assert np.abs(samples - channels.mean(axis=1, dtype=np.float64)).max() < 1e-7


@pytest.mark.parametrize("n_missing, refused", [(0, False), (3_000, False), (3_300, True), (24_000, True)])
def test_a_tenth_of_a_second_may_be_missing(n_missing: int, refused: bool) -> None:
    data = wav(bad_audio.sound())
    data = data[: len(data) - n_missing]  # bytes, 2 a sample
    if refused:
        with pytest.raises(AudioError, match=r"^truncated: the header says 2\.00 s, 1\.\d\d s are there$"):
            decode(data, 30)
    else:
        assert decode(data, 30)[0].size == 32_000 - n_missing // 2


@pytest.mark.parametrize("format", ["MP3", "FLAC", "OGG", "AIFF", "AU", "W64", "RF64", "CAF", "WAV", "NIST"])
@pytest.mark.parametrize("share", [0.3, 0.55, 0.8, 0.93])
def test_a_file_that_was_cut_anywhere_is_refused(format: str, share: float) -> None:
    data = bad_audio.encode(bad_audio.sound(44_100), 44_100, format, "PCM_16" if format == "RF64" else None)
    assert abs(decode(data, 30)[0].size / 44_100 - 2) < 0.1
    with pytest.raises(AudioError, match=r"^(damaged or )?truncated"):
        decode(bad_audio.cut(data, share), 30)


def test_mp3_of_varying_bit_rate_without_a_count_of_its_frames_is_heard_to_its_end() -> None:
    sound = np.concatenate([bad_audio.sound(), 0 * bad_audio.sound(), bad_audio.sound()])
    data = bad_audio.without_xing(bad_audio.encode(sound, format="MP3"))
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        assert not 5.8 < len(file.read()) / 16_000 < 6.3, "else libsndfile has learnt it, and FFmpeg is not needed here"
    samples, rate = decode(data, 30)
    assert 5.9 < samples.size / rate < 6.3 and np.abs(samples[-8_000:]).max() > 0.2


@pytest.mark.parametrize("tail", [b"TAG" + bytes(125), b"APETAGEX" + bytes(200), bytes(5_000)], ids=["ID3v1", "APE", "zeros"])
def test_tags_behind_an_mp3_do_not_matter(tail: bytes) -> None:
    mp3 = bad_audio.encode(bad_audio.sound(), format="MP3")
    for data in (mp3 + tail, bad_audio.without_xing(mp3) + tail):
        samples, rate = decode(data, 30)
        assert samples.size / rate == pytest.approx(2, abs=0.15)


def test_several_files_in_one_are_heard_whole_or_refused() -> None:
    mp3 = bad_audio.encode(bad_audio.sound(), format="MP3")
    tag = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)
    samples, rate = decode(mp3 + mp3, 30)
    assert samples.size / rate == pytest.approx(4, abs=0.3)
    with pytest.raises(AudioError, match="libsndfile says 'only a part can be heard', FFmpeg says"):
        decode(tag + mp3 + tag + mp3, 30)
    for subtype in ("VORBIS", "OPUS"):
        ogg = bad_audio.encode(bad_audio.sound(), format="OGG", subtype=subtype)
        with pytest.raises(AudioError, match=r"^several Ogg streams, one after the other: only the first would be heard$"):
            decode(ogg + ogg, 30)


def test_a_reason_is_the_same_every_time() -> None:
    for name in ("random.mp3", "half.m4a", "bit flip.flac", "garbage in the middle.mp3"):
        reasons = set()
        for _ in range(3):
            with pytest.raises(AudioError) as refusal:
                decode(bad_audio.cases()[name].data, 30)
            reasons.add(str(refusal.value))
        assert len(reasons) == 1


def test_flac_gives_back_every_sample_on_the_grid_of_sixteen_bits() -> None:
    grid = (np.random.default_rng(0).integers(-32_768, 32_768, 48_000) / 32_768).astype(np.float32)
    assert (decode_flac(encode_flac(grid)) == grid).all()
    between = np.clip(0.4 * np.random.default_rng(1).normal(size=48_000), -1, 1).astype(np.float32)
    once = decode_flac(encode_flac(between))
    assert once.dtype == np.float32 and np.abs(once - between).max() <= 1 / 32_768 and (decode_flac(encode_flac(once)) == once).all()


def test_flac_clips_what_lies_beyond_full_scale() -> None:
    assert decode_flac(encode_flac(np.array([2, -2, 0.5], np.float32))).tolist() == [32_767 / 32_768, -1.0, 0.5]


def test_sixteen_bits_are_what_flac_stores() -> None:
    samples = np.random.default_rng(2).normal(scale=0.5, size=48_000).astype(np.float32)  # some beyond full scale
    before = samples.copy()
    integers = to_int16(samples)
    assert integers.dtype == np.int16 and (samples == before).all()
    assert (integers == np.clip(np.rint(samples.astype(np.float64) * 32_768), -32_768, 32_767)).all()
    assert encode_flac(integers) == encode_flac(samples)
    assert (decode_flac(encode_flac(integers)) == integers / np.float32(32_768)).all()
