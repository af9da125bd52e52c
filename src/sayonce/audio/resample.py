"""Sample-rate conversion of speech that arrives in chunks, for codecs and clients that take only certain rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import soxr

from sayonce.audio.pcm import Pcm16Samples
from sayonce.audio.samples import to_pcm16

QUALITY: Final = "HQ"


class Resampler:
    """Converts PCM16 to another rate, and to one channel where ``mono`` is asked for; the same samples if neither."""

    def __init__(self, source_hz: int, target_hz: int, channels: int, *, mono: bool = False) -> None:
        self._folds = mono and channels > 1
        self.source_channels = channels
        self.channels = 1 if mono else channels
        self._stream: soxr.ResampleStream | None = None
        if source_hz != target_hz:
            # In floating point, since soxr dithers 16-bit output: equal samples would not give equal bytes.
            self._stream = soxr.ResampleStream(source_hz, target_hz, self.channels, dtype="float32", quality=QUALITY)

    @property
    def passes_on(self) -> bool:
        """Whether samples stay as they are."""
        return self._stream is None and not self._folds

    def convert(self, samples: Pcm16Samples, *, last: bool = False) -> Pcm16Samples:
        """Return the samples that are converted by now: the filter holds some milliseconds back until ``last``."""
        if self.passes_on:
            return samples
        sound = samples.astype(np.float32) / 32768
        if self._folds:
            sound = sound.mean(axis=1, keepdims=True)
        if self._stream is not None:
            sound = self._stream.resample_chunk(sound, last=last)
        return to_pcm16(sound)


def nearest_rate(sample_rate_hz: int, rates: Sequence[int]) -> int:
    """Return the rate itself where a codec takes it, else the next higher one, else its highest."""
    return min((rate for rate in rates if rate >= sample_rate_hz), default=max(rates))
