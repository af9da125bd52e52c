"""AAC in ADTS frames, by PyAV: libsndfile has no AAC."""

from __future__ import annotations

from typing import Final

import numpy as np

from sayonce.audio.encode.base import Encoder
from sayonce.audio.pcm import Pcm16Samples
from sayonce.audio.resample import Resampler, nearest_rate

_BITS_A_CHANNEL: Final = 48_000
_LAYOUTS: Final = {1: "mono", 2: "stereo"}
_RATES: Final = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


class AacEncoder(Encoder):
    """AAC-LC in ADTS frames. The codec's 1024 samples of priming stay at the start: ADTS cannot mark them."""

    def __init__(self, sample_rate_hz: int, channels: int) -> None:
        import av  # noqa: PLC0415 (it takes longer to load than the other encoders)

        self._av = av
        self._layout = _LAYOUTS[channels]
        self._rate_hz = nearest_rate(sample_rate_hz, _RATES)
        super().__init__(Resampler(sample_rate_hz, self._rate_hz, channels))
        self._container = self._av.open(self._sink, "w", format="adts")
        self._stream = self._container.add_stream("aac", rate=self._rate_hz, layout=self._layout)
        self._stream.bit_rate = _BITS_A_CHANNEL * channels

    def _write(self, samples: Pcm16Samples) -> None:
        if samples.size:
            packed = np.ascontiguousarray(samples).reshape(1, -1)
            frame = self._av.AudioFrame.from_ndarray(packed, format="s16", layout=self._layout)
            frame.sample_rate = self._rate_hz
            self._container.mux(self._stream.encode(frame))

    def _close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()
