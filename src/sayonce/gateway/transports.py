"""Transports around a connection's own: one sends an answer's header and body together, one ends gently."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class Outbox:
    """What all connections have to send in this round of the event loop; it goes out together, at its end.

    A client that sleeps is woken by the first of several answers and finds the others, and is not woken for each: a
    wake-up takes as long as a hit.
    """

    def __init__(self) -> None:
        self._senders: list[CoalescingTransport] = []

    def add(self, sender: CoalescingTransport, loop: asyncio.AbstractEventLoop) -> None:
        if not self._senders:
            loop.call_soon(self._send)
        self._senders.append(sender)

    def _send(self) -> None:
        senders, self._senders = self._senders, []
        for sender in senders:
            try:
                sender.flush()
            except (OSError, RuntimeError):  # of one that has ended: the others have their answers all the same
                sender.abort()


class CoalescingTransport:
    """An asyncio transport that sends the header of an answer together with the beginning of its body.

    uvicorn writes them one after the other, and each write is a system call: for a clip from memory a good part of the
    work. A held header, and a whole answer, go out in the event loop's next round at the latest.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, outbox: Outbox) -> None:
        self._transport = transport
        self.is_closing = transport.is_closing  # asked after every answer
        self._loop = loop
        self._outbox = outbox
        self._held: tuple[bytes, ...] = ()
        self.header_next = False
        """Whether the next bytes to write are the header of an answer."""

    def write(self, data: bytes) -> None:
        if self._held:
            self._held = (*self._held, data)
            self.flush()
        elif self.header_next:
            self.header_next = False
            self._hold(data)
        else:
            self._transport.write(data)

    def answer(self, header: bytes, body: bytes) -> None:
        """Send a whole answer."""
        self.header_next = False
        self.flush()
        self._hold(header, body)

    def _hold(self, *pieces: bytes) -> None:
        self._held = pieces
        self._outbox.add(self, self._loop)

    def flush(self) -> None:
        """Send what is held."""
        held, self._held = self._held, ()
        # asyncio's writelines, from Python 3.12 on, watches a lost connection's descriptor for room, which may be the
        # next connection's by then (python/cpython#136234).
        if held and not self.is_closing():
            self._transport.writelines(held)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def write_eof(self) -> None:
        self.flush()
        self._transport.write_eof()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class LingeringTransport:
    """A transport for the answer to a request that is not whole: after a plain close, the client might never read it.

    Args:
        transport: the connection's own.
        unfinished: whether the connection's request is still not whole.
        end_gently: ends the connection once the client has read the answer.

    """

    def __init__(
        self, transport: asyncio.Transport, unfinished: Callable[[], bool], end_gently: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._unfinished = unfinished
        self._end_gently = end_gently
        self.write = transport.write
        self.is_closing = transport.is_closing

    def close(self) -> None:
        if self._unfinished() and not self._transport.is_closing():
            self._end_gently()
        else:
            self._transport.close()
