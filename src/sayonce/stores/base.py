"""What a store is: entries under 32-byte digests, kept in sealed envelopes, with a time to live.

A store raises ``StoreError`` when it cannot answer and ``Refused`` when what it holds is not the key's value. Neither
reaches a caller: ``sayonce.cache.guard`` is the one place that turns them into "no answer from the cache".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import StrEnum

import msgspec

from sayonce.core.clock import Clock
from sayonce.core.envelope import Entry, Sealer
from sayonce.stores.coordinator import Coordinator


class Failure(StrEnum):
    """Why a store could not answer, as far as it changes what to do about it."""

    TIMEOUT = "timeout"  # asked, and no answer in time
    BUSY = "busy"  # not asked: every connection is in use, the file is locked, too much is waiting
    FULL = "full"  # answers, and takes no new values: out of memory, read-only
    REFUSED = "refused"  # answered with an error: loading, wrong credentials, no rights
    LOST = "lost"  # unreachable, or the connection broke
    BROKEN = "broken"  # anything else: a corrupt file, a protocol error


class StoreError(Exception):
    """The store could not answer: unreachable, full, read-only, refusing or broken."""

    def __init__(self, message: str, *, kind: Failure = Failure.BROKEN) -> None:
        super().__init__(message)
        self.kind = kind


class StoreStats(msgspec.Struct, frozen=True):
    """Figures of a store; ``None`` where it cannot tell cheaply."""

    entries: int | None
    used_bytes: int | None
    max_bytes: int | None


class Store(ABC):
    """The contract that every tier keeps. Any method may raise ``StoreError``; all are called from one event loop."""

    name: str
    """The tier's name in ``Cache-Status`` and counters: ``memory``, ``sqlite``, ``redis``."""
    coordinator: Coordinator | None = None
    """How processes that share the store share a computation; None when only one process has it."""

    @abstractmethod
    async def get(self, key: bytes) -> Entry | None:
        """Return the key's entry, or None when there is none or it has expired.

        Raises:
            Refused: the stored bytes are not this key's value.

        """

    @abstractmethod
    async def put(self, entry: Entry) -> bool:
        """Keep an entry until ``entry.expires`` and return whether it is kept; the write is atomic."""

    @abstractmethod
    async def delete(self, key: bytes) -> bool:
        """Remove a key and return whether it was there."""

    @abstractmethod
    async def clear(self) -> int:
        """Remove every entry (counters and epochs stay) and return how many there were."""

    @abstractmethod
    async def stats(self) -> StoreStats: ...

    @abstractmethod
    async def bump(self, tag: str) -> int:
        """Raise a tag's epoch by one, atomically, and return it."""

    @abstractmethod
    async def epochs(self) -> dict[str, int]:
        """Return the epoch of every tag that was ever purged."""

    @abstractmethod
    async def count(self, deltas: Mapping[str, float]) -> None:
        """Add to the store's lasting counters, atomically."""

    @abstractmethod
    async def totals(self) -> dict[str, float]:
        """Return the store's lasting counters."""

    @abstractmethod
    async def register(self, book: str, name: str, value: bytes) -> None:
        """Write a value into a book: kept for good, never evicted, and counted in no figure."""

    @abstractmethod
    async def registered(self, book: str, name: str) -> bytes | None:
        """Return a value of a book."""

    @abstractmethod
    async def registry(self, book: str) -> dict[str, bytes]:
        """Return a whole book."""

    @abstractmethod
    async def unregister(self, book: str, name: str) -> bool:
        """Strike a name out of a book and return whether it was there."""

    async def open(self) -> None:  # noqa: B027 (not every store has something to open)
        """Create or check what can be checked at once; a server that is down is found out by the first call."""

    async def close(self) -> None:  # noqa: B027
        """Release files and connections; idempotent."""


class SealedStore(Store):
    """A store of bytes: seals entries into envelopes and opens them; a backend supplies ``_read`` and ``_write``."""

    def __init__(self, sealer: Sealer, clock: Clock) -> None:
        self._sealer = sealer
        self._clock = clock

    async def get(self, key: bytes) -> Entry | None:
        sealed = await self._read(key)
        if sealed is None:
            return None
        entry = self._sealer.open(key, sealed)
        return entry if entry.expires > self._clock() else None

    async def put(self, entry: Entry) -> bool:
        ttl_seconds = entry.expires - self._clock()
        return ttl_seconds > 0 and await self._write(entry, self._sealer.seal(entry), ttl_seconds)

    @abstractmethod
    async def _read(self, key: bytes) -> bytes | None:
        """Return the envelope under a key."""

    @abstractmethod
    async def _write(self, entry: Entry, sealed: bytes, ttl_seconds: float) -> bool:
        """Replace the envelope under ``entry.key``."""
