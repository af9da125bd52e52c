"""Leases: which process computes a key, so that the others wait for it.

A lease ends by itself when its holder does not renew it.
It is for efficiency: two holders at once cost a computation, and never a wrong value.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

import msgspec

from sayonce.core.envelope import Entry

OWNER_CHARACTERS: Final = 128
"""How many characters of an owner count."""


class Claimed(msgspec.Struct, frozen=True):
    """The holder of a lease, and, if the store has looked, what it had under the key when the lease was given."""

    holder: str
    looked: bool = False
    entry: Entry | None = None


class Leases(ABC):
    """The leases of a store that several processes reach; every method may raise ``StoreError``."""

    @abstractmethod
    async def acquire(self, key: bytes, owner: str, seconds: float) -> str:
        """Return the holder of the lease on a key: ``owner``, if nobody else held it.

        Any holder's lease, also one that another program wrote, ends within ``seconds`` unless it is renewed.
        """

    async def claim(self, key: bytes, owner: str, seconds: float) -> Claimed:
        """Acquire the lease on a key, and look under the key in the same step where the store can."""
        return Claimed(await self.acquire(key, owner, seconds))

    @abstractmethod
    async def renew(self, key: bytes, owner: str, seconds: float) -> bool:
        """Hold on for ``seconds`` from now; False when the lease is another's, or nobody's."""

    @abstractmethod
    async def release(self, key: bytes, owner: str) -> None:
        """End the lease, if it is still the owner's; its records of the computation, if any, end soon after."""
