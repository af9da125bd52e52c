"""The store's table of purges: the records that this instance has read of it, and how it writes its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from sayonce.core.clock import Clock
from sayonce.core.counters import Counter, Counts, Operation
from sayonce.core.envelope import Refused
from sayonce.core.epochs import Epochs
from sayonce.core.outcome import Refusal
from sayonce.core.purges import PurgeRecords

if TYPE_CHECKING:
    from sayonce.cache.guard import Guard
    from sayonce.stores.base import Store

log = logging.getLogger("sayonce.cache")

TABLE: Final = "purges"
_DROPPED_AT_ONCE: Final = 50
"""Records that one reading may remove, so that no request waits for long."""
_OPENED_AT_ONCE: Final = 200
"""Records, which takes some milliseconds of the event loop."""
_MAX_TOLD: Final = 1000
"""Fields of refused records that are told in the log."""


class PurgeTable:
    """The table as this instance last read it; writing is compare and set, as other instances purge too.

    ``epochs`` are those that this instance knows: it learns from a record that is in the way of its own.
    """

    def __init__(self, store: Store, records: PurgeRecords, epochs: Epochs, counts: Counts, clock: Clock) -> None:
        self._store = store
        self._records = records
        self._epochs = epochs
        self._counts = counts
        self._clock = clock
        self._sealed: Mapping[str, bytes] = {}
        self._opened: dict[str, tuple[str, int]] = {}
        """Tag and epoch of each field."""
        self._superseded: dict[str, bytes] = {}
        """Records that a purge of everything made needless."""
        self._told: set[str] = set()

    @property
    def epochs(self) -> dict[str, int]:
        """The epoch of each tag in the table."""
        return dict(self._opened.values())

    async def read(self, guard: Guard, changed: Callable[[set[str]], None]) -> bool:
        """Read the table, and return whether the store answered; ``changed`` is told the tags of new records."""
        sealed = await guard.call(Operation.REGISTRY, partial(self._store.read_table, TABLE), ahead=True)
        if sealed is None:
            return False
        if sealed != self._sealed:
            changed(await self._take_over(sealed))
        return True

    async def _take_over(self, sealed: Mapping[str, bytes]) -> set[str]:
        new = await self._open_new(sealed)
        kept = {field: record for field, record in self._opened.items() if field in sealed and field not in new}
        opened = {field: record for field, record in new.items() if record is not None}
        self._opened, self._sealed = kept | opened, sealed
        return {tag for tag, _ in opened.values()}

    async def _open_new(self, sealed: Mapping[str, bytes]) -> dict[str, tuple[str, int] | None]:
        """Open the records that are new in a table; many are opened a part at a time, so that requests go on."""
        new = [field for field, record in sealed.items() if self._sealed.get(field) != record]
        opened: dict[str, tuple[str, int] | None] = {}
        for start in range(0, len(new), _OPENED_AT_ONCE):
            if start:
                await asyncio.sleep(0)
            opened |= {field: self._open(field, sealed[field]) for field in new[start : start + _OPENED_AT_ONCE]}
        return opened

    def _open(self, field: str, sealed: bytes) -> tuple[str, int] | None:
        """Return tag and epoch of a record; None, counted and told, for one that costs itself."""
        try:
            return self._records.read(field, sealed)
        except Refused as refused:
            self._refused(field, refused.reason)
            return None

    def _refused(self, field: str, reason: Refusal) -> None:
        self._counts.add(Counter.REFUSED_VALUES, reason)
        if field not in self._told and len(self._told) < _MAX_TOLD:
            self._told.add(field)
            log.warning("a record of a purge was refused (%s) and is ignored", reason.value)

    async def write(self, tag: str, epoch: int) -> int:
        """Put a record of a purge above the one that is there, and return its epoch."""
        field = self._records.field(tag)
        while True:
            there, known = await self._registered(field)
            if known is not None:
                # Above what was computed here since the number was chosen: the record's purge may be later than that.
                epoch = max(epoch, known) + 1
                self._epochs.learn({tag: epoch})
            if await self._swap(field, there, tag, epoch):
                return epoch

    async def restore(self, tag: str, epoch: int) -> bool:
        """Put back a record that the table has lost, unless it has a later one."""
        field = self._records.field(tag)
        there, known = await self._registered(field)
        if known is not None:
            if known >= epoch:
                return True
            epoch += 1  # somebody purged without knowing ours: what was computed under ours is outdated, too
            self._epochs.learn({tag: epoch})
        return await self._swap(field, there, tag, epoch)

    async def _registered(self, field: str) -> tuple[bytes | None, int | None]:
        """Return the record that a field has now, and its epoch if it is one of ours."""
        there = await self._store.read_field(TABLE, field)
        record = None if there is None else self._open(field, there)
        return there, None if record is None else record[1]

    async def _swap(self, field: str, there: bytes | None, tag: str, epoch: int) -> bool:
        return await self._store.swap_field(TABLE, field, there, self._records.sealed(tag, epoch, self._clock()))

    def supersede(self, needless: set[str]) -> None:
        """Note the records of tags that are to be removed."""
        self._superseded = {field: self._sealed[field] for field, (tag, _) in self._opened.items() if tag in needless}

    async def drop_superseded(self, guard: Guard) -> None:
        """Remove some of the records that were noted, unless they have changed."""
        for field in list(self._superseded)[:_DROPPED_AT_ONCE]:
            drop = partial(self._store.swap_field, TABLE, field, self._superseded[field], None)
            if await guard.call(Operation.SWAP, drop, ahead=True) is None:
                return
            del self._superseded[field]
