"""The fail-open boundary: the one place where a store's failure becomes "no answer from the cache"."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, TypeVar

from sayonce.core.breaker import Breaker
from sayonce.core.envelope import Refused
from sayonce.stores.base import Failure, Store, StoreError

log = logging.getLogger("sayonce.store")
T = TypeVar("T")

_BYTES_PER_SECOND: Final = 20_000_000
"""The slowest transfer that a budget allows for, beyond its fixed part."""
_LATE_SECONDS: Final = 0.01
"""A timer that fires later than this tells of a busy event loop, not of a slow store."""


class Guard:
    """Calls a store within a budget, and not at all while its breaker is open."""

    def __init__(self, store: Store, budget_seconds: float, counters: defaultdict[str, float]) -> None:
        self.store = store
        self.breaker = Breaker()
        self._budget_seconds = budget_seconds
        self._counters = counters

    async def call(
        self, operation: Callable[[], Awaitable[T]], *, size_bytes: int = 0, patience: float = 1.0
    ) -> T | None:
        """Return the operation's result, or None when the store did not give one within the budget.

        The budget grows with the bytes to write, and by ``patience`` where waiting costs nobody an answer.
        """
        if not self.breaker.allows(time.monotonic()):
            self._counters["store skipped"] += 1
            return None
        try:
            async with _Limit(self._budget_seconds * patience + size_bytes / _BYTES_PER_SECOND):
                result = await operation()
        except Refused as refused:
            self._refused(refused)
            return None
        except Exception as error:  # noqa: BLE001 (whatever a store does, the request is answered)
            self._failed(error)
            return None
        if self.breaker.succeeded():
            log.warning("%s: answers again", self.store.name)
        return result

    async def done(
        self, operation: Callable[[], Awaitable[object]], *, size_bytes: int = 0, patience: float = 1.0
    ) -> bool:
        """Run an operation for its effect and return whether the store confirmed it."""

        async def confirmed() -> bool:
            await operation()
            return True

        return await self.call(confirmed, size_bytes=size_bytes, patience=patience) is True

    def _refused(self, refused: Refused) -> None:
        self._counters[f"refused: {refused.reason.value}"] += 1
        log.warning("%s: a stored value was refused (%s) and is a miss", self.store.name, refused.reason.value)
        self.breaker.succeeded()

    def _failed(self, error: Exception) -> None:
        kind = _kind(error)
        self._counters[f"store errors: {kind.value}"] += 1
        if kind is Failure.BUSY:
            return  # our own pool is exhausted, or another process has the lock: the backend is not down
        if self.breaker.failed(time.monotonic()):
            log.warning("%s: not asked for now: %s", self.store.name, _reason(error))
        elif not isinstance(error, (StoreError, TimeoutError)):
            log.error("%s: unexpected failure", self.store.name, exc_info=error)


class _Limit:
    """``asyncio.timeout``, but for an event loop that is late itself: then what has arrived is looked at first."""

    def __init__(self, seconds: float) -> None:
        self._timeout = asyncio.timeout(None)
        self._seconds = seconds

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + self._seconds
        self._timer = self._loop.call_at(self._due, self._expire)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def _expire(self) -> None:
        now = self._loop.time()
        if now - self._due > _LATE_SECONDS:
            self._due = now + _LATE_SECONDS
            self._timer = self._loop.call_at(self._due, self._expire)
        else:
            self._timeout.reschedule(now)


def _kind(error: Exception) -> Failure:
    if isinstance(error, StoreError):
        return error.kind
    return Failure.TIMEOUT if isinstance(error, TimeoutError) else Failure.BROKEN


def _reason(error: Exception) -> str:
    return "no answer within the budget" if isinstance(error, TimeoutError) else str(error)
