"""uvicorn's HTTP protocol with bounds on what a client may send, hold and leave unread, before anyone is authenticated.

A request that arrives whole, which nearly all do, passes with a few comparisons. Times are looked at twice a second, for
all connections at once (``door``). What is refused is refused in the API's form, where an answer can still be sent.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast

import httptools
import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from sayonce.config import ServerSettings
from sayonce.gateway.around import AROUND, NO_STORE
from sayonce.gateway.door import AT_ONCE, CROWDED, HELD, LOOK_SECONDS, Door, Held, Refusal
from sayonce.gateway.http import Scope, lines_of
from sayonce.gateway.outlet import Outlet
from sayonce.gateway.upgrade import parser_of_rest
from sayonce.observe import request_id

MAX_TARGET_BYTES: Final = 8192
MAX_FIELDS: Final = 128
"""Header fields of one request, trailers included."""
MAX_PIPELINED: Final = 16
"""Requests of one connection that wait for the answer to an earlier one."""
_SMALL_BYTES: Final = 4096
"""A request of so few bytes, arrived whole, is not counted."""
_FRAME_BYTES: Final = 32
"""What a chunk of a body may have around it."""
_MANY_PIECES: Final = 4096
_PIECE_BYTES: Final = 256
"""Of more pieces than that, these are the bytes that they have on average: each takes some microseconds."""
_SYSTEM_BYTES: Final = 262_144
"""What the system takes of an answer before its client reads: left to itself it takes megabytes, at once and uncounted,
and one such call holds the event loop for 10 ms and more."""
_LINGER_SECONDS: Final = 2.0
"""How long a client that was refused may go on sending: closed at once, it might never read why."""
_RATE_AFTER_SECONDS: Final = 10.0

_MALFORMED: Final = Refusal(400, "this is not a valid HTTP/1.1 request", "invalid_request")
_LONG_TARGET: Final = Refusal(414, f"the request's target is longer than {MAX_TARGET_BYTES} bytes", "target_too_long")
_MANY_FIELDS: Final = Refusal(431, f"the request has more than {MAX_FIELDS} header fields", "too_many_headers")
_SMALL_PIECES: Final = Refusal(400, "the body comes in too many small chunks", "chunks_too_small")
_TOO_SLOW: Final = Refusal(408, "the request came too slowly", "request_timeout")


def bounded(bounds: ServerSettings) -> type[asyncio.Protocol]:
    """Return what uvicorn's ``http`` setting takes, with a door of its own; it can be pickled, for workers."""
    return cast("type[asyncio.Protocol]", partial(Protocol, Door(bounds)))


class Protocol(HttpToolsProtocol):
    """One connection."""

    outlet: Outlet

    def __init__(
        self,
        door: Door,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.access_log = self.access_log and config.access_log  # whatever handlers others give to its logger
        self.door = door
        self.url = b""
        self.last = self.began = self.read_at = self.loop.time()
        """When the last byte came, when the request began that is not whole, and when the client last read."""
        self.held = Held()
        self._received = 0
        self._body = 0
        """Bytes of the request that is not whole yet, and of its body with what may be around its chunks."""
        self._piece = 0
        self._pieces = 0
        self._charged = 0
        self._unsent = 0
        self._earlier: list[RequestResponseCycle] = []
        self._wrong: Refusal | None = None
        self._ends_at = 0.0
        """When a client that was refused is cut off; 0 for others."""

    # -- what the door asks -----------------------------------------------------------------------------------------

    @property
    def unfinished(self) -> bool:
        return self._received > 0 and not self._ends_at

    @property
    def waits(self) -> bool:
        """Whether nothing is lost but time when this connection ends: it is idle, refused, or its request not whole."""
        return self.cycle is None or self.cycle.response_complete or self.unfinished

    def give_way(self) -> None:
        """End for another connection's sake."""
        self.door.leave(self)
        if self.unfinished:
            self.refuse(self.door.refused["slow"])
        self.transport.close() if not self.transport.get_write_buffer_size() else self.cut()

    def cut(self) -> None:
        self.door.leave(self)
        self.transport.abort()

    # -- what uvicorn calls -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.outlet = Outlet(transport, self.loop)
        super().connection_made(cast("asyncio.Transport", self.outlet))
        connected = transport.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SYSTEM_BYTES)
        if self.door.enter(self, connected.fileno()):
            self.door.heads[self] = None
        else:
            self.refuse(CROWDED)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.door.leave(self)
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
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._goes_on(error, data):
                self.refuse(self._wrong or _MALFORMED)
                return
        cycle = self.cycle
        if (
            self._received
            or self._piece > _SMALL_BYTES
            or cycle is None
            or cycle.scope is not self.scope
            or cycle.more_body
            or cycle.response_complete
        ):
            self._count()

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
            self._received + self._piece > self.door.bounds.header_max_bytes
            or len(self.headers) > MAX_FIELDS
            or len(self.url) > MAX_TARGET_BYTES
        ):
            self._check_head(whole=True)
        if not self.url.startswith(b"/"):
            self._take_authority()
        earlier = self.cycle
        super().on_headers_complete()
        self.outlet.header_next = True
        self.scope[HELD] = self.held  # type: ignore[typeddict-unknown-key]
        self.scope[AT_ONCE] = self.answer_at_once  # type: ignore[typeddict-unknown-key]
        self.door.heads.pop(self, None)
        self._body = self._pieces = 0
        self.headers = []  # from here on: of trailers, which are no headers (RFC 9110 section 6.5.1)
        if earlier is not None and not earlier.response_complete:
            self._queue_behind(earlier)

    def on_body(self, body: bytes) -> None:
        self._body += len(body) + _FRAME_BYTES
        self._pieces += 1
        if self._pieces > _MANY_PIECES and self._body < self._pieces * _PIECE_BYTES:
            self._wrong = _SMALL_PIECES
            raise ValueError(_SMALL_PIECES.message)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.cycle is not None:
            self.cycle.more_body = False  # also of a request that was answered before it was whole

    def on_response_complete(self) -> None:
        if self._charged:  # what came of the next request stays
            answered = self.cycle.response_complete and self.cycle.scope is self.scope
            self._release(self._charged if answered else self._charged - self._received)
        if self._earlier:
            self._earlier = [cycle for cycle in self._earlier if not cycle.response_complete]
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.read_at, self._unsent = self.loop.time(), self.transport.get_write_buffer_size()
        self.door.pause(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.door.unread.forget(self)
        self._unsent = 0

    def timeout_keep_alive_handler(self) -> None:
        if not self.transport.get_write_buffer_size():  # else the client still reads, or is cut off for not reading
            super().timeout_keep_alive_handler()

    # -- what the application calls ---------------------------------------------------------------------------------

    def answer_at_once(self, send: object, header: bytes, body: bytes) -> bool:
        """Send a whole answer of status 200, and return True; False where it has to go the usual way, by ``send``.

        ``header`` has all lines but those of every answer. uvicorn sends in two steps, and looks at each header in both.
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
        self.outlet.answer(b"".join((STATUS_LINE[200], lines_of(cycle.default_headers), header, b"\r\n")), body)
        cycle.message_event.set()
        cycle.on_response()
        return True

    # -- bounds -----------------------------------------------------------------------------------------------------

    def _count(self) -> None:
        """Count what came of a request that is not whole, or not small."""
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
            self.began = self.last if self not in self.door.heads else self.began
        self._received += piece
        if head:
            self.door.heads.setdefault(self)
            refusal = self._head_refusal(whole=False)
        else:
            refusal = self._framing_refusal()
            if not isinstance(cycle.transport, _Gentle):
                cycle.transport = _Gentle(self)  # type: ignore[assignment]
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

    def _head_refusal(self, *, whole: bool) -> Refusal | None:
        """Say what is wrong with a header; how long it is, is known exactly once it is whole."""
        if len(self.url) > MAX_TARGET_BYTES:
            return _LONG_TARGET
        if len(self.headers or ()) > MAX_FIELDS:
            return _MANY_FIELDS
        size = (
            len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) if whole else self._received
        )
        return self.door.refused["headers"] if size > self.door.bounds.header_max_bytes else None

    def _framing_refusal(self) -> Refusal | None:
        """Bound what is sent beside a body: extensions of chunks, and trailers."""
        if len(self.headers) + len(list(self.scope["headers"])) > MAX_FIELDS:
            return _MANY_FIELDS
        beside = self._received - self._body
        return self.door.refused["headers"] if beside > 2 * self.door.bounds.header_max_bytes else None

    def _take_authority(self) -> None:
        """Let the authority of an absolute target stand for ``Host`` (RFC 9112 section 3.2.2)."""
        parsed = httptools.parse_url(self.url)
        if parsed.host is None or parsed.path is None:
            self._wrong = _MALFORMED
            raise ValueError(_MALFORMED.message)
        authority = parsed.host if parsed.port is None else b"%b:%d" % (parsed.host, parsed.port)
        self.headers[:] = [(b"host", authority), *(each for each in self.headers if each[0] != b"host")]

    def _queue_behind(self, earlier: RequestResponseCycle) -> None:
        self._earlier.append(earlier)
        if len(self._earlier) > MAX_PIPELINED:
            raise ValueError("too many pipelined requests")

    def _charge(self, size: int) -> None:
        self._charged += size
        self.door.buffered_bytes += size
        if self.door.buffered_bytes > self.door.bounds.buffered_max_bytes:
            self.door.make_room(self)

    def _release(self, size: int) -> None:
        self._charged -= size
        self.door.buffered_bytes -= size

    def look(self, now: float) -> None:
        """End what takes too long."""
        unsent = self.transport.get_write_buffer_size()
        if self._ends_at:
            if now > self._ends_at:
                self.cut()
        elif unsent:
            self._look_at_reading(now, unsent)
        elif self in self.door.heads:
            if now - self.began > self.door.bounds.header_seconds:
                self.refuse(self.door.refused["header_seconds"]) if self._received else self.transport.close()
        elif self._received:
            self._look_at_body(now)

    def _look_at_reading(self, now: float, unsent: int) -> None:
        """Cut off a client that has not read what it must within the time that it has for that."""
        bounds = self.door.bounds
        must_have_read = bounds.slowest_bytes_per_second * max(1.0, now - self.read_at)
        if not self._unsent or unsent > self._unsent or self._unsent - unsent >= must_have_read:
            self._unsent, self.read_at = unsent, now
        elif now - self.read_at > bounds.unread_seconds:
            self.door.tell("an answer is not read; its connection is cut")
            self.cut()

    def _look_at_body(self, now: float) -> None:
        bounds, age = self.door.bounds, now - self.began
        if self.cycle.response_complete:
            if now - self.last > _LINGER_SECONDS or age > bounds.request_seconds:
                self.cut()
        elif self.flow.read_paused:  # it is we who are slow
            self.began += LOOK_SECONDS
        elif age > bounds.request_seconds:
            self.refuse(self.door.refused["request_seconds"])
        elif age > _RATE_AFTER_SECONDS and self._received < bounds.slowest_bytes_per_second * age:
            self.refuse(_TOO_SLOW)

    def refuse(self, refusal: Refusal) -> None:
        """Answer in the application's place and end the connection; an answer under way is broken off instead."""
        unanswered = [*self._earlier, *([self.cycle] if self.cycle is not None else [])]
        unanswered = [cycle for cycle in unanswered if not cycle.response_complete]
        self.door.heads.pop(self, None)
        self._release(self._charged)
        self._received = 0
        if self.transport.is_closing():
            return
        if len(unanswered) > 1 or any(each.response_started or each.scope is not self.scope for each in unanswered):
            self.cut()
            return
        for cycle in unanswered:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.write(self._answer(refusal))
        self.end_gently()

    def end_gently(self) -> None:
        """Send no more, and let the client read what it was told before the connection ends."""
        self._ends_at = self.loop.time() + _LINGER_SECONDS
        self.flow.resume_reading()
        with suppress(OSError):  # the client has left
            self.transport.write_eof()

    def _answer(self, refusal: Refusal) -> bytes:
        kind = "invalid_request_error" if refusal.status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
        error = {"message": refusal.message, "type": kind, "param": None, "code": refusal.code}
        body = msgspec.json.encode({"error": error})
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            NO_STORE,
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        if refusal.retry_after_seconds is not None:
            headers.append((b"retry-after", b"%d" % refusal.retry_after_seconds))
        return STATUS_LINE[refusal.status] + lines_of(headers) + self._around() + b"\r\n" + body

    def _around(self) -> bytes:
        """Return what the application has around its answer, or would have had it seen the request."""
        scope: Scope = self.scope or {}  # type: ignore[assignment]
        return scope.get(AROUND) or request_id.line(request_id.of(dict(scope.get("headers", ()))))


class _Gentle:
    """A transport for the answer to a request that is not whole: closed at once, the client might never read it."""

    def __init__(self, connection: Protocol) -> None:
        self._connection = connection
        self._transport = connection.transport
        self.write = self._transport.write
        self.is_closing = self._transport.is_closing

    def close(self) -> None:
        if self._connection.unfinished and not self._transport.is_closing():
            self._connection.end_gently()
        else:
            self._transport.close()
