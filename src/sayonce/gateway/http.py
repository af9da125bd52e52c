"""Small pieces of HTTP over plain ASGI, shared by the routes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, MutableMapping
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sayonce.cache import Obeyed
from sayonce.errors import (
    InvalidRequest,
    SayonceError,
    TooLarge,
    UnsupportedMedia,
    logged,
    quoted,
)
from sayonce.gateway import answers

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_HEADERS: Final = "sayonce.headers"
"""The key of the headers in a request's scope, for ``headers_of``."""
BEGUN: Final = "sayonce.begun"
"""Marks in a request's scope that the answer has begun: from then on an error can only cut it off."""
_LONGEST_PARAM: Final = 256
log = logging.getLogger("sayonce.gateway")

T = TypeVar("T")


class Disconnected(Exception):
    """The client left before it had sent its request, or before it had its answer."""


def lines_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return headers as they are sent."""
    return b"".join([b"%b: %b\r\n" % each for each in headers])


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """Return a request's headers by their lower-case names; of several with one name, the last."""
    found: dict[bytes, bytes] | None = scope.get(_HEADERS)
    if found is None:
        found = scope[_HEADERS] = dict(scope["headers"])
    return found


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, max_bytes: int) -> bytes:
    """Read a request's body.

    Raises:
        TooLarge: it is longer than ``max_bytes``; noticed before the whole has come.
        UnsupportedMedia: it is compressed: a small one might become any number of bytes.

    """
    declared = headers.get(b"content-length")
    if b"content-encoding" in headers:
        _check_coding(headers, b"content-encoding", "Content-Encoding", b"identity")
    if declared is None and b"transfer-encoding" in headers:
        _check_coding(headers, b"transfer-encoding", "Transfer-Encoding", b"chunked")
    if declared is not None and declared.isdigit() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
        return body
    return await _read_rest(message, receive, max_bytes)


async def _read_rest(message: MutableMapping[str, Any], receive: Receive, max_bytes: int) -> bytes:
    chunks, total = [], 0
    while True:
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunks.append(message.get("body", b""))
        total += len(chunks[-1])
        if total > max_bytes:
            raise _too_large(max_bytes)
        if not message.get("more_body"):
            return b"".join(chunks)
        message = await receive()


async def while_connected(work: Coroutine[Any, Any, T], receive: Receive) -> T:
    """Do some work for a client that has sent its request; when it leaves before the end, the work is cancelled.

    A server does not fail a ``send`` after the client has left, so sending does not notice it.

    Raises:
        Disconnected: the client left.

    """
    working = asyncio.ensure_future(work)
    left = asyncio.ensure_future(receive())  # after the body there is nothing to receive but the end
    try:
        await asyncio.wait((working, left), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Disconnected
    finally:
        for task in (working, left):
            task.cancel()


def check_json(headers: Mapping[bytes, bytes], *, declared: bool) -> None:
    """Check that the body is declared as JSON, or, unless it must be ``declared``, as nothing at all.

    A web page from elsewhere may send any body without a preflight, unless it declares the body as JSON.

    Raises:
        UnsupportedMedia: it is declared as something else, or not at all.

    """
    value = headers.get(b"content-type")
    if value == b"application/json" or (value is None and not declared):
        return
    kind = (value or b"").split(b";")[0].strip().lower().decode("latin-1")
    if kind != "application/json" and not kind.endswith("+json"):
        sent = f"as {quoted(kind)}" if kind else "without a Content-Type"
        raise UnsupportedMedia(
            f"the body came {sent}; send it with 'Content-Type: application/json'", param="Content-Type"
        )


async def send_whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_json(send: Send, value: Any, status: int = 200, headers: Headers | None = None) -> None:
    body = msgspec.json.encode(value)
    await send_whole(send, status, [(b"content-type", b"application/json"), *(headers or [])], body)


def json_response(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def query_of(request: Request, *known: str) -> Mapping[str, str]:
    """Return the parameters in a request's target.

    Raises:
        InvalidRequest: one is unknown: the client may mean something else than the server would do.

    """
    for name in request.query_params:
        if name not in known:
            raise InvalidRequest(
                f"this path takes no query parameter {quoted(name)}; there is: {', '.join(known)}", param=name
            )
    return request.query_params


def parse_wait(value: Any) -> bool:
    """Read whether a change is to be obeyed everywhere before it is answered.

    Raises:
        InvalidRequest: it is neither true nor false.

    """
    wait = {True: True, False: False, "true": True, "false": False}.get(value) if type(value) in (bool, str) else None
    if wait is None:
        raise InvalidRequest("'wait' must be true or false", param="wait")
    return wait


def status_of(obeyed: Obeyed) -> int:
    """Return the status of a change: 200 only once every instance that reaches the store obeys it."""
    return 200 if obeyed is Obeyed.EVERYWHERE else 202


async def send_error(send: Send, error: SayonceError) -> None:
    """Answer with an error in OpenAI's form."""
    await send_json(send, error_answer(error), error.status, error_headers(error))


def error_response(error: SayonceError) -> Response:
    """Return the same as a response."""
    headers = {name.decode(): value.decode() for name, value in error_headers(error)}
    return Response(msgspec.json.encode(error_answer(error)), error.status, headers, media_type="application/json")


def error_headers(error: SayonceError) -> Headers:
    headers: Headers = []
    if error.retry_after_seconds is not None:
        headers.append((b"retry-after", str(error.retry_after_seconds).encode()))
    if error.status == 401:  # noqa: PLR2004 (RFC 9110 section 15.5.2)
        headers.append((b"www-authenticate", b"Bearer"))
    if error.param in ("Content-Encoding", "Transfer-Encoding"):  # RFC 9110 section 12.5.3
        headers.append((b"accept-encoding", b"identity"))
    return headers


def error_answer(error: SayonceError) -> answers.Error:
    param = None if error.param is None else error.param[:_LONGEST_PARAM]
    return answers.Error(error=answers.Told(message=error.message, type=error.kind, param=param, code=error.code))


def as_sayonce_error(error: BaseException) -> SayonceError:
    """Return an error that a client may see; one that we did not foresee is logged, and its text stays with us."""
    if isinstance(error, SayonceError):
        return error
    if not logged(error):
        log.error("unexpected failure", exc_info=error)
    return SayonceError("internal error; the server's log has it")


def as_object(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise InvalidRequest("the body must be a JSON object")
    return value


def _check_coding(headers: Mapping[bytes, bytes], name: bytes, shown: str, taken: bytes) -> None:
    coding = headers[name].strip()
    if coding.lower() not in (b"", taken):
        raise UnsupportedMedia(
            f"the body came compressed, as {quoted(coding.decode('latin-1'))}; send it as it is, without {shown}",
            param=shown,
        )


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the request is larger than {max_bytes} bytes, which is the limit")
