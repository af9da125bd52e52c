"""One audio file, or one of several that were joined: where it ends, what it holds, and how it is decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from sayonce.errors import BadAudio

Samples = npt.NDArray[Any]
"""Shape (frames, channels): uint8, int16, int32, float32 or float64, as the file holds them."""


class Block(msgspec.Struct, frozen=True):
    """Some decoded samples and their rate."""

    samples: Samples
    sample_rate_hz: int


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What a container says of itself.

    ``frames`` is the exact number of samples a channel where the container's frames say it; else ``seconds`` is what
    there is at least. ``decoding`` is raised when the samples of a lossy format come out otherwise than before.
    """

    name: str
    end: int
    blocks: Callable[[], Iterator[Block]]
    frames: int | None = None
    seconds: float = 0
    decoding: int = 1

    def check(self, frames: int, sample_rate_hz: int) -> None:
        """Compare what was decoded with what the container says.

        Raises:
            BadAudio: it differs.

        """
        if self.frames is not None and frames != self.frames:
            what = "is cut off" if frames < self.frames else "holds more than it says"
            raise BadAudio(f"The {self.name} audio {what}: {frames} of {self.frames} samples")
        if frames < self.seconds * sample_rate_hz - 1:
            raise BadAudio(f"The {self.name} audio is cut off: {frames / sample_rate_hz:.3f} of {self.seconds:.3f} s")


def to_pcm16(samples: Samples) -> npt.NDArray[np.int16]:
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
    rounded: npt.NDArray[np.int16] = np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2")
    return rounded


_FULL_SCALE = {np.dtype(np.int16): 2.0**15, np.dtype(np.int32): 2.0**31}


def to_float64(samples: Samples) -> npt.NDArray[np.float64]:
    """Return samples as the numbers that they stand for, of full scale ±1, exactly."""
    if samples.dtype == np.uint8:
        return (samples.astype(np.float64) - 128) / 128
    return samples.astype(np.float64) / _FULL_SCALE.get(samples.dtype, 1.0)
