"""The encodings of WAV: the facts of the ``fmt`` chunk, and the samples of each encoding."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
import numpy as np

from sayonce.audio.decode.g711 import ALAW, MULAW
from sayonce.audio.samples import Samples
from sayonce.errors import BadAudio

_FMT: Final = struct.Struct("<HHIIHH")
_PCM16: Final = (1, 16)
_EXTENSIBLE: Final = 0xFFFE


def _table(table: Samples, raw: bytes) -> Samples:
    return table[np.frombuffer(raw, np.uint8)]


def _s24(raw: bytes) -> Samples:
    wide = np.zeros((len(raw) // 3, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
    return wide.view("<i4").reshape(-1)


def _plain(dtype: str, raw: bytes) -> Samples:
    return np.frombuffer(raw, dtype)


_ENCODINGS: Final[dict[tuple[int, int], Callable[[bytes], Samples]]] = {
    (1, 8): partial(_plain, "u1"),
    (1, 16): partial(_plain, "<i2"),
    (1, 24): _s24,
    (1, 32): partial(_plain, "<i4"),
    (3, 32): partial(_plain, "<f4"),
    (3, 64): partial(_plain, "<f8"),
    (6, 8): partial(_table, ALAW),
    (7, 8): partial(_table, MULAW),
}


class WavFormat(msgspec.Struct, frozen=True):
    """The facts of a ``fmt`` chunk; ``encoding`` is the tag of the format and the bits of a sample."""

    encoding: tuple[int, int]
    channels: int
    sample_rate_hz: int
    block_bytes: int

    @property
    def is_pcm16(self) -> bool:
        return self.encoding == _PCM16

    def samples(self, raw: bytes) -> Samples:
        """Return whole blocks as the samples that they encode, interleaved."""
        return _ENCODINGS[self.encoding](raw)


def read_fmt(fmt: bytes) -> WavFormat:
    """Read the content of a ``fmt`` chunk.

    Raises:
        BadAudio: it is broken, or states an encoding that is not read.

    """
    if len(fmt) < _FMT.size:
        raise BadAudio("The WAV audio has a broken header")
    tag, channels, sample_rate_hz, _, _, bits = _FMT.unpack_from(fmt)
    if tag == _EXTENSIBLE and len(fmt) >= 26:  # noqa: PLR2004 (the real tag begins the GUID at byte 24)
        tag = int.from_bytes(fmt[24:26], "little")
    if (tag, bits) not in _ENCODINGS or not channels or not sample_rate_hz:
        raise BadAudio(f"The WAV audio has an encoding that is not read (tag {tag}, {bits} bits, {channels} channels)")
    return WavFormat((tag, bits), channels, sample_rate_hz, bits // 8 * channels)
