"""An utterance as an engine gets it, and the first thing that the engine answers."""

from __future__ import annotations

from typing import Any

import msgspec

from sayonce.speech.engines.references import Reference


class Utterance(msgspec.Struct, frozen=True):
    """One text to speak, with every parameter filled in, each at its bucket's representative value."""

    text: str
    voice: str
    model: str
    parameters: dict[str, Any]
    reference: Reference | None = None
    cache_control: str = ""
    """The request's own directive, ``no-cache`` or ``no-store``, for a server that has a cache, too."""


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
