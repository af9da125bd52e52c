"""Bounded concurrency with a bounded queue: beyond it callers are told at once when to come back."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Final

from sayonce.core.clock import Clock
from sayonce.errors import EngineBusy

_LONGEST_RETRY_SECONDS: Final = 60
_WEIGHT: Final = 0.2
"""Of the newest interval in the moving average."""


class Slots:
    """Slots at an engine: ``async with slots:`` takes one, after waiting in the queue while there is room in it.

    ``behind`` is for what nobody waits for.

    Raises:
        EngineBusy: every slot and the queue are taken, or none became free within ``wait_seconds``.

    """

    def __init__(
        self, concurrency: int, queue: int, *, wait_seconds: float = 60.0, clock: Clock = time.monotonic
    ) -> None:
        self._wait_seconds = wait_seconds
        self._concurrency = concurrency
        self._queue = queue
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._behind: deque[asyncio.Future[None]] = deque()
        self._one_behind: asyncio.Future[None] | None = None
        """The one of those that let all others pass which speaks now."""
        self._clock = clock
        self._busy_since = 0.0
        self._interval_seconds = 1.0
        self.speaking = 0

    @property
    def waiting(self) -> int:
        return len(self._waiters)

    @property
    def taken(self) -> int:
        """How many requests have a slot or wait for one."""
        return self.speaking + self.waiting

    def resize(self, concurrency: int) -> None:
        """Change the number of slots: a request that has one keeps it, and waiting ones move up."""
        self._concurrency = concurrency
        self._admit()

    async def __aenter__(self) -> None:
        if self.speaking < self._concurrency:
            self._speak()
            return
        await self._queued(self._waiters, self._queue, asyncio.get_running_loop().create_future())

    @asynccontextmanager
    async def behind(self, on_hurry: Callable[[Callable[[], None]], None]) -> AsyncGenerator[None]:
        """Take a slot that nobody else waits for; those that come this way take one after the other.

        ``on_hurry`` registers what moves this one into the queue of all others, as somebody waits for it now.

        Raises:
            EngineBusy: as many wait as the queue holds, or none became free in time.

        """
        waiter = asyncio.get_running_loop().create_future()
        on_hurry(partial(self._hurry, waiter))
        await self._queued(self._behind, max(1, self._queue), waiter)
        try:
            yield
        finally:
            self._leave(waiter)

    def _hurry(self, waiter: asyncio.Future[None]) -> None:
        if waiter in self._behind:
            self._behind.remove(waiter)
            self._waiters.append(waiter)
            self._admit()

    async def _queued(self, waiters: deque[asyncio.Future[None]], most: int, waiter: asyncio.Future[None]) -> None:
        if len(waiters) >= most:
            raise EngineBusy(
                f"the engine is busy: {self.speaking} speaking and {len(waiters)} waiting",
                retry_after_seconds=self._retry_after_seconds(),
            )
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._wait(waiters, waiter)
        except TimeoutError:
            raise EngineBusy(
                f"the engine is busy: nothing became free within {self._wait_seconds:g} s",
                retry_after_seconds=self._retry_after_seconds(),
            ) from None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    async def _wait(self, waiters: deque[asyncio.Future[None]], waiter: asyncio.Future[None]) -> None:
        waiters.append(waiter)
        self._admit()
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():
                self._leave(waiter)  # it was admitted at the same moment
            for each in (self._waiters, self._behind):
                if waiter in each:
                    each.remove(waiter)
            raise

    def _admit(self) -> None:
        while self._waiters and self.speaking < self._concurrency:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                self._speak()
        while self._behind and self._one_behind is None and self.speaking < self._concurrency:
            waiter = self._behind.popleft()
            if not waiter.done():
                waiter.set_result(None)
                self._one_behind = waiter
                self._speak()

    def _speak(self) -> None:
        self.speaking += 1
        if self.speaking == self._concurrency:
            self._busy_since = self._clock()

    def _leave(self, waiter: asyncio.Future[None] | None = None) -> None:
        if waiter is self._one_behind:
            self._one_behind = None
        if self.speaking >= self._concurrency:
            self._measure()
        self.speaking -= 1
        self._admit()

    def _measure(self) -> None:
        """Learn how often a slot gets free while all are taken: that is when one in the queue moves up."""
        now = self._clock()
        self._interval_seconds += _WEIGHT * (now - self._busy_since - self._interval_seconds)
        self._busy_since = now

    def _retry_after_seconds(self) -> int:
        return min(max(1, math.ceil(self._interval_seconds)), _LONGEST_RETRY_SECONDS)
