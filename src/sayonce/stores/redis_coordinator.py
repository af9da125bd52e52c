"""Leases and records in Redis: a string with a time to live, and a stream for each holder, under the key's hash tag."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from importlib.resources import files
from typing import Any, Final

from sayonce.stores.coordinator import ENDED_SECONDS, RECORDS_SECONDS, Coordinator, Sighting

_READ_AT_ONCE: Final = 64


class RedisCoordinator(Coordinator):
    """``name_of`` gives an entry's name; ``translated`` turns the client's errors into ``StoreError``."""

    def __init__(
        self, redis: Any, name_of: Callable[[bytes], str], translated: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._redis = redis
        self._name_of = name_of
        self._translated = translated
        self._renew = redis.register_script(_script("renew"))
        self._release = redis.register_script(_script("release"))

    async def acquire(self, key: bytes, owner: str, seconds: float) -> str:
        lease = self._lease(key)
        with self._translated():
            while True:
                if await self._redis.set(lease, owner, nx=True, px=_ms(seconds)):
                    return owner
                holder = await self._redis.get(lease)
                if holder is not None:  # else it ended between the two
                    return str(holder.decode())

    async def renew(self, key: bytes, owner: str, seconds: float) -> bool:
        with self._translated():
            return bool(await self._renew(keys=[self._lease(key)], args=[owner, _ms(seconds)]))

    async def release(self, key: bytes, owner: str) -> None:
        with self._translated():
            await self._release(keys=[self._lease(key), self._records(key, owner)], args=[owner, _ms(ENDED_SECONDS)])

    async def publish(self, key: bytes, owner: str, records: Sequence[bytes]) -> None:
        name = self._records(key, owner)
        with self._translated():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for record in records:
                    pipeline.xadd(name, {b"r": record})
                pipeline.pexpire(name, _ms(RECORDS_SECONDS))
                await pipeline.execute()

    async def read(self, key: bytes, owner: str, position: str) -> Sighting:
        after = f"({position}" if position else "-"
        with self._translated():
            async with self._redis.pipeline(transaction=False) as pipeline:
                # The lease first: if it is gone, what is read after it is all that there will be.
                pipeline.get(self._lease(key))
                pipeline.xrange(self._records(key, owner), min=after, count=_READ_AT_ONCE)
                holder, found = await pipeline.execute()
        held = holder is not None and holder.decode() == owner
        return Sighting(held, [fields[b"r"] for _, fields in found], found[-1][0].decode() if found else position)

    def _lease(self, key: bytes) -> str:
        return f"{self._name_of(key)}:lease"

    def _records(self, key: bytes, owner: str) -> str:
        return f"{self._name_of(key)}:flight:{owner}"


def _ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def _script(name: str) -> str:
    return files(__package__).joinpath("lua", f"{name}.lua").read_text()
