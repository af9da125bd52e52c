"""WebM and Matroska (RFC 9559): every block of the audio track, up to an end that agrees with the elements."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from functools import partial
from typing import Final

import msgspec

from sayonce.audio.decode import libav, tags
from sayonce.audio.decode.container import Container
from sayonce.errors import BadAudio

_AUDIO: Final = 2
_BLOCK_HEAD_BYTES: Final = 3
_CUT: Final = "The WebM audio is cut off"


class Kind(IntEnum):
    """The elements that matter here, by their ids."""

    EBML = 0x1A45DFA3
    SEGMENT = 0x18538067
    CLUSTER = 0x1F43B675
    INFO = 0x1549A966
    SCALE = 0x2AD7B1
    DURATION = 0x4489
    TRACKS = 0x1654AE6B
    TRACK = 0xAE
    TRACK_NUMBER = 0xD7
    TRACK_TYPE = 0x83
    CLUSTER_TIME = 0xE7
    BLOCK_GROUP = 0xA0
    BLOCK = 0xA1
    SIMPLE_BLOCK = 0xA3


_OPEN: Final = frozenset((Kind.SEGMENT, Kind.CLUSTER))
"""Elements of which a recorder may leave the length open."""
_ENTERED: Final = _OPEN | {Kind.INFO, Kind.TRACKS, Kind.TRACK, Kind.BLOCK_GROUP}


class _Element(msgspec.Struct, frozen=True):
    kind: int
    begin: int
    end: int


class _Track(msgspec.Struct):
    """When a track's blocks begin: the first, the last, and the longest time between two; in the file's own unit."""

    first: int
    last: int
    gap: int = 0


class _Sums(msgspec.Struct):
    """The facts found on the way through the elements."""

    end: int = 0
    scale: int = 1_000_000
    duration: float = 0.0
    number: int = 0
    audio: int | None = None
    size: int = 0
    time: int = 0
    tracks: dict[int, _Track] = {}


def walk(body: bytes, start: int) -> Container:
    """Describe one file.

    Raises:
        BadAudio: it is cut off inside an element, or has no audio.

    """
    sums = _Sums(end=start)
    for element in _elements(body, start, sums):
        _add(body, element, sums)
    if sums.audio is None or not sums.size:
        raise BadAudio("The WebM file has no audio, or none of it has come")
    blocks = partial(libav.container_blocks, "WebM", "matroska", body[start : sums.end], sums.size)
    return Container(name="WebM", end=sums.end, blocks=blocks, seconds=_seconds(sums))


def _seconds(sums: _Sums) -> float:
    """Return how much sound there is at least.

    The stated duration is that of the track which ends last. Where another one goes on to it, nothing is cut off, and
    the sound is as long as its own blocks say.
    """
    unit, sound = sums.scale / 1e9, sums.tracks[sums.audio or 0]
    stated = sums.duration * unit - _ROUNDING_SECONDS
    others = (track for number, track in sums.tracks.items() if number != sums.audio)
    if any(track.last * unit + min(track.gap * unit, _LONGEST_GAP_SECONDS) >= stated for track in others):
        stated = sound.last * unit - _ROUNDING_SECONDS
    return max(0.0, stated - sound.first * unit)


_ROUNDING_SECONDS: Final = 0.1
"""Durations are in milliseconds, with or without the delay of the encoder, which is two frames in AAC."""

_LONGEST_GAP_SECONDS: Final = 1.0
"""A track ends as long behind the beginning of its last block as its blocks are apart, and at most so long."""


def _elements(body: bytes, position: int, sums: _Sums) -> Iterator[_Element]:
    """Go through a file's elements up to its end, into those that hold others."""
    first, limit = position, len(body)
    while position < limit and tags.skip(body, position) == position:
        kind, at = _number(body, position, keep_marker=True)
        if kind == Kind.EBML and position > first:
            break
        size, at = _number(body, at)
        is_open = size == -1 and kind in _OPEN
        end = at if is_open else at + size
        if (size < 0 and not is_open) or end > len(body):
            raise BadAudio(f"{_CUT} inside an element")
        if kind == Kind.SEGMENT and not is_open:
            limit = end
        yield _Element(kind, at, end)
        position = at if kind in _ENTERED else end
        sums.end = max(sums.end, position)


def _add(body: bytes, element: _Element, sums: _Sums) -> None:
    content = body[element.begin : element.end] if element.kind not in _ENTERED else b""
    match element.kind:
        case Kind.SCALE:
            sums.scale = int.from_bytes(content, "big")
        case Kind.DURATION:
            sums.duration = _float(content)
        case Kind.TRACK_NUMBER:
            sums.number = int.from_bytes(content, "big")
        case Kind.TRACK_TYPE:
            if int.from_bytes(content, "big") == _AUDIO and sums.audio is None:
                sums.audio = sums.number
        case Kind.CLUSTER_TIME:
            sums.time = int.from_bytes(content, "big")
        case Kind.BLOCK | Kind.SIMPLE_BLOCK:
            track, at = _number(content, 0)
            _add_time(sums, track, sums.time + int.from_bytes(content[at : at + 2], "big", signed=True))
            if track == sums.audio:
                sums.size += _payload_bytes(content, at)


def _add_time(sums: _Sums, number: int, time: int) -> None:
    track = sums.tracks.setdefault(number, _Track(time, time))
    track.gap = max(track.gap, time - track.last)
    track.last = max(track.last, time)


def _float(content: bytes) -> float:
    form = {4: ">f", 8: ">d"}.get(len(content))
    return float(struct.unpack(form, content)[0]) if form else 0.0


def _payload_bytes(content: bytes, at: int) -> int:
    """Return the bytes of a block's frames; of laced ones at least their data (RFC 9559 section 10.3)."""
    flags = content[at + 2] if len(content) > at + 2 else 0
    rest = len(content) - at - _BLOCK_HEAD_BYTES
    return max(0, rest if not flags & 0x06 else 0)


def _number(body: bytes, position: int, *, keep_marker: bool = False) -> tuple[int, int]:
    """Read a number of a length that its leading zeros say (RFC 8794 section 4); -1 for the number that means unknown."""
    first = body[position] if position < len(body) else 0
    width = 9 - first.bit_length()
    raw = body[position : position + width]
    if not first:
        return 0, position + 1
    if len(raw) < width:
        raise BadAudio(f"{_CUT} inside an element")
    value = int.from_bytes(raw, "big")
    if keep_marker:
        return value, position + width
    value &= (1 << 7 * width) - 1
    return (-1 if value == (1 << 7 * width) - 1 else value), position + width
