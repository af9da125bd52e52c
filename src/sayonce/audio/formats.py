"""The audio formats of responses: their names, media types and promises."""

from __future__ import annotations

from typing import Final

import msgspec

from sayonce.errors import InvalidRequest


class Format(msgspec.Struct, frozen=True):
    """One response format.

    ``stable_stream`` tells whether the bytes sent while the speech is made equal the finished file's. They do not for
    WAV, FLAC and MP3: their headers hold the length, which is known only at the end. ``sample_rate_hz`` is the rate that
    every take is resampled to; None keeps the take's own, or the nearest that the codec has.
    """

    name: str
    media_type: str
    lossless: bool
    stable_stream: bool
    sample_rate_hz: int | None = None

    def holds(self, media_type: str) -> bool:
        """Whether sound of this media type needs no conversion to be in this format."""
        return media_type == self.media_type and self.sample_rate_hz is None

    @property
    def content_type(self) -> str:
        """The Content-Type of a response, with the rate and channels where the bytes themselves do not tell them.

        ``audio/L16`` (RFC 2586) would be the registered name for raw PCM, but promises big-endian samples.
        ``audio/basic`` takes no parameters: it is 8000 Hz mono by definition (RFC 2046 section 4.2).
        """
        return f"{self.media_type};rate={self.sample_rate_hz};channels=1" if self.name == "pcm" else self.media_type


FORMATS: Final[dict[str, Format]] = {
    each.name: each
    for each in (
        Format("mp3", "audio/mpeg", lossless=False, stable_stream=False),
        Format("opus", "audio/ogg", lossless=False, stable_stream=True),
        Format("aac", "audio/aac", lossless=False, stable_stream=True),
        Format("flac", "audio/flac", lossless=True, stable_stream=False),
        Format("wav", "audio/wav", lossless=True, stable_stream=False),
        # Clients of OpenAI's API take it for 24 kHz mono: nothing in it says another rate.
        Format("pcm", "audio/pcm", lossless=True, stable_stream=True, sample_rate_hz=24_000),
        Format("mulaw", "audio/basic", lossless=False, stable_stream=True),
    )
}


SAMPLE_RATES: Final = (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)
"""The values that ``sample_rate`` may have."""
_RESAMPLED: Final = ("pcm", "wav")
_AT_RATE: Final = {
    (name, rate): msgspec.structs.replace(FORMATS[name], sample_rate_hz=rate)
    for name in _RESAMPLED
    for rate in SAMPLE_RATES
}
RENDERINGS: Final = tuple(dict.fromkeys((*FORMATS.values(), *_AT_RATE.values())))
"""Every format at every rate that it can have in a response."""


def format_named(name: str, sample_rate_hz: int | None = None) -> Format:
    """Return the format that a request names, at the rate that it asks for.

    Raises:
        InvalidRequest: there is no such format, or not at this rate; the message lists those that there are.

    """
    if name not in FORMATS:
        raise InvalidRequest(f"'response_format' must be one of {', '.join(FORMATS)}", param="response_format")
    if sample_rate_hz is None:
        return FORMATS[name]
    if name not in _RESAMPLED:
        raise InvalidRequest(
            f"'sample_rate' is for the formats {' and '.join(_RESAMPLED)}; leave it out for {name}", param="sample_rate"
        )
    if sample_rate_hz not in SAMPLE_RATES:
        rates = ", ".join(map(str, SAMPLE_RATES))
        raise InvalidRequest(f"'sample_rate' must be one of {rates}, not {sample_rate_hz}", param="sample_rate")
    return _AT_RATE[name, sample_rate_hz]
