"""uvicorn's HTTP protocol with bounds on the bytes that a client may send, hold and leave unread, before it is authorised.

A request that arrives whole, as nearly all do, passes with a few comparisons. Times are checked twice a second, for all
connections at once (``connection_bounds``). A refusal has the API's form, where an answer can still be sent.
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Any, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from sayonce.config import ServerSettings
from sayonce.gateway.bounded_connection import BoundedConnection
from sayonce.gateway.connection import AT_ONCE, HELD
from sayonce.gateway.connection_bounds import ConnectionBounds
from sayonce.gateway.http import lines_of
from sayonce.gateway.refusals import (
    CROWDED,
    LONG_TARGET,
    MALFORMED,
    MANY_FIELDS,
    MAX_FIELDS,
    MAX_TARGET_BYTES,
    SMALL_CHUNKS,
    RequestRefusal,
)
from sayonce.gateway.transports import CoalescingTransport, LingeringTransport
from sayonce.gateway.upgrade import parser_of_rest

MAX_PIPELINED: Final = 16
"""Requests of one connection that wait for the answer to an earlier one."""
_SMALL_BYTES: Final = 4096
"""A request of so few bytes, arrived whole, is not counted."""
_FRAME_BYTES: Final = 32
"""Bytes that may frame one chunk of a body."""
_MANY_CHUNKS: Final = 4096
_CHUNK_BYTES: Final = 256
"""The average that more chunks than that must have: each chunk takes some microseconds."""
_SYSTEM_BYTES: Final = 262_144
"""The system's buffer for an answer that its client has not read: by itself the system takes megabytes, at once and
uncounted, and one such call holds the event loop for 10 ms and more."""


def bounded(server: ServerSettings) -> type[asyncio.Protocol]:
    """Return a value for uvicorn's ``http`` setting, with bounds of its own; it can be pickled, for workers."""
    return cast("type[asyncio.Protocol]", partial(BoundedProtocol, ConnectionBounds(server)))


class BoundedProtocol(BoundedConnection):
    """The requests of one connection."""

    _body = 0
    """Bytes of the unfinished request's body, with the framing of its chunks."""
    _chunks = 0
    _piece = 0
    """Bytes that came last."""
    _wrong: RequestRefusal | None = None
    _reads = False
    """Whether bytes are being read now."""
    _begins: tuple[RequestResponseCycle, Any] | None = None
    """The request that begins once they are read, and its application."""

    # -- what uvicorn calls -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.coalescing = CoalescingTransport(transport, self.loop, self.bounds.outbox)
        super().connection_made(cast("asyncio.Transport", self.coalescing))
        connected = transport.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SYSTEM_BYTES)
        if self.bounds.admit(self, connected.fileno()):
            self.bounds.heads[self] = None
        else:
            self.refuse(CROWDED)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.bounds.remove(self)
        self._release(self._charged)
        for cycle in self._earlier:  # uvicorn tells only the last
            cycle.disconnected = True
            cycle.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._ends_at:
            return
        self._unset_keepalive_if_required()
        self._piece = len(data)
        self._reads, refused = True, False
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            refused = not self._goes_on(error, data)
        self._reads = False
        cycle = self.cycle
        if refused:
            self.refuse(self._wrong or MALFORMED)
        elif (
            self._received
            or self._piece > _SMALL_BYTES
            or cycle is None
            or cycle.scope is not self.scope
            or cycle.more_body
            or cycle.response_complete
        ):
            self._count()
        if self._begins is not None:
            begins, self._begins = self._begins, None
            self._begin(*begins)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self._reads:
            self._begins = cycle, app
        else:
            super()._start_asgi_task(cycle, app)

    def _begin(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Begin a request: one that has come whole may be answered at once, without a task."""
        answer_now = self.answer_now
        if answer_now is None or cycle.more_body or not answer_now(cycle.scope, bytes(cycle.body), cycle.send):
            super()._start_asgi_task(cycle, app)

    def _goes_on(self, error: Exception, data: bytes) -> bool:
        """Read a request that asks for another protocol as if it did not, where that is all that stopped the parser."""
        while isinstance(error, httptools.HttpParserUpgrade) and self.parser.get_method() != b"CONNECT":
            self.cycle.more_body = True
            data = data[error.args[0] :]
            try:
                self.parser = parser_of_rest(self)
                self.parser.feed_data(data)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade) as another:
                error = another
            else:
                return True
        return False

    def _should_upgrade(self) -> bool:
        return False

    def on_headers_complete(self) -> None:
        if (
            self._received + self._piece > self.bounds.server.header_max_bytes
            or len(self.headers) > MAX_FIELDS
            or len(self.url) > MAX_TARGET_BYTES
        ):
            self._check_head(whole=True)
        if not self.url.startswith(b"/"):
            self._take_authority()
        earlier = self.cycle
        super().on_headers_complete()
        self.coalescing.header_next = True
        self.scope[HELD] = self.held  # type: ignore[typeddict-unknown-key]
        self.scope[AT_ONCE] = self.answer_at_once  # type: ignore[typeddict-unknown-key]
        self.bounds.heads.pop(self, None)
        self._body = self._chunks = 0
        self.headers = []  # from here on: of trailers, which are no headers (RFC 9110 section 6.5.1)
        if earlier is not None and not earlier.response_complete:
            self._queue_behind(earlier)

    def on_body(self, body: bytes) -> None:
        self._body += len(body) + _FRAME_BYTES
        self._chunks += 1
        if self._chunks > _MANY_CHUNKS and self._body < self._chunks * _CHUNK_BYTES:
            self._wrong = SMALL_CHUNKS
            raise ValueError(SMALL_CHUNKS.message)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.cycle is not None:
            self.cycle.more_body = False  # also of a request that was answered before it was whole

    def on_response_complete(self) -> None:
        if self._charged:  # the bytes of the next request stay
            answered = self.cycle.response_complete and self.cycle.scope is self.scope
            self._release(self._charged if answered else self._charged - self._received)
        if self._earlier:
            self._earlier = [cycle for cycle in self._earlier if not cycle.response_complete]
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.read_at, self._unsent = self.loop.time(), self.transport.get_write_buffer_size()
        self.bounds.pause(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.bounds.unread.forget(self)
        self._unsent = 0

    def timeout_keep_alive_handler(self) -> None:
        if not self.transport.get_write_buffer_size():  # else the client still reads, or is cut off for not reading
            super().timeout_keep_alive_handler()

    # -- what the application calls ---------------------------------------------------------------------------------

    def answer_at_once(self, send: object, header: bytes, body: bytes) -> bool:
        """Send a whole answer of status 200, and return True; False where it has to go the usual way, by ``send``.

        ``header`` has all lines but uvicorn's default ones. uvicorn sends in two steps, and looks at each header in both.
        """
        cycle = self.cycle
        if (
            getattr(send, "__self__", None) is not cycle  # something stands between, or this is not the latest request
            or cycle.response_started
            or cycle.disconnected
            or not cycle.keep_alive
            or cycle.access_log
            or self.flow.write_paused
        ):
            return False
        cycle.response_started = cycle.response_complete = True
        self.coalescing.answer(b"".join((STATUS_LINE[200], lines_of(cycle.default_headers), header, b"\r\n")), body)
        cycle.message_event.set()
        cycle.on_response()
        return True

    # -- bounds -----------------------------------------------------------------------------------------------------

    def _count(self) -> None:
        """Count the bytes of a request that is not whole, or not small."""
        self.last = self.loop.time()
        cycle, piece = self.cycle, self._piece
        head = cycle is None or cycle.scope is not self.scope
        if not (head or cycle.more_body):
            self._received = 0
            if cycle.response_complete:
                self._idle()
            else:
                self._charge(piece)
            return
        if not self._received:
            self.began = self.last if self not in self.bounds.heads else self.began
        self._received += piece
        if head:
            self.bounds.heads.setdefault(self)
            refusal = self._head_refusal(whole=False)
        else:
            refusal = self._framing_refusal()
            if not isinstance(cycle.transport, LingeringTransport):
                cycle.transport = LingeringTransport(self.transport, lambda: self.unfinished, self.end_gently)  # type: ignore[assignment]
        if refusal is not None:
            self.refuse(refusal)
        elif head or not cycle.response_complete:
            self._charge(piece)

    def _idle(self) -> None:
        """Wait for the next request again, after bytes that began none."""
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _check_head(self, *, whole: bool) -> None:
        self._wrong = self._head_refusal(whole=whole)
        if self._wrong is not None:
            raise ValueError(self._wrong.message)

    def _head_refusal(self, *, whole: bool) -> RequestRefusal | None:
        """Return the reason to refuse a header; its length is known exactly once it is whole."""
        if len(self.url) > MAX_TARGET_BYTES:
            return LONG_TARGET
        if len(self.headers or ()) > MAX_FIELDS:
            return MANY_FIELDS
        size = (
            len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) if whole else self._received
        )
        return self.bounds.refusals.header_bytes if size > self.bounds.server.header_max_bytes else None

    def _framing_refusal(self) -> RequestRefusal | None:
        """Bound the bytes beside a body: extensions of chunks, and trailers."""
        if len(self.headers) + len(list(self.scope["headers"])) > MAX_FIELDS:
            return MANY_FIELDS
        beside = self._received - self._body
        return self.bounds.refusals.header_bytes if beside > 2 * self.bounds.server.header_max_bytes else None

    def _take_authority(self) -> None:
        """Let the authority of an absolute target stand for ``Host`` (RFC 9112 section 3.2.2)."""
        parsed = httptools.parse_url(self.url)
        if parsed.host is None or parsed.path is None:
            self._wrong = MALFORMED
            raise ValueError(MALFORMED.message)
        authority = parsed.host if parsed.port is None else b"%b:%d" % (parsed.host, parsed.port)
        self.headers[:] = [(b"host", authority), *(each for each in self.headers if each[0] != b"host")]

    def _queue_behind(self, earlier: RequestResponseCycle) -> None:
        self._earlier.append(earlier)
        if len(self._earlier) > MAX_PIPELINED:
            raise ValueError("too many pipelined requests")
