"""Core Audio Format, of Apple's recorders: samples without compression, or packets with a table of their number."""

from __future__ import annotations

import struct
from functools import partial
from typing import Final

import msgspec

from sayonce.audio.decode import libav, libsndfile
from sayonce.audio.decode.container import Container
from sayonce.errors import BadAudio

_HEAD_BYTES: Final = 8
_CHUNK: Final = struct.Struct(">4sq")
_DESC: Final = struct.Struct(">d4sIIIII")
_PAKT: Final = struct.Struct(">qqii")
_EDITS_BYTES: Final = 4
_BY_LIBSNDFILE: Final = frozenset((b"lpcm", b"ulaw", b"alaw"))
_CUT: Final = "The CAF audio is cut off"
_NAMES: Final = frozenset(
    b"desc data pakt kuki chan free info strg mark regn inst midi ovvw peak edct umid uuid".split()
)


class _File(msgspec.Struct):
    end: int
    desc: bytes = b""
    pakt: bytes = b""
    data: int = 0
    size: int = 0


def walk(body: bytes, start: int) -> Container:
    """Describe one file.

    Raises:
        BadAudio: it is cut off, or does not say how long it is.

    """
    file = _read(body, start)
    if len(file.desc) < _DESC.size or not file.size:
        raise BadAudio("The CAF audio is empty, or does not say what its samples are")
    rate, codec, _, packet_bytes, packet_frames, _, _ = _DESC.unpack_from(file.desc)
    if not rate > 0:
        raise BadAudio("The CAF audio has no sample rate")
    frames = _frames(file, packet_bytes, packet_frames)
    whole = bytearray(body[start : file.end])
    whole[file.data - start - 8 : file.data - start] = (file.size + _EDITS_BYTES).to_bytes(8, "big")
    if codec in _BY_LIBSNDFILE:
        blocks = partial(libsndfile.blocks, bytes(whole))
        return Container(name="CAF", end=file.end, blocks=blocks, frames=frames)
    blocks = partial(libav.container_blocks, "CAF", "caf", bytes(whole), file.size)
    if codec == b"alac":
        return Container(name="CAF", end=file.end, blocks=blocks, frames=frames)
    return Container(name="CAF", end=file.end, blocks=blocks, seconds=frames / rate)


def _read(body: bytes, start: int) -> _File:
    position = start + _HEAD_BYTES
    file = _File(end=position)
    while body[position : position + 4] in _NAMES:
        if position + _CHUNK.size > len(body):
            raise BadAudio(f"{_CUT} inside a chunk")
        name, size = _CHUNK.unpack_from(body, position)
        position += _CHUNK.size
        size = len(body) - position if name == b"data" and size == -1 else size  # the recorder was interrupted
        if size < 0 or position + size > len(body):
            raise BadAudio(f"{_CUT} inside a chunk")
        if name == b"data":
            file.data, file.size = position, size - _EDITS_BYTES
        elif name == b"desc":
            file.desc = body[position : position + size]
        elif name == b"pakt":
            file.pakt = body[position : position + size]
        position += size
        file.end = position
    return file


def _frames(file: _File, packet_bytes: int, packet_frames: int) -> int:
    if packet_bytes and packet_frames:
        return file.size // packet_bytes * packet_frames
    if len(file.pakt) < _PAKT.size:
        raise BadAudio(f"{_CUT}: its table of packets is missing")
    return int(_PAKT.unpack_from(file.pakt)[1])
