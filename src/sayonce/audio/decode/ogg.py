"""Ogg (RFC 3533): every page of a stream, in order and undamaged, up to the one that is marked as the last."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import partial
from typing import Final

from sayonce.audio.decode import libav, libsndfile
from sayonce.audio.decode.container import Container
from sayonce.audio.samples import Block
from sayonce.errors import BadAudio

_PAGE: Final = struct.Struct("<4sBBqIIIB")
_FIRST, _LAST = 2, 4
_CRC_AT: Final = slice(22, 26)
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_NO_POSITION: Final = -1
_OPUS: Final = b"OpusHead"


def walk(body: bytes, start: int) -> Container:
    """Describe one stream of a chain; how many samples it has is the position that its last page states.

    Raises:
        BadAudio: a page is missing or damaged, or several streams run beside one another.

    """
    position, number, flags, serial, granule, origin = start, 0, 0, 0, 0, 0
    head = b""
    while not flags & _LAST:
        page, content = _page(body, position, number)
        _, _, flags, stated, owner, sequence, _, _ = _PAGE.unpack_from(page)
        if number == 0:
            serial, head = owner, content
        if owner != serial:
            raise BadAudio("The Ogg audio has several streams at once, or lacks its last page")
        if sequence != number:
            raise BadAudio(f"The Ogg audio lacks page {number}")
        if stated > 0 and not granule and head.startswith(_OPUS):
            origin = max(0, stated - _opus_samples(page, content))
        granule = granule if stated == _NO_POSITION else stated
        position += len(page) + len(content)
        number += 1
    name, rate, delay = _codec(head)
    seconds = (granule - origin - delay) / rate
    blocks = partial(_blocks, name, body[start:position])
    return Container(name=name, end=position, blocks=blocks, seconds=seconds)


def _blocks(name: str, body: bytes) -> Iterator[Block]:
    """Decode by libsndfile; by FFmpeg Speex, and short Opus that begins at another position than 0."""
    if name == "Ogg Speex":
        yield from libav.container_blocks(name, "ogg", body)
        return
    decoded = libsndfile.blocks(body)
    try:
        first = next(decoded, None)
    except BadAudio:
        if name != "Ogg Opus":
            raise
        decoded = libav.container_blocks(name, "ogg", body)
        first = next(decoded, None)
    if first is not None:
        yield first
    yield from decoded


def _page(body: bytes, position: int, number: int) -> tuple[bytes, bytes]:
    """Return a page's header and content."""
    if position == len(body):
        raise BadAudio("The Ogg audio is cut off: its last page is missing")
    if position + _PAGE.size > len(body):
        raise BadAudio("The Ogg audio is cut off inside a page")
    if not body.startswith(b"OggS", position):
        raise BadAudio(f"The Ogg audio lacks page {number}")
    table = position + _PAGE.size
    begin = table + body[table - 1]
    end = begin + sum(body[table:begin])
    if begin > len(body) or end > len(body):
        raise BadAudio("The Ogg audio is cut off inside a page")
    page = bytearray(body[position:end])
    stated = int.from_bytes(page[_CRC_AT], "little")
    page[_CRC_AT] = bytes(4)
    if _crc(bytes(page)) != stated:
        raise BadAudio(f"The Ogg audio is damaged in page {number}")
    return body[position:begin], body[begin:end]


def _crc(page: bytes) -> int:
    """Ogg's checksum has zlib's polynomial, with the bits in the other order and nothing inverted."""
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int.from_bytes(crc.to_bytes(4, "little").translate(_REVERSED), "big")


def _codec(head: bytes) -> tuple[str, int, int]:
    """Return the codec's name, the rate in which positions are counted, and the samples to leave out at the start."""
    if head.startswith(_OPUS):
        return "Ogg Opus", 48_000, int.from_bytes(head[10:12], "little")  # RFC 7845 section 4
    if head.startswith(b"\x01vorbis"):
        return "Ogg Vorbis", int.from_bytes(head[12:16], "little") or 1, 0
    if head.startswith(b"\x7fFLAC"):
        return "Ogg FLAC", int.from_bytes(head[27:30], "big") >> 4 or 1, 0
    if head.startswith(b"Speex   "):
        return "Ogg Speex", int.from_bytes(head[36:40], "little") or 1, 0
    raise BadAudio("The Ogg file holds neither Opus nor Vorbis nor FLAC nor Speex")


def _opus_samples(page: bytes, content: bytes) -> int:
    """Return how long the packets of a page are, at 48 kHz: the first page's position may begin at another than 0."""
    total, begin, size = 0, 0, 0
    for lace in page[_PAGE.size :]:
        size += lace
        if lace < 255:  # noqa: PLR2004 (a packet ends here)
            total += _packet_samples(content[begin : begin + size])
            begin, size = begin + size, 0
    return total


def _packet_samples(packet: bytes) -> int:
    """Read an Opus packet's first bytes (RFC 6716 section 3.1)."""
    if not packet:
        return 0
    config, code = packet[0] >> 3, packet[0] & 3
    if config < 12:  # noqa: PLR2004 (SILK)
        frame = (480, 960, 1920, 2880)[config & 3]
    elif config < 16:  # noqa: PLR2004 (hybrid)
        frame = (480, 960)[config & 1]
    else:
        frame = (120, 240, 480, 960)[config & 3]
    return frame * (1 if code == 0 else 2 if code < 3 else packet[1] & 63 if len(packet) > 1 else 0)  # noqa: PLR2004
