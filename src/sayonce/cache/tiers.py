"""What is stored, in memory and in the store behind it, as far as what is known of purges lets it answer and be kept."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from sayonce.cache.answer import Answer
from sayonce.cache.flight import Flight
from sayonce.cache.guarded_store import GuardedStore
from sayonce.cache.invalidation import Invalidation
from sayonce.cache.known_purges import MEMORIES
from sayonce.cache.lookup import Lookup
from sayonce.cache.made import Keep, Made
from sayonce.cache.removal import Removal
from sayonce.core.clock import Clock
from sayonce.core.decision import Found
from sayonce.core.envelope import Entry
from sayonce.core.epochs import derived
from sayonce.core.outcome import Outcome
from sayonce.core.relay import Ending
from sayonce.core.tracer import NoTracer, Tracer
from sayonce.stores.leases import Claimed
from sayonce.stores.memory import MemoryStore

_JITTER: Final = 0.1
"""Entries live between 0.9 and 1 times their time to live, so that what was warmed together does not expire together."""
_WRITE_TIMEOUT_FACTOR: Final = 20.0


class Seen(NamedTuple):
    """What was found, and the tier that had it."""

    found: Found
    entry: Entry | None = None
    tier: str | None = None

    @property
    def outcome(self) -> Outcome:
        """How a request is answered with it."""
        return Outcome.STALE if self.found is Found.STALE else Outcome.HIT

    def answer(self) -> Answer:
        """Answer a request with it."""
        return Answer(self.outcome, self.entry, tier=self.tier)


UNKNOWN: Final = Seen(Found.UNKNOWN)
NOTHING: Final = Seen(Found.NOTHING)
UNDERIVED: Final = Seen(Found.UNDERIVED)


class Tiers:
    """The memory of this process, and the store behind it, if there is one."""

    def __init__(
        self,
        memory: MemoryStore,
        stored: GuardedStore | None,
        invalidation: Invalidation,
        removal: Removal,
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
        self._removal = removal
        self._clock = clock
        self._budget_seconds = budget_seconds
        self._ttl = ttl
        self._memory_kept_last = memory.figures().max_bytes != 0
        self.tracer: Tracer = NoTracer()

    # -- reading ----------------------------------------------------------------------------------------------------

    def peek(self, key: bytes) -> Entry | None:
        """Return the entry if it is in memory, within its time to live, and what is known of purges may be trusted, at once."""
        return self._peek(key) if self._view.trusted else None

    def _peek(self, key: bytes, *, stale: bool = False) -> Entry | None:
        entry = self._memory.kept(key) if stale else self._memory.peek(key)
        if entry is not None and not self._known.current(entry.tags, key):
            self._memory.drop(key)
            return None
        return entry

    async def look(self, lookup: Lookup) -> Seen:
        """Look into memory, once what is known of purges is as new as it must be for this request.

        Where it is past its time to live there, the store is to be asked: it may have been made anew elsewhere.
        """
        asked = self._view.now()
        if self._view.due:
            await self._invalidation.settle()
        if not (lookup.policy.reads and (self._view.trusted or self._view.covers(asked))):
            return _nothing(lookup)
        seen = self._in_memory(lookup)
        asks = self._stored is not None and lookup.stored_key is not None and self._view.ever_read
        if asks and (seen is None or seen.found is Found.STALE):
            return UNKNOWN
        return seen or self._kept(lookup)

    def _in_memory(self, lookup: Lookup, *, stale: bool = False) -> Seen | None:
        """Return what memory has of a value; None for nothing."""
        entry = self._peek(lookup.key, stale=stale)
        if entry is not None:
            return self._judged(lookup, entry, self._memory.name)
        if lookup.fits is not None:
            entry = self._peek(lookup.parents[0].key, stale=stale)
            if entry is not None:
                return self._judged(lookup, entry, self._memory.name) if lookup.fits(entry) else UNDERIVED
        return None

    def _kept(self, lookup: Lookup) -> Seen:
        """Return what memory has of a value, also past its time to live."""
        seen = self._in_memory(lookup, stale=True) if self._memory.stale_seconds else None
        return seen or _nothing(lookup)

    async def ask(self, lookup: Lookup, *, timeout_factor: float = 1.0) -> Seen:
        """Ask the store, when ``look`` found it unknown what it has; that comes into memory."""
        key = lookup.stored_key
        assert self._stored is not None
        assert key is not None
        with self.tracer.span("lookup", key=key.hex()):
            entry = await self._stored.get(key, lookup.policy.expected_bytes, timeout_factor=timeout_factor)
        return self._stored_as(lookup, key, entry)

    def _stored_as(self, lookup: Lookup, key: bytes, entry: Entry | None) -> Seen:
        if self._known.removed(key):
            return _nothing(lookup)
        newer = self._peek(key, stale=True) if self._memory.stale_seconds else None
        if newer is not None and (entry is None or newer.created > entry.created):  # it was made anew meanwhile
            return self._kept(lookup)
        if entry is None or not self._known.current(entry.tags, key):
            return _nothing(lookup)
        assert self._stored is not None
        self._memory.keep(entry)
        if lookup.fits is not None and not lookup.fits(entry):
            return UNDERIVED
        return self._judged(lookup, entry, self._stored.name)

    async def search(self, lookup: Lookup, *, timeout_factor: float = 1.0, claimed: Claimed | None = None) -> Seen:
        """Look into memory, and ask the store for what is not there, unless it told so when it gave the lease."""
        seen = await self.look(lookup)
        if seen is not UNKNOWN:
            return seen
        if claimed is not None and claimed.looked:
            with self.tracer.span("lookup", key=lookup.key.hex()):  # it came with the lease
                return self._stored_as(lookup, lookup.key, claimed.entry)
        return await self.ask(lookup, timeout_factor=timeout_factor)

    def _judged(self, lookup: Lookup, entry: Entry, tier: str) -> Seen:
        now = self._clock()
        fresh = lookup.policy.fresh(entry, now)
        if not (fresh or lookup.stale(entry)) or not lookup.policy.accepts(entry, now):
            return _nothing(lookup)
        return Seen(Found.VALUE if fresh else Found.STALE, entry, tier)

    async def relayed(self, flight: Flight, key: bytes, ending: Ending, *, timeout_factor: float) -> Entry | None:
        """Return the entry of a flight that another process relayed, if what was heard is what it has stored.

        One that was purged meanwhile is heard to its end, and not kept.
        """
        assert self._stored is not None
        entry = ending.entry or await self._stored.get(key, timeout_factor=timeout_factor)
        if entry is None or entry.key != key or not ending.fits(entry):
            return None
        if ending.entry is None and not flight.discarded and self._current(flight, entry):
            self._memory.keep(entry)
        return entry

    # -- writing ----------------------------------------------------------------------------------------------------

    def entry(
        self, lookup: Lookup, made: Made, flight: Flight, elapsed_seconds: float, parents: Sequence[Entry]
    ) -> Entry:
        """Return a computed value as it is kept: with the age, the expiry and the tags of what it is derived from."""
        lifetime = (made.ttl or lookup.ttl or self._ttl).total_seconds() * (1 - _JITTER * random.random())  # noqa: S311 (jitter is no secret)
        own_tags = tuple(each for each in flight.stamp if each[0] != MEMORIES)
        return Entry(
            key=lookup.key,
            body=made.body,
            media_type=made.media_type,
            created=min((each.created for each in parents), default=flight.created),
            expires=min((each.expires for each in parents), default=flight.created + lifetime),
            compute_seconds=elapsed_seconds if made.compute_seconds is None else made.compute_seconds,
            tags=derived((each.tags, each.key) for each in parents) if parents else own_tags,
            about=made.about,
        )

    async def keep(self, flight: Flight, entry: Entry, keep: Keep) -> None:
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

    async def stored(self, answer: Answer) -> bool:
        """Return whether a new value, or what it is derived from, is stored.

        Of one that is still being made: whether it will be, as far as can be told. False where a store does not say
        so within its budget.
        """
        flight = answer.flight
        if flight is None or answer.outcome is not Outcome.LED:
            return False
        if not flight.done:
            kept_last = self._memory_kept_last if self._stored is None else self._stored.took_last_write
            return kept_last and flight.keepable and not flight.discarded and self._known.current(flight.stamp)
        landings = [each for each in (flight.landing, flight.source) if each is not None]
        await asyncio.wait(landings, timeout=self._budget_seconds)
        return any(each.done() and each.result() for each in landings)


def _nothing(lookup: Lookup) -> Seen:
    return UNDERIVED if lookup.parents else NOTHING
