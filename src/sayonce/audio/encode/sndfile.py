"""FLAC and mu-law by libsndfile."""

from __future__ import annotations

from typing import Final

import msgspec
import soundfile

from sayonce.audio.encode.base import Encoder
from sayonce.audio.pcm import Pcm16Samples
from sayonce.audio.resample import Resampler


class _Codec(msgspec.Struct, frozen=True):
    """How libsndfile is told to write one format, at one rate or at any."""

    container: str
    subtype: str
    rate_hz: int | None = None
    mono: bool = False


_CODECS: Final = {"flac": _Codec("FLAC", "PCM_16"), "mulaw": _Codec("RAW", "ULAW", 8_000, mono=True)}


class SndfileEncoder(Encoder):
    """Writes one of libsndfile's formats through a sink, so that only the finished copy has its header patched."""

    def __init__(self, format_name: str, sample_rate_hz: int, channels: int) -> None:
        codec = _CODECS[format_name]
        rate_hz = codec.rate_hz or sample_rate_hz
        super().__init__(Resampler(sample_rate_hz, rate_hz, channels, mono=codec.mono))
        channels = self._resampler.channels
        self._sound_file = soundfile.SoundFile(
            self._sink, "w", rate_hz, channels, codec.subtype, format=codec.container
        )

    def _write(self, samples: Pcm16Samples) -> None:
        self._sound_file.write(samples)

    def _close(self) -> None:
        self._sound_file.close()
