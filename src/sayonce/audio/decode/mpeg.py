"""MP3: frame by frame, the count and the padding that an encoder wrote into the first, and files that were joined."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

import msgspec

from sayonce.audio.decode import libav
from sayonce.audio.decode.container import Container
from sayonce.audio.samples import Block
from sayonce.errors import BadAudio

_MPEG1: Final = 3
_KBITS: Final = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_DECODER_DELAY: Final = 529
"""Samples by which every MP3 decoder is late, which encoders do not count (LAME's technical FAQ)."""
_COUNTED: Final = 1
_COUNTS: Final = 3
"""A Xing header's flags for the number of frames, and for that and the number of bytes."""
_XING_BYTES: Final = 16
_LAME_TAG_BYTES: Final = 24
_LAME: Final = b"LAME3.100"
_LAME_DELAY: Final = 576
_CONSTANT_BIT_RATE: Final = 1
_VBRI_AT: Final = 36
_NAME: Final = "MP3"
DECODER_VERSION: Final = 2
"""1 was that of libsndfile, which guesses the length where there is no header, and stops there."""


class Frame(msgspec.Struct, frozen=True):
    """The facts of a frame's header."""

    size: int
    samples: int
    sample_rate_hz: int
    channels: int


class _Info(msgspec.Struct, frozen=True):
    """The first frame of a file that an encoder finished: how many frames follow, and how many samples to leave out at both ends."""

    frames: int
    delay: int = 0
    padding: int = 0


def frame_at(body: bytes | bytearray, position: int) -> Frame | None:
    """Read a frame's header (ISO 11172-3 section 2.4.2.3), None where there is none of layer III."""
    word = int.from_bytes(body[position : position + 4].ljust(4, b"\0"), "big")
    version, layer, kbits, rate = word >> 19 & 3, word >> 17 & 3, word >> 12 & 15, word >> 10 & 3
    if word >> 21 != 0x7FF or version == 1 or layer != 1 or kbits in (0, 15) or rate == 3:  # noqa: PLR2004 (reserved)
        return None
    is_mpeg1 = version == _MPEG1
    sample_rate_hz = _RATES[version][rate]
    size = (144 if is_mpeg1 else 72) * _KBITS[is_mpeg1][kbits] * 1000 // sample_rate_hz + (word >> 9 & 1)
    return Frame(size, 1152 if is_mpeg1 else 576, sample_rate_hz, 1 if word >> 6 & 3 == 3 else 2)  # noqa: PLR2004


def walk(body: bytes, start: int) -> Container:
    """Describe one file, or a run of frames without a header of their own.

    Raises:
        BadAudio: a frame is cut off, or there are fewer than the file's first frame says.

    """
    first = frame_at(body, start)
    if first is None:
        raise BadAudio("The MP3 audio has a broken frame")
    info = _info(body[start : start + first.size])
    position = start + first.size if info else start
    stated = info.frames if info else 0
    packets: list[bytes] = []
    while (frame := frame_at(body, position)) is not None and not 0 < stated == len(packets):
        packet = body[position : position + frame.size]
        if len(packet) < frame.size:
            raise BadAudio("The MP3 audio is cut off inside a frame")
        if packets and _info(packet):
            break
        packets.append(packet)
        position += frame.size
    if len(packets) < stated:
        raise BadAudio(f"The MP3 audio is cut off: {len(packets)} of {stated} frames")
    if not packets:
        raise BadAudio("The MP3 audio is empty")
    return _part(position, packets, first, info)


def is_header(frame: bytes) -> bool:
    """Whether a frame counts those behind it, and holds no sound."""
    return _info(frame) is not None


def header(of: bytes, frames: int, size: int) -> bytes:
    """Return a frame that says how many frames and bytes come behind it; ``of`` is the header of one of these."""
    least = len(of) + _side_bytes(of) + _XING_BYTES
    word = int.from_bytes(_plain(of), "big") & ~0xF000
    heads = ((word | kbits << 12).to_bytes(4, "big") for kbits in range(1, 15))
    head = next(each for each in heads if (found := frame_at(each, 0)) and found.size >= least)
    return _counted(head, b"Xing", frames, size)


def lame_header(of: bytes, size: int, samples: int) -> bytes:
    """Return a frame that says how many of the samples behind it were added by LAME.

    Args:
        of: the header of the first of the frames, which have one bit rate.
        size: the bytes of all of them.
        samples: the samples a channel that were encoded.

    """
    head = _plain(of)
    frame = frame_at(head, 0)
    assert frame is not None
    kbits = _KBITS[frame.samples == 1152][of[2] >> 4]  # noqa: PLR2004 (the samples of MPEG-1)
    frames = round(8 * size * frame.sample_rate_hz / (1000 * kbits * frame.samples))
    padding = frames * frame.samples - _LAME_DELAY - samples
    trim = (_LAME_DELAY << 12 | padding).to_bytes(3, "big")
    counted = _counted(head, b"Info", frames, size)
    start = len(head) + _side_bytes(head) + _XING_BYTES
    facts = _LAME + bytes([_CONSTANT_BIT_RATE]) + bytes(10) + bytes([kbits]) + trim + bytes(4)
    said = counted[:start] + facts + (len(counted) + size).to_bytes(4, "big") + bytes(2)
    return (said + _crc(said).to_bytes(2, "big")).ljust(len(counted), b"\0")


def _plain(head: bytes) -> bytes:
    """Return a frame's header without padding and checksum."""
    return (int.from_bytes(head[:4], "big") & ~0x0200 | 1 << 16).to_bytes(4, "big")


def _counted(head: bytes, mark: bytes, frames: int, size: int) -> bytes:
    frame = frame_at(head, 0)
    assert frame is not None
    counts = b"".join(number.to_bytes(4, "big") for number in (_COUNTS, frames, size + frame.size))
    return (head + bytes(_side_bytes(head)) + mark + counts).ljust(frame.size, b"\0")


def _crc(said: bytes) -> int:
    """Return the CRC-16 (polynomial 0x8005, reflected) by which readers believe LAME's tag."""
    crc = 0
    for byte in said:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


def _side_bytes(frame: bytes) -> int:
    """Return how many bytes of side information stand behind a frame's header."""
    is_mpeg1, is_mono = frame[1] >> 3 & 3 == _MPEG1, frame[3] >> 6 == 3  # noqa: PLR2004 (the mode bits of one channel)
    return {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}[is_mpeg1, is_mono]


def _part(end: int, packets: list[bytes], first: Frame, info: _Info | None) -> Container:
    total = len(packets) * first.samples
    skipped = min(info.delay + _DECODER_DELAY, total) if info and info.delay else 0
    frames = min(total - info.delay - info.padding, total - skipped) if info and info.delay else total
    blocks = partial(_trimmed, packets, skipped, max(frames, 0))
    return Container(name=_NAME, end=end, blocks=blocks, frames=max(frames, 0), decoder_version=DECODER_VERSION)


def _trimmed(packets: list[bytes], skipped: int, frames: int) -> Iterator[Block]:
    """Decode in fixed point, for the same samples on every machine, and leave out the samples that the encoder added."""
    rest = frames
    for block in libav.packet_blocks(_NAME, "mp3", packets):
        samples = block.samples[skipped : skipped + rest]
        skipped = max(0, skipped - len(block.samples))
        rest -= len(samples)
        if len(samples):
            yield Block(samples, block.sample_rate_hz)


def _info(frame: bytes) -> _Info | None:
    """Read a Xing, Info or VBRI header; None if the frame holds sound."""
    start = 4 + _side_bytes(frame)
    if frame[start : start + 4] in (b"Xing", b"Info"):  # behind the blank side information
        return _xing(frame, start)
    if frame[_VBRI_AT : _VBRI_AT + 4] == b"VBRI":
        return _Info(int.from_bytes(frame[_VBRI_AT + 14 : _VBRI_AT + 18], "big"))
    return None


def _xing(frame: bytes, start: int) -> _Info:
    flags = int.from_bytes(frame[start + 4 : start + 8], "big")
    count = int.from_bytes(frame[start + 8 : start + 12], "big") if flags & _COUNTED else 0
    tag = start + 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    if len(frame) < tag + _LAME_TAG_BYTES or not frame[tag : tag + 4].strip(b"\0"):
        return _Info(count)
    trim = int.from_bytes(frame[tag + 21 : tag + 24], "big")
    return _Info(count, trim >> 12, trim & 0xFFF)
