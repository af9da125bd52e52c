"""WAV as it streams: a header before the length is known, and a reader for WAV that arrives in chunks."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

import numpy as np

from sayonce.errors import BadAudio
from sayonce.speech.audio.base import Encoder
from sayonce.speech.audio.pcm import Samples, to_pcm16
from sayonce.speech.audio.resample import Resampler

_HEADER: Final = struct.Struct("<4sI4s4sIHHIIHH4sI")
_FMT: Final = struct.Struct("<HHIIHH")
_CHUNK: Final = struct.Struct("<4sI")
_RIFF_BYTES: Final = 12
_UNKNOWN: Final = 0xFFFF_FFFF
_PIPED_FROM: Final = 0x7FFF_0000
"""Writers into pipes put this or more where they do not know the length (sox and espeak-ng nearly 2^31)."""
_LONGEST_HEADER_BYTES: Final = 1 << 20
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE


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
        self._shape = (rate_hz, channels)
        self._sink.write(wav_header(*self._shape, None))

    def _write(self, samples: Samples) -> None:
        self._sink.write(samples.tobytes())

    def _close(self) -> None:
        data_bytes = self._sink.tell() - _HEADER.size
        self._sink.seek(0)
        self._sink.write(wav_header(*self._shape, data_bytes))


def _from_u8(raw: bytes) -> bytes:
    return ((np.frombuffer(raw, np.uint8).astype("<i2") - 128) << 8).tobytes()


def _from_s24(raw: bytes) -> bytes:
    return np.frombuffer(raw, np.uint8).reshape(-1, 3)[:, 1:].tobytes()


def _from_s32(raw: bytes) -> bytes:
    return (np.frombuffer(raw, "<i4") >> 16).astype("<i2").tobytes()


def _from_f32(raw: bytes) -> bytes:
    return to_pcm16(np.frombuffer(raw, "<f4")).tobytes()


def _from_f64(raw: bytes) -> bytes:
    return to_pcm16(np.frombuffer(raw, "<f8")).tobytes()


_CONVERSIONS: Final[dict[tuple[int, int], Callable[[bytes], bytes]]] = {
    (_PCM, 8): _from_u8,
    (_PCM, 16): bytes,
    (_PCM, 24): _from_s24,
    (_PCM, 32): _from_s32,
    (_FLOAT, 32): _from_f32,
    (_FLOAT, 64): _from_f64,
}


class WavReader:
    """Reads WAV that arrives in chunks of any size into PCM16.

    ``sample_rate_hz`` and ``channels`` are None until the header has come.
    """

    def __init__(self) -> None:
        self.sample_rate_hz: int | None = None
        self.channels: int | None = None
        self._header = bytearray()
        self._ragged = b""
        self._block = 0
        self._convert: Callable[[bytes], bytes] | None = None
        self._promised: int | None = None
        self._came = 0

    @property
    def says_length(self) -> bool:
        """Whether the header promised a number of bytes, so that a missing end is noticed."""
        return self._promised is not None

    def feed(self, raw: bytes) -> bytes:
        """Return the samples that are whole by now, as PCM16, possibly none.

        Raises:
            BadAudio: it is no WAV, or in an encoding other than 8- to 32-bit PCM and float.

        """
        if self._convert is None:
            self._header += raw
            raw = self._read_header()
        return self._read_data(raw, self._convert) if self._convert and raw else b""

    def finish(self) -> None:
        """Check that all has come that the header promised.

        Raises:
            BadAudio: it has not, or there is no sample at all.

        """
        if self._convert is None:
            raise BadAudio("The WAV audio ends inside its header")
        if self._promised is not None and self._came < self._promised:
            raise BadAudio(f"The WAV audio is cut off: {self._came} of {self._promised} bytes")
        if self._ragged:
            raise BadAudio("The WAV audio ends inside a sample")
        if not self._came:
            raise BadAudio("The WAV audio is empty")

    def _read_data(self, raw: bytes, convert: Callable[[bytes], bytes]) -> bytes:
        if self._promised is not None:
            raw = raw[: self._promised - self._came]  # behind the samples there may be more chunks
        self._came += len(raw)
        raw = self._ragged + raw
        whole = len(raw) - len(raw) % self._block
        self._ragged = raw[whole:]
        return convert(raw[:whole])

    def _read_header(self) -> bytes:
        """Walk the chunks up to the samples; return those that have come with the header."""
        head = self._header
        if not _may_be_wav(head):
            raise BadAudio("The audio is no WAV")
        position = _RIFF_BYTES
        while position + _CHUNK.size <= len(head):
            name, size = _CHUNK.unpack_from(head, position)
            position += _CHUNK.size
            if name == b"data":
                return self._begin_data(size, bytes(head[position:]))
            if name == b"fmt " and position + size <= len(head):
                self._read_fmt(bytes(head[position : position + size]))
            position += size + size % 2  # chunks are padded to even lengths
        if len(head) > _LONGEST_HEADER_BYTES:
            raise BadAudio("The WAV audio has no samples in its first megabyte")
        return b""

    def _begin_data(self, size: int, raw: bytes) -> bytes:
        if not self._block or self.channels is None:
            raise BadAudio("The WAV audio does not say what its samples are")
        self._promised = size if 0 < size < _PIPED_FROM else None
        self._convert = _CONVERSIONS[self._encoding]
        self._header.clear()
        return raw

    def _read_fmt(self, fmt: bytes) -> None:
        if len(fmt) < _FMT.size:
            raise BadAudio("The WAV audio has a broken header")
        tag, channels, sample_rate_hz, _, _, bits = _FMT.unpack_from(fmt)
        if tag == _EXTENSIBLE and len(fmt) >= 26:  # noqa: PLR2004 (the real tag begins the GUID at byte 24)
            tag = int.from_bytes(fmt[24:26], "little")
        self._encoding = (tag, bits)
        if self._encoding not in _CONVERSIONS or not channels or not sample_rate_hz:
            raise BadAudio(
                f"The WAV audio has an encoding that is not read (tag {tag}, {bits} bits, {channels} channels)"
            )
        self.sample_rate_hz, self.channels, self._block = sample_rate_hz, channels, bits // 8 * channels


def _may_be_wav(head: bytes | bytearray) -> bool:
    return b"RIFF".startswith(head[:4]) and b"WAVE".startswith(head[8:12])
