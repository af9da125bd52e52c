"""The audio formats that a response can have: names, media types, and what is promised of each."""

from __future__ import annotations

from typing import Final

import msgspec

from sayonce.errors import InvalidRequest


class Format(msgspec.Struct, frozen=True):
    """One response format.

    ``stable_stream`` tells whether the bytes sent while the speech is made equal the finished file's. They do not for
    WAV, FLAC and MP3: their headers hold the length, which is known only at the end.
    """

    name: str
    media_type: str
    lossless: bool
    stable_stream: bool


FORMATS: Final[dict[str, Format]] = {
    each.name: each
    for each in (
        Format("mp3", "audio/mpeg", lossless=False, stable_stream=False),
        Format("opus", "audio/ogg", lossless=False, stable_stream=True),
        Format("aac", "audio/aac", lossless=False, stable_stream=True),
        Format("flac", "audio/flac", lossless=True, stable_stream=False),
        Format("wav", "audio/wav", lossless=True, stable_stream=False),
        Format("pcm", "audio/pcm", lossless=True, stable_stream=True),
        Format("mulaw", "audio/basic", lossless=False, stable_stream=True),
    )
}


def format_named(name: str) -> Format:
    """Return the format that a request names.

    Raises:
        InvalidRequest: there is no such format; the message lists those that there are.

    """
    try:
        return FORMATS[name]
    except KeyError:
        choices = ", ".join(FORMATS)
        raise InvalidRequest(f"'response_format' must be one of {choices}", param="response_format") from None


def content_type(chosen: Format, sample_rate_hz: int, channels: int) -> str:
    """Return the Content-Type of a response, with the rate and channels where the bytes themselves do not tell them.

    ``audio/L16`` (RFC 2586) would be the registered name for raw PCM, but promises big-endian samples. ``audio/basic``
    takes no parameters: it is 8000 Hz mono by definition (RFC 2046 section 4.2).
    """
    if chosen.name == "pcm":
        return f"{chosen.media_type};rate={sample_rate_hz};channels={channels}"
    return chosen.media_type
