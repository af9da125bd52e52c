"""Samples in memory: signed 16-bit, the form in which engines give sound and every format is derived from."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from sayonce.errors import BadAudio

Samples = npt.NDArray[np.int16]
"""Shape (frames, channels)."""


class Pcm(msgspec.Struct, frozen=True):
    """Decoded sound: little-endian signed 16-bit samples, channels interleaved."""

    samples: bytes
    sample_rate_hz: int
    channels: int
    frames: int


def samples_of(pcm: bytes, channels: int) -> Samples:
    """Return a read-only view of PCM16 bytes as an array of frames by channels."""
    return np.frombuffer(pcm, "<i2").reshape(-1, channels)


def to_pcm16(sound: npt.NDArray[np.floating]) -> Samples:
    """Round samples of full scale ±1 to 16 bits; what is louder than that is clipped, never wrapped around.

    Raises:
        BadAudio: some sample is not a number.

    """
    if not np.isfinite(sound).all():
        raise BadAudio("The audio holds samples that are not finite numbers")
    samples: Samples = np.clip(np.rint(sound * 32768), -32768, 32767).astype("<i2")
    return samples
