"""Which web pages from elsewhere may ask: the origins that are listed, with their own key and without cookies (CORS).

What a page may send and read is told by the Fetch standard's headers. Credentials mode is never allowed: a key is sent in
a header, by the page that has it.
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
"""What a page may read beside the headers that any page may."""
ACCEPTED: Final = ("authorization", "api-key", "cache-control", "content-type", "x-request-id")
"""What a page may send; beside it, what it asks for: the OpenAI SDK sends ten headers of its own."""
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
        """Return what every answer to a request says of who may read it."""
        origin = headers.get(_ORIGIN)
        if self._any:
            return [(b"access-control-allow-origin", b"*"), self._exposed]  # also to others: a cache keeps one for all
        if origin not in self._origins:
            return [_VARY]
        return [_VARY, (b"access-control-allow-origin", origin), self._exposed]

    def preflight(self, headers: Mapping[bytes, bytes], methods: Iterable[str]) -> Headers:
        """Return what a listed page learns of a path before it asks; nothing for others."""
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
