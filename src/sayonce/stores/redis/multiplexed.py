"""The multiplexed connections to one Redis server: opened, logged in, chosen by their work, and closed together."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, TypeVar

from redis import exceptions

from sayonce.stores.deadline import Deadline, Deadlines
from sayonce.stores.redis.connection import MultiplexedConnection
from sayonce.stores.redis.protocol import InTheWay, Login, Read, hello, result_of
from sayonce.stores.redis.url import Address

T = TypeVar("T")
U = TypeVar("U")
TLS = Callable[[], ssl.SSLContext | None]

MAX_CONNECTIONS: Final = 2
"""More than one, so that a small value need not wait behind a large one."""


class MultiplexedConnections:
    """The multiplexed connections to one server: calls wait for the first; more are opened while all are at work."""

    def __init__(self, address: Address, *, login: Login, db: int, tls: TLS, answer_seconds: float) -> None:
        self._host, self._port = address
        self._hello = hello(login, db)
        self._tls = tls
        self._answer_seconds = answer_seconds
        self._connections: list[MultiplexedConnection] = []
        self._opening: asyncio.Task[MultiplexedConnection] | None = None
        self._deadlines = Deadlines()
        self._first: Deadline | None = None
        """The time that the only connection takes to be opened."""
        self._closed = False

    @property
    def opening_seconds(self) -> float:
        """How long calls have waited for the first connection to be opened; 0 while there is one."""
        return self._first.passed_seconds if self._first is not None and not self._connections else 0.0

    @property
    def unanswered(self) -> list[float]:
        """How long each connection that owes an answer has given none."""
        return [connection.unanswered_seconds for connection in self._connections if connection.waiting]

    async def run(self, command: bytes, read: Read[T]) -> T | None:
        """Return the result of ``read`` on a command's value; None if there is none, or of another type than a string.

        Raises:
            RedisError: the server's, or a ConnectionError or TimeoutError of the client's.
            Refused: by ``read``, as the value is not the key's.

        """
        connection = self._free() or await self._first_connection()
        try:
            return result_of(await connection.ask(command, read))
        except InTheWay:
            return await self.run(command, read)

    async def run_both(
        self, command: bytes, read: Read[T], read_also: Read[U]
    ) -> tuple[T | None, U | Exception | None]:
        """Run two commands in one round trip; return the result of the first, and the answer to the second.

        Raises:
            RedisError: as ``run``, for the first.

        """
        connection = self._free() or await self._first_connection()
        try:
            asked = connection.ask(command, read)
            also = connection.ask_also(read_also)
            try:
                return result_of(await asked), await also
            finally:
                also.cancel()
        except InTheWay:
            return await self.run_both(command, read, read_also)

    async def close(self) -> None:
        """Close every connection; every call that waits gets an error at once."""
        self._closed = True
        for connection in self._connections:
            connection.fail(exceptions.ConnectionError("closed"))
        if self._opening is not None:
            self._opening.cancel()
        await asyncio.sleep(0)  # sockets are closed in the event loop's next round

    async def _first_connection(self) -> MultiplexedConnection:
        if self._closed:
            raise exceptions.ConnectionError("closed")
        opening = self._open()
        await asyncio.wait([opening])
        if opening.cancelled():  # by ``close``, which cancels no call that waits here
            raise exceptions.ConnectionError("closed")
        return opening.result()

    def _free(self) -> MultiplexedConnection | None:
        """Return the connection with the least to do."""
        best: MultiplexedConnection | None = None
        for connection in self._connections:
            if not connection.open:
                self._connections = [each for each in self._connections if each.open]
                return self._free()
            if best is None or len(connection.waiting) < len(best.waiting):
                best = connection
        if best is not None and best.waiting and len(self._connections) < MAX_CONNECTIONS:
            self._open()
        return best

    def _open(self) -> asyncio.Task[MultiplexedConnection]:
        if self._opening is None:
            self._opening = asyncio.create_task(self._connect())
            self._opening.add_done_callback(self._opened)
        return self._opening

    def _opened(self, opening: asyncio.Task[MultiplexedConnection]) -> None:
        self._opening = self._first = None
        if opening.cancelled() or opening.exception() is not None:
            return
        connection = opening.result()
        if self._closed:  # since it was ready
            connection.fail(exceptions.ConnectionError("closed"))
        self._connections.append(connection)

    async def _connect(self) -> MultiplexedConnection:
        """Connect and log in.

        Raises:
            RedisError: a ConnectionError, a TimeoutError, or the server's refusal.

        """
        connection, ready = MultiplexedConnection(self._answer_seconds), False
        try:
            with self._deadlines.after(self._answer_seconds) as self._first:
                tls = self._tls()
                await asyncio.get_running_loop().create_connection(
                    lambda: connection, self._host, self._port, ssl=tls, server_hostname=self._host if tls else None
                )
                await self._log_in(connection)
            ready = True
        except TimeoutError:
            raise exceptions.TimeoutError("no connection in time") from None
        except OSError as error:
            raise exceptions.ConnectionError(f"Error connecting to {self._host}:{self._port}: {error}") from None
        finally:
            if not ready:
                connection.fail(exceptions.ConnectionError("closed"))
        return connection

    async def _log_in(self, connection: MultiplexedConnection) -> None:
        for asked, needed in [(connection.ask(command, bytes), needed) for command, needed in self._hello]:
            answer = await asked
            connection.check_open()
            if isinstance(answer, exceptions.RedisError) and (needed or type(answer) is exceptions.ConnectionError):
                raise answer
