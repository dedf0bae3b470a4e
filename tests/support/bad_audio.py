"""Recordings that are odd, damaged, disguised or hostile, as bytes, each with what must become of it.

The audio cases of a catalogue of 94 files on which soundfile, torchcodec and FFmpeg hang, crash, disagree or say nothing; those that are
no bytes (FIFO, links, folders) belong to the sources. Every sound is two seconds at 16 kHz unless its case says otherwise.
"""

import io
import struct
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import av
import numpy as np
import soundfile

RATE = 16_000  # Hz
NOBODY = "http://127.0.0.1:9/sound"  # where no server listens


class Case(NamedTuple):
    data: bytes
    seconds: float = 0.0  # what must be decoded, within max(0.1 s, 2 %), or
    reason: str = ""  # the words that must stand in the refusal


@cache
def sound(rate: int = RATE) -> np.ndarray:
    """Two seconds of 440 Hz and a little noise, [2 * rate] float32."""
    noise = np.random.default_rng(0).standard_normal(2 * rate)
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate) + 0.02 * noise).astype(np.float32)


def encode(samples: np.ndarray, rate: int = RATE, format: str = "WAV", subtype: str | None = None) -> bytes:
    """Encode [n_samples] or [n_samples, n_channels] by libsndfile."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return file.getvalue()


def mux(
    format: str, codec: str, rate: int = RATE, n_streams: int = 1, n_samples: int | None = None, video: bool = False, **options: str
) -> bytes:
    """Encode `sound` by FFmpeg, `n_streams` times, with or without a film; options are the container's."""
    file = io.BytesIO()
    with av.open(file, "w", format=format, options={"fflags": "+bitexact", **options}) as container:
        streams = [container.add_stream(codec, rate=rate, layout="mono") for _ in range(n_streams)]
        film = container.add_stream("mpeg4", rate=10, width=64, height=64, pix_fmt="yuv420p") if video else None
        for stream in streams:
            frame = av.AudioFrame.from_ndarray(sound()[None, :n_samples], format="fltp", layout="mono")
            frame.rate = RATE
            resampler = av.AudioResampler(stream.codec_context.format, "mono", rate, stream.codec_context.frame_size or 1024)
            for piece in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(stream.encode(piece))
            container.mux(stream.encode(None))
        if film:
            for _ in range(20):
                container.mux(film.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
            container.mux(film.encode(None))
    return file.getvalue()


def wav(data: bytes, format: int = 1, channels: int = 1, rate: int = RATE, bits: int = 16, **lies: int) -> bytes:
    """Put a header before `data`; lies: riff, size, align, bytes_per_second."""
    align = lies.get("align", channels * bits // 8)
    speed = lies.get("bytes_per_second", rate * align) & 0xFFFF_FFFF
    form = struct.pack("<HHIIHH", format, channels, rate, speed, align & 0xFFFF, bits)
    size = struct.pack("<I", lies.get("size", len(data)))
    return b"RIFF" + struct.pack("<I", lies.get("riff", 36 + len(data))) + b"WAVEfmt \x10\0\0\0" + form + b"data" + size + data


def flip(data: bytes, place: float = 0.5, n_bytes: int = 1) -> bytes:
    """Turn over all bits of `n_bytes` bytes."""
    start = int(len(data) * place)
    return data[:start] + bytes(byte ^ 255 for byte in data[start : start + n_bytes]) + data[start + n_bytes :]


def cut(data: bytes, share: float = 0.5) -> bytes:
    return data[: int(len(data) * share)]


def cut_before_last_page(ogg: bytes) -> bytes:
    return ogg[: ogg.rfind(b"OggS")]


def without_xing(mp3: bytes) -> bytes:
    """Leave out the first frame, which counts the others: as an encoder does that writes to a pipe."""
    return mp3[mp3.index(b"\xff\xf3", 4) :]


def blocks(sound: bytes, n: int) -> bytes:
    """A Matroska file whose track has `n` blocks of 16-bit sound, each of these few bytes."""

    def element(id: str, body: bytes) -> bytes:
        return bytes.fromhex(id) + (len(body) | 1 << 56).to_bytes(8, "big") + body

    audio = element("e1", element("b5", struct.pack(">d", RATE)) + element("9f", b"\1") + element("6264", b"\x10"))
    track = element("d7", b"\1") + element("73c5", b"\1") + element("83", b"\2") + element("86", b"A_PCM/INT/LIT") + audio
    cluster = element("e7", b"\0") + element("a3", b"\x81\0\0\x80" + sound) * n
    head = element("1a45dfa3", element("4282", b"matroska"))
    return head + element("18538067", element("1654ae6b", element("ae", track)) + element("1f43b675", cluster))


@cache
def cases() -> dict[str, Case]:
    """Return every case by its name; made once a process."""
    return {name: case for group in (_headers, _subtypes, _levels, _containers, _compressed, _disguised) for name, case in group()}


def _headers() -> Iterator[tuple[str, Case]]:
    pcm = (sound() * 32_767).astype("<i2").tobytes()
    whole = wav(pcm)
    yield "empty.wav", Case(b"", reason="0 bytes")
    yield "empty.mp3", Case(b"", reason="0 bytes")
    yield "header only.wav", Case(wav(b""), reason="no samples")
    yield "header cut.wav", Case(whole[:20], reason="cannot be decoded")
    yield "truncated.wav", Case(whole[:30_000], reason="truncated: the header says 2.00 s, 0.94 s are there")
    yield "streamed, size ffffffff.wav", Case(wav(pcm, riff=2**32 - 1, size=2**32 - 1), 2)
    yield "streamed, size 7fffffff.wav", Case(wav(pcm, size=2**31 - 1), 2)
    yield "streamed by sox, size 7ffff000.wav", Case(wav(pcm, riff=0x7FFF_F024, size=0x7FFF_F000), 2)
    yield "size 0, with data.wav", Case(wav(pcm, size=0), reason="no samples")
    yield "rate 0.wav", Case(wav(pcm, rate=0), reason="cannot be decoded")
    yield "rate 1.wav", Case(wav(pcm, rate=1), reason="sample rate 1 Hz")
    yield "rate 4e9.wav", Case(wav(pcm, rate=2**32 - 1), reason="cannot be decoded")
    yield "channels 0.wav", Case(wav(pcm, channels=0), reason="channels, expected 1 to 8")
    yield "channels 255.wav", Case(wav(pcm, channels=255), reason="255 channels")
    yield "channels 65535.wav", Case(wav(pcm, channels=65_535), reason="channels, expected 1 to 8")
    yield "block align 3.wav", Case(wav(pcm, align=3), reason="block align 3")
    in_four_bytes = (sound() * 2**31).astype("<i4").tobytes()
    yield "24 bits in 4 bytes.wav", Case(wav(in_four_bytes, bits=24, align=4), reason="block align 4")
    yield "bits 0.wav", Case(wav(pcm, bits=0, align=2), reason="codec that FFmpeg does not know")
    yield "odd number of bytes.wav", Case(wav(pcm[:-1]), 2)
    yield "bytes per second wrong.wav", Case(wav(pcm, bytes_per_second=5), 2)
    yield "chunks after the data.wav", Case(whole + b"LIST\x04\0\0\0abcd", 2)
    yield "200,000 chunks before the data.wav", Case(whole[:36] + b"junk\x02\0\0\0ab" * 200_000 + whole[36:], 2)
    yield "bit flip.wav", Case(flip(whole), 2)  # nothing in a WAV could tell


def _subtypes() -> Iterator[tuple[str, Case]]:
    for subtype in ("PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610"):
        yield f"{subtype}.wav", Case(encode(sound(), subtype=subtype), 2)
        yield f"{subtype} truncated.wav", Case(cut(encode(sound(), subtype=subtype), 0.6), reason="truncated")


def _levels() -> Iterator[tuple[str, Case]]:
    tone = sound()
    strange = {"NaN": np.nan, "infinity": np.inf, "minus infinity": -np.inf}
    for name, value in strange.items():
        samples = tone.copy()
        samples[100:110] = value
        yield f"{name}.wav", Case(encode(samples, subtype="FLOAT"), reason="a NaN or an infinity")
    yield "1e30.wav", Case(encode(tone * np.float32(1e30), subtype="FLOAT"), reason="far beyond full scale")
    yield "1e300 in doubles.wav", Case(encode(tone.astype(np.float64) * 1e300, subtype="DOUBLE"), reason="infinity")
    yield "times 8.wav", Case(encode(8 * tone, subtype="FLOAT"), 2)  # a peak of 3: clipped, and counted as such
    yield "times 100.wav", Case(encode(100 * tone, subtype="FLOAT"), reason="far beyond full scale")
    yield "subnormal.wav", Case(encode(np.full(RATE, 1e-40, np.float32), subtype="FLOAT"), reason="silent")
    yield "opposite phase.wav", Case(encode(np.stack([tone, -tone], 1)), reason="opposite phase")
    yield "nearly opposite phase.wav", Case(encode(np.stack([tone, -0.9 * tone], 1)), reason="opposite phase")
    yield "one channel of two.wav", Case(encode(np.stack([tone, 0 * tone], 1)), 2)
    yield "one channel of eight.wav", Case(encode(np.stack([tone, *[0 * tone] * 7], 1)), 2)
    yield "nine channels.wav", Case(encode(np.stack([tone] * 9, 1)), reason="9 channels")
    yield "5.1.wav", Case(encode(np.stack([tone] * 6, 1)), 2)
    yield "192 kHz.wav", Case(encode(sound(192_000), 192_000), 2)
    yield "4 kHz.wav", Case(encode(sound(4_000), 4_000), reason="sample rate 4000 Hz")
    yield "silence.wav", Case(encode(0 * tone), reason="silent")
    yield "constant.wav", Case(encode(np.full(RATE, 0.5)), reason="off centre")
    yield "speech on a constant.wav", Case(encode(tone + 0.3), reason="off centre")
    yield "clipped.wav", Case(encode(np.sign(tone)), 2)
    yield "one sample.wav", Case(encode(tone[5:6]), 1 / RATE)
    yield "100 samples.wav", Case(encode(tone[:100]), 100 / RATE)


def _containers() -> Iterator[tuple[str, Case]]:
    for format in ("AIFF", "RF64", "W64", "AU", "NIST", "CAF"):
        whole = encode(sound(), format=format, subtype="PCM_16")
        yield f"{format} named.wav", Case(whole, 2)
        yield f"{format} truncated.wav", Case(cut(whole, 0.6), reason="truncated")
    m4a = mux("mp4", "aac", 48_000)
    in_pieces = mux("mp4", "aac", 48_000, movflags="+frag_keyframe+empty_moov")
    yield "whole.m4a", Case(m4a, 2)
    yield "half.m4a", Case(cut(m4a), reason="cannot be decoded")
    yield "no moov.m4a", Case(m4a.replace(b"moov", b"mooX"), reason="cannot be decoded")
    yield "fragmented.m4a", Case(in_pieces, 2)
    yield "fragmented, half.m4a", Case(cut(in_pieces), reason="truncated")
    yield "whole.webm", Case(mux("webm", "libopus", 48_000), 2)
    yield "half.webm", Case(cut(mux("webm", "libopus", 48_000)), reason="truncated")
    yield "half.flv", Case(cut(mux("flv", "aac", 44_100)), reason="truncated")
    yield "half.aac", Case(cut(mux("adts", "aac")), reason="cannot be decoded")
    yield "film without sound.mp4", Case(mux("mp4", "aac", 48_000, n_streams=0, video=True), reason="no sound in it")
    yield "film with sound.mp4", Case(mux("mp4", "aac", 48_000, video=True), 2)
    yield "two sounds.mka", Case(mux("matroska", "aac", n_streams=2), 2)
    yield "100,000 empty blocks.mka", Case(blocks(b"", 100_000), reason="no samples")
    yield "32,000 blocks of a sample.mka", Case(blocks(b"\0\1", 32_000), reason="nearly empty")


def _compressed() -> Iterator[tuple[str, Case]]:
    mp3 = encode(sound(), format="MP3")
    tag = b"ID3\x04\0\0" + bytes((10 << 20) >> shift & 127 for shift in (21, 14, 7, 0)) + bytes(10 << 20)
    yield "half.mp3", Case(cut(mp3), reason="truncated")
    yield "cut by a twentieth.mp3", Case(cut(mp3, 0.95), reason="truncated")
    yield "first frame.mp3", Case(mp3[:50], reason="truncated")
    yield "garbage in the middle.mp3", Case(mp3[:3_000] + np.random.default_rng(1).bytes(3_000) + mp3[6_000:], reason="damaged")
    yield "10 MB of tags.mp3", Case(tag + mp3, 2)
    yield "tags said to be 256 MB.mp3", Case(b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + mp3, reason="cannot be decoded")
    yield "without a Xing header.mp3", Case(without_xing(mp3), 2)
    yield "without a Xing header, half.mp3", Case(cut(without_xing(mp3)), reason="truncated")
    yield "mp3 named.wav", Case(mp3, 2)
    yield "wav named.mp3", Case(encode(sound()), 2)
    yield "twice.mp3", Case(mp3 + mp3, 4.1)
    flac = encode(sound(), format="FLAC")
    hiss = np.random.default_rng(2).integers(-1, 2, 1_200 * RATE, np.int16)
    yield "20 minutes.flac", Case(encode(hiss, format="FLAC"), reason="longer than")
    yield "half.flac", Case(cut(flac), reason="truncated")
    yield "bit flip.flac", Case(flip(flac), reason="damaged")
    yield "streamed.flac", Case(flac[:21] + bytes([flac[21] & 0xF0]) + bytes(20) + flac[42:], 2)
    yield "streamed, half.flac", Case(cut(flac[:21] + bytes([flac[21] & 0xF0]) + bytes(20) + flac[42:]), reason="cannot be decoded")
    for name, subtype in (("opus", "OPUS"), ("ogg", "VORBIS")):
        ogg = encode(sound(), format="OGG", subtype=subtype)
        yield f"whole.{name}", Case(ogg, 2)
        yield f"half.{name}", Case(cut(ogg), reason="truncated")
        yield f"cut by a tenth.{name}", Case(cut(ogg, 0.9), reason="truncated")
        yield f"bit flip.{name}", Case(flip(ogg), reason="damaged")
        yield f"without the last page.{name}", Case(cut_before_last_page(ogg), reason="truncated")


def _disguised() -> Iterator[tuple[str, Case]]:
    random = np.random.default_rng(3)
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n"
    manifest = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S"><Period>'
        f'<AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="1"><BaseURL>{NOBODY}.mp4</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>"
    )
    texts = {
        "text.wav": "hello world\n" * 50,
        "HTML of an error.mp3": "<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>gone</body></html>" * 20,
        "JSON of an error.wav": '{"error":"quota exceeded"}',
        "LFS pointer.wav": f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12345\n",
        "HLS to a local file.mp3": playlist.format("file:///etc/hostname.mp3"),
        "HLS over HTTP.mp3": playlist.format(f"{NOBODY}.ts"),
        "HLS over HTTP.m3u8": playlist.format(f"{NOBODY}.m3u8"),
        "ffconcat.wav": "ffconcat version 1.0\nfile /etc/hostname.wav\n",
        "SDP.wav": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9198 RTP/AVP 0\n",
        "DASH.wav": manifest,
    }
    yield from ((name, Case(text.encode(), reason="cannot be decoded")) for name, text in texts.items())
    yield "random.mp3", Case(random.bytes(200_000), reason="cannot be decoded")
    yield "random after RIFF.wav", Case(b"RIFF" + random.bytes(50_000), reason="cannot be decoded")
    yield "zip.wav", Case(b"PK\x03\x04" + random.bytes(5_000), reason="cannot be decoded")
    yield "zeros.mp3", Case(bytes(100_000), reason="cannot be decoded")
