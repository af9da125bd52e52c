"""The parser of redis-py's answers: hiredis, after a check that an answer announces no more than any command asks for.

hiredis makes room for as many elements as thirteen bytes announce, on the event loop, and never comes back from it.
"""

from __future__ import annotations

from typing import Final

from redis import exceptions
from redis._parsers import _AsyncHiredisParser
from redis.asyncio import Connection

from sayonce.stores.redis.protocol import MAX_VALUE_BYTES

MAX_ELEMENTS: Final = 500_000
"""Of one answer, with those within others: the largest table has 200,000 fields with a value each."""
MAX_ANSWER_BYTES: Final = MAX_VALUE_BYTES + 16_000_000
"""Of one answer: the longest value, or the largest table with the frames of its fields."""
_MAX_LINE_BYTES: Final = 65_536
_BULK, _ARRAY, _COUNTED, _LINES = ord("$"), ord("*"), b"$*", b"+-:"


class Announced:
    """Follows RESP2 in pieces of any size, and counts the elements and bytes that one answer announces."""

    def __init__(self) -> None:
        self._begin()
        self._skip = 0  # bytes of a value that are still to come
        self._rest = b""  # a line of which a part has come

    def _begin(self) -> None:
        self._left, self._elements, self._bytes = 1, 0, 0

    def look(self, data: bytes) -> None:
        """Follow the next bytes.

        Raises:
            InvalidResponse: it is not RESP2, or more than we ever ask for.

        """
        if self._rest:
            data = self._rest + data
        position, size = self._skip, len(data)
        try:
            while position < size:
                end = data.find(b"\r\n", position)
                if end < 0:
                    break
                kind = data[position]
                position += 1
                self._bytes += end - position
                value_bytes = self._count(kind, int(data[position:end]) if kind in _COUNTED else 0)
                position = end + 2 + value_bytes
        except ValueError:
            raise exceptions.InvalidResponse("what answers is no Redis") from None
        self._skip, self._rest = max(0, position - size), data[position:]
        if len(self._rest) > _MAX_LINE_BYTES:
            raise exceptions.InvalidResponse("an answer has a line without end")

    def _count(self, kind: int, number: int) -> int:
        """Count the elements and bytes that a line announces, and return how many bytes of a value follow it."""
        value_bytes = elements = 0
        if kind == _BULK:
            value_bytes = number + 2 if number >= 0 else 0
        elif kind == _ARRAY:
            elements = max(number, 0)
        elif kind not in _LINES:
            raise ValueError(kind)
        self._left += elements - 1
        self._elements += elements
        self._bytes += value_bytes
        if self._elements > MAX_ELEMENTS or self._bytes > MAX_ANSWER_BYTES:
            raise exceptions.InvalidResponse("an answer is larger than any that is asked for")
        if not self._left:
            self._begin()
        return value_bytes


class Parser(_AsyncHiredisParser):
    """hiredis, which sees no bytes that were not looked at."""

    def on_connect(self, connection: Connection) -> None:
        super().on_connect(connection)  # type: ignore[no-untyped-call]
        self._announced = Announced()

    async def read_from_socket(self) -> bool:
        assert self._stream is not None
        data = await self._stream.read(self._read_size)
        if not data:
            raise exceptions.ConnectionError("Connection closed by server.")
        self._announced.look(data)
        self._reader.feed(data)  # type: ignore[attr-defined]
        return True
