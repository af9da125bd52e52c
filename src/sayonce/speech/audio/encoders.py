"""Encode speech into any response format while it is made, or whole."""

from __future__ import annotations

from sayonce.errors import BadAudio
from sayonce.speech.audio.aac import AacEncoder
from sayonce.speech.audio.base import Encoder
from sayonce.speech.audio.formats import format_named
from sayonce.speech.audio.pcm import Pcm
from sayonce.speech.audio.sndfile import SndfileEncoder
from sayonce.speech.audio.wav import WavEncoder


class PcmEncoder(Encoder):
    """The samples as they are, without a header."""

    def _write(self, pcm: bytes) -> None:
        self._sink.write(pcm)

    def _close(self) -> None:
        """Nothing is held back and there is no header."""


def open_encoder(format_name: str, sample_rate_hz: int, channels: int) -> Encoder:
    """Return an encoder into a response format for PCM16 at this rate.

    Raises:
        InvalidRequest: there is no such format.
        MissingExtra: the format needs a part that is not installed.
        BadAudio: speech of this rate or number of channels cannot be encoded.

    """
    name = format_named(format_name).name
    if channels not in (1, 2) or not 4_000 <= sample_rate_hz <= 192_000:  # noqa: PLR2004 (what every codec can take)
        raise BadAudio(f"Speech of {sample_rate_hz} Hz in {channels} channels cannot be encoded")
    if name == "pcm":
        return PcmEncoder(channels)
    if name == "wav":
        return WavEncoder(sample_rate_hz, channels)
    if name == "aac":
        return AacEncoder(sample_rate_hz, channels)
    return SndfileEncoder(name, sample_rate_hz, channels)


def encode(pcm: Pcm, format_name: str) -> bytes:
    """Return decoded sound as a finished file; see ``open_encoder`` for what it raises."""
    encoder = open_encoder(format_name, pcm.sample_rate_hz, pcm.channels)
    encoder.feed(pcm.samples)
    return encoder.finish()[1]
