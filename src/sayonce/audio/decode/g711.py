"""A-law and mu-law (ITU-T G.711): the sample of 16 bits for each of the 256 codes."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Table = npt.NDArray[np.int16]


def _mulaw() -> Table:
    """Sign, three bits of exponent, four of mantissa, all inverted."""
    code = ~np.arange(256) & 0xFF
    size = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return np.where(code & 0x80, -size, size).astype("<i2")


def _alaw() -> Table:
    """Every second bit inverted; the sign is positive when it is set."""
    code = np.arange(256) ^ 0x55
    exponent, mantissa = code >> 4 & 7, (code & 0x0F) << 4
    size = np.where(exponent, mantissa + 0x108 << np.maximum(exponent - 1, 0), mantissa + 8)
    return np.where(code & 0x80, size, -size).astype("<i2")


ALAW: Final = _alaw()
MULAW: Final = _mulaw()
