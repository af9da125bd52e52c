"""Removing: entries by their key, or all of them, from memory, from the store, and from what is being made."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import NamedTuple

from sayonce.cache.flights import Flights
from sayonce.cache.guard import Guard
from sayonce.cache.invalidation import Invalidation, Obeyed
from sayonce.cache.known_purges import MEMORIES
from sayonce.core.counters import Operation
from sayonce.core.epochs import ALL
from sayonce.errors import StoreError
from sayonce.stores.memory import MemoryStore


class Removed(NamedTuple):
    """How many entries were removed, and the instances that obey."""

    entries: int
    obeyed: Obeyed

    def everywhere(self) -> int:
        """Return the number of entries.

        Raises:
            StoreError: only this instance obeys.

        """
        if self.obeyed is Obeyed.HERE:
            raise StoreError("the store does not answer: only this instance obeys until it is back")
        return self.entries


class Removal:
    """Removes what a cache has; ``guard`` is that of its store, if there is one."""

    def __init__(self, memory: MemoryStore, guard: Guard | None, flights: Flights, invalidation: Invalidation) -> None:
        self._memory = memory
        self._guard = guard
        self._flights = flights
        self._invalidation = invalidation
        invalidation.watch(MEMORIES, self._empty_memory)

    def drop(self, key: bytes) -> bool:
        """Remove one entry from this process's memory, also one that is being made; returns whether it was there."""
        self._flights.discard([key])
        return self._memory.drop(key)

    async def discard(self, key: bytes) -> None:
        """Remove one entry where it can be removed now; a store that does not answer is left as it is."""
        self.drop(key)
        if self._guard is not None:
            await self._guard.call(Operation.DELETE, partial(self._guard.store.delete, key))

    async def remove(self, key: bytes, *derivatives: bytes, wait: bool = True) -> Removed:
        """Remove an entry and what is derived from it everywhere, also while it is being made."""
        keys = (key, *derivatives)
        here = sum([self.drop(each) for each in keys])
        self._invalidation.known.tell_purged()
        if self._guard is None:
            return Removed(here, Obeyed.EVERYWHERE)
        stored, obeyed = await self._invalidation.remove(key, derivatives, wait=wait)
        for each in keys:  # what was read before the first was removed
            self.drop(each)
        return Removed(max(here, stored), obeyed)

    async def remove_all(self, *, wait: bool = True) -> Removed:
        """Remove every entry, also those being made."""
        self._flights.discard_all()
        self._invalidation.known.tell_purged()
        entries = await self._memory.clear()
        if self._guard is None:
            return Removed(entries, Obeyed.EVERYWHERE)
        obeyed = await self._invalidation.purge(ALL, MEMORIES, wait=wait)
        if obeyed is not Obeyed.HERE:
            with suppress(StoreError):  # what stays is outdated, and goes when it expires
                entries = await self._guard.store.clear()
        return Removed(entries, obeyed)

    async def _empty_memory(self) -> None:
        self._flights.discard_all()
        self._invalidation.known.tell_purged()
        await self._memory.clear()
