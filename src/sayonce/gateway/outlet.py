"""A connection's transport that sends the header of an answer together with the beginning of its body.

uvicorn writes them one after the other, and each write is a system call, which for a clip from memory is a good part of
the work. What is held here goes out in the event loop's next round at the latest.
"""

from __future__ import annotations

import asyncio
from typing import Any


class Outlet:
    """An asyncio transport; everything but ``write`` and what ends the connection is the transport's own."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""
        self.header_next = False
        """Whether what is written next is the header of an answer."""

    def write(self, data: bytes) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.writelines((held, data))
        elif self.header_next:
            self.header_next, self._held = False, data
            self._loop.call_soon(self.flush)
        else:
            self._transport.write(data)

    def answer(self, header: bytes, body: bytes) -> None:
        """Send a whole answer."""
        self.header_next = False
        self.flush()
        self._transport.writelines((header, body))

    def flush(self) -> None:
        """Send what is held."""
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
