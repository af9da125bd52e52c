"""Equal speech servers in the test's own event loop, which can fail in every way, be killed and be started again."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from tests.helpers.upstream import samples_of, wav


class Replica:
    """One server. It speaks, unless ``does`` says that it hangs, cuts its answer (late or early), or answers a status."""

    def __init__(self) -> None:
        self.does: str | int = "speak"
        self.headers: dict[str, str] = {}
        self.passes_checks = True
        self.lists_models = 200
        self.message: str | None = None
        """What it says with a status instead of "cannot say"."""
        self.accent = b""
        """What its samples begin with: by it a test hears who spoke."""
        self.seconds = 0.0
        self.gate = asyncio.Event()
        self.gate.set()
        self.said: list[dict[str, Any]] = []
        self.checks = 0
        self.under_way = 0
        self.most = 0
        """The most requests that it ever had at once."""
        self._port = 0
        self._connections: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}/v1"

    async def kill(self) -> None:
        """End as a process does that is killed: connections are reset, and new ones refused."""
        self._server.close()
        for writer in list(self._connections):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    await self._answer(reader, writer)
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        if self.does == "hang":
            await reader.read()  # until the other side has had enough
        if head.startswith("get"):
            self.checks += 1
            writer.write(_head(self.lists_models if self.passes_checks else 503, {"content-length": "0"}))
            return
        said = json.loads(await reader.readexactly(int(head.split("content-length: ")[1].split()[0])))
        self.said.append(said)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(self.seconds)
            await self._speak(said, writer)
        finally:
            self.under_way -= 1

    async def _speak(self, said: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if isinstance(self.does, int):
            message = self.message or f"cannot say {said['input']!r}"
            body = json.dumps({"error": {"message": message, "param": "input"}}).encode()
            writer.write(_head(self.does, {**self.headers, "content-length": str(len(body))}) + body)
            return
        body = wav(self.accent + samples_of(said))
        writer.write(_head(200, {"content-type": "audio/wav", "content-length": str(len(body))}))
        writer.write(body[:44] if self.does == "cut early" else body[: len(body) // 2])
        await writer.drain()
        await self.gate.wait()
        if str(self.does).startswith("cut"):
            raise ConnectionResetError
        writer.write(body[len(body) // 2 :])


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} So", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join((*lines, "", "")).encode()


@asynccontextmanager
async def replicas(number: int) -> AsyncIterator[list[Replica]]:
    started = [Replica() for _ in range(number)]
    for replica in started:
        await replica.start()
    try:
        yield started
    finally:
        for replica in started:
            await replica.kill()
