"""The right address of a path that is nearly one: with doubled or trailing slashes, without its ``/v1``, or as at Azure.

A request that only reads or speaks is served there; one that changes or administers is told the right address, as a
proxy may guard that path. Nothing is redirected: many clients drop the body of a POST on their way.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

SPEECH: Final = "/v1/audio/speech"
DEPLOYMENT: Final = "sayonce.deployment"
"""The key, in a request's scope, of the model that its address names, as clients of Azure write it."""
_PREFIXES: Final = ("openai", "v1")
_VERSIONED: Final = frozenset(("audio", "cache", "models"))
_SERVED: Final = {
    SPEECH: frozenset(("POST", "OPTIONS")),
    **dict.fromkeys(
        ("/v1/models", "/v1/audio/models", "/v1/audio/voices", "/health/live", "/health/ready"),
        frozenset(("GET", "HEAD", "OPTIONS")),
    ),
}
_ONE_MODEL: Final = "/v1/models/"
_LONGEST: Final = 200
_LIKENESS: Final = 0.75
"""At 0.65 `/v1/audio/transcriptions` is like `/v1/audio/voices`."""


def corrected(path: str) -> str:
    """Return a path without empty parts and without ``/openai``, and with one ``/v1`` where it belongs."""
    parts = [part for part in path.split("/") if part]
    while parts and parts[0] in _PREFIXES:
        del parts[0]
    if parts and parts[0] in _VERSIONED:
        parts.insert(0, "v1")
    return "/" + "/".join(parts)


def serves(method: str, path: str) -> bool:
    """Whether a method is served at a path that was corrected."""
    if path.startswith(_ONE_MODEL):
        path = "/v1/models"
    return method in _SERVED.get(path, ())


def deployment(path: str) -> str | None:
    """Return the model that an address of Azure's names: ``/openai/deployments/MODEL/audio/speech``."""
    before, found, rest = corrected(path).partition("/deployments/")
    model, speech, behind = rest.rpartition(SPEECH.removeprefix("/v1"))
    return model if found and model and speech and not (before or behind) else None


def as_written(path: str, raw: bytes, named: Iterable[str]) -> str:
    """Return a path with nothing decoded but a name at its end: a proxy that guards a path may compare the path as written.

    ``named`` are the beginnings of paths that end in a name, such as ``/v1/audio/voices/``.
    """
    written = raw.decode("latin-1")
    return path if "%" not in written or written.startswith(tuple(named)) else written


def nearest(path: str, known: Iterable[str]) -> str | None:
    """Return the known path that was probably meant."""
    path, known = corrected(path), sorted(known, key=len, reverse=True)
    if path == "/" or len(path) > _LONGEST:
        return None
    for each in known:
        if each != "/" and (path.endswith(each.removeprefix("/v1")) or each.endswith(path)):
            return each
    close = [*get_close_matches(path, known, 1, _LIKENESS), *get_close_matches(f"/v1{path}", known, 1, _LIKENESS)]
    return next(iter(close), None)
