"""AIFF, AU and Wave64, cousins of WAV: as many samples as the header states."""

from __future__ import annotations

import struct
from functools import partial
from typing import Final

from sayonce.audio.decode import libsndfile
from sayonce.audio.decode.container import Container
from sayonce.errors import BadAudio

_CHUNK: Final = struct.Struct(">4sI")
_FORM_BYTES: Final = 12
_SSND_HEAD_BYTES: Final = 8
_AU: Final = struct.Struct(">4s5I")
_AU_MARK: Final = b".snd\0\0\0"
_AU_WIDTHS: Final = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}
_GUID_BYTES: Final = 16
_W64_CHUNK: Final = struct.Struct("<4s12xQ")
_AU_LONGEST: Final = 256_000_000
"""A length beyond it stands for one that was not known when the header was written."""


def walk_aiff(body: bytes, start: int) -> Container:
    """Describe one AIFF or AIFF-C file.

    Raises:
        BadAudio: it is cut off, or does not say how many samples it has.

    """
    form_end = start + 8 + int.from_bytes(body[start + 4 : start + 8], "big")
    position, frames, sound = start + _FORM_BYTES, 0, 0
    while position + _CHUNK.size <= min(form_end, len(body)):
        name, size = _CHUNK.unpack_from(body, position)
        position += _CHUNK.size
        if position + size > len(body):
            raise BadAudio("The AIFF audio is cut off inside a chunk")
        if name == b"COMM":
            frames = int.from_bytes(body[position + 2 : position + 6], "big")
        if name == b"SSND":
            sound = size - _SSND_HEAD_BYTES
        position += size + size % 2
    if form_end > len(body) + 1 or not 0 < frames <= sound * 8:
        raise BadAudio("The AIFF audio is cut off, empty, or does not say how long it is")
    end = min(form_end, len(body))
    return Container(name="AIFF", end=end, blocks=partial(libsndfile.blocks, body[start:end]), frames=frames)


def walk_au(body: bytes, start: int) -> Container:
    """Describe one AU file.

    Raises:
        BadAudio: it is cut off, or in an encoding that is not read.

    """
    if len(body) < start + _AU.size:
        raise BadAudio("The AU audio ends inside its header")
    mark, offset, size, encoding, rate, channels = _AU.unpack_from(body, start)
    block = _AU_WIDTHS.get(encoding, 0) * channels
    begin = start + offset
    if not block or not begin < len(body):
        raise BadAudio("The AU audio is empty, or in an encoding that is not read")
    end = begin + size if 0 < size <= _AU_LONGEST else _next_au(body, begin)
    if end > len(body):
        raise BadAudio("The AU audio is cut off")
    head = _AU.pack(mark, offset, end - begin, encoding, rate, channels) + body[start + _AU.size : begin]
    blocks = partial(libsndfile.blocks, head + body[begin:end])
    return Container(name="AU", end=end, blocks=blocks, frames=(end - begin) // block)


def _next_au(body: bytes, position: int) -> int:
    """Return where another header begins in samples of an unstated length."""
    following = body.find(_AU_MARK, position)
    return following if following >= 0 else len(body)


def walk_w64(body: bytes, start: int) -> Container:
    """Describe one Wave64 file: chunks as in WAV, but a length has 64 bits and counts the header.

    Raises:
        BadAudio: it is cut off, or does not state the form of its samples.

    """
    end = start + int.from_bytes(body[start + _GUID_BYTES : start + _W64_CHUNK.size], "little")
    position, block, sound = start + _W64_CHUNK.size + _GUID_BYTES, 0, 0
    while position + _W64_CHUNK.size <= min(end, len(body)):
        name, size = _W64_CHUNK.unpack_from(body, position)
        if size < _W64_CHUNK.size or position + size > len(body):
            raise BadAudio("The Wave64 audio is cut off inside a chunk")
        if name == b"fmt ":
            block = int.from_bytes(body[position + 36 : position + 38], "little")
        if name == b"data":
            sound = size - _W64_CHUNK.size
        position += size + -size % 8
    if end > len(body) or not block or not sound:
        raise BadAudio("The Wave64 audio is cut off, empty, or does not say what its samples are")
    blocks = partial(libsndfile.blocks, body[start:end])
    return Container(name="Wave64", end=end, blocks=blocks, frames=sound // block)
