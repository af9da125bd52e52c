"""Speech servers on real sockets, which answer as a test tells them: well, or in every bad way."""

import asyncio
import json
import socket
import threading
import wave
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any, Self

import uvicorn

SAMPLE_RATE_HZ = 16_000


def wav(samples: bytes, sample_rate_hz: int = SAMPLE_RATE_HZ, channels: int = 1) -> bytes:
    file = BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(sample_rate_hz)
        writer.writeframes(samples)
    return file.getvalue()


def samples_of(said: dict[str, Any]) -> bytes:
    """Return samples that are different for any two different requests."""
    return json.dumps(said, sort_keys=True).encode("utf-16-le") * 8


class Upstream:
    """A speech server behind uvicorn: it speaks WAV, until ``answer`` is set."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self._answer: tuple[int, str, list[bytes], dict[str, str]] | None = None
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        config = uvicorn.Config(self._app, log_config=None, interface="asgi3", lifespan="off", ws="none")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def answer(
        self, status: int, body: bytes | Iterable[bytes], media_type: str = "application/json", **headers: str
    ) -> None:
        chunks = [body] if isinstance(body, bytes) else list(body)
        self._answer = (status, media_type, chunks, {name.replace("_", "-"): told for name, told in headers.items()})

    async def _app(self, scope, receive, send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if scope["method"] == "GET":  # somebody looks whether it is there
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b'{"object": "list", "data": []}'})
            return
        said = json.loads(body)
        self.heard.append(said)
        self.paths.append(scope["path"])
        self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        status, media_type, chunks, headers = self._answer or (200, "audio/wav", [wav(samples_of(said))], {})
        headers = {"content-type": media_type, **headers}
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body"})


@asynccontextmanager
async def raw_upstream(answer: bytes, *, reset: bool = False, hang: bool = False) -> AsyncIterator[str]:
    """A server that sends these bytes to each connection, and then closes, resets the connection, or hangs."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if hang:
            await over.wait()
        if reset:
            writer.transport.abort()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        over.set()
        server.close()
        await server.wait_closed()


def head(*headers: str) -> bytes:
    return "\r\n".join(("HTTP/1.1 200 OK", "Content-Type: audio/wav", *headers, "", "")).encode()
