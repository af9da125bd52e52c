"""CORS: web pages of the listed origins may send requests, with their own key and without cookies.

The Fetch standard's headers say which headers a page may send and read. Credentials mode is never allowed: a page sends
its key in a header.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from sayonce.config import ANY_ORIGIN
from sayonce.gateway.http import Headers

EXPOSED: Final = (
    "Age",
    "Cache-Status",
    "ETag",
    "Retry-After",
    "X-Request-ID",
    "X-Sayonce-Compute-Ms",
    "X-Sayonce-Ignored",
    "X-Sayonce-Key",
)
"""The headers that a page may read beside those that any page may."""
ACCEPTED: Final = ("authorization", "api-key", "cache-control", "content-type", "x-request-id")
"""The headers that a page may send, beside those that its preflight names: the OpenAI SDK sends ten of its own."""
_MAX_AGE_SECONDS: Final = 600
_NAMES: Final = re.compile(rb"[0-9A-Za-z!#$%&'*+.^_`|~, -]{1,1024}")
_ORIGIN: Final = b"origin"
_VARY: Final = (b"vary", b"origin")


class Cors:
    """The origins that may ask."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)
        self._any = ANY_ORIGIN.encode() in self._origins
        self._exposed = (b"access-control-expose-headers", ", ".join(EXPOSED).encode())

    def headers(self, headers: Mapping[bytes, bytes]) -> Headers:
        """Return the headers that say which origins may read the answer to a request."""
        origin = headers.get(_ORIGIN)
        if self._any:
            return [(b"access-control-allow-origin", b"*"), self._exposed]  # also to others: a cache keeps one for all
        if origin not in self._origins:
            return [_VARY]
        return [_VARY, (b"access-control-allow-origin", origin), self._exposed]

    def preflight(self, headers: Mapping[bytes, bytes], methods: Iterable[str]) -> Headers:
        """Return the answer to a preflight of a listed page; nothing for other pages."""
        origin = headers.get(_ORIGIN)
        if b"access-control-request-method" not in headers or not (self._any or origin in self._origins):
            return []
        wanted = headers.get(b"access-control-request-headers", b"")
        accepted = ", ".join(ACCEPTED).encode() + (b", " + wanted if _NAMES.fullmatch(wanted) else b"")
        told = [
            (b"access-control-allow-methods", ", ".join(methods).encode()),
            (b"access-control-allow-headers", accepted),
            (b"access-control-max-age", b"%d" % _MAX_AGE_SECONDS),
        ]
        if headers.get(b"access-control-request-private-network") == b"true":  # a public page asks a private address
            told.append((b"access-control-allow-private-network", b"true"))
        return told
