"""Bounded concurrency with a bounded queue: beyond it callers are told at once when to come back."""

from __future__ import annotations

import asyncio
import math
import time
from types import TracebackType
from typing import Final

from sayonce.core.clock import Clock
from sayonce.errors import EngineBusy

_LONGEST_RETRY_SECONDS: Final = 60
_WEIGHT: Final = 0.2
"""Of the newest interval in the moving average."""


class Places:
    """Places at an engine: ``async with places:`` takes one, after waiting in the queue while there is room in it.

    Raises:
        EngineBusy: every place and the queue are taken, or none became free within ``patience_seconds``.

    """

    def __init__(
        self, concurrency: int, queue: int, *, patience_seconds: float = 60.0, clock: Clock = time.monotonic
    ) -> None:
        self._places = asyncio.Semaphore(concurrency)
        self._patience_seconds = patience_seconds
        self._limit = concurrency + queue
        self._concurrency = concurrency
        self._clock = clock
        self._busy_since = 0.0
        self._interval_seconds = 1.0
        self.taken = 0
        """How many have a place or wait for one."""

    @property
    def waiting(self) -> int:
        return max(0, self.taken - self._concurrency)

    async def __aenter__(self) -> None:
        if self.taken >= self._limit:
            raise EngineBusy(
                f"the engine is busy: {self._concurrency} speaking and {self.waiting} waiting",
                retry_after_seconds=self._retry_after_seconds(),
            )
        self.taken += 1
        if self.taken == self._concurrency:
            self._busy_since = self._clock()
        try:
            async with asyncio.timeout(self._patience_seconds):
                await self._places.acquire()
        except asyncio.CancelledError:
            self.taken -= 1
            raise
        except TimeoutError:
            self.taken -= 1
            raise EngineBusy(
                f"the engine is busy: nothing became free within {self._patience_seconds:g} s",
                retry_after_seconds=self._retry_after_seconds(),
            ) from None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.taken >= self._concurrency:
            self._measure()
        self.taken -= 1
        self._places.release()

    def _measure(self) -> None:
        """Learn how often a place gets free while all are taken: that is when one in the queue moves up."""
        now = self._clock()
        self._interval_seconds += _WEIGHT * (now - self._busy_since - self._interval_seconds)
        self._busy_since = now

    def _retry_after_seconds(self) -> int:
        return min(max(1, math.ceil(self._interval_seconds)), _LONGEST_RETRY_SECONDS)
