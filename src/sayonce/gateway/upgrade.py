"""A request that asks for another protocol, which is not taken: it stays a request as any other (RFC 9110 section 7.8).

The parser takes what follows such a header for the other protocol, and gives up the body. Java's ``HttpClient`` asks for
``h2c`` with its first request to plain ``http``, whatever its method.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httptools

if TYPE_CHECKING:
    from sayonce.gateway.protocol import Protocol

_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding", b"connection"))


class _Rest:
    """What a parser tells that begins with a header which the connection has already; then all is the connection's."""

    def __init__(self, connection: Protocol) -> None:
        self._connection = connection
        self._known = True
        self.on_body = connection.on_body
        self.on_message_complete = connection.on_message_complete

    def on_message_begin(self) -> None:
        if not self._known:
            self._connection.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._known:
            self._connection.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._known:
            self._connection.on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self._known:
            self._connection.on_headers_complete()
        self._known = False


def parser_of_rest(connection: Protocol) -> httptools.HttpRequestParser:
    """Return a parser for what follows the header of the connection's request, and for the requests after it.

    Raises:
        HttpParserError: the header says in no valid way where the body ends, which the first parser did not look at.

    """
    parser = httptools.HttpRequestParser(_Rest(connection))
    parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
    framing = [(name, b"close" if b"close" in value.lower() else b"keep-alive") if name == b"connection" else (name, value)
               for name, value in connection.scope["headers"] if name in _FRAMING]  # fmt: skip
    lines = b"".join(b"%b: %b\r\n" % field for field in framing)
    parser.feed_data(
        b"%b / HTTP/%b\r\n%b\r\n"
        % (connection.parser.get_method(), connection.parser.get_http_version().encode(), lines)
    )
    return parser
