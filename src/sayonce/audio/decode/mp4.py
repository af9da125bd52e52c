"""MP4, M4A, 3GP and QuickTime (ISO 14496-12): every packet in the tables of the audio track is in the file."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

import msgspec

from sayonce.audio.decode import libav
from sayonce.audio.decode.container import Container
from sayonce.errors import BadAudio

_BEGINS: Final = b"ftyp"
_CUT: Final = "The MP4 audio is cut off"
_TOP_LEVEL: Final = frozenset(
    b"ftyp moov mdat free skip wide uuid moof mfra sidx styp udta meta pnot pdin emsg prft ssix".split()
)
QUICKTIME: Final = frozenset((b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"))
"""The boxes that old QuickTime files begin with."""


class _Box(msgspec.Struct, frozen=True):
    kind: bytes
    content: bytes


class _Track(msgspec.Struct, frozen=True):
    number: int
    bytes: int
    seconds: float


def walk(body: bytes, start: int) -> Container:
    """Describe one file, whole or in fragments as browsers record it.

    Raises:
        BadAudio: it is cut off, or has no audio.

    """
    end, boxes = _top_level(body, start)
    moov = next((box.content for box in boxes if box.kind == b"moov"), None)
    if moov is None:
        raise BadAudio(f"{_CUT}: its table of contents is missing")
    track = _audio_track(moov, end - start)
    size = track.bytes + sum(_fragment_bytes(box.content, track, moov) for box in boxes if box.kind == b"moof")
    if not size:
        raise BadAudio("The MP4 audio is empty")
    blocks = partial(libav.container_blocks, "MP4", "mov", body[start:end], size)
    return Container(name="MP4", end=end, blocks=blocks, seconds=track.seconds)


def _top_level(body: bytes, start: int) -> tuple[int, list[_Box]]:
    """Return where the file ends, and its boxes; of large data only the name."""
    position, boxes = start, list[_Box]()
    while body[position + 4 : position + 8] in _TOP_LEVEL:
        kind = body[position + 4 : position + 8]
        if kind == _BEGINS and boxes:
            break
        head, size = _size(body, position, len(body))
        boxes.append(_Box(kind, b"" if kind == b"mdat" else body[position + head : position + size]))
        position += size
    return position, boxes


def _size(body: bytes, position: int, end: int) -> tuple[int, int]:
    """Return how long a box's header is, and the box; 0 means up to the end."""
    head, size = 8, int.from_bytes(body[position : position + 4], "big")
    if size == 1:
        head, size = 16, int.from_bytes(body[position + 8 : position + 16], "big")
    if size == 0:
        size = end - position
    if size < head or position + size > end:
        raise BadAudio(f"{_CUT} inside its box {body[position + 4 : position + 8].decode('latin-1')}")
    return head, size


def _boxes(content: bytes) -> Iterator[_Box]:
    position = 0
    while position + 8 <= len(content):
        head, size = _size(content, position, len(content))
        yield _Box(content[position + 4 : position + 8], content[position + head : position + size])
        position += size


def _find(content: bytes, *path: bytes) -> bytes:
    """Return the content of the first box at the end of a path, empty if there is none."""
    for kind in path:
        content = next((box.content for box in _boxes(content) if box.kind == kind), b"")
    return content


def _audio_track(moov: bytes, file_bytes: int) -> _Track:
    for box in _boxes(moov):
        if box.kind == b"trak" and _find(box.content, b"mdia", b"hdlr")[8:12] == b"soun":
            return _track(moov, box.content, file_bytes)
    raise BadAudio("The MP4 file has no audio")


def _track(moov: bytes, trak: bytes, file_bytes: int) -> _Track:
    tkhd, mdhd, stbl = _find(trak, b"tkhd"), _find(trak, b"mdia", b"mdhd"), _find(trak, b"mdia", b"minf", b"stbl")
    sizes, count = _packet_sizes(stbl)
    size = _check_offsets(stbl, sizes, count, file_bytes)
    stated = _edited_seconds(moov, trak) or _seconds(mdhd)
    # Of a file in fragments the length may not have been known.
    return _Track(_number(tkhd, 12 if tkhd[:1] == b"\0" else 20), size, stated if count else 0)


def _packet_sizes(stbl: bytes) -> tuple[list[int] | int, int]:
    """Return the size of each packet, or the one of all, and their number (ISO 14496-12 section 8.7.3)."""
    stsz = _find(stbl, b"stsz")
    size, count = _number(stsz, 4), _number(stsz, 8)
    if size:
        return size, count
    if len(stsz) < 12 + 4 * count:
        raise BadAudio(f"{_CUT} inside its table of packets")
    return [_number(stsz, 12 + 4 * each) for each in range(count)], count


def _check_offsets(stbl: bytes, sizes: list[int] | int, count: int, file_bytes: int) -> int:
    """Return how many bytes the packets have, each chunk of which lies within the file (sections 8.7.4 and 8.7.5)."""
    offsets, runs = _chunk_offsets(stbl), _find(stbl, b"stsc")
    per_chunk = {_number(runs, at): _number(runs, at + 4) for at in range(8, len(runs) - 11, 12)}
    first, total, packets = 0, 0, 0
    for chunk, offset in enumerate(offsets, 1):
        packets = per_chunk.get(chunk, packets)
        following = min(first + packets, count)
        size = sizes * (following - first) if isinstance(sizes, int) else sum(sizes[first:following])
        if offset + size > file_bytes:
            raise BadAudio(f"{_CUT}: its packets go on behind the end of the file")
        first, total = following, total + size
    if first < count:
        raise BadAudio(f"{_CUT}: it places {first} of {count} packets")
    return total


def _chunk_offsets(stbl: bytes) -> list[int]:
    stco, width = _find(stbl, b"stco"), 4
    if not stco:
        stco, width = _find(stbl, b"co64"), 8
    return [int.from_bytes(stco[at : at + width], "big") for at in range(8, len(stco) - width + 1, width)]


def _fragment_bytes(moof: bytes, track: _Track, moov: bytes) -> int:
    """Return how many bytes the packets of a fragment have (section 8.8)."""
    default = next(
        (_number(box.content, 16) for box in _boxes(_find(moov, b"mvex")) if _number(box.content, 4) == track.number), 0
    )
    total = 0
    for traf in (box.content for box in _boxes(moof) if box.kind == b"traf"):
        head = _find(traf, b"tfhd")
        if _number(head, 4) == track.number:
            size = _default_size(head) or default
            total += sum(_run_bytes(box.content, size) for box in _boxes(traf) if box.kind == b"trun")
    return total


def _default_size(tfhd: bytes) -> int:
    flags = _number(tfhd, 0)
    before = 8 + 8 * (flags & 1) + 4 * (flags >> 1 & 1) + 4 * (flags >> 3 & 1)
    return _number(tfhd, before) if flags & 0x10 else 0


def _run_bytes(trun: bytes, default: int) -> int:
    flags, count = _number(trun, 0), _number(trun, 4)
    if not flags & 0x200:
        return count * default
    at = 8 + 4 * (flags & 1) + 4 * (flags >> 2 & 1)
    width = 4 * (flags >> 8 & 0xF).bit_count()
    at += 4 * (flags >> 8 & 1)
    return sum(_number(trun, at + width * each) for each in range(min(count, len(trun))))


def _edited_seconds(moov: bytes, trak: bytes) -> float:
    """Return how long the edit list says that the track is heard; 0 where there is none."""
    elst = _find(trak, b"edts", b"elst")
    wide = elst[:1] == b"\1"
    width = 20 if wide else 12
    total = 0
    for at in range(8, len(elst) - width + 1, width):
        half = 8 if wide else 4
        is_pause = elst[at + half] & 0x80
        total += 0 if is_pause else int.from_bytes(elst[at : at + half], "big")
    scale = _scale(_find(moov, b"mvhd"))
    return max(0, total - 1) / scale  # it is rounded to the units of the whole file


def _seconds(mdhd: bytes) -> float:
    wide = mdhd[:1] == b"\1"
    duration = int.from_bytes(mdhd[24:32] if wide else mdhd[16:20], "big")
    return 0 if duration in (0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF) else duration / _scale(mdhd)


def _scale(head: bytes) -> int:
    return _number(head, 20 if head[:1] == b"\1" else 12) or 1


def _number(content: bytes, position: int) -> int:
    return int.from_bytes(content[position : position + 4], "big")
