"""How processes share a computation: who is at it, and what has been made so far.

A lease says who computes a key; it ends by itself when its holder does not renew it. Once somebody follows it, the
holder publishes records, in order, under its own name, so that a holder that was away for too long never mixes its
records with its successor's.
A lease is for efficiency: two holders at once cost a computation, and never a wrong value.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

import msgspec

from sayonce.core.clock import Clock

RECORDS_SECONDS: Final = 600.0
"""How long published records outlast the last of them."""
ENDED_SECONDS: Final = 10.0
"""How long they outlast the end of their computation, for those who still read."""


class Question(msgspec.Struct, frozen=True):
    """What a follower asks for: a holder's records of a key after a position; the first position is ``""``."""

    key: bytes
    owner: str
    position: str = ""


class Sighting(msgspec.Struct, frozen=True):
    """What a follower sees: whether the holder still holds, and the records after the position it gave."""

    held: bool
    records: Sequence[bytes]
    position: str


class Coordinator(ABC):
    """Leases and records in a place that several processes reach; every method may raise ``StoreError``."""

    @abstractmethod
    async def acquire(self, key: bytes, owner: str, seconds: float) -> str:
        """Return who holds the lease on a key now: ``owner``, if nobody else did."""

    @abstractmethod
    async def renew(self, key: bytes, owner: str, seconds: float) -> bool:
        """Hold on for ``seconds`` from now; False when the lease is another's, or nobody's."""

    @abstractmethod
    async def release(self, key: bytes, owner: str) -> None:
        """Give up the lease, if it is still the owner's; the records stay for ``ENDED_SECONDS``."""

    @abstractmethod
    async def follow(self, key: bytes, owner: str) -> None:
        """Let a holder know that its records are waited for."""

    @abstractmethod
    async def followed(self, key: bytes, owner: str) -> bool:
        """Whether a holder's records are waited for."""

    @abstractmethod
    async def publish(self, key: bytes, owner: str, records: Sequence[bytes]) -> None:
        """Add records to those of a holder."""

    @abstractmethod
    async def read(self, questions: Sequence[Question]) -> Sequence[Sighting]:
        """Answer several followers at once, in order."""


class MemoryCoordinator(Coordinator):
    """A coordinator within one process, for tests of what is built on it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._leases: dict[bytes, tuple[str, float]] = {}
        self._records: dict[tuple[bytes, str], list[bytes]] = {}
        self._followed: set[tuple[bytes, str]] = set()

    async def acquire(self, key: bytes, owner: str, seconds: float) -> str:
        if not self._holder(key):
            self._leases[key] = (owner, self._clock() + seconds)
        return self._leases[key][0]

    async def renew(self, key: bytes, owner: str, seconds: float) -> bool:
        if self._holder(key) != owner:
            return False
        self._leases[key] = (owner, self._clock() + seconds)
        return True

    async def release(self, key: bytes, owner: str) -> None:
        if self._holder(key) == owner:
            del self._leases[key]

    async def follow(self, key: bytes, owner: str) -> None:
        self._followed.add((key, owner))

    async def followed(self, key: bytes, owner: str) -> bool:
        return (key, owner) in self._followed

    async def publish(self, key: bytes, owner: str, records: Sequence[bytes]) -> None:
        self._records.setdefault((key, owner), []).extend(records)

    async def read(self, questions: Sequence[Question]) -> Sequence[Sighting]:
        return [self._sighting(question) for question in questions]

    def _sighting(self, question: Question) -> Sighting:
        records = self._records.get((question.key, question.owner), [])
        held = self._holder(question.key) == question.owner
        return Sighting(held, records[int(question.position or 0) :], str(len(records)))

    def _holder(self, key: bytes) -> str | None:
        owner, until = self._leases.get(key, ("", 0.0))
        return owner if until > self._clock() else None
