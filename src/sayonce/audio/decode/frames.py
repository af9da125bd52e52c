"""Streams of bare frames, each of which says its own length: AAC in ADTS, and AMR of telephones."""

from __future__ import annotations

from functools import partial
from typing import Final

from sayonce.audio.decode import libav, tags
from sayonce.audio.decode.container import Container
from sayonce.errors import BadAudio

ADTS_BYTES: Final = 7
_AAC_SAMPLES: Final = 1024
_AAC_RATES: Final = (
    96_000,
    88_200,
    64_000,
    48_000,
    44_100,
    32_000,
    24_000,
    22_050,
    16_000,
    12_000,
    11_025,
    8_000,
    7350,
)
_AMR: Final = (b"#!AMR\n", "AMR", "amrnb", (12, 13, 15, 17, 19, 20, 26, 31, 5, 6, 5, 5, 0, 0, 0, 0))
_AMR_WB: Final = (b"#!AMR-WB\n", "AMR-WB", "amrwb", (17, 23, 32, 36, 40, 46, 50, 58, 60, 5, 0, 0, 0, 0, 0, 0))
"""Mark, name, decoder, and bytes of a frame by its type (RFC 4867 section 5.3; 3GPP TS 26.101 and 26.201)."""
_AMR_FRAMES_A_SECOND: Final = 50


def adts_bytes(body: bytes | bytearray, position: int) -> int:
    """Return the length of the ADTS frame that begins here, 0 where there is none (ISO 14496-3, 1.A.2.2)."""
    head = body[position : position + ADTS_BYTES]
    if len(head) < ADTS_BYTES or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:  # noqa: PLR2004 (the sync word)
        return 0
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return size if size >= ADTS_BYTES and head[2] >> 2 & 15 < len(_AAC_RATES) else 0


def walk_adts(body: bytes, start: int) -> Container:
    """Describe a run of AAC frames.

    Raises:
        BadAudio: a frame is cut off.

    """
    packets, position, blocks = [], start, 0
    while size := adts_bytes(body, position):
        packets.append(body[position : position + size])
        blocks += (body[position + 6] & 3) + 1
        position += size
    _check_end("AAC", body, position, packets)
    seconds = blocks * _AAC_SAMPLES / _AAC_RATES[packets[0][2] >> 2 & 15]
    return Container(
        name="AAC", end=position, blocks=partial(libav.packet_blocks, "AAC", "aac", packets), seconds=seconds
    )


def walk_amr(body: bytes, start: int) -> Container:
    """Describe an AMR file, narrow or wide band.

    Raises:
        BadAudio: a frame is cut off.

    """
    mark, name, codec, sizes = _AMR_WB if body.startswith(_AMR_WB[0], start) else _AMR
    packets, position = [], start + len(mark)
    while position < len(body) and not body[position] & 0x83:  # the bits of padding; a mark or a zero is no frame
        size = 1 + sizes[body[position] >> 3]
        if size == 1 or tags.skip(body, position) > position:
            break
        packets.append(body[position : position + size])
        position += size
    _check_end(name, body, position, packets)
    blocks = partial(libav.packet_blocks, name, codec, packets)
    return Container(name=name, end=position, blocks=blocks, seconds=len(packets) / _AMR_FRAMES_A_SECOND)


def _check_end(name: str, body: bytes, position: int, packets: list[bytes]) -> None:
    if position > len(body):
        raise BadAudio(f"The {name} audio is cut off inside a frame")
    if not packets:
        raise BadAudio(f"The {name} audio is empty, or has a broken frame")
