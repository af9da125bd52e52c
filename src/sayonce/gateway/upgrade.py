"""A request that asks for another protocol stays a request as any other: no protocol is changed (RFC 9110 section 7.8).

httptools takes the bytes after such a header for the other protocol, and gives up the body. Java's ``HttpClient`` asks
for ``h2c`` with its first request to plain ``http``, with any method.
"""

from __future__ import annotations

from typing import Final

import httptools

from sayonce.gateway.connection import ParserCallbacks

_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding", b"connection"))


class _Rest:
    """Callbacks of a parser that reads a header again: they skip that header, and pass all else to the connection."""

    def __init__(self, connection: ParserCallbacks) -> None:
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


def parser_of_rest(connection: ParserCallbacks) -> httptools.HttpRequestParser:
    """Return a parser for the body of the connection's request, and for the requests after it.

    Raises:
        HttpParserError: the header says in no valid way where the body ends; the first parser did not check that.

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
