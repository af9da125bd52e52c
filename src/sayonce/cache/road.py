"""The order of a request, and nothing else: look up → join or lead → compute → store → answer.

The steps themselves are elsewhere: a computation and its listeners in ``flight``, flights under way in ``flights``,
those shared with other processes in ``cross_process``, what was purged in ``known_purges``.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from typing import Final

from sayonce.cache.answer import Answer
from sayonce.cache.cross_process import Look, SharedFlights
from sayonce.cache.flight import Flight, computing
from sayonce.cache.flights import Flights
from sayonce.cache.guarded_store import GuardedStore
from sayonce.cache.invalidation import Invalidation
from sayonce.cache.known_purges import MEMORIES
from sayonce.cache.lookup import Lookup
from sayonce.cache.made import Keep, Lead, Made
from sayonce.cache.removal import Removal
from sayonce.core.cache_control import DEFAULT, Policy
from sayonce.core.clock import Clock
from sayonce.core.counters import Counter, Counts, FlightPart
from sayonce.core.envelope import Entry
from sayonce.core.epochs import derived
from sayonce.core.outcome import Outcome
from sayonce.core.relay import Ending
from sayonce.core.tracer import NoTracer, Tracer
from sayonce.errors import NotCached
from sayonce.stores.memory import MemoryStore

_JITTER: Final = 0.1
"""Entries live between 0.9 and 1 times their time to live, so that what was warmed together does not expire together."""
_WRITE_TIMEOUT_FACTOR: Final = 20.0


class Road:
    """Answers lookups from memory, from the store behind it, from a computation under way, or from a new one."""

    def __init__(
        self,
        memory: MemoryStore,
        stored: GuardedStore | None,
        invalidation: Invalidation,
        flights: Flights,
        removal: Removal,
        shared: SharedFlights | None,
        counts: Counts,
        *,
        clock: Clock,
        budget_seconds: float,
        ttl: timedelta,
    ) -> None:
        self._memory = memory
        self._stored = stored
        self._invalidation = invalidation
        self._known = invalidation.known
        self._view = invalidation.view
        self._flights = flights
        self._removal = removal
        self._shared = shared
        self._counts = counts
        self._clock = clock
        self._budget_seconds = budget_seconds
        self._ttl = ttl
        self._memory_kept_last = memory.figures().max_bytes != 0
        self.tracer: Tracer = NoTracer()

    # -- look up ----------------------------------------------------------------------------------------------------

    def peek(self, key: bytes) -> Entry | None:
        """Return the entry if it is in memory and what is known of purges may be trusted, at once."""
        return self._peek(key) if self._view.trusted else None

    def _peek(self, key: bytes) -> Entry | None:
        entry = self._memory.peek(key)
        if entry is not None and not self._known.current(entry.tags, key):
            self._memory.drop(key)
            return None
        return entry

    async def lookup(
        self, key: bytes, policy: Policy = DEFAULT, *, ask_store: bool = True, timeout_factor: float = 1.0
    ) -> Answer | None:
        """Return the stored entry from memory or from the store, if the policy lets it answer."""
        asked = self._view.now()
        if self._view.due:
            await self._invalidation.settle()
        if not policy.reads or not (self._view.trusted or self._view.covers(asked)):
            return None
        entry, tier = self._peek(key), self._memory.name
        if entry is None and ask_store and self._stored is not None and self._view.ever_read:
            tier = self._stored.name
            with self.tracer.span("lookup", key=key.hex()):
                entry = await self._stored.get(key, policy.expected_bytes, timeout_factor=timeout_factor)
            if entry is not None and self._known.current(entry.tags, key) and not self._known.removed(key):
                self._memory.keep(entry)
            else:
                entry = None
        if entry is None or not policy.accepts(entry, self._clock()):
            return None
        return Answer(Outcome.HIT, entry, tier=tier)

    # -- join or lead -----------------------------------------------------------------------------------------------

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

        Returns as soon as there is something to hear. The computation is a task of its own: the caller may leave.
        With ``no-store`` it is nobody else's, and ends when this call is cancelled or the answer is closed.
        With ``looked`` the store is not asked first: the caller has just looked the key up there, or lets the flight do
        so, as a shared flight looks once it has its lease.

        Raises:
            NotCached: ``only-if-cached``, and nothing is stored.
            Exception: what the computation raised before it had begun.

        """
        # While a value is computed, the store does not have it yet.
        found = await self.lookup(key, policy, ask_store=not (looked or self.under_way(key)))
        if found is not None:
            return found
        if policy.only_if_cached:
            raise NotCached("nothing is stored for this request, and it asked for only-if-cached")
        if policy.no_cache:
            await self._flights.landing_over(key)
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
        under_way = None if policy.no_store else self._flights.joinable(key)
        if under_way is not None:
            self._counts.add(Counter.FLIGHTS, FlightPart.JOINED)
            return under_way, True
        flight = Flight(self._clock(), self._known.stamp(tags, key), private=policy.no_store, launched=self._view.now())
        if policy.no_store:
            flight.credit(Outcome.BYPASS, None)
        lookup = Lookup(key, lead, ttl or self._ttl, policy, shared)
        self._flights.launch(flight, key, self._fly(flight, lookup))
        return flight, False

    def under_way(self, key: bytes) -> bool:
        """Whether a request for the key would join a computation."""
        return self._flights.joinable(key) is not None

    # -- compute ----------------------------------------------------------------------------------------------------

    async def _fly(self, flight: Flight, lookup: Lookup) -> None:
        computing([flight])
        key, policy = lookup.key, lookup.policy
        with self.tracer.span("flight", key=key.hex()):
            look = partial(self._found_after_all, flight, key, policy)
            if self._shared is not None and lookup.shared and policy.reads and await self._knows(flight):
                await self._fly_shared(self._shared, flight, lookup, look)
            elif not ((self._shared is None or self._flights.landed_lately(key)) and await look()):
                self._counts.add(Counter.FLIGHTS, FlightPart.LED, number=lookup.shared)
                await self._compute(flight, lookup)

    async def _knows(self, flight: Flight) -> bool:
        """Whether all is known that was purged before a flight; else it may follow one that was purged long ago."""
        if self._view.due:
            await self._invalidation.settle()
        return self._view.trusted or self._view.covers(flight.launched)

    async def _fly_shared(self, others: SharedFlights, flight: Flight, lookup: Lookup, look: Look) -> None:
        lease = await others.lead_or_follow(flight, lookup.key, look)
        if flight.done:
            return
        self._counts.add(Counter.FLIGHTS, FlightPart.LED)
        try:
            await self._compute(flight, lookup)
        finally:
            if lease is not None:
                await lease.end()

    async def _compute(self, flight: Flight, lookup: Lookup) -> None:
        started = time.perf_counter()
        made = await lookup.lead(flight)
        entry = _entry(lookup, made, flight, time.perf_counter() - started)
        await self._keep(flight, entry, Keep.NOWHERE if lookup.policy.no_store else made.keep)

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
            self._memory.keep(entry)
        flight.finish(entry)
        return True

    # -- store ------------------------------------------------------------------------------------------------------

    async def _keep(self, flight: Flight, entry: Entry, keep: Keep) -> None:
        """Hand the entry to its listeners, then write it; what was purged meanwhile is not written."""
        if self._view.due:  # this process may have been stopped meanwhile
            await self._invalidation.settle()
        if flight.discarded or not self._current(flight, entry):
            keep = Keep.NOWHERE
        kept = False
        if keep is not Keep.NOWHERE:
            kept = self._memory_kept_last = self._memory.keep(entry)
        flight.finish(entry)
        if self._stored is not None:
            kept = keep is Keep.EVERYWHERE and await self._write(self._stored, flight, entry)
        flight.landing.set_result(kept)

    async def _write(self, stored: GuardedStore, flight: Flight, entry: Entry) -> bool:
        """Write the entry and return whether it is kept; what was purged meanwhile is removed again."""
        # Few wait for this, and not for long: a burst of writes may take its time before it counts as trouble.
        kept = await stored.put(entry, timeout_factor=_WRITE_TIMEOUT_FACTOR)
        if self._view.due:
            await self._invalidation.settle()
        if flight.discarded or not self._current(flight, entry):
            await self._removal.discard(entry.key)
            return False
        return kept

    def _current(self, flight: Flight, entry: Entry) -> bool:
        return self._known.current(flight.stamp) and self._known.current(entry.tags, entry.key)

    def expects_to_keep(self, flight: Flight) -> bool:
        """Whether a value under way will be kept, as far as can be told before it is whole."""
        kept_last = self._memory_kept_last if self._stored is None else self._stored.took_last_write
        return kept_last and flight.keepable and not flight.discarded and self._known.current(flight.stamp)

    async def kept(self, flight: Flight) -> bool:
        """Return whether a value that is whole, or what it is derived from, is kept.

        False where a store does not say so within its budget.
        """
        landings = [each for each in (flight.landing, flight.source) if each is not None]
        await asyncio.wait(landings, timeout=self._budget_seconds)
        return any(each.done() and each.result() for each in landings)


def _entry(lookup: Lookup, made: Made, flight: Flight, elapsed_seconds: float) -> Entry:
    parent = made.parent
    lifetime = (made.ttl or lookup.ttl).total_seconds() * (1 - _JITTER * random.random())  # noqa: S311 (jitter is no secret)
    own_tags = tuple(each for each in flight.stamp if each[0] != MEMORIES)
    return Entry(
        key=lookup.key,
        body=made.body,
        media_type=made.media_type,
        created=parent.created if parent else flight.created,
        expires=parent.expires if parent else flight.created + lifetime,
        compute_seconds=elapsed_seconds if made.compute_seconds is None else made.compute_seconds,
        tags=derived(parent.tags, parent.key) if parent else own_tags,
        about=made.about,
    )
