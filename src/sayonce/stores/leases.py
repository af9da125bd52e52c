"""How processes share a computation: who is at it, and what has been made so far.

A lease says who computes a key; it ends by itself when its holder does not renew it. Under its holder's name there are
records, in order, of several parts: of those who follow it, of its answers to them, and of the computation itself. So a
holder that was away for too long never mixes its records with its successor's.
A lease is for efficiency: two holders at once cost a computation, and never a wrong value. What comes from here is
bounded in size and not believed: ``sayonce.cache.cross_process`` opens the records.
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
COMPUTATION: Final = "flight"
"""The part with what is computed; it ends with the lease."""
OWNER_CHARACTERS: Final = 128
"""How many characters of an owner count."""
RECORD_BYTES: Final = 1_048_576
"""How long a record may be: a longer one is read as an empty one."""
READ_BYTES: Final = 16 * RECORD_BYTES
"""How much is read at once."""
READ_RECORDS: Final = 64
"""How many records of one part are read at once."""


class Question(msgspec.Struct, frozen=True):
    """Asks for a part of a holder's records of a key, after a position; the first position is ``""``."""

    key: bytes
    owner: str
    part: str
    position: str = ""


class Sighting(msgspec.Struct, frozen=True):
    """What there is: whether the holder still holds, and the records after the position that was given."""

    held: bool
    records: Sequence[bytes]
    position: str


class Coordinator(ABC):
    """Leases and records in a place that several processes reach; every method may raise ``StoreError``."""

    @abstractmethod
    async def acquire(self, key: bytes, owner: str, seconds: float) -> str:
        """Return who holds the lease on a key now: ``owner``, if nobody else did.

        Whoever holds it, and whatever wrote it, it ends within ``seconds`` unless it is renewed.
        """

    @abstractmethod
    async def renew(self, key: bytes, owner: str, seconds: float) -> bool:
        """Hold on for ``seconds`` from now; False when the lease is another's, or nobody's."""

    @abstractmethod
    async def release(self, key: bytes, owner: str) -> None:
        """End the lease, if it is still the owner's; the computation's records stay for ``ENDED_SECONDS``."""

    @abstractmethod
    async def publish(self, key: bytes, owner: str, part: str, records: Sequence[bytes]) -> None:
        """Add records to a part."""

    @abstractmethod
    async def read(self, questions: Sequence[Question]) -> Sequence[Sighting]:
        """Answer several questions at once, in order."""


class MemoryCoordinator(Coordinator):
    """A coordinator within one process, for tests of what is built on it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._leases: dict[bytes, tuple[str, float]] = {}
        self._records: dict[tuple[bytes, str, str], list[bytes]] = {}

    async def acquire(self, key: bytes, owner: str, seconds: float) -> str:
        holder = self._holder(key) or owner
        _, until = self._leases.get(key, (owner, float("inf")))
        latest = self._clock() + seconds
        self._leases[key] = (holder, latest if holder == owner else min(until, latest))
        return holder

    async def renew(self, key: bytes, owner: str, seconds: float) -> bool:
        if self._holder(key) != owner:
            return False
        self._leases[key] = (owner, self._clock() + seconds)
        return True

    async def release(self, key: bytes, owner: str) -> None:
        if self._holder(key) == owner:
            del self._leases[key]

    async def publish(self, key: bytes, owner: str, part: str, records: Sequence[bytes]) -> None:
        self._records.setdefault((key, owner, part), []).extend(records)

    async def read(self, questions: Sequence[Question]) -> Sequence[Sighting]:
        return [self._sighting(question) for question in questions]

    def _sighting(self, question: Question) -> Sighting:
        records = self._records.get((question.key, question.owner, question.part), [])
        held = self._holder(question.key) == question.owner
        return Sighting(held, records[int(question.position or 0) :], str(len(records)))

    def _holder(self, key: bytes) -> str | None:
        owner, until = self._leases.get(key, ("", 0.0))
        return owner if self._clock() < until else None
