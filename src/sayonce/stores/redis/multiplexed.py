"""Commands on connections of their own, one written behind the other, and answered in that order.

A hit is one GET, and redis-py takes longer for it than the server: it fetches a connection from its pool, wraps each
step in a timeout, reads through a stream and parses anew. Here a GET is one write and one future, a small value is
read where it lies in the connection's buffer, and a large one is received where it stays. So goes what a request waits for, its hit or
the lease for its miss; everything else goes by redis-py.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

from redis import exceptions

from sayonce.core.envelope import Refused
from sayonce.stores.deadline import Limit, Limits
from sayonce.stores.redis.protocol import Login, error_of, hello, is_wrong_type
from sayonce.stores.redis.url import Address

T = TypeVar("T")

MAX_PIPES: Final = 2
"""Connections to a server: more than one, so that a small value need not wait behind a large one."""
_BUFFER_BYTES: Final = 262_144
"""Several usual clips: what has come is taken from the socket at once."""
MAX_VALUE_BYTES: Final = 64_000_000
"""What an entry takes at most, sealed: a longer value is none of ours, and no memory is taken for it."""
_FIRST_BYTES: Final = 1_048_576
"""Of a value for which room is made when it is announced; more is made as its bytes come."""
_TICK_SECONDS: Final = 0.01
"""Silence is counted in looks this far apart, between each of which the event loop has read what had come."""
TLS = Callable[[], ssl.SSLContext | None]
Value = bytes | bytearray | memoryview
Read = Callable[[Value], T]
"""Makes something of a value, at once: the memory in which it lies is used again. It may raise ``Refused``."""


class ValueTooLarge(exceptions.InvalidResponse):
    """A value is longer than any of ours."""


class InTheWay(exceptions.ConnectionError):
    """The connection was closed, as a value that nobody is to read was on its way before the answer."""


class Pipe(asyncio.BufferedProtocol):
    """A connection. An answer belongs to the oldest command without one; a cancelled command keeps its place.

    RESP2 (https://redis.io/docs/latest/develop/reference/protocol-spec/), but for arrays, which no answer here is.
    """

    def __init__(self, silence_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._silence_seconds = silence_seconds
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[asyncio.Future[Any], Read[Any]]] = deque()
        self._unsent: list[bytes] = []
        self._watching = False
        self.silent_seconds = 0.0
        """How long a server that owes an answer has said nothing; what the event loop itself is late is left out."""
        self._error: exceptions.RedisError | None = None
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0  # of what was received and not yet read
        self._body = bytearray()  # of a value of which a part has come; its line end is read as an empty line
        self._received = self._size = 0

    @property
    def waiting(self) -> int:
        """How many commands have no answer yet."""
        return len(self._waiting)

    @property
    def open(self) -> bool:
        return self._error is None

    def check_open(self) -> None:
        """Raise what has closed the connection."""
        if self._error is not None:
            raise self._error

    def ask(self, command: bytes, read: Read[T]) -> asyncio.Future[T | Exception | None]:
        """Send a command, and return its answer to come: what is read out of the value that it gives, or an error."""
        self.check_open()
        assert self._transport is not None
        answer: asyncio.Future[T | Exception | None] = self._loop.create_future()
        if self._waiting:
            # The server is at work: what is asked in this round of the event loop goes to it together.
            if not self._unsent:
                self._loop.call_soon(self._send)
            self._unsent.append(command)
        else:
            self.silent_seconds = 0.0
            self._watch()
            self._transport.write(command)
        self._waiting.append((answer, read))
        return answer

    def _send(self) -> None:
        if self._transport is not None and self._error is None:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def fail(self, error: exceptions.RedisError) -> None:
        """Close the connection at once; whoever waits gets the error as an answer."""
        if self._error is not None:
            return
        self._error = error
        if self._transport is not None:
            self._transport.abort()
        while self._waiting:
            answer, _ = self._waiting.popleft()
            if not answer.done():
                answer.set_result(error)

    # -- silence ------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        if not self._watching:
            self._watching = True
            self._loop.call_later(_TICK_SECONDS, self._listen)

    def _listen(self) -> None:
        """Give a server up that owes an answer and has sent nothing for some time."""
        self._watching = False
        if not self._waiting:
            return
        self.silent_seconds += _TICK_SECONDS
        if self.silent_seconds >= self._silence_seconds:
            self.fail(exceptions.TimeoutError("no answer in time"))
        else:
            self._watch()

    # -- what the server sends ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def connection_lost(self, error: Exception | None) -> None:
        self.fail(exceptions.ConnectionError(f"the connection was lost: {error or 'closed by the server'}"))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 (as much as there is room for)
        return memoryview(self._body)[self._received :] if self._body else self._view[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        self.silent_seconds = 0.0
        try:
            if self._body:
                self._receive(nbytes)
            else:
                self._end += nbytes
                self._read()
        except InTheWay as error:
            self.fail(error)
        except ValueError:
            self.fail(exceptions.InvalidResponse("what answers is no Redis"))

    def _receive(self, nbytes: int) -> None:
        self._received += nbytes
        if self._received == self._size:
            body, self._body = self._body, bytearray()
            self._give(body)
        elif self._received == len(self._body):
            body, self._body = self._body, bytearray(min(2 * self._received, self._size))
            self._body[: self._received] = body

    def _read(self) -> None:
        """Answer with what is whole in the buffer, and move the rest to its beginning.

        Raises:
            InTheWay: a value is too long to be received.
            ValueError: this is not RESP2, or an answer that no command here has.

        """
        while (line_end := self._buffer.find(b"\r\n", self._start, self._end)) >= 0:
            if line_end == self._start:
                self._start += 2
                continue
            kind, line = self._buffer[self._start], self._buffer[self._start + 1 : line_end]
            self._start = line_end + 2
            if kind == ord("$"):
                if not self._read_value(int(line)):
                    break
            elif kind == ord("+"):
                self._give(line)
            elif kind == ord("-"):
                self._answer(error_of(line.decode(errors="replace")))
            else:
                raise ValueError(kind)
        rest = self._end - self._start
        if rest == _BUFFER_BYTES:
            raise ValueError("a line without end")
        self._buffer[:rest] = self._buffer[self._start : self._end]
        self._start, self._end = 0, rest

    def _read_value(self, size: int) -> bool:
        """Answer with a value, or, if not all of it has come, go on to receive it in a place of its own."""
        if size < 0:
            self._answer(None)
            return True
        if size > MAX_VALUE_BYTES:
            self._answer(ValueTooLarge(f"a value of {size:,} bytes"))
            raise InTheWay("a value that is too long was in the way")
        end = self._start + size
        if end <= self._end:
            self._give(self._view[self._start : end])
            self._start = end
            return True
        self._size, self._received = size, self._end - self._start
        self._body = bytearray(min(size, _FIRST_BYTES))
        self._body[: self._received] = self._view[self._start : self._end]
        self._start = self._end
        return False

    def _give(self, value: Value) -> None:
        """Answer with what is read out of a value; nothing is, where nobody waits for it any more."""
        if self._waiting and not self._waiting[0][0].done():
            try:
                self._answer(self._waiting[0][1](value))
            except Refused as refused:
                self._answer(refused)
        else:
            self._answer(None)

    def _answer(self, answer: object) -> None:
        if not self._waiting:
            raise ValueError("an answer to nothing")
        asked, _ = self._waiting.popleft()
        if not asked.done():
            asked.set_result(answer)


class Pipes:
    """The pipes to one server: the first is waited for, others are opened while all that there are have work."""

    def __init__(self, address: Address, *, login: Login, db: int, tls: TLS, silence_seconds: float) -> None:
        self._host, self._port = address
        self._hello = hello(login, db)
        self._tls = tls
        self._silence_seconds = silence_seconds
        self._pipes: list[Pipe] = []
        self._opening: asyncio.Task[Pipe] | None = None
        self._limits = Limits()
        self._first: Limit | None = None
        """The time that the only connection takes to be opened."""
        self._closed = False

    @property
    def opening_seconds(self) -> float:
        """How long those who call have waited for a connection to be opened, as there is none; 0 while there is one."""
        return self._first.passed_seconds if self._first is not None and not self._pipes else 0.0

    @property
    def silences(self) -> list[float]:
        """How long each connection that owes an answer has been silent."""
        return [pipe.silent_seconds for pipe in self._pipes if pipe.waiting]

    async def run(self, command: bytes, read: Read[T]) -> T | None:
        """Return what is read out of a command's value; None if there is none, or of another type than a string.

        Raises:
            RedisError: the server's, or a ConnectionError or TimeoutError of the client's.
            Refused: the value is not what it has to be.

        """
        pipe = self._free() or await self._first_pipe()
        try:
            return result_of(await pipe.ask(command, read))
        except InTheWay:
            return await self.run(command, read)

    async def close(self) -> None:
        """Close every connection; whoever waits gets an error at once."""
        self._closed = True
        for pipe in self._pipes:
            pipe.fail(exceptions.ConnectionError("closed"))
        if self._opening is not None:
            self._opening.cancel()
        await asyncio.sleep(0)  # sockets are closed in the event loop's next round

    async def _first_pipe(self) -> Pipe:
        if self._closed:
            raise exceptions.ConnectionError("closed")
        opening = self._open()
        await asyncio.wait([opening])
        if opening.cancelled():  # by ``close``: whoever waits here is not cancelled with it
            raise exceptions.ConnectionError("closed")
        return opening.result()

    def _free(self) -> Pipe | None:
        """Return the pipe with the least to do."""
        best: Pipe | None = None
        for pipe in self._pipes:
            if not pipe.open:
                self._pipes = [each for each in self._pipes if each.open]
                return self._free()
            if best is None or pipe.waiting < best.waiting:
                best = pipe
        if best is not None and best.waiting and len(self._pipes) < MAX_PIPES:
            self._open()
        return best

    def _open(self) -> asyncio.Task[Pipe]:
        if self._opening is None:
            self._opening = asyncio.create_task(self._connect())
            self._opening.add_done_callback(self._opened)
        return self._opening

    def _opened(self, opening: asyncio.Task[Pipe]) -> None:
        self._opening = self._first = None
        if opening.cancelled() or opening.exception() is not None:
            return
        pipe = opening.result()
        if self._closed:  # since it was ready
            pipe.fail(exceptions.ConnectionError("closed"))
        self._pipes.append(pipe)

    async def _connect(self) -> Pipe:
        """Connect and log in.

        Raises:
            RedisError: a ConnectionError, a TimeoutError, or the server's refusal.

        """
        pipe, ready = Pipe(self._silence_seconds), False
        try:
            with self._limits.limit(self._silence_seconds) as self._first:
                tls = self._tls()
                await asyncio.get_running_loop().create_connection(
                    lambda: pipe, self._host, self._port, ssl=tls, server_hostname=self._host if tls else None
                )
                await self._log_in(pipe)
            ready = True
        except TimeoutError:
            raise exceptions.TimeoutError("no connection in time") from None
        except OSError as error:
            raise exceptions.ConnectionError(f"Error connecting to {self._host}:{self._port}: {error}") from None
        finally:
            if not ready:
                pipe.fail(exceptions.ConnectionError("closed"))
        return pipe

    async def _log_in(self, pipe: Pipe) -> None:
        for asked, needed in [(pipe.ask(command, bytes), needed) for command, needed in self._hello]:
            answer = await asked
            pipe.check_open()
            if isinstance(answer, exceptions.RedisError) and (needed or type(answer) is exceptions.ConnectionError):
                raise answer


def result_of(answer: T | Exception | None) -> T | None:
    """Return an answer, None for a value of another type than a string; raise an error."""
    if isinstance(answer, Exception):
        if is_wrong_type(answer):
            return None
        raise answer
    return answer
