"""A TCP proxy between a store and its server that does to the connections what networks do."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from tests.helpers.deployments import free_port
from tests.helpers.paths import ROOT


class Wire:
    """Passes bytes on; each fault is an attribute, and holds for the connections there are and for new ones.

    ``delay_seconds`` is added to each answer, however many are on their way. ``reset`` ends connections with RST at the first byte, ``cut_at`` in the
    middle of an answer. ``reply`` answers everything in the server's place. ``swallow()`` loses what is sent either
    way: a connection that it met stays lost after ``heal()``, as after a firewall has forgotten it.
    """

    def __init__(self, port: int) -> None:
        self._far_port = port
        self.port = free_port()
        self.delay_seconds = 0.0
        self.reset = False
        self.cut_at: int | None = None
        self.reply: bytes | None = None
        self.connections = 0
        self._swallowing = False
        self._lost: set[asyncio.StreamWriter] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def swallow(self) -> None:
        self._swallowing = True
        self._lost |= self._writers

    def heal(self) -> None:
        self.delay_seconds, self.reset, self.cut_at, self.reply, self._swallowing = 0.0, False, None, None, False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._far_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        if self._swallowing:
            self._lost |= {writer, far_writer}
        answers: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        asking = asyncio.create_task(self._ask(reader, writer, far_writer))
        taking = asyncio.create_task(self._take(far_reader, answers))
        answering = asyncio.create_task(self._answer(answers, writer))
        try:
            await asyncio.wait([asking, answering], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (asking, taking, answering):
                task.cancel()
            for end in (writer, far_writer):
                end.transport.abort()
                self._writers.discard(end)

    async def _ask(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if self.reset:
                    return
                if self.reply is not None:
                    near.write(self.reply)
                elif far not in self._lost:
                    far.write(data)

    async def _take(self, reader: asyncio.StreamReader, answers: asyncio.Queue[tuple[float, bytes]]) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                answers.put_nowait((time.monotonic() + self.delay_seconds, data))
        answers.put_nowait((0.0, b""))

    async def _answer(self, answers: asyncio.Queue[tuple[float, bytes]], near: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                due, data = await answers.get()
                if not data:
                    return
                await asyncio.sleep(due - time.monotonic())
                if self.cut_at is not None and len(data) > self.cut_at:
                    near.write(data[: self.cut_at])
                    await near.drain()
                    return
                if near not in self._lost:
                    near.write(data)

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def wire_to(port: int) -> AsyncIterator[Wire]:
    wire = Wire(port)
    server = await asyncio.start_server(wire.serve, "127.0.0.1", wire.port)
    try:
        yield wire
    finally:
        server.close()
        wire.close()
        await asyncio.sleep(0.01)  # for the connections to end


class FarWire:
    """A wire in a process of its own, which a busy test does not slow down."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        self.url = f"redis://127.0.0.1:{port}"

    def swallow(self) -> None:
        self._process.send_signal(signal.SIGUSR1)

    def heal(self) -> None:
        self._process.send_signal(signal.SIGUSR2)


@contextmanager
def far_wire_to(port: int) -> Iterator[FarWire]:
    with subprocess.Popen([sys.executable, "-m", __name__, str(port)], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield FarWire(process, int(process.stdout.readline()))
        finally:
            process.kill()


async def _run(port: int) -> None:
    async with wire_to(port) as wire:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, wire.swallow)
        loop.add_signal_handler(signal.SIGUSR2, wire.heal)
        print(wire.port, flush=True)  # noqa: T201 (the parent reads it)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_run(int(sys.argv[1])))
