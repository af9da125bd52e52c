"""One take, every format: encode, decode and check speech.

The codecs are imported when they are first asked for, so that reading about formats stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from sayonce.speech.audio.formats import FORMATS, RENDERINGS, Format, format_named

if TYPE_CHECKING:
    from sayonce.speech.audio.base import Encoder
    from sayonce.speech.audio.decoding import decode, transcode
    from sayonce.speech.audio.encoders import Encoders, encode, open_encoder
    from sayonce.speech.audio.pcm import Pcm

__all__ = [
    "FORMATS",
    "RENDERINGS",
    "Encoder",
    "Encoders",
    "Format",
    "Pcm",
    "decode",
    "encode",
    "format_named",
    "open_encoder",
    "transcode",
]

_HOMES: Final = {
    "Encoder": "base",
    "Pcm": "pcm",
    "decode": "decoding",
    "Encoders": "encoders",
    "encode": "encoders",
    "open_encoder": "encoders",
    "transcode": "decoding",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
