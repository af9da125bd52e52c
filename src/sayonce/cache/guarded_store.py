"""The store behind memory as the cache asks it: each backend within its own budget, behind its own breaker."""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from sayonce.cache.guard import Guard
from sayonce.core.counters import Counts, Operation
from sayonce.core.envelope import Entry, Pointer
from sayonce.core.tracer import Tracer
from sayonce.stores.base import SealedStore, Store

if TYPE_CHECKING:
    from sayonce.stores.blobs.store import BlobStore


class GuardedStore:
    """A store with the bodies that lie outside it, if any: trouble with them makes no small entry a miss."""

    def __init__(self, store: Store, budget_seconds: float, counts: Counts) -> None:
        self.name = store.name
        self.index = Guard(store, budget_seconds, counts)
        self._store = store
        self._outside = None
        if isinstance(store, SealedStore) and store.bodies is not None:
            self._outside = _Outside(store, store.bodies, self.index, counts)

    def failing(self) -> dict[str, bool]:
        """Return, for each backend, whether its circuit breaker is open."""
        return {part: guard.breaker.open for part, guard in self._guards().items()}

    def unwritable(self) -> dict[str, str | None]:
        """Return, for each backend, why it takes no new values; None where it does."""
        return {part: guard.unwritable for part, guard in self._guards().items()}

    @property
    def trouble(self) -> str | None:
        """Why a backend's circuit breaker is open, or why it takes no new values; None where all is well."""
        return next((guard.trouble for guard in self._guards().values() if guard.trouble is not None), None)

    @property
    def took_last_write(self) -> bool:
        """Whether the last value that was written is kept, and nothing speaks against the next one."""
        return all(
            guard.took_last_write and not (guard.breaker.open or guard.breaker.doubtful)
            for guard in self._guards().values()
        )

    def _guards(self) -> dict[str, Guard]:
        return {"store": self.index} | ({"bodies": self._outside.guard} if self._outside is not None else {})

    def trace(self, tracer: Tracer) -> None:
        """Tell a tracer of every call."""
        self.index.tracer = tracer
        if self._outside is not None:
            self._outside.guard.tracer = tracer

    def get(
        self, key: bytes, expected_bytes: int = 0, *, timeout_factor: float = 1.0
    ) -> Coroutine[Any, Any, Entry | None]:
        """Return the key's entry, if it comes within the budget, which grows with the bytes that are expected."""
        if self._outside is not None:
            return self._outside.get(key, expected_bytes, timeout_factor)
        return self.index.call(
            Operation.GET, partial(self._store.get, key), read_bytes=expected_bytes, timeout_factor=timeout_factor
        )

    async def put(self, entry: Entry, *, timeout_factor: float = 1.0) -> bool:
        """Keep an entry and return whether it is kept."""
        size_bytes = len(entry.body)
        if self._outside is not None and self._outside.bodies.takes(size_bytes):
            return await self._outside.put(entry, timeout_factor)
        put = partial(self._store.put, entry)
        return _noted(
            self.index, await self.index.call(Operation.PUT, put, size_bytes=size_bytes, timeout_factor=timeout_factor)
        )


class _Outside:
    """A pointer in the index and a body outside, each asked through its own guard."""

    def __init__(self, store: SealedStore, bodies: BlobStore, index: Guard, counts: Counts) -> None:
        self.bodies = bodies
        self._store = store
        self._index = index
        self.guard = Guard(store, bodies.budget_seconds, counts, part=bodies.name, look=bodies.look)

    async def get(self, key: bytes, expected_bytes: int, timeout_factor: float) -> Entry | None:
        found = await self._index.call(
            Operation.FIND, partial(self._store.find, key), read_bytes=expected_bytes, timeout_factor=timeout_factor
        )
        if not isinstance(found, Pointer):
            return found
        return await self.guard.call(Operation.FETCH, partial(self._store.fetch, found), read_bytes=found.body_bytes)

    async def put(self, entry: Entry, timeout_factor: float) -> bool:
        put_body = partial(self._store.put_body, entry)
        address = await self.guard.call(
            Operation.PLACE, put_body, size_bytes=len(entry.body), timeout_factor=timeout_factor
        )
        if address is None:
            return _noted(self.guard, None)
        self.guard.wrote(kept=True)
        write = partial(self._store.write, entry, address)
        return _noted(self._index, await self._index.call(Operation.WRITE, write, timeout_factor=timeout_factor))


def _noted(guard: Guard, kept: bool | None) -> bool:
    guard.wrote(kept)
    return bool(kept)
