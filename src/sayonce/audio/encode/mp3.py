"""MP3 by LAME: lameenc's build costs a fourth of libsndfile's, which is also told to search longer."""

from __future__ import annotations

from typing import Final

import lameenc

from sayonce.audio.decode import mpeg
from sayonce.audio.encode.base import Encoder
from sayonce.audio.pcm import Pcm16Samples
from sayonce.audio.resample import Resampler, nearest_rate

_KBITS: Final = {
    **dict.fromkeys((8_000, 11_025, 12_000), 32),
    **dict.fromkeys((16_000, 22_050, 24_000), 64),
    **dict.fromkeys((32_000, 44_100, 48_000), 96),
}
"""Thousands of bits a second and channel, by sample rate, so by the version of MPEG."""
_QUALITY: Final = 5
"""LAME's own measure, of 0 (slowest) to 9; 7 costs half of this, and shapes no noise."""


class Mp3Encoder(Encoder):
    """MP3 of constant bit rate, so that a player reckons the right duration of a streamed copy, which has no header.

    The file has one, for its exact length.
    """

    at_once_bytes = 8_000

    def __init__(self, sample_rate_hz: int, channels: int) -> None:
        rate_hz = nearest_rate(sample_rate_hz, tuple(_KBITS))
        super().__init__(Resampler(sample_rate_hz, rate_hz, channels))
        self._frames = 0
        self._lame = lameenc.Encoder()
        self._lame.silence()
        self._lame.set_in_sample_rate(rate_hz)
        self._lame.set_out_sample_rate(rate_hz)
        self._lame.set_channels(channels)
        self._lame.set_bit_rate(_KBITS[rate_hz] * channels)
        self._lame.set_quality(_QUALITY)

    def get_ready(self) -> None:
        """Have LAME compute its tables, which it would do at the first samples: two thirds of their time."""
        self._lame.encode(b"")

    def _write(self, samples: Pcm16Samples) -> None:
        self._frames += len(samples)
        self._sink.write(self._lame.encode(samples.tobytes()))

    def _close(self) -> None:
        self._sink.write(self._lame.flush())

    def _file(self) -> bytes:
        heard = self._sink.getvalue()
        return mpeg.lame_header(heard[:4], len(heard), self._frames) + heard
