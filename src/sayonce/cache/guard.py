"""The fail-open boundary: the one place where a store's failure becomes "no answer from the cache"."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from sayonce.core.breaker import Breaker
from sayonce.core.envelope import Refused
from sayonce.stores.base import Store, StoreError

log = logging.getLogger("sayonce.store")
T = TypeVar("T")

_BYTES_PER_SECOND: Final = 20_000_000
"""The slowest transfer that a budget allows for, beyond its fixed part."""


class Guard:
    """Calls a store within a budget, and not at all while its breaker is open."""

    def __init__(self, store: Store, budget_seconds: float, counters: defaultdict[str, float]) -> None:
        self.store = store
        self.breaker = Breaker()
        self._budget_seconds = budget_seconds
        self._counters = counters

    async def call(self, operation: Callable[[], Awaitable[T]], size_bytes: int = 0) -> T | None:
        """Return the operation's result, or None when the store did not give one within the budget."""
        if not self.breaker.allows(time.monotonic()):
            self._counters["store skipped"] += 1
            return None
        try:
            async with asyncio.timeout(self._budget_seconds + size_bytes / _BYTES_PER_SECOND):
                result = await operation()
        except Refused as refused:
            self._counters[f"refused: {refused.reason.value}"] += 1
            log.warning("%s: a stored value was refused (%s) and is a miss", self.store.name, refused.reason.value)
            return None
        except Exception as error:  # noqa: BLE001 (whatever a store does, the request is answered)
            self._failed(error)
            return None
        if self.breaker.succeeded():
            log.warning("%s: answers again", self.store.name)
        return result

    def _failed(self, error: Exception) -> None:
        self._counters["store errors"] += 1
        if self.breaker.failed(time.monotonic()):
            log.warning("%s: not asked for now: %s", self.store.name, _reason(error))
        elif not isinstance(error, (StoreError, TimeoutError)):
            log.error("%s: unexpected failure", self.store.name, exc_info=error)


def _reason(error: Exception) -> str:
    return "no answer within the budget" if isinstance(error, TimeoutError) else str(error)
