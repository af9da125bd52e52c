"""Leases and records in Redis: a string with a time to live, and a stream for each part, under the key's hash tag."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from redis.exceptions import ResponseError

from sayonce.stores.leases import (
    COMPUTATION,
    ENDED_SECONDS,
    OWNER_CHARACTERS,
    READ_BYTES,
    READ_RECORDS,
    RECORD_BYTES,
    RECORDS_SECONDS,
    Coordinator,
    Question,
    Sighting,
)
from sayonce.stores.redis.script import Script
from sayonce.stores.redis.server import Claim

T = TypeVar("T")

_HOLDER: Final = Script("holder", bytes)
_RENEW: Final = Script("renew", int)
_RELEASE: Final = Script("release", int)
_RECORDS: Final = Script("records", list[list[bytes]])


class At(Protocol):
    """Runs an operation at the server that has a key, and turns its failures into ``StoreError``."""

    async def __call__(self, name: str, operation: Callable[[Any], Awaitable[T]]) -> T: ...


class RedisCoordinator(Coordinator):
    """``name_of`` gives an entry's name; ``together`` says that every key is at one server."""

    def __init__(self, at: At, name_of: Callable[[bytes], str], *, together: bool) -> None:
        self._together = together
        self._at = at
        self._name_of = name_of

    async def acquire(self, key: bytes, owner: str, seconds: float) -> str:
        lease = self._lease(key)
        while True:
            if await self._at(lease, Claim(lease, owner, _ms(seconds))):
                return owner
            holder = await self._at(lease, lambda redis: _HOLDER(redis, [lease], _ms(seconds), OWNER_CHARACTERS))
            if holder:  # else it ended between the two
                return _text(holder)

    async def renew(self, key: bytes, owner: str, seconds: float) -> bool:
        lease = self._lease(key)
        return bool(await self._at(lease, lambda redis: _RENEW(redis, [lease], owner, _ms(seconds))))

    async def release(self, key: bytes, owner: str) -> None:
        lease = self._lease(key)
        names: list[str | bytes] = [lease, _bytes(self._records(key, COMPUTATION, owner))]
        arguments = (_bytes(owner), _ms(ENDED_SECONDS), OWNER_CHARACTERS)
        await self._at(lease, lambda redis: _RELEASE(redis, names, *arguments))

    async def publish(self, key: bytes, owner: str, part: str, records: Sequence[bytes]) -> None:
        name = self._records(key, part, owner)
        await self._at(name, partial(_publish, name=name, records=records))

    async def read(self, questions: Sequence[Question]) -> Sequence[Sighting]:
        if self._together:
            return await self._sightings(questions)
        answers = await asyncio.gather(*(self._sightings([question]) for question in questions))
        return [sighting for (sighting,) in answers]

    async def _sightings(self, questions: Sequence[Question]) -> Sequence[Sighting]:
        names = [name for each in questions for name in self._names(each)]
        bounds = (OWNER_CHARACTERS, READ_RECORDS, RECORD_BYTES, READ_BYTES)
        positions = [question.position or "-" for question in questions]

        async def look(redis: Any) -> list[Sighting]:
            answers = await _RECORDS(redis, names, *bounds, *positions)
            return [_sighting(question, *answer) for question, answer in zip(questions, answers, strict=True)]

        return await self._at(names[0], look)

    def _names(self, question: Question) -> tuple[str, str]:
        return self._lease(question.key), self._records(question.key, question.part, question.owner)

    def _lease(self, key: bytes) -> str:
        return f"{self._name_of(key)}:lease"

    def _records(self, key: bytes, part: str, owner: str) -> str:
        return f"{self._name_of(key)}:{part}:{owner}"


async def _publish(redis: Any, *, name: str, records: Sequence[bytes]) -> None:
    """Add records; what has their name and is no stream is none of ours, and goes."""
    try:
        await _add(redis, name, records)
    except ResponseError as error:
        if "WRONGTYPE" not in str(error):  # a transaction's error is not the bare message
            raise
        await redis.unlink(name)
        await _add(redis, name, records)


async def _add(redis: Any, name: str, records: Sequence[bytes]) -> None:
    """Add them as one transaction: what is run once more at another server was not half done at the first."""
    async with redis.pipeline(transaction=True) as pipeline:
        for record in records:
            pipeline.xadd(name, {b"r": record})
        pipeline.pexpire(name, _ms(RECORDS_SECONDS))
        await pipeline.execute()


def _sighting(question: Question, holder: bytes, *found: bytes) -> Sighting:
    position = found[-2].decode() if found else question.position
    return Sighting(_text(holder) == question.owner, list(found[1::2]), position)


def _text(holder: bytes) -> str:
    """Return an owner, also one that is no text: it is to be told from others, and to be removed."""
    return holder.decode(errors="surrogateescape")


def _bytes(owner: str) -> bytes:
    return owner.encode(errors="surrogateescape")


def _ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))
