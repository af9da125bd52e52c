"""Leases in Redis: strings with a time to live, each under its key's hash tag."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

from sayonce.core.envelope import Entry, Pointer
from sayonce.stores.leases import OWNER_CHARACTERS, Claimed, Leases
from sayonce.stores.records import COMPUTATION, ENDED_SECONDS
from sayonce.stores.redis.names import lease_name, records_name
from sayonce.stores.redis.script import Script
from sayonce.stores.redis.server import Claim, ClaimAndGet, Get, Run

T = TypeVar("T")

_HOLDER: Final = Script("holder", bytes)
_RENEW: Final = Script("renew", int)
_RELEASE: Final = Script("release", bytes)


class At(Protocol):
    """Runs an operation at the server that has a key, and turns its failures into ``StoreError``."""

    async def __call__(self, name: str, operation: Callable[[Any], Awaitable[T]]) -> T: ...


class RedisLeases(Leases):
    """``at`` runs each operation at the server that has the lease; ``finds`` returns that which looks for an entry."""

    def __init__(self, at: At, finds: Callable[[bytes], Get[Entry | Pointer | None]]) -> None:
        self._at = at
        self._finds = finds

    async def acquire(self, key: bytes, owner: str, seconds: float) -> str:
        lease = lease_name(key)
        while True:
            if await self._at(lease, Claim(lease, owner, ms(seconds))):
                return owner
            holder = await self._holder(lease, seconds)
            if holder:  # else it ended between the two
                return holder

    async def claim(self, key: bytes, owner: str, seconds: float) -> Claimed:
        lease = lease_name(key)
        given, found = await self._at(lease, ClaimAndGet(Claim(lease, owner, ms(seconds)), self._finds(key)))
        if not given:
            return Claimed(await self._holder(lease, seconds) or await self.acquire(key, owner, seconds))
        if found is None or isinstance(found, Entry):
            return Claimed(owner, looked=True, entry=found)
        return Claimed(owner)  # a body outside, or trouble: whoever looks again meets it

    async def _holder(self, lease: str, seconds: float) -> str:
        """Return the holder of a lease, bounded in time; nothing where it has ended."""
        return text_of_owner(
            await self._at(lease, lambda redis: _HOLDER(redis, [lease], ms(seconds), OWNER_CHARACTERS))
        )

    async def renew(self, key: bytes, owner: str, seconds: float) -> bool:
        lease = lease_name(key)
        return bool(await self._at(lease, lambda redis: _RENEW(redis, [lease], owner, ms(seconds))))

    async def release(self, key: bytes, owner: str) -> None:
        lease = lease_name(key)
        names = (lease.encode(), _bytes(records_name(key, COMPUTATION, owner)))
        arguments = (_bytes(owner), b"%d" % ms(ENDED_SECONDS), b"%d" % OWNER_CHARACTERS)
        await self._at(lease, Run(_RELEASE, names, arguments))


def text_of_owner(holder: bytes) -> str:
    """Return an owner, also one that is no text: it is told from others, and released, like any."""
    return holder.decode(errors="surrogateescape")


def _bytes(owner: str) -> bytes:
    return owner.encode(errors="surrogateescape")


def ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))
