"""Purges of this instance and of all others: who obeys what, and from when on.

A purge is obeyed here at once, then written into a table of the store, which every instance reads several times a
second and before it trusts what it knows for longer than ``TRUST_SECONDS``. The workers of one server also tell one
another over a directory that they share, so that a purge is obeyed by all of them while the store is away.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter as Multiset
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from sayonce.cache.view import TRUST_SECONDS, View
from sayonce.cache.workers_directory import Unwritten, WorkersDirectory
from sayonce.core.clock import Clock
from sayonce.core.counters import Counter, Counts, Operation
from sayonce.core.envelope import Refused
from sayonce.core.epochs import ALL, Epochs, Stamp, key_in, key_tag
from sayonce.core.outcome import Refusal
from sayonce.core.purges import PurgeRecords, check_tags
from sayonce.errors import StoreError

if TYPE_CHECKING:
    from sayonce.cache.guard import Guard
    from sayonce.stores.base import Store

log = logging.getLogger("sayonce.cache")
T = TypeVar("T")

TABLE: Final = "purges"
MEMORIES: Final = "memories"
"""The tag whose epoch rises when instances are to empty their memory; no entry carries it."""
MAX_PURGED_TAGS: Final = 1000
"""Beyond so many, a purge outdates everything, and the records of single tags go."""
MAX_REMOVED_KEYS: Final = 2000
"""Beyond so many, the records of the oldest go; or everything is outdated, where they are not old enough yet."""
_LATE_SECONDS: Final = 3600.0
"""A write that was sent before a key was removed has arrived by then, or never: TCP gives up in a quarter of an hour."""
_TIMEOUT_FACTOR: Final = 20.0
"""Of the budget: an operator waits longer than a request."""
_MARGIN_SECONDS: Final = 0.05
_DROPPED_AT_ONCE: Final = 50
"""Records that one reading may remove, so that no request waits for long."""
_OPENED_AT_ONCE: Final = 200
"""Records, which takes some milliseconds of the event loop."""
_READ_BACK: Final = 3
"""Attempts, within the budget of a request, to read what was just written."""
_READINGS: Final = 2
"""A reading that took longer than it may be trusted, as the process was stopped meanwhile, is made once more."""


class Obeyed(StrEnum):
    """Who obeys a purge when it is answered."""

    EVERYWHERE = "every instance"  # that reaches the store
    SOON = "within 1 s"  # the same, a moment later: the caller did not want to wait
    HERE = "this instance"  # the store is away; the purge is written when it is back


class Invalidation:
    """What was purged, as far as this instance knows. Without a guard nobody else can purge."""

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
        self._records = records
        self._counts = counts
        self.view = View(offline_seconds)
        if guard is None:
            self.view.always()
        self._beside = WorkersDirectory(directory) if directory is not None and guard is not None else None
        self._epochs = Epochs()
        self._clock = clock
        self._unwritten = Unwritten()
        self._removing: Multiset[bytes] = Multiset()
        self._lost: dict[str, int] = {}
        """Epochs that the store does not have any more, or that another worker has not written yet."""
        self._table: Mapping[str, bytes] = {}
        self._stored: dict[str, tuple[str, int]] = {}
        """Tag and epoch of each field of the table."""
        self._superseded: dict[str, bytes] = {}
        """Records of the table that a purge of everything made needless."""
        self._supersede_at = math.inf
        self._told: set[str] = set()
        self._told_beside = False
        self._watched: dict[str, Callable[[], Awaitable[None]]] = {}
        self._owed: set[str] = set()
        self._purged: list[Callable[[], None]] = []
        self._reading: asyncio.Task[None] | None = None

    # -- what is known ----------------------------------------------------------------------------------------------

    def stamp(self, tags: Iterable[str], key: bytes) -> Stamp:
        """Return the tags of a computation that begins now, with their epochs.

        Raises:
            InvalidRequest: they are too many, or too long.

        """
        return self._epochs.stamp((MEMORIES, *check_tags(tags)), key)

    def current(self, stamp: Stamp, key: bytes = b"") -> bool:
        """Whether nothing of a stamp was purged since, nor the key removed under which it is stored."""
        return self._epochs.current(stamp, key)

    def removed(self, key: bytes) -> bool:
        """Whether a key was removed while the store could not be told: what it has under it is not to be answered."""
        return key in self._unwritten.keys or key in self._removing

    def watch(self, tag: str, callback: Callable[[], Awaitable[None]]) -> None:
        """Call back when another instance has purged a tag; until it has succeeded, what is known is not fresh."""
        self._watched[tag] = callback

    def on_purge(self, forget: Callable[[], None]) -> None:
        """Call back when anything is purged, here or elsewhere."""
        self._purged.append(forget)

    def tell_purged(self) -> None:
        for forget in self._purged:
            forget()

    # -- reading ----------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Read what was purged, unless it is fresh; who asks at the same time shares the reading."""
        for _ in range(_READINGS):
            if not self.view.due:
                return
            await self.read()

    async def read(self) -> None:
        """Read what was purged; who asks while it is being read shares the reading."""
        if self._guard is None:
            return
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(self._guard))
        await asyncio.shield(self._reading)

    async def _read(self, guard: Guard) -> None:
        began = self.view.now()
        learned = self._learn_beside()
        await self._empty_memories()
        if learned and await self._learn_stored(guard):
            self.view.read(began)
        else:
            self._counts.add(Counter.FAILED_READINGS)
            self.view.failed(began, asked=not guard.breaker.open)

    async def _learn_stored(self, guard: Guard) -> bool:
        """Learn from the store's table, do what it asks for, and write what it lacks; False when that failed."""
        table = await guard.call(Operation.REGISTRY, partial(self._store.read_table, TABLE))
        if table is None:
            return False
        if table != self._table:
            self._take_over(table, await self._changed(table))
        self._look_for_lost()
        await self._empty_memories()
        for tag in list(self._owed):
            self._owed.discard(tag)  # before it is done: what rises meanwhile is owed again
            if not await guard.done(Operation.REFRESH, self._watched[tag]):
                self._owed.add(tag)
        if self._unwritten or self._lost:
            await self._write_unwritten(guard)
        await self._drop_superseded(guard)
        return not self._owed

    async def _empty_memories(self) -> None:
        """Empty this process's memory where that is owed, which needs no store."""
        if MEMORIES in self._owed:
            self._owed.discard(MEMORIES)
            await self._watched[MEMORIES]()

    async def _changed(self, table: Mapping[str, bytes]) -> dict[str, tuple[str, int] | None]:
        """Return the records that are new in a table; many are opened a part at a time, so that requests go on."""
        new = [field for field, sealed in table.items() if self._table.get(field) != sealed]
        opened: dict[str, tuple[str, int] | None] = {}
        for start in range(0, len(new), _OPENED_AT_ONCE):
            if start:
                await asyncio.sleep(0)
            opened |= {field: self._opened(field, table[field]) for field in new[start : start + _OPENED_AT_ONCE]}
        return opened

    def _take_over(self, table: Mapping[str, bytes], new: Mapping[str, tuple[str, int] | None]) -> None:
        self._stored = {field: record for field, record in self._stored.items() if field in table and field not in new}
        for field, record in new.items():
            if record is not None:
                self._stored[field] = record
                # Also where the number is not new: ours may have been written above another's that we never read.
                self._owed |= {record[0]} & self._watched.keys()
        self._table = table
        self._note(self._epochs.learn(dict(self._stored.values())))

    def _look_for_lost(self) -> None:
        """Find what the table lacks: at each reading, as it may lose again what was just put back."""
        stored = dict(self._stored.values())
        missing = {tag: epoch for tag, epoch in self._epochs.known.items() if epoch > stored.get(tag, 0)}
        if missing:
            needless = self._needless(missing)
            self._epochs.forget(needless - stored.keys())
            kept_out = needless | self._unwritten.epochs.keys()  # which are being written
            self._lost |= {tag: epoch for tag, epoch in missing.items() if tag not in kept_out}

    def _needless(self, epochs: Mapping[str, int]) -> set[str]:
        """Return the tags whose epochs outdate nothing but what a later purge of everything does, or what is gone."""
        everything = self._epochs.known.get(ALL, 0)
        outdated = {tag for tag, epoch in epochs.items() if epoch < everything}
        return (outdated - {ALL, *self._watched}) | (self._surplus() & epochs.keys())

    def _surplus(self, new_keys: int = 0) -> set[str]:
        """Return the tags of keys that may be forgotten, when so many new ones come."""
        return self._epochs.surplus(MAX_REMOVED_KEYS - new_keys, self._clock() - _LATE_SECONDS)

    def _opened(self, field: str, sealed: bytes) -> tuple[str, int] | None:
        """Return tag and epoch of a record; None, counted and told, for one that costs itself."""
        try:
            return self._records.read(field, sealed)
        except Refused as refused:
            self._refused(field, refused.reason)
            return None

    def _refused(self, field: str, reason: Refusal) -> None:
        self._counts.add(Counter.REFUSED_VALUES, reason)
        if field not in self._told and len(self._told) < MAX_PURGED_TAGS:
            self._told.add(field)
            log.warning("a record of a purge was refused (%s) and is ignored", reason.value)

    def _note(self, risen: Iterable[str]) -> None:
        risen = set(risen)
        if ALL in risen:
            self._forget_tags()
        self._owed |= risen & self._watched.keys()
        if risen - self._watched.keys():
            self.tell_purged()

    def _forget_tags(self) -> None:
        """Forget single tags, but for those that were purged later than everything."""
        self._epochs.forget(self._needless(self._epochs.known))

    def _learn_beside(self) -> bool:
        """Obey what workers of this server were told while the store was away; False when that cannot be read."""
        if self._beside is None:
            return True
        try:
            for told in self._beside.read():
                self._note(self._epochs.learn(told.epochs))
                self._lost |= {tag: epoch for tag, epoch in told.epochs.items() if epoch == self._epochs.known.get(tag)}
                self._unwritten.keys |= told.keys
        except OSError as error:
            self._tell_beside("read", error)
            return False
        return True

    # -- purging ----------------------------------------------------------------------------------------------------

    async def purge(self, *tags: str, wait: bool = True) -> Obeyed:
        """Outdate every entry that carries one of the tags, also those that are being made."""
        check_tags(tags)
        return await self._purge(tags, wait=wait)

    async def _purge(self, tags: Iterable[str], *, wait: bool) -> Obeyed:
        tags = self._bounded(list(tags))
        epochs = {tag: self._epochs.next(self._clock()) for tag in tags}
        self._epochs.learn(epochs)
        if ALL in tags:
            self._supersede()
        if not self._watched.keys() >= set(tags):
            self.tell_purged()
        self._unwritten.epochs |= epochs
        return await self._spread(wait=wait)

    def _bounded(self, tags: list[str]) -> list[str]:
        """Return what is to be purged: everything, where it would be too much to know one by one."""
        known = self._epochs.known
        new = [tag for tag in tags if tag not in known]
        new_keys = sum(key_in(tag) is not None for tag in new)
        surplus = self._surplus(new_keys)
        if surplus:
            self._supersede_at = min(self._supersede_at, self.view.now() + 2 * TRUST_SECONDS)
        keys = self._epochs.removed_keys + new_keys
        many = len(known) + len(new) - keys > MAX_PURGED_TAGS or keys - len(surplus) > MAX_REMOVED_KEYS
        if ALL in tags or not many:
            return tags
        return [*[tag for tag in tags if tag in self._watched], ALL]

    def _supersede(self) -> None:
        """Forget single tags, and have their records removed once every instance knows of the purge of everything."""
        self._supersede_at = self.view.now() + 2 * TRUST_SECONDS
        self._forget_tags()

    async def remove(self, key: bytes, derived: Iterable[bytes], *, wait: bool = True) -> tuple[int, Obeyed]:
        """Remove a key and what is derived from its entry; returns how many of them were there, and who obeys.

        What was computed before and is stored later, by an instance that is slow, is outdated by the key's record.
        """
        keys = [bytes(each) for each in (key, *derived)]  # as the workers tell them to one another
        self._removing.update(keys)  # what was asked for before must not come into memory behind the removal
        try:
            return await self._remove(keys, wait=wait)
        finally:
            self._removing.subtract(keys)
            self._removing = +self._removing

    async def _remove(self, keys: list[bytes], *, wait: bool) -> tuple[int, Obeyed]:
        removed = 0
        for key in keys:
            self._unwritten.keys.add(key)
            there = await self._ask(Operation.DELETE, partial(self._store.delete, key))
            if there is not None:
                self._unwritten.keys.discard(key)
                removed += there
        if len(self._unwritten.keys) > MAX_PURGED_TAGS:
            self._unwritten.keys.clear()
            return removed, await self.purge(ALL, MEMORIES, wait=wait)
        obeyed = await self._purge((MEMORIES, key_tag(keys[0])), wait=wait)
        if wait and obeyed is Obeyed.EVERYWHERE and self._guard is not None:
            for key in keys:  # again: another instance may have written it before it knew
                await self._guard.call(Operation.DELETE, partial(self._store.delete, key))
        return removed, obeyed if not self._unwritten.keys else Obeyed.HERE

    async def _spread(self, *, wait: bool) -> Obeyed:
        """Tell the workers beside this one and all other instances, and wait until they cannot but know."""
        if self._guard is None:
            self._unwritten = Unwritten()
            return Obeyed.EVERYWHERE
        told = self._leave_beside()
        written, tags = True, set(self._unwritten.epochs)
        for tag, epoch in list(self._unwritten.epochs.items()):
            if await self._ask(Operation.WRITE, partial(self._write, tag, epoch)) is None:
                written = False
                break
            self._unwritten.epochs.pop(tag, None)
        if written and not self._unwritten:
            self._leave_beside()
        since = self.view.now()
        if wait and (written or self._beside is not None):
            await asyncio.sleep(TRUST_SECONDS + _MARGIN_SECONDS)
        if not written and not told:
            raise StoreError("neither the store nor the other workers of this server can be told of a purge yet")
        if not written or not await self._read_back(tags, since):
            return Obeyed.HERE
        return Obeyed.EVERYWHERE if wait else Obeyed.SOON

    async def _read_back(self, tags: set[str], since: float) -> bool:
        """Whether this instance, as others have to, reads what it has just written: else they cannot know."""
        for _ in range(_READ_BACK):
            if not self.view.covers(since):
                await self.read()
        there = dict(self._stored.values())
        lacking = {tag: epoch for tag, epoch in self._epochs.known.items() if tag in tags - there.keys()}
        return self.view.covers(since) and not lacking.keys() - self._needless(lacking)

    async def _ask(self, operation: Operation, run: Callable[[], Awaitable[T]]) -> T | None:
        return (
            await run()
            if self._guard is None
            else await self._guard.call(operation, run, timeout_factor=_TIMEOUT_FACTOR)
        )

    async def _write(self, tag: str, epoch: int) -> int:
        """Put a record of a purge into the table, above the one that is there; compare and set, as others purge too."""
        field = self._records.field(tag)
        while True:
            there = await self._store.read_field(TABLE, field)
            record = None if there is None else self._opened(field, there)
            if record is not None:
                # Above what was computed here since the number was chosen: the record's purge may be later than that.
                epoch = max(epoch, record[1]) + 1
                self._epochs.learn({tag: epoch})
            if await self._store.swap_field(TABLE, field, there, self._records.sealed(tag, epoch, self._clock())):
                return epoch

    async def _restore(self, tag: str, epoch: int) -> bool:
        """Put back a record that the table has lost, unless it has a later one."""
        field = self._records.field(tag)
        there = await self._store.read_field(TABLE, field)
        record = None if there is None else self._opened(field, there)
        if record is not None:
            if record[1] >= epoch:
                return True
            epoch += 1  # somebody purged without knowing ours: what was computed under ours is outdated, too
            self._epochs.learn({tag: epoch})
        return await self._store.swap_field(TABLE, field, there, self._records.sealed(tag, epoch, self._clock()))

    async def _write_unwritten(self, guard: Guard) -> None:
        """Tell the store what it could not be told, or has lost."""
        for tag, epoch in list(self._unwritten.epochs.items()):
            if await guard.call(Operation.WRITE, partial(self._write, tag, epoch)) is None:
                return
            self._unwritten.epochs.pop(tag, None)
        for tag, epoch in list(self._lost.items()):
            if await guard.call(Operation.RESTORE, partial(self._restore, tag, epoch)) is None:
                return
            self._lost.pop(tag, None)
        for key in list(self._unwritten.keys):
            if await guard.call(Operation.DELETE, partial(self._store.delete, key)) is None:
                return
            self._unwritten.keys.discard(key)
        self._leave_beside()

    async def _drop_superseded(self, guard: Guard) -> None:
        if ALL in self._unwritten.epochs:
            self._supersede_at = self.view.now() + 2 * TRUST_SECONDS
        if self.view.now() >= self._supersede_at:
            self._supersede_at = math.inf
            needless = self._needless(dict(self._stored.values()))
            self._superseded = {
                field: self._table[field] for field, (tag, _) in self._stored.items() if tag in needless
            }
        for field in list(self._superseded)[:_DROPPED_AT_ONCE]:
            drop = partial(self._store.swap_field, TABLE, field, self._superseded[field], None)
            if await guard.call(Operation.SWAP, drop) is None:
                return
            del self._superseded[field]

    def _leave_beside(self) -> bool:
        """Leave for the workers beside this one what the store does not have yet; False when that failed."""
        if self._beside is None:
            return True
        try:
            self._beside.leave(self._unwritten)
        except OSError as error:
            self._tell_beside("written", error)
            return False
        return True

    def _tell_beside(self, what: str, error: OSError) -> None:
        if not self._told_beside:
            log.warning("the directory that this server's workers share cannot be %s: %s", what, error)
        self._told_beside = True


async def announce(invalidation: Invalidation, tag: str, *, wait: bool = True) -> Obeyed:
    """Purge a watched tag, for what must not be told as done unless the store has it.

    Raises:
        StoreError: the store does not answer.

    """
    obeyed = await invalidation.purge(tag, wait=wait)
    if obeyed is Obeyed.HERE:
        raise StoreError("the store does not answer, so other instances cannot be told")
    return obeyed
