"""Samples of 16 bits in memory, the form in which engines give sound and from which every format is derived."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

Pcm16Samples = npt.NDArray[np.int16]
"""Shape (frames, channels)."""


class Pcm(msgspec.Struct, frozen=True):
    """Decoded sound: little-endian signed 16-bit samples, channels interleaved."""

    samples: bytes
    sample_rate_hz: int
    channels: int
    frames: int
    joined: bool = False
    """Whether it came in several files that were joined."""


def samples_of(pcm: bytes, channels: int) -> Pcm16Samples:
    """Return a read-only view of PCM16 bytes as an array of frames by channels."""
    return np.frombuffer(pcm, "<i2").reshape(-1, channels)
