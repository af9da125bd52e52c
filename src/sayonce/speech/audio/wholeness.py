"""Whether compressed audio is whole, read from its container: decoders are too forgiving to notice a truncation."""

from __future__ import annotations

import struct
from typing import Final

from sayonce.errors import BadAudio

_OGG_PAGE: Final = struct.Struct("<4sBBqIIIB")
_OGG_LAST: Final = 4
_MPEG1: Final = 3
_MP3_KBITS: Final = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MP3_RATES: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_ID3V1_BYTES: Final = 128


def check_ogg(body: bytes) -> None:
    """Check that no page is missing, up to the one that is marked as the last (RFC 3533 section 6).

    Raises:
        BadAudio: it is cut off.

    """
    position, number, flags = 0, 0, 0
    while position < len(body):
        if position + _OGG_PAGE.size > len(body):
            raise BadAudio("The Ogg audio is cut off inside a page")
        magic, _, flags, _, _, sequence, _, segments = _OGG_PAGE.unpack_from(body, position)
        if magic != b"OggS" or sequence != number:
            raise BadAudio(f"The Ogg audio lacks page {number}")
        table = position + _OGG_PAGE.size
        position = table + segments + sum(body[table : table + segments])
        number += 1
    if position > len(body) or not flags & _OGG_LAST:
        raise BadAudio("The Ogg audio is cut off: its last page is missing")


def check_adts(body: bytes) -> None:
    """Check that the last ADTS frame is whole. A cut between two frames leaves no trace.

    Raises:
        BadAudio: it is cut off.

    """
    position = 0
    while position + 7 <= len(body):
        size = (body[position + 3] & 3) << 11 | body[position + 4] << 3 | body[position + 5] >> 5
        if body[position] != 0xFF or body[position + 1] & 0xF6 != 0xF0 or size < 7:  # noqa: PLR2004 (sync word, header)
            raise BadAudio("The AAC audio has a broken frame")
        position += size
    if position != len(body):
        raise BadAudio("The AAC audio is cut off inside a frame")


def check_mp3(body: bytes) -> None:
    """Check that the last frame is whole, and that there are as many as the Xing header says where there is one.

    Without that header (streams have none, or a blank one) a cut between two frames leaves no trace.

    Raises:
        BadAudio: it is cut off.

    """
    position, frames, promised = 0, 0, 0
    while position < len(body) and body[position : position + 3] not in (b"TAG", b"APE"):
        if body[position : position + 3] == b"ID3":
            position += _id3_bytes(body, position)
            continue
        size = _mp3_frame_bytes(body, position)
        promised = promised or (_xing_frames(body[position : position + size]) if not frames else 0)
        position += size
        frames += 1
    if position > len(body):
        raise BadAudio("The MP3 audio is cut off inside a frame")
    if promised and not promised < frames <= promised + 2:  # some writers leave the Xing frame or the last one out
        raise BadAudio(f"The MP3 audio is cut off: {frames - 1} of {promised} frames")


def _id3_bytes(body: bytes, position: int) -> int:
    """Sizes in ID3v2 have seven bits a byte (id3.org, ID3v2.4.0 structure, section 3.1)."""
    size = 0
    for digit in body[position + 6 : position + 10]:
        size = size << 7 | digit & 0x7F
    return 10 + size


def _mp3_frame_bytes(body: bytes, position: int) -> int:
    """ISO 11172-3 section 2.4.2.3: layer III frames of 1152 samples, or 576 at the lower rates."""
    word = int.from_bytes(body[position : position + 4].ljust(4, b"\0"), "big")
    version, layer = word >> 19 & 3, word >> 17 & 3
    kbits, rate = word >> 12 & 15, word >> 10 & 3
    if word >> 21 != 0x7FF or version == 1 or layer != 1 or kbits in (0, 15) or rate == 3:  # noqa: PLR2004 (reserved)
        raise BadAudio("The MP3 audio has a broken frame")
    is_mpeg1 = version == _MPEG1
    bits = _MP3_KBITS[is_mpeg1][kbits] * 1000
    return (144 if is_mpeg1 else 72) * bits // _MP3_RATES[version][rate] + (word >> 9 & 1)


def _xing_frames(frame: bytes) -> int:
    """Return the count in a Xing or Info header, 0 if there is none; it lies behind the blank side information."""
    is_mpeg1, is_mono = frame[1] >> 3 & 3 == _MPEG1, frame[3] >> 6 == 3  # noqa: PLR2004 (the mode bits of one channel)
    start = 4 + {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}[is_mpeg1, is_mono]
    tag, has_frames = frame[start : start + 4], frame[start + 7 : start + 8] > b"\0"
    if tag not in (b"Xing", b"Info") or not has_frames:
        return 0
    return int.from_bytes(frame[start + 8 : start + 12], "big")
