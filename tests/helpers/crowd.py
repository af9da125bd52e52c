"""Many clients at once in one process: each request on a connection of its own, and as cheap as it can be."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools


@dataclass
class Heard:
    """An answer as it comes."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b""
    whole: bool = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, content: bytes) -> None:
        self.content += content

    def on_message_complete(self) -> None:
        self.whole = True


async def ask(url: str, **fields: object) -> Heard:
    """Ask for speech.

    Raises:
        ConnectionError: the connection ended before the answer did.

    """
    body = json.dumps(fields).encode()
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(
        b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    heard = Heard()
    parser = httptools.HttpResponseParser(heard)
    try:
        while not heard.whole:
            received = await reader.read(65_536)
            if not received:
                raise ConnectionResetError("the answer broke off")
            parser.feed_data(received)
    finally:
        writer.close()
    heard.status = parser.get_status_code()
    return heard
