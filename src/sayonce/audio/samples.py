"""Decoded samples in the precision of their file, and their conversion to 16 bits and to numbers."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from sayonce.audio.pcm import Pcm16Samples
from sayonce.errors import BadAudio

Samples = npt.NDArray[Any]
"""Shape (frames, channels): uint8, int16, int32, float32 or float64, as the file holds them."""


class Block(msgspec.Struct, frozen=True):
    """Some decoded samples and their rate."""

    samples: Samples
    sample_rate_hz: int


def to_pcm16(samples: Samples) -> Pcm16Samples:
    """Return samples as 16 bits: finer ones are cut to it, floating point is rounded, and clipped at full scale ±1.

    Raises:
        BadAudio: some sample is not a number.

    """
    if samples.dtype == np.int16:
        return samples.astype("<i2", copy=False)
    if samples.dtype == np.int32:
        return (samples >> 16).astype("<i2")
    if samples.dtype == np.uint8:
        return (samples.astype("<i2") - 128) << 8
    if not np.isfinite(samples).all():
        raise BadAudio("The audio holds samples that are not finite numbers")
    rounded: Pcm16Samples = np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2")
    return rounded


_FULL_SCALE = {np.dtype(np.int16): 2.0**15, np.dtype(np.int32): 2.0**31}


def to_float64(samples: Samples) -> npt.NDArray[np.float64]:
    """Return samples as the numbers that they stand for, of full scale ±1, exactly."""
    if samples.dtype == np.uint8:
        return (samples.astype(np.float64) - 128) / 128
    return samples.astype(np.float64) / _FULL_SCALE.get(samples.dtype, 1.0)
