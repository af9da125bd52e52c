"""The way of a request: look up → join or lead → compute → store → answer."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, TypeVar

from sayonce.cache.answer import Answer, saved_seconds
from sayonce.cache.compute_errors import CarriedError, released
from sayonce.cache.cross_process import Look, SharedFlights
from sayonce.cache.flight import Compute, Flight, Keep, Made, computed, computing
from sayonce.cache.guarded_store import GuardedStore
from sayonce.cache.health import StoreHealth, StoreState
from sayonce.cache.invalidation import Invalidation, Obeyed
from sayonce.cache.known_purges import MEMORIES
from sayonce.cache.threads import Threads
from sayonce.cache.totals import Totals
from sayonce.cache.view import TRUST_SECONDS
from sayonce.core.clock import Clock
from sayonce.core.counters import Counter, Counts, FlightPart, Operation
from sayonce.core.decision import DEFAULT, Policy
from sayonce.core.envelope import Entry, Sealer
from sayonce.core.epochs import ALL, Stamp, derived
from sayonce.core.key import Digest, Secret, canonical, digest
from sayonce.core.outcome import Outcome
from sayonce.core.purges import PurgeRecords
from sayonce.core.relay import Ending
from sayonce.core.tracer import NoTracer, Tracer
from sayonce.errors import ConfigError, EngineError, NotCached, SayonceError, StoreError, Unkeyable, logged
from sayonce.stores.base import Store
from sayonce.stores.memory import MemoryStore

log = logging.getLogger("sayonce.cache")

T = TypeVar("T")

DEFAULT_TTL: Final = timedelta(hours=24)
DEFAULT_OFFLINE: Final = timedelta(hours=24)
_JITTER: Final = 0.1
"""Entries live between 0.9 and 1 times their time to live, so that what was warmed together does not expire together."""
_WRITE_TIMEOUT_FACTOR: Final = 20.0
_HOUSEKEEPING_SECONDS: Final = 0.2
"""Often enough that what is known of purges is fresh when a request comes, also on a busy event loop."""
_FLUSH_SECONDS: Final = 5.0
_LANDED_LATELY: Final = 256
"""Flights that may land while a request looks into the store, which then may have found nothing yet."""


class Removed(NamedTuple):
    """How many entries were removed, and who obeys."""

    entries: int
    obeyed: Obeyed


Lead = Callable[[Flight], Awaitable[Made]]
"""A computation: sends chunks to the flight as it makes them, if it streams, and returns the whole."""


class Cache:
    """Remembers values under the digests of their documents, in memory and in an optional store behind it.

    Use as an async context manager. ``store`` None keeps everything in this process's memory alone.
    """

    def __init__(
        self,
        store: Store | None = None,
        *,
        memory: MemoryStore | None = None,
        secret: Secret | None = None,
        namespace: str = "",
        ttl: timedelta = DEFAULT_TTL,
        budget_seconds: float = 0.05,
        offline: timedelta = DEFAULT_OFFLINE,
        workers: Path | None = None,
        clock: Clock = time.time,
    ) -> None:
        self.memory = memory if memory is not None else MemoryStore(clock=clock)
        self.store = store
        self.secret = secret or Secret()
        self.namespace = namespace
        self.ttl = ttl
        self.counts = Counts()
        self._budget_seconds = budget_seconds
        self._memory_kept_last = self.memory.figures().max_bytes != 0
        self._stored = GuardedStore(store, budget_seconds, self.counts) if store is not None else None
        self._guard = self._stored.index if self._stored is not None else None
        self._totals = Totals(self._guard, self.counts) if self._guard is not None else None
        self.threads = Threads()
        self.tracer: Tracer = NoTracer()
        self._clock = clock
        self._invalidation = Invalidation(
            store if store is not None else self.memory,
            self._guard,
            PurgeRecords(Sealer(self.secret), namespace, self.key),
            self.counts,
            clock=clock,
            offline_seconds=offline.total_seconds(),
            directory=workers,
        )
        self._invalidation.watch(MEMORIES, self._empty_memory)
        self.view = self._invalidation.view
        self.health: StoreHealth | None = None
        if store is not None and self._stored is not None:
            self.health = StoreHealth(store, self._stored, self.view)
        self._shared: SharedFlights | None = None
        if self._guard is not None and store is not None and store.leases and store.records:
            self._shared = SharedFlights(
                self._guard, store.leases, store.records, self.counts, self.secret, self._invalidation.known.current
            )
        self._flights: dict[bytes, Flight] = {}
        self._landed_lately: deque[bytes] = deque(maxlen=_LANDED_LATELY)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._housekeeper: asyncio.Task[None] | None = None

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
    def store_state(self) -> StoreState:
        """How the store is in one word; see ``StoreHealth``."""
        return "none" if self.health is None else self.health.state

    @property
    def trouble(self) -> str | None:
        """What of the store fails, in words; None where nothing does."""
        return None if self.health is None else self.health.trouble

    @property
    def counters(self) -> dict[str, float]:
        """What this process has counted, by name: answers by outcome, refusals, seconds saved; 0 for all others."""
        return self.counts.by_name()

    def trace(self, tracer: Tracer) -> None:
        """Tell a tracer of look-ups, flights and the store's calls."""
        self.tracer = tracer
        if self._stored is not None:
            self._stored.trace(tracer)

    def now(self) -> float:
        """Return the time by this cache's clock, in seconds since the Unix epoch."""
        return self._clock()

    # -- the way of a request ---------------------------------------------------------------------------------------

    def peek(self, key: bytes) -> Entry | None:
        """Return the entry if it is in memory and what is known of purges may be trusted, at once."""
        return self._peek(key) if self.view.trusted else None

    def _peek(self, key: bytes) -> Entry | None:
        entry = self.memory.peek(key)
        if entry is not None and not self._invalidation.known.current(entry.tags, key):
            self.memory.drop(key)
            return None
        return entry

    async def lookup(
        self, key: bytes, policy: Policy = DEFAULT, *, ask_store: bool = True, timeout_factor: float = 1.0
    ) -> Answer | None:
        """Return the stored entry from memory or from the store, if the policy lets it answer."""
        asked = self.view.now()
        if self.view.due:
            await self._invalidation.settle()
        if not policy.reads or not (self.view.trusted or self.view.covers(asked)):
            return None
        entry, tier = self._peek(key), self.memory.name
        if entry is None and ask_store and self._stored is not None and self.view.ever_read:
            tier = self._stored.name
            with self.tracer.span("lookup", key=key.hex()):
                entry = await self._stored.get(key, policy.expected_bytes, timeout_factor=timeout_factor)
            if (
                entry is not None
                and self._invalidation.known.current(entry.tags, key)
                and not self._invalidation.known.removed(key)
            ):
                self.memory.keep(entry)
            else:
                entry = None
        if entry is None or not policy.accepts(entry, self._clock()):
            return None
        return Answer(Outcome.HIT, entry, tier=tier)

    async def answer(
        self,
        key: bytes,
        lead: Lead,
        *,
        ttl: timedelta | None = None,
        tags: Iterable[str] = (),
        policy: Policy = DEFAULT,
        shared: bool = True,
        looked: bool = False,
    ) -> Answer:
        """Answer from what is stored, from a computation under way, or from a new one that ``lead`` makes.

        Returns as soon as there is something to hear. The computation is a task of its own: whoever asked may leave.
        With ``no-store`` it is nobody else's, and ends when this call is cancelled or the answer is closed.
        ``looked`` says that the caller has just looked the key up in the store, or leaves it to a shared flight, which
        looks when it has its lease.

        Raises:
            NotCached: ``only-if-cached``, and nothing is stored.
            Exception: what the computation raised before it had begun.

        """
        # While it is being computed the store has nothing to say.
        found = await self.lookup(key, policy, ask_store=not (looked or self.under_way(key)))
        if found is not None:
            return found
        if policy.only_if_cached:
            raise NotCached("nothing is stored for this request, and it asked for only-if-cached")
        if policy.no_cache:
            await self._landing_over(key)
        flight, joined = self.join_or_lead(key, lead, ttl=ttl, tags=tags, policy=policy, shared=shared)
        await flight.begun()
        return Answer(Outcome.JOINED if joined else flight.outcome, flight.entry, flight, flight.tier)

    def join_or_lead(
        self,
        key: bytes,
        lead: Lead,
        *,
        ttl: timedelta | None = None,
        tags: Iterable[str] = (),
        policy: Policy = DEFAULT,
        shared: bool = True,
    ) -> tuple[Flight, bool]:
        """Join the flight of a key that is under way, or begin one; return it and whether it was joined.

        ``shared`` False is for what each process computes for itself, as it costs less than asking the others.
        """
        under_way = None if policy.no_store else self._under_way(key)
        if under_way is not None:
            self.counts.add(Counter.FLIGHTS, FlightPart.JOINED)
            return under_way, True
        stamp = self._invalidation.known.stamp(tags, key)
        return self._launch(key, lead, ttl or self.ttl, stamp, policy, shared=shared), False

    def expects_to_keep(self, flight: Flight) -> bool:
        """Whether a value under way will be kept, as far as can be told before it is whole."""
        kept_last = self._memory_kept_last if self._stored is None else self._stored.took_last_write
        return kept_last and flight.keepable and not flight.discarded and self._invalidation.known.current(flight.stamp)

    async def kept(self, flight: Flight) -> bool:
        """Return whether a value that is whole, or what it is derived from, is kept.

        False where a store does not say so within its budget.
        """
        landings = [each for each in (flight.landing, flight.source) if each is not None]
        await asyncio.wait(landings, timeout=self._budget_seconds)
        return any(each.done() and each.result() for each in landings)

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
            RecursionError: ``compute`` asks for the value that it computes.

        """
        return await released(self.fetch_carried(key, compute, ttl=ttl, tags=tags))

    async def fetch_carried(
        self, key: Any, compute: Compute, *, ttl: timedelta | None = None, tags: Iterable[str] = ()
    ) -> Entry:
        """Do what ``fetch`` does, and raise what ``compute`` raised as ``CarriedError``."""
        found = key if isinstance(key, Digest) else self.key(key)
        answer = await self.answer(found, partial(computed, self.threads, compute), ttl=ttl, tags=tags)
        entry = await answer.result()
        self.record(answer.outcome, entry)
        return entry

    def record(self, outcome: Outcome, entry: Entry | None = None) -> None:
        """Count an answer, and what it saved."""
        self.counts.add(Counter.ANSWERS, outcome)
        if entry is not None and not outcome.computed:
            self.counts.add(Counter.SAVED_SECONDS, number=saved_seconds(entry))

    # -- flights ----------------------------------------------------------------------------------------------------

    def under_way(self, key: bytes) -> bool:
        """Whether a request for the key would join a computation."""
        return self._under_way(key) is not None

    def _under_way(self, key: bytes) -> Flight | None:
        """Return the flight that a request may join: not one whose tags were purged after it began."""
        flight = self._flights.get(key)
        if flight is None or not self._invalidation.known.current(flight.stamp):
            return None
        # Who cannot hear of purges joins only what began after any that may have been confirmed by now.
        return flight if self.view.trusted or self.view.now() - flight.launched < TRUST_SECONDS else None

    async def _landing_over(self, key: bytes) -> None:
        """Wait until a value that is whole is written, too: who wants a new one does not join what has made it."""
        flight = self._flights.get(key)
        if flight is not None and flight.done and flight.task is not None:
            await asyncio.wait([flight.task])

    def _launch(self, key: bytes, lead: Lead, ttl: timedelta, stamp: Stamp, policy: Policy, *, shared: bool) -> Flight:
        """Start a computation; between the look at ``_flights`` and this there is no await, so one wins."""
        flight = Flight(self._clock(), stamp, private=policy.no_store, launched=self.view.now())
        if policy.no_store:
            flight.credit(Outcome.BYPASS, None)
        else:
            self._flights[key] = flight
        task = asyncio.create_task(self._fly(flight, key, lead, ttl, policy, shared=shared))
        self._tasks.add(task)
        task.add_done_callback(partial(self._landed, flight, key))
        flight.task, flight.abandon = task, partial(self._abandon, flight, key, task)
        return flight

    def _abandon(self, flight: Flight, key: bytes, task: asyncio.Task[None]) -> None:
        """End a computation that nobody waits for; who asks from now on begins another."""
        if self._flights.get(key) is flight:
            del self._flights[key]
        task.cancel()

    async def _fly(
        self, flight: Flight, key: bytes, lead: Lead, ttl: timedelta, policy: Policy, *, shared: bool
    ) -> None:
        computing([flight])
        with self.tracer.span("flight", key=key.hex()):
            look = partial(self._found_after_all, flight, key, policy)
            if self._shared is not None and shared and policy.reads and await self._knows(flight):
                await self._fly_shared(self._shared, flight, key, lead, ttl, policy, look)
            elif not ((self._shared is None or key in self._landed_lately) and await look()):
                self.counts.add(Counter.FLIGHTS, FlightPart.LED, number=shared)
                await self._compute(flight, key, lead, ttl, policy)

    async def _knows(self, flight: Flight) -> bool:
        """Whether all is known that was purged before a flight; else it may follow one that was purged long ago."""
        if self.view.due:
            await self._invalidation.settle()
        return self.view.trusted or self.view.covers(flight.launched)

    async def _fly_shared(
        self,
        others: SharedFlights,
        flight: Flight,
        key: bytes,
        lead: Lead,
        ttl: timedelta,
        policy: Policy,
        look: Look,
    ) -> None:
        lease = await others.lead_or_follow(flight, key, look)
        if flight.done:
            return
        self.counts.add(Counter.FLIGHTS, FlightPart.LED)
        try:
            await self._compute(flight, key, lead, ttl, policy)
        finally:
            if lease is not None:
                await lease.end()

    async def _compute(self, flight: Flight, key: bytes, lead: Lead, ttl: timedelta, policy: Policy) -> None:
        started = time.perf_counter()
        made = await lead(flight)
        entry = self._entry(key, made, flight, ttl, time.perf_counter() - started)
        await self._keep(flight, entry, Keep.NOWHERE if policy.no_store else made.keep)

    async def _found_after_all(
        self, flight: Flight, key: bytes, policy: Policy, timeout_factor: float = 1.0, ending: Ending | None = None
    ) -> bool:
        """Look again after winning: another flight may have landed between the first look and now."""
        if ending is not None:
            return await self._found_relayed(flight, key, timeout_factor, ending)
        found = await self.lookup(key, policy, timeout_factor=timeout_factor)
        if found is None:
            return False
        assert found.entry is not None
        if flight.outcome is Outcome.LED:  # and not one that followed another process
            flight.credit(Outcome.HIT, found.tier)
        flight.finish(found.entry)
        return True

    async def _found_relayed(self, flight: Flight, key: bytes, timeout_factor: float, ending: Ending) -> bool:
        """Finish with the entry that was relayed; one that was purged meanwhile is heard to its end, and not kept."""
        assert self._stored is not None
        entry = ending.entry or await self._stored.get(key, timeout_factor=timeout_factor)
        if entry is None or entry.key != key or not ending.fits(entry):
            return False  # what was heard is not what is stored
        if ending.entry is None and not flight.discarded and self._current(flight, entry):
            self.memory.keep(entry)
        flight.finish(entry)
        return True

    async def _keep(self, flight: Flight, entry: Entry, keep: Keep) -> None:
        """Hand the entry to those who wait, then write it; what was purged meanwhile is not written."""
        if self.view.due:  # this process may have been stopped meanwhile
            await self._invalidation.settle()
        if flight.discarded or not self._current(flight, entry):
            keep = Keep.NOWHERE
        kept = False
        if keep is not Keep.NOWHERE:
            kept = self._memory_kept_last = self.memory.keep(entry)
        flight.finish(entry)
        if self._stored is not None:
            kept = keep is Keep.EVERYWHERE and await self._write(self._stored, flight, entry)
        flight.landing.set_result(kept)

    async def _write(self, stored: GuardedStore, flight: Flight, entry: Entry) -> bool:
        """Write the entry and return whether it is kept; what was purged meanwhile is removed again."""
        # Few wait for this, and not for long: a burst of writes may take its time before it counts as trouble.
        kept = await stored.put(entry, timeout_factor=_WRITE_TIMEOUT_FACTOR)
        if self.view.due:
            await self._invalidation.settle()
        if flight.discarded or not self._current(flight, entry):
            await self.discard(entry.key)
            return False
        return kept

    def _current(self, flight: Flight, entry: Entry) -> bool:
        return self._invalidation.known.current(flight.stamp) and self._invalidation.known.current(
            entry.tags, entry.key
        )

    def _entry(self, key: bytes, made: Made, flight: Flight, ttl: timedelta, elapsed_seconds: float) -> Entry:
        parent = made.parent
        lifetime = (made.ttl or ttl).total_seconds() * (1 - _JITTER * random.random())  # noqa: S311 (jitter is no secret)
        return Entry(
            key=key,
            body=made.body,
            media_type=made.media_type,
            created=parent.created if parent else flight.created,
            expires=parent.expires if parent else flight.created + lifetime,
            compute_seconds=elapsed_seconds if made.compute_seconds is None else made.compute_seconds,
            tags=derived(parent.tags, parent.key)
            if parent
            else tuple(each for each in flight.stamp if each[0] != MEMORIES),
            about=made.about,
        )

    def _landed(self, flight: Flight, key: bytes, task: asyncio.Task[None]) -> None:
        """Close the flight: only now, after the write, may another one for the same key start."""
        self._tasks.discard(task)
        flight.task = None
        if not flight.landing.done():
            flight.landing.set_result(False)
        if self._flights.get(key) is flight:
            del self._flights[key]
            self._landed_lately.append(key)
        error = EngineError("the computation was cancelled") if task.cancelled() else task.exception()
        if error is None:
            return
        if not isinstance(error, SayonceError | CarriedError) and not logged(error):
            log.error("a computation failed unexpectedly", exc_info=error)
        if not flight.done:
            flight.fail(error)

    # -- care -------------------------------------------------------------------------------------------------------

    async def delete(self, key: bytes) -> bool:
        """Remove one entry everywhere, also one that is being made; returns whether it was stored.

        Raises:
            StoreError: the store is away: only this instance obeys until it is back.

        """
        return _told(await self.remove(key)).entries > 0

    async def remove(self, key: bytes, *derivatives: bytes, wait: bool = True) -> Removed:
        """Remove an entry and what is derived from it everywhere, also while it is being made.

        See ``purge`` for who obeys, and when.
        """
        keys = (key, *derivatives)
        here = sum([self.drop(each) for each in keys])
        self._invalidation.known.tell_purged()
        if self.store is None:
            return Removed(here, Obeyed.EVERYWHERE)
        stored, obeyed = await self._invalidation.remove(key, derivatives, wait=wait)
        for each in keys:  # what was read before the first was removed
            self.drop(each)
        return Removed(max(here, stored), obeyed)

    async def discard(self, key: bytes) -> None:
        """Remove one entry where it can be removed now; a store that does not answer is left as it is."""
        self.drop(key)
        if self._guard is not None:
            await self._guard.call(Operation.DELETE, partial(self._guard.store.delete, key))

    def drop(self, key: bytes) -> bool:
        """Remove one entry from this process's memory, also one that is being made; returns whether it was there."""
        self._discard_flights([key])
        return self.memory.drop(key)

    async def purge(self, *tags: str, wait: bool = True) -> Obeyed:
        """Outdate every entry that carries one of the tags, also those whose computation is under way.

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

    def on_purge(self, forget: Callable[[], None]) -> None:
        """Call back when anything is purged, here or at another instance."""
        self._invalidation.known.on_purge(forget)

    async def settle_view(self) -> None:
        """Read what other instances have purged, unless it was read a moment ago."""
        await self._invalidation.settle()

    async def attempt(self, operation: Operation, run: Callable[[], Awaitable[T]], *, read_bytes: int = 0) -> T | None:
        """Return what an operation on the store returns, or None if the store fails within the budget.

        The budget grows with the bytes that it may read.
        """
        return await run() if self._guard is None else await self._guard.call(operation, run, read_bytes=read_bytes)

    async def clear(self) -> int:
        """Remove every entry, also those being made; returns how many the store held.

        Raises:
            StoreError: the store is away: only this instance obeys until it is back.

        """
        return _told(await self.remove_all()).entries

    async def remove_all(self, *, wait: bool = True) -> Removed:
        """Remove every entry, also those being made; see ``purge`` for who obeys, and when."""
        self._discard_flights(list(self._flights))
        self._invalidation.known.tell_purged()
        entries = await self.memory.clear()
        if self._guard is None:
            return Removed(entries, Obeyed.EVERYWHERE)
        obeyed = await self._invalidation.purge(ALL, MEMORIES, wait=wait)
        if obeyed is not Obeyed.HERE:
            with suppress(StoreError):  # what stays is outdated, and goes when it expires
                entries = await self._guard.store.clear()
        return Removed(entries, obeyed)

    async def _empty_memory(self) -> None:
        self._discard_flights(list(self._flights))
        self._invalidation.known.tell_purged()
        await self.memory.clear()

    def _discard_flights(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            flight = self._flights.pop(key, None)
            if flight is not None:
                flight.discarded = True

    async def settle(self, timeout_seconds: float | None = None) -> None:
        """Wait until no flight is under way and every write has landed; what lasts longer is cancelled."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while self._tasks:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            _, late = await asyncio.wait(set(self._tasks), timeout=left)
            for task in late:
                task.cancel()

    async def open(self, *, checked: bool = False) -> Self:
        """Open the store; where it was ``checked`` before, what is wrong with its place now is trouble that may pass.

        Raises:
            ConfigError: the store's place is wrong.

        """
        if self.store is not None:
            try:
                await self.store.open()
            except ConfigError:
                if not checked:
                    raise
            await self._invalidation.read()
            self._housekeeper = asyncio.create_task(self._keep_house())
        return self

    async def close(self) -> None:
        """Finish the flights, write the counters and release the store; idempotent."""
        await self.settle()
        if self._housekeeper is not None:
            self._housekeeper.cancel()
            await asyncio.wait([self._housekeeper])
            self._housekeeper = None
            assert self._totals is not None
            await self._totals.flush()
        self.threads.close()
        if self.store is not None:
            await self.store.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _keep_house(self) -> None:
        assert self._totals is not None
        flush_at = 0.0
        while True:
            await asyncio.sleep(_HOUSEKEEPING_SECONDS)
            await self._invalidation.read()
            if time.monotonic() >= flush_at:
                await self._totals.flush()
                flush_at = time.monotonic() + _FLUSH_SECONDS


def _told(removed: Removed) -> Removed:
    if removed.obeyed is Obeyed.HERE:
        raise StoreError("the store does not answer: only this instance obeys until it is back")
    return removed
