"""A connection that can be timed, refused and cut; `protocol` reads the requests that come on it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from sayonce.gateway.common_headers import NO_STORE, common_lines
from sayonce.gateway.connection import AnswerNow, Held
from sayonce.gateway.connection_bounds import CHECK_SECONDS, ConnectionBounds
from sayonce.gateway.http import Scope, lines_of
from sayonce.gateway.refusals import TOO_SLOW, RequestRefusal
from sayonce.gateway.transports import CoalescingTransport

_LINGER_SECONDS: Final = 2.0
"""How long a refused client may go on sending: after a close at once, it might never read why."""
_RATE_AFTER_SECONDS: Final = 10.0


class BoundedConnection(HttpToolsProtocol):
    """One connection; ``sayonce.gateway.connection.Connection`` describes its methods."""

    coalescing: CoalescingTransport

    def __init__(
        self,
        bounds: ConnectionBounds,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.access_log = self.access_log and config.access_log  # also where uvicorn's logger has handlers of others
        self.bounds = bounds
        self.answer_now: AnswerNow | None = getattr(self.app, "answer_now", None)
        self.url = b""
        self.last = self.began = self.read_at = self.loop.time()
        """When the last byte came, when the unfinished request began, and when the client last read."""
        self.held = Held()
        self._received = 0
        """Bytes of the unfinished request."""
        self._charged = 0
        """Bytes that this connection has in ``buffered_bytes`` of the bounds."""
        self._unsent = 0
        self._earlier: list[RequestResponseCycle] = []
        """Requests that came before the latest one and are not answered."""
        self._ends_at = 0.0
        """When a refused client is cut off; 0 for others."""

    @property
    def unfinished(self) -> bool:
        return self._received > 0 and not self._ends_at

    @property
    def waits(self) -> bool:
        return self.cycle is None or self.cycle.response_complete or self.unfinished

    def give_way(self) -> None:
        self.bounds.remove(self)
        if self.unfinished:
            self.refuse(self.bounds.refusals.displaced)
        self.transport.close() if not self.transport.get_write_buffer_size() else self.cut()

    def cut(self) -> None:
        self.bounds.remove(self)
        self.transport.abort()

    def _charge(self, size: int) -> None:
        self._charged += size
        self.bounds.buffered_bytes += size
        if self.bounds.buffered_bytes > self.bounds.server.buffered_max_bytes:
            self.bounds.make_room(self)

    def _release(self, size: int) -> None:
        self._charged -= size
        self.bounds.buffered_bytes -= size

    def check_times(self, now: float) -> None:
        unsent = self.transport.get_write_buffer_size()
        if self._ends_at:
            if now > self._ends_at:
                self.cut()
        elif unsent:
            self._check_reading(now, unsent)
        elif self in self.bounds.heads:
            if now - self.began > self.bounds.server.header_seconds:
                self.refuse(self.bounds.refusals.header_seconds) if self._received else self.transport.close()
        elif self._received:
            self._check_body(now)

    def _check_reading(self, now: float, unsent: int) -> None:
        """Cut off a client that reads too slowly for too long."""
        server = self.bounds.server
        must_have_read = server.slowest_bytes_per_second * max(1.0, now - self.read_at)
        if not self._unsent or unsent > self._unsent or self._unsent - unsent >= must_have_read:
            self._unsent, self.read_at = unsent, now
        elif now - self.read_at > server.unread_seconds:
            self.bounds.warn("an answer is not read; its connection is cut")
            self.cut()

    def _check_body(self, now: float) -> None:
        server, age = self.bounds.server, now - self.began
        if self.cycle.response_complete:
            if now - self.last > _LINGER_SECONDS or age > server.request_seconds:
                self.cut()
        elif self.flow.read_paused:  # the server is slow
            self.began += CHECK_SECONDS
        elif age > server.request_seconds:
            self.refuse(self.bounds.refusals.request_seconds)
        elif age > _RATE_AFTER_SECONDS and self._received < server.slowest_bytes_per_second * age:
            self.refuse(TOO_SLOW)

    def refuse(self, refusal: RequestRefusal) -> None:
        unanswered = [*self._earlier, *([self.cycle] if self.cycle is not None else [])]
        unanswered = [cycle for cycle in unanswered if not cycle.response_complete]
        self.bounds.heads.pop(self, None)
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
        """Send no more, and let the client read the answer before the connection ends."""
        self._ends_at = self.loop.time() + _LINGER_SECONDS
        self.flow.resume_reading()
        with suppress(OSError):  # the client has left
            self.transport.write_eof()

    def _answer(self, refusal: RequestRefusal) -> bytes:
        body = refusal.body()
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            NO_STORE,
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        if refusal.retry_after_seconds is not None:
            headers.append((b"retry-after", b"%d" % refusal.retry_after_seconds))
        scope: Scope = self.scope or {}  # type: ignore[assignment]
        return STATUS_LINE[refusal.status] + lines_of(headers) + common_lines(scope) + b"\r\n" + body
