"""A small HTTP client that costs little and tells when the first byte of a body came.

As a script it is a load generator, ``python -m bench.client PORT CONNECTIONS SECONDS BODY-FILE``, for machines that have
no ``wrk``.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple, cast

import httptools
import uvloop


class Reply(NamedTuple):
    """An answer, with the seconds from the request to the body's first byte and to its last."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    first_byte_seconds: float
    seconds: float


class Client(asyncio.Protocol):
    """One kept-alive connection, one request at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._done: asyncio.Future[Reply] | None = None

    async def ask(self, body: bytes, headers: bytes = b"") -> Reply:
        """Send a speech request; ``headers`` are whole lines."""
        loop = asyncio.get_running_loop()
        if self._transport is None:
            await loop.create_connection(lambda: self, "127.0.0.1", self._port)
        assert self._transport is not None
        self._done = loop.create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._chunks: list[bytes] = []
        self._first = 0.0
        self._started = time.perf_counter()
        self._transport.write(
            b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%b"
            b"Content-Length: %d\r\n\r\n%b" % (headers, len(body), body)
        )
        return await self._done

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._done is not None and not self._done.done():
            self._done.set_exception(exc or ConnectionError("the server closed the connection"))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, data: bytes) -> None:
        self._first = self._first or time.perf_counter()
        self._chunks.append(data)

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        assert self._done is not None
        status, body = self._parser.get_status_code(), b"".join(self._chunks)
        first = (self._first or now) - self._started
        self._done.set_result(Reply(status, self._headers, body, first, now - self._started))


async def load(port: int, connections: int, seconds: float, body: bytes) -> dict[str, float]:
    """Ask as fast as the answers come, on each connection, for a time."""
    latencies: list[float] = []
    errors = 0
    started = time.perf_counter()

    async def one() -> None:
        nonlocal errors
        client = Client(port)
        while time.perf_counter() - started < seconds:
            reply = await client.ask(body)
            latencies.append(reply.seconds)
            errors += reply.status != 200
        client.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    elapsed = time.perf_counter() - started
    p50_ms = 1000 * statistics.median(latencies)
    return {"per_second": len(latencies) / elapsed, "p50_ms": p50_ms, "requests": len(latencies), "errors": errors}


if __name__ == "__main__":
    port_, connections_, seconds_, file = sys.argv[1:]
    print(json.dumps(uvloop.run(load(int(port_), int(connections_), float(seconds_), Path(file).read_bytes()))))
