"""FLAC (RFC 9639): the chain of its frames' headers up to the checksum of the last, and the total that is stated."""

from __future__ import annotations

import re
from functools import partial
from typing import Final

import msgspec

from sayonce.audio.decode import libsndfile, tags
from sayonce.audio.decode.container import Container
from sayonce.errors import BadAudio

_SIGNATURE: Final = b"fLaC"
_STREAMINFO_BYTES: Final = 34
_SYNC: Final = re.compile(rb"\xff[\xf8\xf9]")
_CUT: Final = "The FLAC audio is cut off"


class _Header(msgspec.Struct, frozen=True):
    number: int
    """Of the frame, or of its first sample where blocks have different sizes."""
    frames: int


def walk(body: bytes, start: int) -> Container:
    """Describe one FLAC stream.

    Raises:
        BadAudio: it is cut off, or frames are missing.

    """
    position, info = _read_metadata(body, start)
    end, frames = _walk_frames(body, position)
    total = int.from_bytes(info[13:18], "big") & (1 << 36) - 1
    if total and frames != total:
        raise BadAudio(f"{_CUT}: {frames} of {total} samples")
    return Container(name="FLAC", end=end, blocks=partial(libsndfile.blocks, body[start:end]), frames=frames)


def _read_metadata(body: bytes, start: int) -> tuple[int, bytes]:
    """Return where the frames begin, and the content of STREAMINFO."""
    position, info, is_last = start + len(_SIGNATURE), b"", False
    while not is_last:
        head = body[position : position + 4]
        size = int.from_bytes(head[1:], "big")
        content = body[position + 4 : position + 4 + size]
        if len(head) < 4 or len(content) < size:  # noqa: PLR2004 (the header of a block)
            raise BadAudio(f"{_CUT} inside its header")
        if head[0] & 0x7F == 0 and not info:
            info = content
        is_last = bool(head[0] & 0x80)
        position += 4 + size
    if len(info) < _STREAMINFO_BYTES:
        raise BadAudio("The FLAC audio does not say what its samples are")
    return position, info


def _walk_frames(body: bytes, position: int) -> tuple[int, int]:
    """Follow the frames by their numbers; return where the last one ends, and how many samples there are."""
    header = _header_at(body, position)
    if header is None:
        raise BadAudio("The FLAC audio is empty")
    total, limit = header.frames, _next_signature(body, position)
    while True:
        following = _find_next(body, position, header, limit)
        if following is not None:
            position, header = following
            total += header.frames
        elif limit == len(body) or _ends_before(body, position, limit):
            return _last_end(body, position), total
        else:  # these are samples that look like the next stream
            limit = _next_signature(body, limit + 1)


def _next_signature(body: bytes, position: int) -> int:
    found = body.find(_SIGNATURE, position)
    return found if found >= 0 else len(body)


def _ends_before(body: bytes, position: int, limit: int) -> bool:
    try:
        return _last_end(body, position) <= limit
    except BadAudio:
        return False


def _find_next(body: bytes, position: int, header: _Header, limit: int) -> tuple[int, _Header] | None:
    """Find the frame behind one: its number follows, as nothing within coded samples does but by the rarest chance."""
    expected = header.number + (header.frames if body[position + 1] & 1 else 1)
    for found in _SYNC.finditer(body, position + 2, limit):
        candidate = _header_at(body, found.start())
        if candidate is not None and candidate.number == expected:
            return found.start(), candidate
    return None


def _last_end(body: bytes, position: int) -> int:
    """Return where the frame that begins here ends: where its checksum is right, and no sound follows."""
    crc = 0
    for end in range(position, min(len(body), position + (1 << 20))):
        crc = (crc << 8 ^ _CRC16[crc >> 8 ^ body[end]]) & 0xFFFF
        if not crc and end > position + 6 and _is_end(body, end + 1):
            return end + 1 + _own_zeros(body, end + 1)
    raise BadAudio(f"{_CUT} inside a frame")


def _own_zeros(body: bytes, position: int) -> int:
    """Return how many zeros from here on are a checksum's own: it is right before its last bytes where these are zeros.

    One or two zeros before the end, or before the next stream, are taken for that; more are not of the file.
    """
    zeros = len(body[position : position + 3]) - len(body[position : position + 3].lstrip(b"\0"))
    return zeros if zeros <= 2 else 0  # noqa: PLR2004 (the checksum's bytes)


def _is_end(body: bytes, position: int) -> bool:
    rest = tags.skip(body, position)
    return rest >= len(body) or body.startswith(_SIGNATURE, rest)


def _header_at(body: bytes, position: int) -> _Header | None:
    """Read a frame's header, if its checksum says that it is one (RFC 9639 section 9.1)."""
    head = body[position : position + 16]
    if len(head) < 6 or not _SYNC.match(head) or head[3] & 1:  # noqa: PLR2004 (the shortest header)
        return None
    number, at = _coded_number(head)
    size, rate = head[2] >> 4, head[2] & 15
    frames = _BLOCK_FRAMES.get(size, 0)
    if size in (6, 7):
        width = size - 5
        frames, at = int.from_bytes(head[at : at + width], "big") + 1, at + width
    at += {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if not frames or number < 0 or rate == 15 or at >= len(head) or _crc8(head[:at]) != head[at]:  # noqa: PLR2004
        return None
    return _Header(number, frames)


def _coded_number(head: bytes) -> tuple[int, int]:
    """Return the number that is coded like UTF-8 from byte 4 on, -1 if it is not, and where it ends."""
    first = head[4]
    more = 0 if first < 0x80 else 7 - (first ^ 0xFF).bit_length()  # noqa: PLR2004 (one byte, as in ASCII)
    tail = head[5 : 5 + more]
    if (first >= 0x80 and more < 1) or len(tail) < more or any(each & 0xC0 != 0x80 for each in tail):  # noqa: PLR2004
        return -1, 5 + more
    number = first if not more else first & (0x7F >> more + 1)
    for each in tail:
        number = number << 6 | each & 0x3F
    return number, 5 + more


def _crc8(data: bytes) -> int:
    crc = 0
    for each in data:
        crc = _CRC8[crc ^ each]
    return crc


def _table(polynomial: int, bits: int) -> tuple[int, ...]:
    top, mask = 1 << bits - 1, (1 << bits) - 1
    table = []
    for byte in range(256):
        crc = byte << bits - 8
        for _ in range(8):
            crc = (crc << 1 ^ polynomial if crc & top else crc << 1) & mask
        table.append(crc)
    return tuple(table)


_CRC8: Final = _table(0x07, 8)
_CRC16: Final = _table(0x8005, 16)
_BLOCK_FRAMES: Final = (
    {1: 192} | {code: 144 << code for code in range(2, 6)} | {code: 1 << code for code in range(8, 16)}
)
