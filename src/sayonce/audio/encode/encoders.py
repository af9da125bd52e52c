"""Encode speech into any response format while it is made, or whole."""

from __future__ import annotations

import asyncio
from typing import Final

from sayonce.audio.encode.base import COPIED_AT_ONCE_BYTES, Encoder
from sayonce.audio.encode.libav import LibavEncoder
from sayonce.audio.encode.mp3 import Mp3Encoder
from sayonce.audio.encode.sndfile import SndfileEncoder
from sayonce.audio.encode.wav import WavEncoder
from sayonce.audio.formats import Format
from sayonce.audio.pcm import Pcm, Pcm16Samples
from sayonce.audio.resample import Resampler
from sayonce.errors import BadAudio

_MOST_AHEAD: Final = 16
"""Kinds of encoders: engines may give any number of sample rates."""


class PcmEncoder(Encoder):
    """Samples of one channel without a header."""

    def __init__(self, sample_rate_hz: int, channels: int, target_hz: int | None) -> None:
        super().__init__(Resampler(sample_rate_hz, target_hz or sample_rate_hz, channels, mono=True))
        if self._resampler.passes_on:
            self.at_once_bytes = COPIED_AT_ONCE_BYTES

    def _write(self, samples: Pcm16Samples) -> None:
        self._sink.write(samples.tobytes())

    def _close(self) -> None:
        """Nothing is held back and there is no header."""


def open_encoder(chosen: Format, sample_rate_hz: int, channels: int) -> Encoder:
    """Return an encoder into a response format for PCM16 at this rate.

    Raises:
        BadAudio: speech of this rate or number of channels cannot be encoded.

    """
    if channels not in (1, 2) or not 4_000 <= sample_rate_hz <= 192_000:  # noqa: PLR2004 (every codec takes these)
        raise BadAudio(f"Speech of {sample_rate_hz} Hz in {channels} channels cannot be encoded")
    if chosen.name == "pcm":
        return PcmEncoder(sample_rate_hz, channels, chosen.sample_rate_hz)
    if chosen.name == "wav":
        return WavEncoder(sample_rate_hz, channels, chosen.sample_rate_hz)
    if chosen.name == "mp3":
        return Mp3Encoder(sample_rate_hz, channels)
    if chosen.name in ("aac", "opus"):
        return LibavEncoder(chosen.name, sample_rate_hz, channels)
    return SndfileEncoder(chosen.name, sample_rate_hz, channels)


class Encoders:
    """Opens encoders, one of each kind that was asked for ahead: it takes LAME half a millisecond."""

    def __init__(self) -> None:
        self._ahead: dict[tuple[Format, int, int], Encoder] = {}

    async def open(self, chosen: Format, sample_rate_hz: int, channels: int) -> Encoder:
        """Return an unused encoder; see ``open_encoder``. The first of a kind may have to load a library, in a thread."""
        if ahead := self._ahead.pop((chosen, sample_rate_hz, channels), None):
            return ahead
        if chosen.lossless:
            return open_encoder(chosen, sample_rate_hz, channels)
        return await asyncio.to_thread(_set_up, chosen, sample_rate_hz, channels)

    def prepare(self, chosen: Format, sample_rate_hz: int, channels: int) -> None:
        """Open one ahead, in any thread."""
        if len(self._ahead) < _MOST_AHEAD:
            self._ahead[chosen, sample_rate_hz, channels] = _set_up(chosen, sample_rate_hz, channels)


def _set_up(chosen: Format, sample_rate_hz: int, channels: int) -> Encoder:
    encoder = open_encoder(chosen, sample_rate_hz, channels)
    encoder.get_ready()
    return encoder


def encode(pcm: Pcm, chosen: Format) -> bytes:
    """Return decoded sound as a finished file; see ``open_encoder`` for the errors."""
    encoder = open_encoder(chosen, pcm.sample_rate_hz, pcm.channels)
    encoder.feed(pcm.samples)
    return encoder.finish()[1]


def transcode(body: bytes, chosen: Format) -> bytes:
    """Return an audio file in another format; see ``decode`` and ``open_encoder`` for the errors."""
    from sayonce.audio.decode.whole_file import decode  # noqa: PLC0415 (most encoders decode nothing)

    return encode(decode(body), chosen)
