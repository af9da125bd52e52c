"""The form of audio that begins: what a listener must know before its first byte."""

from __future__ import annotations

import msgspec


class AudioStart(msgspec.Struct, frozen=True):
    """The first item that an engine yields: the form of the bytes that follow.

    ``media_type`` is ``audio/pcm`` for little-endian signed 16-bit interleaved samples, the form of every engine that
    can give it; anything else is audio "as it came", such as ``audio/mpeg``, with a container that says the rate and the
    channels: here they are 0.

    ``proves_end`` False says that a normal end may be a connection that broke: such audio is heard and not kept.
    """

    sample_rate_hz: int
    channels: int = 1
    media_type: str = "audio/pcm"
    proves_end: bool = True


BodyForm = AudioStart | str | None
"""Of a take the form of its audio, of a clip its media type, of any other value nothing."""
