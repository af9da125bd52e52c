"""What stands around every answer: the request's id, who may read it elsewhere, and that errors and lists are not kept."""

from __future__ import annotations

from typing import Any, Final

from sayonce.gateway.cors import Cors
from sayonce.gateway.http import Headers, Scope, Send, headers_of
from sayonce.observe import request_id

AROUND: Final = "sayonce.around"
"""Where a request's scope has the headers that its answer has in any case."""
NO_STORE: Final = (b"cache-control", b"no-store")


def begin(scope: Scope, cors: Cors) -> None:
    """Note what every answer to a request has."""
    headers = headers_of(scope)
    around: Headers = [(request_id.HEADER, request_id.begin(headers))]
    scope[AROUND] = around + cors.headers(headers) if cors else around


def completed(scope: Scope, send: Send) -> Send:
    """Return a ``send`` whose answers have that, and are not kept by whoever passes them on unless they say so."""

    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), *scope[AROUND]]
            if not any(name == b"cache-control" for name, _ in headers):
                headers.append(NO_STORE)
            message = {**message, "headers": headers}
        await send(message)

    return sending
