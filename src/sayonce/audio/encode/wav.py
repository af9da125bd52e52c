"""WAV as it streams: a header before the length is known."""

from __future__ import annotations

import struct
from typing import Final

from sayonce.audio.encode.base import COPIED_AT_ONCE_BYTES, Encoder
from sayonce.audio.pcm import Pcm16Samples
from sayonce.audio.resample import Resampler

_HEADER: Final = struct.Struct("<4sI4s4sIHHIIHH4sI")
_UNKNOWN: Final = 0xFFFF_FFFF
_PCM: Final = 1


def wav_header(sample_rate_hz: int, channels: int, data_bytes: int | None) -> bytes:
    """Return the header of a 16-bit WAV file; without a length the customary one for a stream."""
    block = 2 * channels
    riff, data = (_UNKNOWN, _UNKNOWN) if data_bytes is None else (36 + data_bytes, data_bytes)
    fmt = (b"fmt ", 16, _PCM, channels, sample_rate_hz, sample_rate_hz * block, block, 16)
    return _HEADER.pack(b"RIFF", riff, b"WAVE", *fmt, b"data", data)


class WavEncoder(Encoder):
    """16-bit WAV. A listener gets a header for unknown length, the file the exact one."""

    def __init__(self, sample_rate_hz: int, channels: int, target_hz: int | None = None) -> None:
        rate_hz = target_hz or sample_rate_hz
        super().__init__(Resampler(sample_rate_hz, rate_hz, channels))
        if self._resampler.passes_on:
            self.at_once_bytes = COPIED_AT_ONCE_BYTES
        self._shape = (rate_hz, channels)
        self._sink.write(wav_header(*self._shape, None))

    def _write(self, samples: Pcm16Samples) -> None:
        self._sink.write(samples.tobytes())

    def _close(self) -> None:
        data_bytes = self._sink.tell() - _HEADER.size
        self._sink.seek(0)
        self._sink.write(wav_header(*self._shape, data_bytes))
