"""Leases and records in Redis: a string with a time to live, and a stream for each holder, under the key's hash tag."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from sayonce.stores.coordinator import ENDED_SECONDS, RECORDS_SECONDS, Coordinator, Question, Sighting
from sayonce.stores.redis_script import Script
from sayonce.stores.redis_server import Claim, Get

T = TypeVar("T")

_READ_AT_ONCE: Final = 64
_RENEW: Final = Script("renew")
_RELEASE: Final = Script("release")


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
            holder = await self._at(lease, Get(lease.encode()))
            if holder is not None:  # else it ended between the two
                return holder.decode()

    async def renew(self, key: bytes, owner: str, seconds: float) -> bool:
        lease = self._lease(key)
        return bool(await self._at(lease, lambda redis: _RENEW(redis, [lease], owner, _ms(seconds))))

    async def release(self, key: bytes, owner: str) -> None:
        lease, records = self._lease(key), self._records(key, owner)
        await self._at(lease, lambda redis: _RELEASE(redis, [lease, records], owner, _ms(ENDED_SECONDS)))

    async def follow(self, key: bytes, owner: str) -> None:
        name = self._follower(key, owner)
        await self._at(name, lambda redis: redis.set(name, 1, px=_ms(RECORDS_SECONDS)))

    async def followed(self, key: bytes, owner: str) -> bool:
        name = self._follower(key, owner)
        return await self._at(name, Get(name.encode())) is not None

    async def publish(self, key: bytes, owner: str, records: Sequence[bytes]) -> None:
        name = self._records(key, owner)
        await self._at(name, partial(_publish, name=name, records=records))

    async def read(self, questions: Sequence[Question]) -> Sequence[Sighting]:
        if self._together:
            return await self._sightings(questions)
        answers = await asyncio.gather(*(self._sightings([question]) for question in questions))
        return [sighting for (sighting,) in answers]

    async def _sightings(self, questions: Sequence[Question]) -> Sequence[Sighting]:
        names = [(self._lease(each.key), self._records(each.key, each.owner), each.position) for each in questions]
        answers = await self._at(names[0][0], partial(_read, names=names))
        pairs = zip(questions, answers[::2], answers[1::2], strict=True)
        return [_sighting(question, holder, found) for question, holder, found in pairs]

    def _lease(self, key: bytes) -> str:
        return f"{self._name_of(key)}:lease"

    def _follower(self, key: bytes, owner: str) -> str:
        return f"{self._name_of(key)}:follower:{owner}"

    def _records(self, key: bytes, owner: str) -> str:
        return f"{self._name_of(key)}:flight:{owner}"


async def _publish(redis: Any, *, name: str, records: Sequence[bytes]) -> None:
    """Add records as one transaction: what is run once more at another server was not half done at the first."""
    async with redis.pipeline(transaction=True) as pipeline:
        for record in records:
            pipeline.xadd(name, {b"r": record})
        pipeline.pexpire(name, _ms(RECORDS_SECONDS))
        await pipeline.execute()


async def _read(redis: Any, *, names: Sequence[tuple[str, str, str]]) -> list[Any]:
    async with redis.pipeline(transaction=False) as pipeline:
        for lease, records, position in names:
            # The lease first: if it is gone, what is read after it is all that there will be.
            pipeline.get(lease)
            pipeline.xrange(records, min=f"({position}" if position else "-", count=_READ_AT_ONCE)
        answers: list[Any] = await pipeline.execute()
        return answers


def _sighting(question: Question, holder: bytes | None, found: Sequence[Any]) -> Sighting:
    held = holder is not None and holder.decode() == question.owner
    position = found[-1][0].decode() if found else question.position
    return Sighting(held, [fields[b"r"] for _, fields in found], position)


def _ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))
