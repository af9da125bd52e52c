"""What all connections of a process may hold together, and which has to go when that is too much."""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from sayonce.config import ServerSettings

if TYPE_CHECKING:
    from sayonce.gateway.protocol import Protocol

log = logging.getLogger("sayonce.gateway")

HELD: Final = "sayonce.held"
"""Where a request's scope has the connection's ``Held``."""
AT_ONCE: Final = "sayonce.at_once"
"""Where it has what sends a whole answer by one call: ``Protocol.answer_at_once``."""
LOOK_SECONDS: Final = 0.5
_COUNT_SECONDS: Final = 0.05
_TELL_SECONDS: Final = 60.0
_SPARE_DESCRIPTORS: Final = 16
"""Left to stores and engines."""


class Refusal(msgspec.Struct, frozen=True):
    """An answer that the protocol gives by itself."""

    status: int
    message: str
    code: str
    retry_after_seconds: int | None = None


FULL: Final = Refusal(503, "the server holds as many unfinished requests as it may; try again", "overloaded", 1)
CROWDED: Final = Refusal(503, "the server has as many connections as it may, all busy; try again", "overloaded", 1)


class Held:
    """What an answer keeps in memory while its client reads: one body that several clients read is held once.

    Attributes:
        of: whatever is the same for all who read the same body.
        count: returns the bytes that it takes now; None while nothing but what is unsent is held.

    """

    __slots__ = ("count", "of")

    def __init__(self) -> None:
        self.of: object = None
        self.count: Callable[[], int] | None = None


class Unread:
    """What answers keep in memory for clients that read more slowly than they are sent to, counted as it changes.

    Each connection has what is unsent to itself; a body or a flight that several read is counted once beside it.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._own: dict[Protocol, tuple[int, int]] = {}
        self._shared: dict[int, tuple[int, int]] = {}
        """How many read it, and its bytes, by the identity of what they read."""

    def __len__(self) -> int:
        return len(self._own)

    def note(self, connection: Protocol) -> None:
        """Count what a connection holds now."""
        self.forget(connection)
        unsent, held = connection.transport.get_write_buffer_size(), connection.held
        self._own[connection] = unsent, id(held.of)
        self.bytes += unsent
        if held.count is not None:
            readers, size = self._shared.get(id(held.of), (0, 0))
            self._shared[id(held.of)] = readers + 1, held.count()
            self.bytes += self._shared[id(held.of)][1] - size

    def forget(self, connection: Protocol) -> None:
        unsent, of = self._own.pop(connection, (0, 0))
        self.bytes -= unsent
        readers, size = self._shared.pop(of, (0, 0))
        if readers > 1:
            self._shared[of] = readers - 1, size
        else:
            self.bytes -= size

    def recount(self) -> None:
        """Count all of them anew: they have read, and what they read has grown."""
        connections = list(self._own)
        self._own.clear()
        self._shared.clear()
        self.bytes = 0
        for connection in connections:
            self.note(connection)

    def slowest(self) -> Protocol | None:
        """Return the connection whose client has not read longest."""
        return min(self._own, key=lambda each: each.read_at, default=None)


class Door:
    """The bounds of a process's connections, and what they use of them; it decides who has to go."""

    def __init__(self, bounds: ServerSettings) -> None:
        self.bounds = bounds
        self.connections: dict[Protocol, None] = {}
        self.heads: dict[Protocol, None] = {}
        """Those whose next request has not come to the end of its header, the one that began first before the others."""
        self.unread = Unread()
        self.buffered_bytes = 0
        self.refused = _refusals(bounds)
        self._watching = False
        self._counted_at = 0.0
        self._told: dict[str, float] = {}
        self._descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE_DESCRIPTORS

    def enter(self, connection: Protocol, descriptor: int) -> bool:
        """Let a connection in, where there are too many in place of one that waits, or of one whose client reads slowly.

        Returns whether there was room.
        """
        if len(self.connections) >= self.bounds.connections or descriptor >= self._descriptors:
            self.tell("there are as many connections as there may be; those that wait longest are closed")
            victim = (
                next(iter(self.heads), None)
                or min(self._waiting(), key=_waiting_since, default=None)
                or self.unread.slowest()
            )
            if victim is None:
                return False
            victim.give_way()
        self.connections[connection] = None
        if not self._watching:
            self._watching = True
            connection.loop.call_later(LOOK_SECONDS, self._look, connection.loop)
        return True

    def _waiting(self) -> Iterator[Protocol]:
        return (each for each in self.connections if each.waits)

    def leave(self, connection: Protocol) -> None:
        self.connections.pop(connection, None)
        self.heads.pop(connection, None)
        self.unread.forget(connection)

    def make_room(self, asking: Protocol) -> None:
        """Refuse requests that are not whole, the one that has been silent longest first, until what is held fits."""
        while self.buffered_bytes > self.bounds.buffered_max_bytes:
            self.tell("unfinished requests take as much memory as they may; those that are silent longest are refused")
            unfinished = (each for each in self.connections if each.unfinished and each is not asking)
            victim = min(unfinished, key=lambda each: each.last, default=asking)
            victim.refuse(FULL)
            if victim is asking:
                return

    def pause(self, connection: Protocol) -> None:
        """Count a client that does not read as fast as it is sent to.

        What the others hold has changed, too: they read, and flights grow. All are counted anew some times a second, and
        not at each pause: thousands of them would be all that the event loop does.
        """
        self.unread.note(connection)
        now = connection.loop.time()
        if now - self._counted_at > _COUNT_SECONDS:
            self._count_unread(now)
        self.bound_unread()

    def bound_unread(self) -> None:
        """Cut off clients that do not read, the one that has not read longest first; one alone may have any clip."""
        while len(self.unread) > 1 and self.unread.bytes > self.bounds.unread_max_bytes:
            self.tell("answers that nobody reads take as much memory as they may; their connections are cut")
            if (victim := self.unread.slowest()) is not None:
                victim.cut()

    def _count_unread(self, now: float) -> None:
        self._counted_at = now
        self.unread.recount()

    def tell(self, what: str) -> None:
        """Log what happens, once a minute at most."""
        now = asyncio.get_running_loop().time()
        if now - self._told.get(what, -_TELL_SECONDS) >= _TELL_SECONDS:
            self._told[what] = now
            log.warning("%s", what)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self.connections):
            connection.look(now)
        self._count_unread(now)
        self.bound_unread()
        self._watching = bool(self.connections)
        if self._watching:
            loop.call_later(LOOK_SECONDS, self._look, loop)


def _waiting_since(connection: Protocol) -> tuple[bool, float]:
    return connection.unfinished, connection.last


def _refusals(bounds: ServerSettings) -> dict[str, Refusal]:
    """Return the refusals that name a bound."""
    slow = "the server has as many connections as it may, and this one's request was not whole"
    return {
        "headers": Refusal(
            431, f"the request's header is longer than {bounds.header_max_bytes} bytes (server.header_max_bytes)",
            "headers_too_large",
        ),
        "header_seconds": Refusal(
            408, f"the header did not end within {bounds.header_seconds:g} s (server.header_seconds)", "request_timeout"
        ),
        "request_seconds": Refusal(
            408, f"the request did not end within {bounds.request_seconds:g} s (server.request_seconds)",
            "request_timeout",
        ),
        "slow": Refusal(503, slow, "overloaded", 1),
    }  # fmt: skip
