"""The tags of music players, with zeros and line ends: no sound, before, between and behind audio files."""

from __future__ import annotations

import re
from typing import Final

_BLANK: Final = re.compile(rb"[\0\t\n\r ]*")
_MP4_BOXES: Final = frozenset((b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"))
"""The names of the boxes at the start of MP4 and QuickTime files, behind four bytes of length that may look blank."""
_ID3V1_BYTES: Final = 128
ID3V2_HEADER_BYTES: Final = 10
_HAS_FOOTER: Final = 0x10
_ID3V2_HEADER: Final = re.compile(rb"ID3[\x02-\x04].[^\xff][\x00-\x7f]{4}", re.DOTALL)
_APE_BYTES: Final = 32
_APE_IS_HEADER: Final = 1 << 29


def skip(body: bytes | bytearray, position: int = 0) -> int:
    """Return where blanks and tags end, from a position on; beyond the end of the bytes when a tag is longer than they are."""
    while True:
        position = _behind_blanks(body, position)
        size = _tag_bytes(body, position)
        if not size:
            return position
        position += size


def _behind_blanks(body: bytes | bytearray, position: int) -> int:
    blank = _BLANK.match(body, position)
    end = blank.end() if blank else position
    for begin in range(max(position, end - 4), end):
        if bytes(body[begin + 4 : begin + 8]) in _MP4_BOXES:
            return begin
    return end


def _tag_bytes(body: bytes | bytearray, position: int) -> int:
    mark = body[position : position + 3]
    if mark == b"ID3" and _ID3V2_HEADER.match(body, position):
        footer_bytes = ID3V2_HEADER_BYTES if body[position + 5] & _HAS_FOOTER else 0
        return ID3V2_HEADER_BYTES + id3v2_bytes(body, position) + footer_bytes
    if mark == b"TAG":
        return _ID3V1_BYTES
    if body[position : position + 8] == b"APETAGEX" and position + _APE_BYTES <= len(body):
        # https://wiki.hydrogenaudio.org/index.php?title=APE_Tags_Header: the size counts the items and the footer.
        size = int.from_bytes(body[position + 12 : position + 16], "little")
        is_header = int.from_bytes(body[position + 20 : position + 24], "little") & _APE_IS_HEADER
        return size + _APE_BYTES if is_header else _APE_BYTES
    return 0


def id3v2_bytes(body: bytes | bytearray, position: int = 0) -> int:
    """Return the size of an ID3v2 tag without its header: seven bits a byte (id3.org, ID3v2.4.0 structure, section 3.1)."""
    size = 0
    for digit in body[position + 6 : position + ID3V2_HEADER_BYTES]:
        size = size << 7 | digit & 0x7F
    return size
