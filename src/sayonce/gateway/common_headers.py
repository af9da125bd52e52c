"""The headers of every answer: the request's id, the origins that may read it, and that errors and lists are not kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sayonce.gateway.cors import Cors
from sayonce.gateway.http import BEGUN, Headers, Scope, Send, headers_of, lines_of
from sayonce.observe import request_id

_REQUEST_ID: Final = "sayonce.request_id"
_CORS: Final = "sayonce.cors"
"""Keys of a request's scope."""
NO_STORE: Final = (b"cache-control", b"no-store")


def begin(scope: Scope, cors: Cors | None) -> bytes:
    """Note in a request's scope the headers that its answer has in any case, and return its id."""
    headers = headers_of(scope)
    found = scope.get(_REQUEST_ID)
    if found is None:
        found = scope[_REQUEST_ID] = request_id.of(headers)
        if cors is not None:
            scope[_CORS] = cors.headers(headers)
    return found


@contextmanager
def naming(scope: Scope) -> Iterator[None]:
    """Have log lines name a request outside its task."""
    before = request_id.current.set(scope[_REQUEST_ID])
    try:
        yield
    finally:
        request_id.current.reset(before)


def common_headers(scope: Scope) -> Headers:
    """Return the headers that the answer to a request has in any case."""
    return [(request_id.HEADER, scope[_REQUEST_ID]), *scope.get(_CORS, ())]


def common_lines(scope: Scope) -> bytes:
    """Return the same as lines; a request that the application has not seen has an id at least."""
    found = scope.get(_REQUEST_ID) or request_id.of(dict(scope.get("headers", ())))
    line = b"%b: %b\r\n" % (request_id.HEADER, found)
    return line + lines_of(scope[_CORS]) if _CORS in scope else line


def completed(scope: Scope, send: Send) -> Send:
    """Return a ``send`` that adds the common headers, and ``no-store`` to answers that say nothing of being kept."""

    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), *common_headers(scope)]
            if not any(name == b"cache-control" for name, _ in headers):
                headers.append(NO_STORE)
            message = {**message, "headers": headers}
            scope[BEGUN] = True
        await send(message)

    return sending
