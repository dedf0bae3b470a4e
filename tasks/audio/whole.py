"""Is a recording whole? What its headers promise, compared with what is there: the libraries take what they get and say nothing."""

import re
import struct
import zlib
from functools import cache
from typing import Literal

from tasks.contracts.errors import AudioError

STREAMED = 0x7FFF_0000  # bytes; from here on a WAV's length is what programs write that do not know it
MP3_KBITS = {1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320), 2: (0, *range(8, 57, 8), *range(64, 161, 16))}
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))  # each byte with its bits in the other order


def compare(promised: float, there: float) -> None:
    """Refuse a recording that is shorter than it says, in seconds."""
    if is_short(promised, there):
        raise AudioError(f"truncated: the header says {promised:.2f} s, {there:.2f} s are there")


def is_short(promised: float, there: float) -> bool:
    return promised - there > max(0.1, 0.02 * promised)


def check_header(data: bytes, seconds: float) -> None:
    """Refuse `data`, of which `seconds` were decoded, if its header says more. The libraries take what is there and say nothing."""
    kind = data[:4]
    if kind in (b"RIFF", b"RIFX", b"RF64", b"FORM"):
        _check_chunks(data, seconds)
    elif kind == b".snd" and (size := int.from_bytes(data[8:12], "big")) < STREAMED:  # Sun's AU: bytes of header, bytes of sound
        compare(seconds * size / max(1, len(data) - int.from_bytes(data[4:8], "big")), seconds)
    elif kind == b"riff":  # Sony's Wave64: a RIFF of 16-byte names; its size counts the whole file
        compare(seconds * int.from_bytes(data[16:24], "little") / len(data), seconds)
    elif kind == b"NIST" and (said := re.search(rb"sample_count -i (\d{1,18})\s", data[:1024])):
        rate = re.search(rb"sample_rate -i (\d{1,9})\s", data[:1024])
        compare(int(said[1]) / max(1, int(rate[1])) if rate else 0, seconds)


def _check_chunks(data: bytes, seconds: float) -> None:
    """Walk through the chunks of WAV (RIFF), RF64, AIFF and 8SVX (FORM) to the one that holds the sound."""
    order: Literal["little", "big"] = "little" if data[:4] in (b"RIFF", b"RF64") else "big"
    place, size64 = 12, 0
    while place + 8 <= len(data):
        name, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], order)
        place += 8
        if name == b"ds64":
            size64 = int.from_bytes(data[place + 8 : place + 16], "little")
        if name == b"fmt " and order == "little" and size >= 16:
            tag, n_channels, _, _, align, bits = struct.unpack_from("<HHIIHH", data.ljust(place + 16), place)
            if tag in (1, 3, 0xFFFE) and align != n_channels * -(-bits // 8):  # 24 bits in 4 bytes: libsndfile makes noise of it
                raise AudioError(f"the header contradicts itself: block align {align}, but {n_channels} channels of {bits} bits")
        if name in (b"data", b"SSND", b"BODY"):
            size = size64 if size == 0xFFFF_FFFF and size64 else size
            return compare(seconds * size / max(1, len(data) - place), seconds) if size < STREAMED else None
        place += size + size % 2


def check_mp3(data: bytes) -> tuple[float, int]:
    """Walk from frame to frame: the last must be whole, and there must be as many as the Xing header counted.

    Returns:
        The seconds that are there for sure, and the byte at which the last frame ends; zeros if this is no MP3.
    """
    place, n_frames, n_samples, rate, counted = 0, 0, 0, 1, 0
    while (frame := _mp3_frame(data[place : place + 3])) or data[place : place + 3] == b"ID3":
        if frame is None:  # a tag; its size is in the low seven bits of four bytes
            place += 10 + sum((byte & 127) << shift for byte, shift in zip(data[place + 6 : place + 10], (21, 14, 7, 0), strict=False))
            continue
        size, n_samples, rate = frame
        if n_frames == 0 and (xing := re.search(rb"(?:Xing|Info)\0\0\0[\1\3\5\7\x09\x0b\x0d\x0f](....)", data[place : place + size], re.S)):
            counted = int.from_bytes(xing[1], "big")
        place += size
        n_frames += 1
    if not n_frames:
        return 0.0, 0
    said, there = counted * n_samples / rate, n_frames * n_samples / rate
    if is_short(said, there) and place < len(data):
        raise AudioError(f"damaged: no MP3 frame follows after {there:.2f} of {said:.2f} s")
    compare(said, there)
    if place > len(data) and not 0 < counted <= n_frames:  # else it is only the end of the last one that is missing
        raise AudioError(f"truncated: it ends within an MP3 frame, after {there - n_samples / rate:.2f} s")
    return max(0, n_frames - 3) * n_samples / rate, place  # 3: that of the Xing header, and what encoders put in front and behind


@cache
def _mp3_frame(head: bytes) -> tuple[int, int, int] | None:
    """Return (bytes, samples, rate) of the frame of MPEG layer 3 that begins so, or None."""
    if len(head) < 3 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2 or head[1] & 0x18 == 0x08:
        return None
    bits, number = head[2] >> 4, head[2] >> 2 & 3
    if bits in (0, 15) or number == 3:
        return None
    halvings = {0x18: 0, 0x10: 1, 0x00: 2}[head[1] & 0x18]  # MPEG 1, 2, 2.5
    rate = (44_100, 48_000, 32_000)[number] >> halvings
    n_samples = 576 if halvings else 1152
    return n_samples // 8 * 1000 * MP3_KBITS[2 if halvings else 1][bits] // rate + (head[2] >> 1 & 1), n_samples, rate


def check_ogg(data: bytes) -> None:
    """Refuse an Ogg file with a damaged page, or without the mark of its end: the libraries leave such pages out and say nothing."""
    place = n_open = n_pages = 0
    while data[place : place + 4] == b"OggS" and len(data) >= place + 27:
        lengths = data[place + 27 : place + 27 + data[place + 26]]
        page = data[place : place + 27 + len(lengths) + sum(lengths)]
        # Ogg's checksum is that of zlib with all bits mirrored, begun with zeros, the checksum itself taken as zero (RFC 3533, section 6).
        mirrored = (page[:22] + bytes(4) + page[26:]).translate(MIRRORED)
        if zlib.crc32(mirrored, 0xFFFF_FFFF) ^ 0xFFFF_FFFF != int.from_bytes(page[22:26].translate(MIRRORED), "big"):
            raise AudioError(f"damaged or truncated: page {n_pages} of the Ogg stream fails its checksum")
        if n_pages and not n_open:
            raise AudioError("several Ogg streams, one after the other: only the first would be heard")
        n_open += (page[5] >> 1 & 1) - (page[5] >> 2 & 1)  # begins a stream, ends one
        n_pages += 1
        place += len(page)
    if n_pages and n_open > 0:
        raise AudioError(f"truncated: the Ogg stream has no end, its {n_pages} pages are {place} of {len(data)} bytes")
