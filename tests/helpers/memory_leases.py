"""Leases and records within one process, for tests of what is built on them."""

from __future__ import annotations

from collections.abc import Sequence

from sayonce.core.clock import Clock
from sayonce.stores.base import Store
from sayonce.stores.leases import Leases
from sayonce.stores.records import Question, Records, Sighting


def share(store: Store, clock: Clock) -> None:
    """Give a store leases and records, as if several processes reached it."""
    store.leases = leases = MemoryLeases(clock)
    store.records = MemoryRecords(leases)


class MemoryLeases(Leases):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._leases: dict[bytes, tuple[str, float]] = {}

    async def acquire(self, key: bytes, owner: str, seconds: float) -> str:
        holder = self.holder(key) or owner
        _, until = self._leases.get(key, (owner, float("inf")))
        latest = self._clock() + seconds
        self._leases[key] = (holder, latest if holder == owner else min(until, latest))
        return holder

    async def renew(self, key: bytes, owner: str, seconds: float) -> bool:
        if self.holder(key) != owner:
            return False
        self._leases[key] = (owner, self._clock() + seconds)
        return True

    async def release(self, key: bytes, owner: str) -> None:
        if self.holder(key) == owner:
            del self._leases[key]

    def holder(self, key: bytes) -> str | None:
        owner, until = self._leases.get(key, ("", 0.0))
        return owner if self._clock() < until else None


class MemoryRecords(Records):
    def __init__(self, leases: MemoryLeases) -> None:
        self._leases = leases
        self._records: dict[tuple[bytes, str, str], list[bytes]] = {}

    async def publish(self, key: bytes, owner: str, part: str, records: Sequence[bytes]) -> None:
        self._records.setdefault((key, owner, part), []).extend(records)

    async def read(self, questions: Sequence[Question]) -> Sequence[Sighting]:
        return [self._sighting(question) for question in questions]

    def _sighting(self, question: Question) -> Sighting:
        records = self._records.get((question.key, question.owner, question.part), [])
        held = self._leases.holder(question.key) == question.owner
        return Sighting(held, records[int(question.position or 0) :], str(len(records)))
