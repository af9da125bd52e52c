"""The tier in this process's memory: bounded in bytes, answered without waiting."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping

from sayonce.core.clock import Clock
from sayonce.core.envelope import Entry
from sayonce.core.eviction import EvictionPolicy, PolicyName, new_policy
from sayonce.stores.base import Store, StoreStats


class MemoryStore(Store):
    """Holds opened entries, so a hit costs no I/O, no copy and no verification."""

    name = "memory"

    def __init__(self, max_bytes: int = 256_000_000, policy: PolicyName = "gdsf", *, clock: Clock = time.time) -> None:
        self._entries: EvictionPolicy[Entry] = new_policy(policy, max_bytes)
        self._clock = clock
        self._epochs: Counter[str] = Counter()
        self._totals: defaultdict[str, float] = defaultdict(float)
        self._tables: defaultdict[str, dict[str, bytes]] = defaultdict(dict)

    def peek(self, key: bytes) -> Entry | None:
        """Return the key's entry at once if it is within its time to live; this is the hot path of a hit."""
        entry = self._entries.get(key)
        if entry is not None and entry.expires <= self._clock():
            if self.kept_until(entry) <= self._clock():
                self._entries.discard(key)
            return None
        return entry

    def kept(self, key: bytes) -> Entry | None:
        """Return the key's entry at once, also past its time to live."""
        entry = self._entries.get(key)
        if entry is not None and self.kept_until(entry) <= self._clock():
            self._entries.discard(key)
            return None
        return entry

    def has(self, key: bytes) -> bool:
        """Whether there is an entry under a key, for somebody that does not use it."""
        return key in self._entries

    def keep(self, entry: Entry) -> bool:
        """Keep an entry and return whether it is kept: it must fit, and be worth more than the entries that would have to go."""
        return self._entries.put(entry.key, entry, entry.size_bytes, entry.compute_seconds)

    def drop(self, key: bytes) -> bool:
        return self._entries.discard(key)

    async def get(self, key: bytes) -> Entry | None:
        return self.kept(key)

    async def put(self, entry: Entry) -> bool:
        return self.kept_until(entry) > self._clock() and self.keep(entry)

    async def delete(self, key: bytes) -> bool:
        return self.drop(key)

    async def clear(self) -> int:
        entries = len(self._entries)
        self._entries.clear()
        return entries

    async def stats(self) -> StoreStats:
        return self.figures()

    def figures(self) -> StoreStats:
        """Return the figures at once."""
        return StoreStats(len(self._entries), self._entries.used_bytes, self._entries.max_bytes)

    async def count(self, deltas: Mapping[str, float]) -> None:
        for name, delta in deltas.items():
            self._totals[name] += delta

    async def totals(self) -> dict[str, float]:
        return dict(self._totals)

    async def write_field(self, table: str, field: str, value: bytes) -> None:
        self._tables[table][field] = value

    async def swap_field(self, table: str, field: str, old: bytes | None, new: bytes | None) -> bool:
        if self._tables[table].get(field) != old:
            return False
        if new is None:
            self._tables[table].pop(field, None)
        else:
            self._tables[table][field] = new
        return True

    async def read_field(self, table: str, field: str) -> bytes | None:
        return self._tables[table].get(field)

    async def read_table(self, table: str) -> dict[str, bytes]:
        return dict(self._tables[table])

    async def remove_field(self, table: str, field: str) -> bool:
        return self._tables[table].pop(field, None) is not None
