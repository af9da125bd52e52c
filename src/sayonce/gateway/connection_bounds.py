"""The bounds of all connections of a process: which connection has to go when they hold too much together."""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Iterator
from typing import Final

from sayonce.config import ServerSettings
from sayonce.gateway.connection import Connection
from sayonce.gateway.refusals import FULL, refusals_of
from sayonce.gateway.transports import Outbox
from sayonce.gateway.unread import Unread

log = logging.getLogger("sayonce.gateway")

CHECK_SECONDS: Final = 0.5
_COUNT_SECONDS: Final = 0.05
_WARN_SECONDS: Final = 60.0
_SPARE_DESCRIPTORS: Final = 16
"""Left to stores and engines."""


class ConnectionBounds:
    """The bounds of a process's connections, how much of them is used, and what they share."""

    def __init__(self, server: ServerSettings) -> None:
        self.server = server
        self.connections: dict[Connection, None] = {}
        self.heads: dict[Connection, None] = {}
        """The connections that have not received the whole header of their next request, in the order in which they began."""
        self.unread = Unread()
        self.outbox = Outbox()
        self.buffered_bytes = 0
        self.refusals = refusals_of(server)
        self._checking = False
        self._counted_at = 0.0
        self._warned_at: dict[str, float] = {}
        self._descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE_DESCRIPTORS

    def admit(self, connection: Connection, descriptor: int) -> bool:
        """Let a connection in and return True; False where there is no room.

        Where there are too many, it takes the place of one that waits, or else of one whose client reads slowly.
        """
        if len(self.connections) >= self.server.connections or descriptor >= self._descriptors:
            self.warn("there are as many connections as there may be; those that wait longest are closed")
            victim = (
                next(iter(self.heads), None)
                or min(self._waiting(), key=_waiting_since, default=None)
                or self.unread.slowest()
            )
            if victim is None:
                return False
            victim.give_way()
        self.connections[connection] = None
        if not self._checking:
            self._checking = True
            connection.loop.call_later(CHECK_SECONDS, self._check, connection.loop)
        return True

    def _waiting(self) -> Iterator[Connection]:
        return (each for each in self.connections if each.waits)

    def remove(self, connection: Connection) -> None:
        self.connections.pop(connection, None)
        self.heads.pop(connection, None)
        self.unread.forget(connection)

    def make_room(self, asking: Connection) -> None:
        """Refuse unfinished requests, the one that has been silent longest first, until the others fit into the bound."""
        while self.buffered_bytes > self.server.buffered_max_bytes:
            self.warn("unfinished requests take as much memory as they may; those that are silent longest are refused")
            unfinished = (each for each in self.connections if each.unfinished and each is not asking)
            victim = min(unfinished, key=lambda each: each.last, default=asking)
            victim.refuse(FULL)
            if victim is asking:
                return

    def pause(self, connection: Connection) -> None:
        """Count a client that reads more slowly than the server sends.

        The other connections' memory has changed, too: their clients read, and flights grow. All are counted anew some
        times a second, and not at each pause: thousands of pauses would keep the event loop busy.
        """
        self.unread.note(connection)
        now = connection.loop.time()
        if now - self._counted_at > _COUNT_SECONDS:
            self._count_unread(now)
        self.bound_unread()

    def bound_unread(self) -> None:
        """Cut off clients that do not read, the one that has not read longest first; one alone may have any clip."""
        while len(self.unread) > 1 and self.unread.bytes > self.server.unread_max_bytes:
            self.warn("answers that nobody reads take as much memory as they may; their connections are cut")
            if (victim := self.unread.slowest()) is not None:
                victim.cut()

    def _count_unread(self, now: float) -> None:
        self._counted_at = now
        self.unread.recount()

    def warn(self, message: str) -> None:
        """Log a warning, once a minute at most."""
        now = asyncio.get_running_loop().time()
        if now - self._warned_at.get(message, -_WARN_SECONDS) >= _WARN_SECONDS:
            self._warned_at[message] = now
            log.warning("%s", message)

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self.connections):
            connection.check_times(now)
        self._count_unread(now)
        self.bound_unread()
        self._checking = bool(self.connections)
        if self._checking:
            loop.call_later(CHECK_SECONDS, self._check, loop)


def _waiting_since(connection: Connection) -> tuple[bool, float]:
    return connection.unfinished, connection.last
