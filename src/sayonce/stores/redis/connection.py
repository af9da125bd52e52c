"""A connection to Redis on which commands are written one behind the other, and answered in that order.

A hit is one GET, and redis-py takes longer for it than the server: it fetches a connection from its pool, wraps each
step in a timeout, reads through a stream and parses anew. Here a GET is one write and one future, a small value is
read where it lies in the connection's buffer, and a large one is received where it stays. Commands that a request
waits for go this way, the GET of its hit and the SET of its lease; all others go by redis-py.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Any, Final, TypeVar, cast

from redis import exceptions

from sayonce.core.envelope import Refused
from sayonce.stores.redis.protocol import MAX_VALUE_BYTES, InTheWay, Read, Value, ValueTooLarge, error_of

T = TypeVar("T")

_BUFFER_BYTES: Final = 262_144
"""Several usual clips, so that all that has come is taken from the socket at once."""
_FIRST_BYTES: Final = 1_048_576
"""Of a value for which room is made when it is announced; more is made as its bytes come."""
_TICK_SECONDS: Final = 0.01
"""Waiting for an answer is counted in looks this far apart, and between two looks the event loop reads all that has come."""


class MultiplexedConnection(asyncio.BufferedProtocol):
    """One connection. An answer belongs to the oldest command without one; a cancelled command stays in the order.

    RESP2 (https://redis.io/docs/latest/develop/reference/protocol-spec/), but for arrays, which no answer here is.
    """

    def __init__(self, answer_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._answer_seconds = answer_seconds
        self._transport: asyncio.Transport | None = None
        self.waiting: deque[tuple[asyncio.Future[Any], Read[Any]]] = deque()
        """The commands without an answer."""
        self._unsent: list[bytes] = []
        self._watching = False
        self.unanswered_seconds = 0.0
        """How long a server that owes an answer has said nothing, without the time that the event loop was late."""
        self._error: exceptions.RedisError | None = None
        self.open = True
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0  # of what was received and not yet read
        self._body = bytearray()  # of a value of which a part has come; its line end is read as an empty line
        self._received = self._size = 0

    def check_open(self) -> None:
        """Raise the error that has closed the connection."""
        if self._error is not None:
            raise self._error

    def ask(self, command: bytes, read: Read[T]) -> asyncio.Future[T | Exception | None]:
        """Send a command and return its future answer: the result of ``read`` on the value, or an error."""
        if not self.open:
            self.check_open()
        assert self._transport is not None
        answer: asyncio.Future[T | Exception | None] = self._loop.create_future()
        if self.waiting:
            # The server is at work: all commands of this round of the event loop go to it together.
            if not self._unsent:
                self._loop.call_soon(self._send)
            self._unsent.append(command)
        else:
            self.unanswered_seconds = 0.0
            if not self._watching:
                self._watch()
            self._transport.write(command)
        self.waiting.append((answer, read))
        return answer

    def ask_also(self, read: Read[T]) -> asyncio.Future[T | Exception | None]:
        """Return the future of the second answer to what was asked last, which was two commands."""
        answer: asyncio.Future[T | Exception | None] = self._loop.create_future()
        self.waiting.append((answer, read))
        return answer

    def _send(self) -> None:
        if self._transport is not None and self._error is None:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def fail(self, error: exceptions.RedisError) -> None:
        """Close the connection at once; every command without an answer gets the error."""
        if self._error is not None:
            return
        self._error, self.open = error, False
        if self._transport is not None:
            self._transport.abort()
        while self.waiting:
            answer, _ = self.waiting.popleft()
            if not answer.done():
                answer.set_result(error)

    # -- waiting for an answer ---------------------------------------------------------------------------------------

    def _watch(self) -> None:
        self._watching = True
        self._loop.call_later(_TICK_SECONDS, self._listen)

    def _listen(self) -> None:
        """Give a server up that owes an answer and has sent nothing for some time."""
        self._watching = False
        if not self.waiting:
            return
        self.unanswered_seconds += _TICK_SECONDS
        if self.unanswered_seconds >= self._answer_seconds:
            self.fail(exceptions.TimeoutError("no answer in time"))
        else:
            self._watch()

    # -- answers of the server ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def connection_lost(self, error: Exception | None) -> None:
        self.fail(exceptions.ConnectionError(f"the connection was lost: {error or 'closed by the server'}"))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 (as much as there is room for)
        return memoryview(self._body)[self._received :] if self._body else self._view[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        self.unanswered_seconds = 0.0
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
        """Give all whole answers in the buffer, and move the rest to its beginning.

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
        """Answer with a value, or, if not all of it has come, go on to receive it in a buffer of its own."""
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
        """Answer with the result of ``read`` on a value; do not read it when the caller has left."""
        if self.waiting and not self.waiting[0][0].done():
            try:
                self._answer(self.waiting[0][1](value))
            except Refused as refused:
                self._answer(refused)
        else:
            self._answer(None)

    def _answer(self, answer: object) -> None:
        if not self.waiting:
            raise ValueError("an answer to nothing")
        asked, _ = self.waiting.popleft()
        if not asked.done():
            asked.set_result(answer)
