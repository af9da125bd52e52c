"""The counters of a process, added from time to time to the store's lasting totals."""

from __future__ import annotations

from functools import partial

from sayonce.cache.guard import Guard
from sayonce.core.counters import Counts, Operation


class Totals:
    """Knows what of the counts the store has already; what it does not take now, it is given the next time."""

    def __init__(self, guard: Guard, counts: Counts) -> None:
        self._guard = guard
        self._counts = counts
        self._flushed: dict[str, float] = {}

    async def flush(self) -> None:
        """Add what was counted since the last time."""
        counted = self._counts.by_name()
        changes = ((name, value - self._flushed.get(name, 0)) for name, value in counted.items())
        deltas = {name: change for name, change in changes if change}
        if deltas and await self._guard.done(Operation.COUNT, partial(self._guard.store.count, deltas)):
            self._flushed = counted
