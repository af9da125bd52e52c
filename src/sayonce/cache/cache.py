"""A cache: the road of its requests, put together with the store, and everything else that a user asks of it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from sayonce.cache.answer import Answer, saved_seconds
from sayonce.cache.compute_errors import released
from sayonce.cache.cross_process import SharedFlights
from sayonce.cache.flights import Flights
from sayonce.cache.guarded_store import GuardedStore
from sayonce.cache.health import StoreHealth, StoreState
from sayonce.cache.housekeeping import Housekeeper
from sayonce.cache.invalidation import Invalidation, Obeyed
from sayonce.cache.lookup import Lookup, never, never_stale
from sayonce.cache.made import Compute, computed
from sayonce.cache.removal import Removal, Removed
from sayonce.cache.road import Road
from sayonce.cache.threads import Threads
from sayonce.cache.tiers import Tiers
from sayonce.cache.totals import Totals
from sayonce.core.cache_control import DEFAULT, Policy
from sayonce.core.clock import Clock
from sayonce.core.counters import Counter, Counts, Operation
from sayonce.core.envelope import Entry, Sealer
from sayonce.core.epochs import Stamp
from sayonce.core.key import Digest, Secret, canonical, digest
from sayonce.core.outcome import Outcome
from sayonce.core.purges import PurgeRecords
from sayonce.core.tracer import NoTracer, Tracer
from sayonce.errors import ConfigError, Unkeyable
from sayonce.stores.base import Store
from sayonce.stores.memory import MemoryStore

T = TypeVar("T")

DEFAULT_TTL: Final = timedelta(hours=24)
DEFAULT_OFFLINE: Final = timedelta(hours=24)


class Cache:
    """Remembers values under the digests of their documents, in memory and in an optional store behind it.

    Use as an async context manager. ``store`` None keeps everything in this process's memory alone. What is past its
    time to live is kept for ``stale`` longer, for the lookups that take it.
    """

    def __init__(
        self,
        store: Store | None = None,
        *,
        memory: MemoryStore | None = None,
        secret: Secret | None = None,
        namespace: str = "",
        ttl: timedelta = DEFAULT_TTL,
        stale: timedelta = timedelta(0),
        budget_seconds: float = 0.05,
        offline: timedelta = DEFAULT_OFFLINE,
        workers: Path | None = None,
        clock: Clock = time.time,
    ) -> None:
        self.memory = memory if memory is not None else MemoryStore(clock=clock)
        self.store = store
        for tier in (self.memory, store):
            if tier is not None:
                tier.stale_seconds = stale.total_seconds()
        self.secret = secret or Secret()
        self.namespace = namespace
        self.ttl, self.stale = ttl, stale
        self.counts = Counts()
        self.threads = Threads()
        self.tracer: Tracer = NoTracer()
        self._clock = clock
        self._stored = GuardedStore(store, budget_seconds, self.counts) if store is not None else None
        self._guard = self._stored.index if self._stored is not None else None
        self._invalidation = self._new_invalidation(offline, workers)
        self.view = self._invalidation.view
        self._flights = Flights(self._invalidation.known.current, self.view)
        self._removal = Removal(self.memory, self._guard, self._flights, self._invalidation)
        self._tiers = self._new_tiers(budget_seconds)
        self._road = self._new_road()
        self.health = None if self._stored is None else StoreHealth(self._stored, self.view)
        self._housekeeper: Housekeeper | None = None
        if self._guard is not None:
            self._housekeeper = Housekeeper(self._invalidation, Totals(self._guard, self.counts))

        # Their own methods, bound here: a hit takes no step more for being asked of the cache.
        self.peek, self.stored = self._tiers.peek, self._tiers.stored
        self.answer, self.begin, self.renew = self._road.answer, self._road.begin, self._road.renew

    def _new_invalidation(self, offline: timedelta, workers: Path | None) -> Invalidation:
        return Invalidation(
            self.store if self.store is not None else self.memory,
            self._guard,
            PurgeRecords(Sealer(self.secret), self.namespace, self.key),
            self.counts,
            clock=self._clock,
            offline_seconds=offline.total_seconds(),
            directory=workers,
        )

    def _new_tiers(self, budget_seconds: float) -> Tiers:
        return Tiers(
            self.memory,
            self._stored,
            self._invalidation,
            self._removal,
            clock=self._clock,
            budget_seconds=budget_seconds,
            ttl=self.ttl,
        )

    def _new_road(self) -> Road:
        others = self._shared_flights()
        return Road(self._tiers, self._invalidation, self._flights, others, self.counts, clock=self._clock)

    def _shared_flights(self) -> SharedFlights | None:
        store, current = self.store, self._invalidation.known.current
        if store is None or self._guard is None or not (store.leases and store.records):
            return None
        return SharedFlights(self._guard, store.leases, store.records, self.counts, self.secret, current)

    # -- identity ---------------------------------------------------------------------------------------------------

    def key(self, document: Any) -> Digest:
        """Return the digest of a document within this cache's namespace.

        Raises:
            Unkeyable: the document holds something that has no exact identity.

        """
        try:
            return digest([self.namespace, document], self.secret)
        except Unkeyable:
            canonical(document)  # which says where in it, and not where in the list above
            raise

    travelled = False
    """Whether it came from another process, so that ``here`` has to be asked for the one to use."""

    async def here(self) -> Cache:
        """Return the open cache of the running event loop."""
        return self

    @property
    def counters(self) -> dict[str, float]:
        """The counters of this process, by name: answers by outcome, refusals, seconds saved; 0 for all others."""
        return self.counts.by_name()

    def trace(self, tracer: Tracer) -> None:
        """Tell a tracer of look-ups, flights and the store's calls."""
        self.tracer = self._road.tracer = self._tiers.tracer = tracer
        if self._stored is not None:
            self._stored.trace(tracer)

    def now(self) -> float:
        """Return the time by this cache's clock, in seconds since the Unix epoch."""
        return self._clock()

    async def find(
        self, key: bytes, policy: Policy = DEFAULT, *, stale: Callable[[Entry], bool] = never_stale
    ) -> Answer | None:
        """Return the entry under a key if it is stored and may answer, as in a ``Lookup``; nothing is computed."""
        seen = await self._tiers.search(Lookup(key, never, policy, stale=stale))
        return seen.answer() if seen.entry is not None else None

    # -- computing once --------------------------------------------------------------------------------------------

    async def fetch(
        self, key: Any, compute: Compute, *, ttl: timedelta | None = None, tags: Iterable[str] = ()
    ) -> Entry:
        """Return the value of a key, computing it once however many ask.

        Args:
            key: a digest from ``key()``, or a document to digest: strings, bytes, numbers, lists and mappings.
            compute: returns the value as bytes, or a ``Made``; async, or plain and then run in a thread.
            ttl: how long it is kept; the cache's own when left out.
            tags: names under which it can be purged, such as ``voice=alice``.

        Raises:
            Unkeyable: the key has no exact identity.
            Exception: what ``compute`` raised; nothing is stored then.
            TypeError: ``compute`` returned something else.
            RecursionError: ``compute`` asks for the value that it computes.
            RuntimeError: the cache is closed, and the value is not in memory.

        """
        return await released(self.fetch_carried(key, compute, ttl=ttl, tags=tags))

    async def fetch_carried(
        self, key: Any, compute: Compute, *, ttl: timedelta | None = None, tags: Iterable[str] = ()
    ) -> Entry:
        """Do what ``fetch`` does, and raise what ``compute`` raised as ``CarriedError``."""
        found = key if isinstance(key, Digest) else self.key(key)
        answer = await self.answer(Lookup(found, partial(computed, self.threads, compute), ttl=ttl, tags=tuple(tags)))
        entry = await answer.result()
        self.record(answer.outcome, entry)
        return entry

    def record(self, outcome: Outcome, entry: Entry | None = None) -> None:
        """Count an answer, and what it saved."""
        self.counts.add(Counter.ANSWERS, outcome)
        if entry is not None and not outcome.computed:
            self.counts.add(Counter.SAVED_SECONDS, number=saved_seconds(entry))

    # -- removing and purging ---------------------------------------------------------------------------------------

    async def delete(self, key: bytes) -> bool:
        """Remove one entry everywhere, also one that is being made; returns whether it was stored.

        Raises:
            StoreError: the store is away: only this instance obeys until it is back.

        """
        return (await self.remove(key)).everywhere() > 0

    async def remove(self, key: bytes, *derivatives: bytes, wait: bool = True) -> Removed:
        """Remove an entry and what is derived from it everywhere, also while it is being made.

        See ``purge`` for the instances that obey, and when.
        """
        return await self._removal.remove(key, *derivatives, wait=wait)

    async def discard(self, key: bytes) -> None:
        """Remove one entry where it can be removed now; a store that does not answer is left as it is."""
        await self._removal.discard(key)

    def drop(self, key: bytes) -> bool:
        """Remove one entry from this process's memory, also one that is being made; returns whether it was there."""
        return self._removal.drop(key)

    async def clear(self) -> int:
        """Remove every entry, also those being made; returns how many the store held.

        Raises:
            StoreError: the store is away: only this instance obeys until it is back.

        """
        return (await self.remove_all()).everywhere()

    async def remove_all(self, *, wait: bool = True) -> Removed:
        """Remove every entry, also those being made; see ``purge`` for the instances that obey, and when."""
        return await self._removal.remove_all(wait=wait)

    async def purge(self, *tags: str, wait: bool = True) -> Obeyed:
        """Outdate every entry that carries one of the tags, also those that are being computed.

        This instance obeys at once. All others that reach the store do when this returns, for which it waits half a
        second, once for all tags; with ``wait`` False they do within a second. While the store is away only this
        instance obeys (all workers of its server); the purge is written when the store is back.

        Raises:
            InvalidRequest: the tags are too many, or too long.

        """
        return await self._invalidation.purge(*tags, wait=wait)

    async def announce(self, tag: str, *, wait: bool = True) -> Obeyed:
        """Have every instance call back what watches a tag, as ``purge`` has them obey.

        Raises:
            StoreError: the store does not answer.

        """
        return await self._invalidation.announce(tag, wait=wait)

    def watch(self, tag: str, callback: Callable[[], Awaitable[None]]) -> None:
        """Call back when another instance has purged a tag."""
        self._invalidation.watch(tag, callback)

    def may_have(self, key: bytes, tags: Stamp) -> bool:
        """Whether an entry with these tags may still be there, as far as can be told without asking the store."""
        known = self._invalidation.known
        there = self.store is not None or self.memory.has(key)
        return there and known.current(tags, key) and not known.removed(key)

    def on_purge(self, forget: Callable[[], None]) -> None:
        """Call back when anything is purged, here or at another instance."""
        self._invalidation.known.on_purge(forget)

    async def settle_view(self) -> None:
        """Read what other instances have purged, unless it was read a moment ago."""
        await self._invalidation.settle()

    # -- the store --------------------------------------------------------------------------------------------------

    @property
    def store_state(self) -> StoreState:
        """How the store is in one word; see ``StoreHealth``."""
        return "none" if self.health is None else self.health.state

    @property
    def trouble(self) -> str | None:
        """The store's trouble, in words; None where nothing fails."""
        return None if self.health is None else self.health.trouble

    async def attempt(self, operation: Operation, run: Callable[[], Awaitable[T]], *, read_bytes: int = 0) -> T | None:
        """Return what an operation on the store returns, or None if the store fails within the budget.

        The budget grows with the bytes that it may read.
        """
        return await run() if self._guard is None else await self._guard.call(operation, run, read_bytes=read_bytes)

    async def settle(self, timeout_seconds: float | None = None) -> None:
        """Wait until no flight is under way and every write has landed; what lasts longer is cancelled."""
        await self._flights.settle(timeout_seconds)

    async def open(self, *, checked: bool = False) -> Self:
        """Open the store, also again after ``close``, in the event loop that runs now.

        Where it was ``checked`` before, what is wrong with its address now is trouble that may pass.

        Raises:
            ConfigError: the store's address is wrong.

        """
        self._flights.closed = False
        self.threads.open()
        if self.store is not None and self._housekeeper is not None:
            try:
                await self.store.open()
            except ConfigError:
                if not checked:
                    raise
            await self._housekeeper.start()
        return self

    async def close(self) -> None:
        """Finish the flights, write the counters and release the store; idempotent."""
        await self.settle()
        self._flights.closed = True
        if self._housekeeper is not None:
            await self._housekeeper.stop()
        self.threads.close()
        if self.store is not None:
            await self.store.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()
