"""Ogg/Opus, and AAC in ADTS frames, by PyAV: libsndfile's Opus costs three times as much, and it has no AAC."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Final

import msgspec
import numpy as np

from sayonce.audio.encode.base import Encoder
from sayonce.audio.pcm import Pcm16Samples
from sayonce.audio.resample import Resampler, nearest_rate

_LAYOUTS: Final = {1: "mono", 2: "stereo"}


class _Codec(msgspec.Struct, frozen=True):
    """How FFmpeg is told to write one format; ``bits`` are those a second and channel, by sample rate."""

    container: str
    encoder: str
    bits: Mapping[int, int]
    options: Mapping[str, str]
    container_options: Mapping[str, str] = {}


_AAC_RATES: Final = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_CODECS: Final = {
    "aac": _Codec(
        container="adts",
        encoder="aac",
        bits=dict.fromkeys(_AAC_RATES, 48_000),
        # A quarter of the default coder's cost, and nearer to the take at these bit rates.
        options={"aac_coder": "fast"},
    ),
    "opus": _Codec(
        container="ogg",
        encoder="libopus",
        # The sweet spots for speech of RFC 6716 section 2.1.1.
        bits={8_000: 12_000, 12_000: 16_000, 16_000: 24_000, 24_000: 28_000, 48_000: 32_000},
        options={"application": "audio", "compression_level": "10"},
        # FFmpeg sends a page when the next one is full: a listener hears something after 200 ms. Without ``bitexact``
        # it numbers the stream by chance, and two instances would have two files of one take.
        container_options={"page_duration": "100000", "fflags": "+bitexact"},
    ),
}


class LibavEncoder(Encoder):
    """Writes one of FFmpeg's formats. AAC's 1024 samples of priming stay at the start: ADTS cannot mark them."""

    at_once_bytes = 3_000

    def __init__(self, format_name: str, sample_rate_hz: int, channels: int) -> None:
        import av  # noqa: PLC0415 (it takes longer to load than the other encoders)

        codec = _CODECS[format_name]
        self._av = av
        self._layout = _LAYOUTS[channels]
        self._rate_hz = nearest_rate(sample_rate_hz, tuple(codec.bits))
        self._frames = 0
        super().__init__(Resampler(sample_rate_hz, self._rate_hz, channels))
        options = dict(codec.container_options)
        self._container = av.open(self._sink, "w", format=codec.container, options=options)
        options = dict(codec.options)
        stream = self._container.add_stream(codec.encoder, rate=self._rate_hz, layout=self._layout, options=options)
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = codec.bits[self._rate_hz] * channels
        self._stream = stream

    def get_ready(self) -> None:
        """Have FFmpeg set up the codec and write the container's header."""
        self._container.start_encoding()

    def _write(self, samples: Pcm16Samples) -> None:
        if samples.size:
            packed = np.ascontiguousarray(samples).reshape(1, -1)
            frame = self._av.AudioFrame.from_ndarray(packed, format="s16", layout=self._layout)
            frame.sample_rate = self._rate_hz
            # Without its place, Ogg's positions would be late by the pre-skip, and a short file too long.
            frame.pts, frame.time_base = self._frames, Fraction(1, self._rate_hz)
            self._frames += len(samples)
            self._container.mux(self._stream.encode(frame))

    def _close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()
