"""Transports around a connection's own: one sends an answer's header and body together, one ends gently."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class CoalescingTransport:
    """An asyncio transport that sends the header of an answer together with the beginning of its body.

    uvicorn writes them one after the other, and each write is a system call: for a clip from memory a good part of the
    work. A held header goes out in the event loop's next round at the latest.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self.is_closing = transport.is_closing  # asked after every answer
        self._loop = loop
        self._held = b""
        self.header_next = False
        """Whether the next bytes to write are the header of an answer."""

    def write(self, data: bytes) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._write_together(held, data)
        elif self.header_next:
            self.header_next, self._held = False, data
            self._loop.call_soon(self.flush)
        else:
            self._transport.write(data)

    def answer(self, header: bytes, body: bytes) -> None:
        """Send a whole answer."""
        self.header_next = False
        if self._held:
            self.flush()
        self._write_together(header, body)

    def _write_together(self, header: bytes, body: bytes) -> None:
        # asyncio's writelines, from Python 3.12 on, watches a lost connection's descriptor for room, which may be the
        # next connection's by then (python/cpython#136234).
        if not self.is_closing():
            self._transport.writelines((header, body))

    def flush(self) -> None:
        """Send the held header."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)

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
