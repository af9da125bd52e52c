"""AAC in ADTS frames, by PyAV (the extra ``aac``): libsndfile has no AAC."""

from __future__ import annotations

import io
from types import ModuleType
from typing import Final

import numpy as np

from sayonce.errors import BadAudio, MissingExtra
from sayonce.speech.audio.base import Encoder
from sayonce.speech.audio.pcm import Pcm, Samples, to_pcm16
from sayonce.speech.audio.resample import Resampler, nearest_rate

_BITS_A_CHANNEL: Final = 48_000
_LAYOUTS: Final = {1: "mono", 2: "stereo"}
_RATES: Final = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


def _pyav() -> ModuleType:
    try:
        import av  # noqa: PLC0415 (an extra)
    except ImportError:
        raise MissingExtra("AAC", "aac") from None
    return av


class AacEncoder(Encoder):
    """AAC-LC in ADTS frames. The codec's 1024 samples of priming stay at the start: ADTS cannot mark them."""

    def __init__(self, sample_rate_hz: int, channels: int) -> None:
        self._av = _pyav()
        self._layout = _LAYOUTS[channels]
        self._rate_hz = nearest_rate(sample_rate_hz, _RATES)
        super().__init__(Resampler(sample_rate_hz, self._rate_hz, channels))
        self._container = self._av.open(self._sink, "w", format="adts")
        self._stream = self._container.add_stream("aac", rate=self._rate_hz, layout=self._layout)
        self._stream.bit_rate = _BITS_A_CHANNEL * channels

    def _write(self, samples: Samples) -> None:
        if samples.size:
            packed = np.ascontiguousarray(samples).reshape(1, -1)
            frame = self._av.AudioFrame.from_ndarray(packed, format="s16", layout=self._layout)
            frame.sample_rate = self._rate_hz
            self._container.mux(self._stream.encode(frame))

    def _close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()


def decode_aac(body: bytes) -> Pcm:
    """Decode AAC in ADTS frames.

    Raises:
        BadAudio: it cannot be decoded.
        MissingExtra: PyAV is not installed.

    """
    av = _pyav()
    try:
        with av.open(io.BytesIO(body), format="aac") as container:
            frames = list(container.decode(audio=0))
    except (av.FFmpegError, IndexError) as trouble:  # IndexError: there is no audio stream in it
        raise BadAudio(f"The AAC audio cannot be decoded: {trouble}") from None
    if len({(frame.sample_rate, frame.layout.nb_channels) for frame in frames}) != 1:
        raise BadAudio("The AAC audio is empty, or changes its rate or channels on the way")
    sound = np.concatenate([frame.to_ndarray() for frame in frames], axis=1).T
    return Pcm(to_pcm16(sound).tobytes(), frames[0].sample_rate, sound.shape[1], sound.shape[0])
