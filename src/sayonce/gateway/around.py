"""What stands around every answer: the request's id, who may read it elsewhere, and that errors and lists are not kept."""

from __future__ import annotations

from typing import Any, Final

from sayonce.gateway.cors import Cors
from sayonce.gateway.http import Headers, Scope, Send, headers_of, lines_of
from sayonce.observe import request_id

AROUND: Final = "sayonce.around"
"""Where a request's scope has the lines of header that its answer has in any case."""
NO_STORE: Final = (b"cache-control", b"no-store")


def begin(scope: Scope, cors: Cors | None) -> None:
    """Note what every answer to a request has: as lines, since a hit is sent so."""
    headers = headers_of(scope)
    line = request_id.line(request_id.begin(headers))
    scope[AROUND] = line if cors is None else line + lines_of(cors.headers(headers))


def headers_around(scope: Scope) -> Headers:
    """Return the same as headers."""
    pairs = (line.partition(b": ") for line in scope[AROUND].split(b"\r\n")[:-1])
    return [(name, value) for name, _, value in pairs]


def completed(scope: Scope, send: Send) -> Send:
    """Return a ``send`` whose answers have that, and are not kept by whoever passes them on unless they say so."""

    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), *headers_around(scope)]
            if not any(name == b"cache-control" for name, _ in headers):
                headers.append(NO_STORE)
            message = {**message, "headers": headers}
        await send(message)

    return sending
