"""Purges of this instance and of all others: which instances obey, and from when on.

A purge is obeyed here at once, then written into a table of the store, which every instance reads several times a
second and before it trusts what it knows for longer than ``TRUST_SECONDS``. The workers of one server also tell one
another over a directory that they share, so that a purge is obeyed by all of them while the store is away.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from sayonce.cache.known_purges import MAX_PURGED_TAGS, MEMORIES, KnownPurges, Unwritten
from sayonce.cache.purge_table import PurgeTable
from sayonce.cache.view import TRUST_SECONDS, View
from sayonce.cache.workers_directory import PurgeNotices
from sayonce.core.clock import Clock
from sayonce.core.counters import Counter, Counts, Operation
from sayonce.core.epochs import ALL, key_tag
from sayonce.core.purges import PurgeRecords, check_tags
from sayonce.errors import StoreError

if TYPE_CHECKING:
    from sayonce.cache.guard import Guard
    from sayonce.stores.base import Store

T = TypeVar("T")

_TIMEOUT_FACTOR: Final = 20.0
"""Of the budget: an operator waits longer than a request."""
_MARGIN_SECONDS: Final = 0.05
_READ_BACK: Final = 3
"""Attempts, within the budget of a request, to read what was just written."""
_READINGS: Final = 2
"""A reading that took longer than it may be trusted, as the process was stopped meanwhile, is made once more."""


class Obeyed(StrEnum):
    """The instances that obey a purge when it is answered."""

    EVERYWHERE = "every instance"  # that reaches the store
    SOON = "within 1 s"  # the same, a moment later: the caller did not want to wait
    HERE = "this instance"  # the store is away; the purge is written when it is back


class Invalidation:
    """Spreads the purges of this instance, and learns those of others. Without a guard nobody else can purge."""

    def __init__(
        self,
        store: Store,
        guard: Guard | None,
        records: PurgeRecords,
        counts: Counts,
        *,
        clock: Clock,
        offline_seconds: float,
        directory: Path | None,
    ) -> None:
        self._store = store
        self._guard = guard
        self._counts = counts
        self.known = KnownPurges(clock)
        self.view = View(offline_seconds)
        if guard is None:
            self.view.always()
        self._table = PurgeTable(store, records, self.known.epochs, counts, clock)
        self._notices = PurgeNotices(directory if guard is not None else None)
        self._supersede_at = math.inf
        self._reading: asyncio.Task[None] | None = None

    def watch(self, tag: str, callback: Callable[[], Awaitable[None]]) -> None:
        """Call back when another instance has purged a tag; until it has succeeded, what is known is not fresh."""
        self.known.watched[tag] = callback

    # -- reading ----------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Read what was purged, unless it is fresh; callers that ask at the same time share the reading."""
        for _ in range(_READINGS):
            if not self.view.due:
                return
            await self.read()

    async def read(self) -> None:
        """Read what was purged; callers that ask meanwhile share the reading."""
        if self._guard is None:
            return
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(self._guard))
        await asyncio.shield(self._reading)

    async def _read(self, guard: Guard) -> None:
        began = self.view.now()
        learned = self._notices.read(self.known.learn_unwritten)
        await self._empty_memories()
        if learned and await self._learn_stored(guard):
            self.view.read(began)
        else:
            self._counts.add(Counter.FAILED_READINGS)
            self.view.failed(began, asked=not guard.breaker.open)

    async def _learn_stored(self, guard: Guard) -> bool:
        """Learn from the store's table, do what it asks for, and write what it lacks; False when that failed.

        Each call goes ahead of all requests: until this is over nothing that is stored may answer them.
        """
        known = self.known
        if not await self._table.read(guard, self._obey):
            return False
        known.look_for_lost(self._table.epochs)
        await self._empty_memories()
        for tag in list(known.owed):
            known.owed.discard(tag)  # before it is done: what rises meanwhile is owed again
            if not await guard.done(Operation.REFRESH, known.watched[tag], ahead=True):
                known.owed.add(tag)
        if known.unwritten or known.lost:
            await self._write_unwritten(guard)
        await self._drop_superseded(guard)
        return not known.owed

    def _obey(self, new: set[str]) -> None:
        # Also where the number is not new: ours may have been written above another's that we never read.
        self.known.owed |= new & self.known.watched.keys()
        self.known.learn(self._table.epochs)

    async def _empty_memories(self) -> None:
        """Empty this process's memory where that is owed, which needs no store."""
        if MEMORIES in self.known.owed:
            self.known.owed.discard(MEMORIES)
            await self.known.watched[MEMORIES]()

    async def _write_unwritten(self, guard: Guard) -> None:
        """Tell the store what it could not be told, or has lost."""
        unwritten, lost = self.known.unwritten, self.known.lost
        for tag, epoch in list(unwritten.epochs.items()):
            if await guard.call(Operation.WRITE, partial(self._table.write, tag, epoch), ahead=True) is None:
                return
            unwritten.epochs.pop(tag, None)
        for tag, epoch in list(lost.items()):
            if await guard.call(Operation.RESTORE, partial(self._table.restore, tag, epoch), ahead=True) is None:
                return
            lost.pop(tag, None)
        for key in list(unwritten.keys):
            if await guard.call(Operation.DELETE, partial(self._store.delete, key), ahead=True) is None:
                return
            unwritten.keys.discard(key)
        self._notices.leave(unwritten)

    async def _drop_superseded(self, guard: Guard) -> None:
        """Remove the records of single tags, once every instance knows of the purge of everything."""
        if ALL in self.known.unwritten.epochs:
            self._supersede_soon()
        if self.view.now() >= self._supersede_at:
            self._supersede_at = math.inf
            self._table.supersede(self.known.needless(self._table.epochs))
        await self._table.drop_superseded(guard)

    def _supersede_soon(self) -> None:
        self._supersede_at = self.view.now() + 2 * TRUST_SECONDS

    # -- purging ----------------------------------------------------------------------------------------------------

    async def purge(self, *tags: str, wait: bool = True) -> Obeyed:
        """Outdate every entry that carries one of the tags, also those that are being made."""
        check_tags(tags)
        return await self._purge(list(tags), wait=wait)

    async def announce(self, tag: str, *, wait: bool = True) -> Obeyed:
        """Purge a watched tag, for what must not be told as done unless the store has it.

        Raises:
            StoreError: the store does not answer.

        """
        obeyed = await self.purge(tag, wait=wait)
        if obeyed is Obeyed.HERE:
            raise StoreError("the store does not answer, so other instances cannot be told")
        return obeyed

    async def _purge(self, tags: list[str], *, wait: bool) -> Obeyed:
        if self.known.surplus(self.known.new_keys(tags)):
            self._supersede_at = min(self._supersede_at, self.view.now() + 2 * TRUST_SECONDS)
        tags = self.known.bounded(tags)
        if ALL in tags:
            self._supersede_soon()
        self.known.rise(tags)
        return await self._spread(wait=wait)

    async def remove(self, key: bytes, derived: Iterable[bytes], *, wait: bool = True) -> tuple[int, Obeyed]:
        """Remove a key and what is derived from its entry; returns how many of them were there, and which instances obey.

        What was computed before and is stored later, by an instance that is slow, is outdated by the key's record.
        """
        keys = [bytes(each) for each in (key, *derived)]  # as the workers tell them to one another
        with self.known.removing(keys):
            return await self._remove(keys, wait=wait)

    async def _remove(self, keys: list[bytes], *, wait: bool) -> tuple[int, Obeyed]:
        removed = 0
        for key in keys:
            self.known.unwritten.keys.add(key)
            there = await self._ask(Operation.DELETE, partial(self._store.delete, key))
            if there is not None:
                self.known.unwritten.keys.discard(key)
                removed += there
        if len(self.known.unwritten.keys) > MAX_PURGED_TAGS:
            self.known.unwritten.keys.clear()
            return removed, await self.purge(ALL, MEMORIES, wait=wait)
        obeyed = await self._purge([MEMORIES, key_tag(keys[0])], wait=wait)
        if wait and obeyed is Obeyed.EVERYWHERE and self._guard is not None:
            for key in keys:  # again: another instance may have written it before it knew
                await self._guard.call(Operation.DELETE, partial(self._store.delete, key))
        return removed, obeyed if not self.known.unwritten.keys else Obeyed.HERE

    async def _spread(self, *, wait: bool) -> Obeyed:
        """Tell the workers of this server and all other instances, and wait until they cannot but know."""
        if self._guard is None:
            self.known.unwritten = Unwritten()
            return Obeyed.EVERYWHERE
        unwritten = self.known.unwritten
        told, tags = self._notices.leave(unwritten), set(unwritten.epochs)
        written = await self._write_epochs()
        if written and not unwritten:
            self._notices.leave(unwritten)
        since = self.view.now()
        if wait and (written or self._notices.reach_workers):
            await asyncio.sleep(TRUST_SECONDS + _MARGIN_SECONDS)
        if not written and not told:
            raise StoreError("neither the store nor the other workers of this server can be told of a purge yet")
        if not written or not await self._read_back(tags, since):
            return Obeyed.HERE
        return Obeyed.EVERYWHERE if wait else Obeyed.SOON

    async def _write_epochs(self) -> bool:
        """Write the epochs that rose here, and return whether the store has them all."""
        unwritten = self.known.unwritten
        for tag, epoch in list(unwritten.epochs.items()):
            if await self._ask(Operation.WRITE, partial(self._table.write, tag, epoch)) is None:
                return False
            unwritten.epochs.pop(tag, None)
        return True

    async def _read_back(self, tags: set[str], since: float) -> bool:
        """Whether this instance, as others have to, reads what it has just written: else they cannot know."""
        for _ in range(_READ_BACK):
            if not self.view.covers(since):
                await self.read()
        missing = tags - self._table.epochs.keys()
        lacking = {tag: epoch for tag, epoch in self.known.epochs.known.items() if tag in missing}
        return self.view.covers(since) and not lacking.keys() - self.known.needless(lacking)

    async def _ask(self, operation: Operation, run: Callable[[], Awaitable[T]]) -> T | None:
        if self._guard is None:
            return await run()
        return await self._guard.call(operation, run, timeout_factor=_TIMEOUT_FACTOR)
