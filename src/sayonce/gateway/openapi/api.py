"""The description as a whole."""

from __future__ import annotations

from functools import cache
from typing import Final

import msgspec

from sayonce._version import __version__
from sayonce.gateway.openapi.parts import ERRORS, JSONObject, error_response, header
from sayonce.gateway.openapi.paths import everywhere, paths
from sayonce.gateway.openapi.rendering import render
from sayonce.gateway.openapi.schemas import schemas

_DESCRIPTION: Final = """Compute speech once, reuse it many times. OpenAI's speech API over an exact cache. \
Every answer has an `x-request-id`; what is no speech is `Cache-Control: no-store`. Each path with GET takes HEAD, too, and \
every path OPTIONS, which needs no key."""
_BEARER: Final = (
    "An API key of the server. It names the tenant; without keys configured none is needed, on the same machine."
)
_CACHE_CONTROL: Final = """What the cache may do for this request (RFC 9111): `no-store` neither reads nor keeps, \
and stops the synthesis when the client leaves; `no-cache` synthesizes anew and keeps that, `only-if-cached` answers 504 \
instead of synthesizing, and `max-age=SECONDS` takes nothing older."""
_REQUEST_ID: Final = """Comes back in the answer, and is in the server's log lines: up to 128 letters, digits and \
`._:/+=@~,;-`; without one, or with any other, the server makes one."""


def description() -> JSONObject:
    """Return the OpenAPI 3.1 description of the gateway."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sayonce",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "."}],  # where this document is, which may be under a proxy's path
        "security": [{"bearer": []}, {"header": []}],
        "paths": paths(),
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": _BEARER},
                "header": {"type": "apiKey", "in": "header", "name": "api-key", "description": "The same key."},
            },
            "schemas": schemas(),
            "parameters": {
                "CacheControl": header("Cache-Control", _CACHE_CONTROL, "no-cache"),
                "RequestId": header("X-Request-ID", _REQUEST_ID, "7f0c1d2e"),
            },
            "responses": {f"Error{status}": error_response(status) for status in ERRORS},
        },
    }


@cache
def document() -> bytes:
    """Return the description as JSON; it takes many milliseconds to make, and is made once."""
    return msgspec.json.encode(description())


@cache
def page() -> str:
    """Return the description as one HTML page that needs nothing else; made once, too."""
    return render(description(), everywhere())
