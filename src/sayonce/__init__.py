"""Compute speech once, reuse it many times.

::

    with sayonce.open_sync("redis://localhost:6379") as cache:      # sayonce.open for async code

        @cache.remember("style-encoder", revision="3")
        def encode(image: bytes) -> np.ndarray:
            return model(image)

Everything is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from sayonce._version import __version__

if TYPE_CHECKING:
    from sayonce import errors, testing
    from sayonce.audio.voice import Voice
    from sayonce.core.envelope import Entry
    from sayonce.core.key import Digest
    from sayonce.core.outcome import Outcome
    from sayonce.errors import (
        BadAudio,
        CallerError,
        ConfigError,
        DecodersBusy,
        EngineBusy,
        EngineError,
        EngineTimeout,
        Forbidden,
        InvalidRequest,
        MissingExtra,
        NotCached,
        NotFound,
        SayonceError,
        Stopping,
        StoreError,
        TooLarge,
        Unauthorized,
        Unkeyable,
        UnsupportedMedia,
        VoicesUnavailable,
    )
    from sayonce.features import adapters
    from sayonce.features.library import Cache, SyncCache, open, open_sync  # noqa: A004 (sayonce.open is its name)
    from sayonce.features.remember import Remembered, SyncRemembered
    from sayonce.features.speaker_encoder import SpeakerEncoder

__all__ = [
    "BadAudio",
    "Cache",
    "CallerError",
    "ConfigError",
    "DecodersBusy",
    "Digest",
    "EngineBusy",
    "EngineError",
    "EngineTimeout",
    "Entry",
    "Forbidden",
    "InvalidRequest",
    "MissingExtra",
    "NotCached",
    "NotFound",
    "Outcome",
    "Remembered",
    "SayonceError",
    "SpeakerEncoder",
    "Stopping",
    "StoreError",
    "SyncCache",
    "SyncRemembered",
    "TooLarge",
    "Unauthorized",
    "Unkeyable",
    "UnsupportedMedia",
    "Voice",
    "VoicesUnavailable",
    "__version__",
    "adapters",
    "errors",
    "open",
    "open_sync",
    "testing",
]

_MODULES: Final = {
    "adapters": "sayonce.features.adapters",
    "errors": "sayonce.errors",
    "testing": "sayonce.testing",
}
_HOMES: Final = {
    "Cache": ("sayonce.features.library", "Cache"),
    "Digest": ("sayonce.core.key", "Digest"),
    "Entry": ("sayonce.core.envelope", "Entry"),
    "Outcome": ("sayonce.core.outcome", "Outcome"),
    "Remembered": ("sayonce.features.remember", "Remembered"),
    "SpeakerEncoder": ("sayonce.features.speaker_encoder", "SpeakerEncoder"),
    "SyncCache": ("sayonce.features.library", "SyncCache"),
    "SyncRemembered": ("sayonce.features.remember", "SyncRemembered"),
    "Voice": ("sayonce.audio.voice", "Voice"),
    "open": ("sayonce.features.library", "open"),
    "open_sync": ("sayonce.features.library", "open_sync"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    module, attribute = _HOMES.get(name, ("sayonce.errors", name))
    found = getattr(importlib.import_module(module), attribute)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
