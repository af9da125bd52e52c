"""WAV with blocks of compressed samples: the ADPCM and GSM of telephone systems, decoded by libsndfile."""

from __future__ import annotations

import struct
from functools import partial
from typing import Final

from sayonce.audio.decode import libsndfile
from sayonce.audio.decode.container import Container
from sayonce.errors import BadAudio

NAMES: Final = {2: "MS ADPCM", 0x11: "IMA ADPCM", 0x31: "GSM 6.10"}
"""By the tag of the format."""
_CHUNK: Final = struct.Struct("<4sI")
_FMT_BYTES: Final = 20
_RIFF_BYTES: Final = 12

Chunks = dict[bytes, tuple[int, int]]


def chunks(body: bytes, start: int) -> Chunks:
    """Return where the content of each chunk begins and ends, up to the samples."""
    found: Chunks = {}
    position = start + _RIFF_BYTES
    while position + _CHUNK.size <= len(body) and b"data" not in found:
        name, size = _CHUNK.unpack_from(body, position)
        position += _CHUNK.size
        found[name] = position, position + size
        position += size + size % 2
    return found


def tag(body: bytes, start: int) -> int:
    """Return the tag of a WAV's format, 0 where there is none."""
    begin = chunks(body, start).get(b"fmt ", (0, 0))[0]
    return int.from_bytes(body[begin : begin + 2], "little") if begin else 0


def walk(body: bytes, start: int) -> Container:
    """Describe one file: each block holds as many samples as the format says; the ``fact`` chunk may say fewer."""
    found = chunks(body, start)
    begin, end = found.get(b"data", (0, 0))
    fmt = body[slice(*found[b"fmt "])]
    name = NAMES.get(int.from_bytes(fmt[:2], "little"), "WAV")
    if len(fmt) < _FMT_BYTES or not begin < end <= len(body):
        raise BadAudio(f"The {name} audio is cut off, or does not say how long it is")
    rate, block_bytes, block_frames = struct.unpack_from("<I4xH4xH", fmt, 4)
    frames = (end - begin) // max(block_bytes, 1) * block_frames
    if b"fact" in found:
        stated = int.from_bytes(body[found[b"fact"][0] :][:4], "little")
        frames = stated if 0 < stated <= frames else frames
    riff_end = start + 8 + int.from_bytes(body[start + 4 : start + 8], "little")
    file_end = riff_end if end <= riff_end <= len(body) else end
    blocks = partial(libsndfile.blocks, body[start:file_end])
    return Container(name=name, end=file_end, blocks=blocks, seconds=frames / max(rate, 1))
