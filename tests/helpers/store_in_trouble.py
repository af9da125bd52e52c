"""A cache over a store that gets into trouble: what it answers, how late, and how soon it hits again."""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from sayonce.cache import Cache, Flight, Lookup, Made
from sayonce.core.clock import Clock
from sayonce.core.envelope import Sealer
from sayonce.core.key import Secret
from sayonce.core.outcome import Outcome
from sayonce.stores import open_store
from sayonce.stores.memory import MemoryStore
from sayonce.stores.redis.names import name_of

BUDGET_SECONDS = 0.05
BOUND_SECONDS = 5 * BUDGET_SECONDS
"""What a request can lose to a store in trouble: a call that fails, and two more to make sure, of two budgets each."""
SLACK_SECONDS = 0.7
"""What a busy test machine may add."""
RESUMES_SECONDS = 3.0
PULSE_SECONDS = 0.01
PUNCTUAL_SECONDS = 0.005
KNOWN = range(10)


def sound(number: int) -> bytes:
    return hashlib.shake_128(str(number).encode()).digest(20_000)


class Pulse:
    """Tells how late this event loop is: what a machine that others use too adds to every time measured on it."""

    def __init__(self) -> None:
        self._late_seconds = 0.0
        self._due = math.inf

    @property
    def late_seconds(self) -> float:
        """All the time so far in which nothing was done that was due."""
        return self._late_seconds + self._late_now

    @property
    def _late_now(self) -> float:
        return max(0.0, time.monotonic() - self._due - PUNCTUAL_SECONDS)

    async def beat(self) -> None:
        while True:
            self._due = time.monotonic() + PULSE_SECONDS
            await asyncio.sleep(PULSE_SECONDS)
            self._late_seconds += self._late_now


@asynccontextmanager
async def beating() -> AsyncIterator[Pulse]:
    pulse = Pulse()
    task = asyncio.create_task(pulse.beat())
    try:
        yield pulse
    finally:
        task.cancel()


class WrongSound(AssertionError):
    """An answer that is not what its number sounds like."""


class Stand:
    """A cache, without a memory tier unless it is given one; every answer is compared with what its number sounds like."""

    def __init__(self, cache: Cache, pulse: Pulse) -> None:
        self.cache = cache
        self.pulse = pulse
        self.slowest_seconds = 0.0
        """Of the answers, without what the event loop was late meanwhile."""

    async def ask(self, number: int) -> Outcome:
        async def lead(flight: Flight) -> Made:
            flight.begin("audio")
            flight.send(sound(number))
            return Made(body=sound(number))

        started, late_seconds = time.monotonic(), self.pulse.late_seconds
        answer = await self.cache.answer(Lookup(self.cache.key(number), lead))
        body = (await answer.result()).body
        took_seconds = time.monotonic() - started - (self.pulse.late_seconds - late_seconds)
        self.slowest_seconds = max(self.slowest_seconds, took_seconds)
        if body != sound(number):
            raise WrongSound(number)
        return answer.outcome

    def name(self, number: int) -> str:
        """Return the name of a number's entry in Redis."""
        return name_of(self.cache.key(number))

    async def ask_all(self, numbers: range) -> set[Outcome]:
        return set(await asyncio.gather(*map(self.ask, numbers)))

    async def fill(self, numbers: range = KNOWN) -> None:
        await self.hits_all_again(numbers)
        self.slowest_seconds = 0.0

    async def hits_again(self) -> float:
        """Return after how many seconds a request is a hit once more."""
        started = time.monotonic()
        while await self.ask(0) is not Outcome.HIT:
            assert time.monotonic() - started < RESUMES_SECONDS, self.cache.counters
            await asyncio.sleep(0.02)
        return time.monotonic() - started

    async def hits_all_again(self, numbers: range = KNOWN) -> None:
        """Ask until every one is a hit, which it is at the second time where it was lost."""
        started = time.monotonic()
        while await self.ask_all(numbers) != {Outcome.HIT}:
            assert time.monotonic() - started < RESUMES_SECONDS, self.cache.counters
            await self.cache.settle()


@asynccontextmanager
async def standing(
    url: str,
    *,
    clock: Clock = time.time,
    budget_seconds: float = BUDGET_SECONDS,
    memory_bytes: int = 0,
    max_bytes: int | None = None,
) -> AsyncIterator[Stand]:
    store = open_store(url, sealer=Sealer(Secret()), clock=clock, budget_seconds=budget_seconds, max_bytes=max_bytes)
    memory = MemoryStore(memory_bytes, clock=clock)
    cache = Cache(store, memory=memory, ttl=timedelta(hours=1), budget_seconds=budget_seconds, clock=clock)
    async with cache, beating() as pulse:
        yield Stand(cache, pulse)
