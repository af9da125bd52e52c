"""FLAC, MP3, Ogg/Opus and mu-law by libsndfile."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import soundfile

from sayonce.audio.decode import mpeg
from sayonce.audio.encode.base import Encoder
from sayonce.audio.pcm import Pcm16Samples
from sayonce.audio.resample import Resampler, nearest_rate

_OPUS_BITS: Final = {8_000: 12_000, 12_000: 16_000, 16_000: 24_000, 24_000: 28_000, 48_000: 32_000}
"""Bits a second and channel by sample rate: the sweet spots for speech of RFC 6716 section 2.1.1."""
_OPUS_PAGE_MS: Final = 200.0
_SET_OGG_PAGE_LATENCY_MS: Final = 0x1302  # SFC_SET_OGG_PAGE_LATENCY_MS of sndfile.h
_UPDATE_HEADER_NOW: Final = 0x1060  # SFC_UPDATE_HEADER_NOW
MP3_RATES: Final = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


def _as_it_is(_rate_hz: int, _channels: int) -> dict[str, Any]:
    return {}


def _opus_options(rate_hz: int, _channels: int) -> dict[str, Any]:
    """Compression levels 1 to 0 mean 6 to 256 kb/s a channel to libsndfile, linearly."""
    return {"compression_level": 1 - (_OPUS_BITS[rate_hz] - 6_000) / 250_000}


def _mp3_options(rate_hz: int, channels: int) -> dict[str, Any]:
    """Compression levels 0 to 1 mean the bit rates of the MPEG version to libsndfile, linearly, the highest first.

    The bit rate is constant: the first bytes come sooner, and a player reckons the right duration of a streamed copy,
    which has no Xing header.
    """
    if rate_hz >= 32_000:  # noqa: PLR2004 (MPEG-1 begins here)
        low, high, wanted = 32, 320, 96
    elif rate_hz >= 16_000:  # noqa: PLR2004 (MPEG-2)
        low, high, wanted = 8, 160, 64
    else:
        low, high, wanted = 8, 64, 32
    level = (high - wanted * channels) / (high - low)
    return {"compression_level": level, "bitrate_mode": "CONSTANT"}


class _Codec(msgspec.Struct, frozen=True):
    """How libsndfile is told to write one format.

    ``floating`` samples go to its MP3 encoder: of two channels of integers, libsndfile 1.2.2 makes noise.
    """

    container: str
    subtype: str
    rates: Sequence[int] = ()
    mono: bool = False
    floating: bool = False
    options: Callable[[int, int], dict[str, Any]] = _as_it_is


_CODECS: Final = {
    "flac": _Codec("FLAC", "PCM_16"),
    "mp3": _Codec("MP3", "MPEG_LAYER_III", MP3_RATES, floating=True, options=_mp3_options),
    "opus": _Codec("OGG", "OPUS", tuple(_OPUS_BITS), options=_opus_options),
    "mulaw": _Codec("RAW", "ULAW", (8_000,), mono=True),
}


class SndfileEncoder(Encoder):
    """Writes one of libsndfile's formats through a sink, so that only the finished copy has its header patched."""

    def __init__(self, format_name: str, sample_rate_hz: int, channels: int) -> None:
        codec = _CODECS[format_name]
        self._floating = codec.floating
        self._reserves = format_name == "mp3"
        """Whether the blank frame for the file's header is still to be written."""
        rate_hz = nearest_rate(sample_rate_hz, codec.rates or (sample_rate_hz,))
        super().__init__(Resampler(sample_rate_hz, rate_hz, channels, mono=codec.mono))
        self._file = soundfile.SoundFile(
            self._sink,
            "w",
            rate_hz,
            self._resampler.channels,
            codec.subtype,
            format=codec.container,
            **codec.options(rate_hz, self._resampler.channels),
        )
        if codec.container == "OGG":  # lets a listener hear something after 200 ms instead of the default second
            _command(self._file, _SET_OGG_PAGE_LATENCY_MS, _OPUS_PAGE_MS)

    def get_ready(self) -> None:
        """Have libsndfile set up LAME, which it would do at the first samples: two thirds of their time."""
        if self._file.format == "MP3":
            _command(self._file, _UPDATE_HEADER_NOW)

    def _write(self, samples: Pcm16Samples) -> None:
        self._file.write(samples.astype(np.float32) / 32768 if self._floating else samples)
        if self._reserves and self._sink.tell():
            self._reserves = False
            self._sink.leave_out(_blank_bytes(self._sink.getvalue()))

    def _close(self) -> None:
        self._file.close()


def _blank_bytes(written: bytes) -> int:
    """Return the size of a blank first frame, kept for the header: a listener would hear it as silence."""
    frame = mpeg.frame_at(written, 0)
    if frame is None or written[4 : frame.size].strip(b"\0"):
        return 0
    return frame.size


def _command(file: soundfile.SoundFile, command: int, *doubles: float) -> None:
    """Give libsndfile a command that soundfile has no public name for.

    Should soundfile's private names change, sound comes later and nothing else is lost.
    """
    with contextlib.suppress(AttributeError):
        data = soundfile._ffi.new("double[]", doubles)  # noqa: SLF001
        soundfile._snd.sf_command(file._file, command, data, 8 * len(doubles))  # noqa: SLF001
