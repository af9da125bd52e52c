"""The answers that the HTTP protocol gives by itself, before the application sees a request: each bound's status and message."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec

from sayonce.config import ServerSettings
from sayonce.gateway import answers

MAX_TARGET_BYTES: Final = 8192
MAX_FIELDS: Final = 128
"""Header fields of one request, trailers included."""


class RequestRefusal(msgspec.Struct, frozen=True):
    """An answer that the protocol gives by itself."""

    status: int
    message: str
    code: str
    retry_after_seconds: int | None = None

    def body(self) -> bytes:
        """Return the error in OpenAI's form."""
        kind = "invalid_request_error" if self.status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
        told = answers.Told(message=self.message, type=kind, param=None, code=self.code)
        return msgspec.json.encode(answers.Error(error=told))


MALFORMED: Final = RequestRefusal(400, "this is not a valid HTTP/1.1 request", "invalid_request")
SMALL_CHUNKS: Final = RequestRefusal(400, "the body comes in too many small chunks", "chunks_too_small")
TOO_SLOW: Final = RequestRefusal(408, "the request came too slowly", "request_timeout")
LONG_TARGET: Final = RequestRefusal(
    414, f"the request's target is longer than {MAX_TARGET_BYTES} bytes", "target_too_long"
)
MANY_FIELDS: Final = RequestRefusal(431, f"the request has more than {MAX_FIELDS} header fields", "too_many_headers")
FULL: Final = RequestRefusal(503, "the server holds as many unfinished requests as it may; try again", "overloaded", 1)
CROWDED: Final = RequestRefusal(
    503, "the server has as many connections as it may, all busy; try again", "overloaded", 1
)


class SettingsRefusals(msgspec.Struct, frozen=True, kw_only=True):
    """The refusals with a setting and its value in their message."""

    header_bytes: RequestRefusal
    header_seconds: RequestRefusal
    request_seconds: RequestRefusal
    displaced: RequestRefusal
    """For an unfinished request that gives way to a new connection."""


def refusals_of(server: ServerSettings) -> SettingsRefusals:
    """Return the refusals that the settings give their values."""
    header = f"the request's header is longer than {server.header_max_bytes} bytes (server.header_max_bytes)"
    header_time = f"the header did not end within {server.header_seconds:g} s (server.header_seconds)"
    request_time = f"the request did not end within {server.request_seconds:g} s (server.request_seconds)"
    displaced = "the server has as many connections as it may, and this one's request was not whole"
    return SettingsRefusals(
        header_bytes=RequestRefusal(431, header, "headers_too_large"),
        header_seconds=RequestRefusal(408, header_time, "request_timeout"),
        request_seconds=RequestRefusal(408, request_time, "request_timeout"),
        displaced=RequestRefusal(503, displaced, "overloaded", 1),
    )
