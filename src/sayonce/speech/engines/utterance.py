"""An utterance as an engine gets it."""

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
