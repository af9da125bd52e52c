"""Requests at a steady rate while something happens to the store: what each got, how late, and when hits resumed."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.helpers.store_in_trouble import Pulse, beating

RATE_HZ = 200
NUMBERS = range(40)
Event = tuple[float, Callable[[], object]]


def any_of(numbers: Sequence[int]) -> Callable[[], int]:
    return partial(random.Random(7).choice, numbers)


@dataclass
class Load:
    """Requests at a steady rate, which wait for none before them, and the result of each."""

    ask: Callable[[int], Awaitable[bool]]
    """Asks for a number, checks the answer, and returns whether it was a hit."""
    pick: Callable[[], int] = field(default_factory=lambda: any_of(NUMBERS))
    rate_hz: float = RATE_HZ
    answers: list[tuple[float, float, bool]] = field(default_factory=list)
    """When each was asked, how long it took without what the event loop was late, and whether it was a hit."""
    done_at: list[float] = field(default_factory=list)
    """When each event had happened."""

    async def run(self, seconds: float, events: Sequence[Event]) -> None:
        """Ask, and let events happen at their seconds; the first failed request fails it."""
        await self.beside(self._happen(seconds, events))

    async def beside(self, story: Coroutine[Any, Any, None]) -> None:
        """Ask while a story is told; the first failed request fails it."""
        started = time.monotonic()
        async with beating() as pulse, asyncio.TaskGroup() as group:
            told = group.create_task(story)
            for number in itertools.count():
                await asyncio.sleep(started + number / self.rate_hz - time.monotonic())
                if told.done():
                    return
                group.create_task(self._ask(self.pick(), pulse))

    async def _happen(self, seconds: float, events: Sequence[Event]) -> None:
        started = time.monotonic()
        for at, event in events:
            await asyncio.sleep(started + at - time.monotonic())
            await asyncio.to_thread(event)
            self.done_at.append(time.monotonic())
        await asyncio.sleep(started + seconds - time.monotonic())

    async def _ask(self, number: int, pulse: Pulse) -> None:
        began, late_seconds = time.monotonic(), pulse.late_seconds
        hit = await self.ask(number)
        took_seconds = time.monotonic() - began - (pulse.late_seconds - late_seconds)
        self.answers.append((began, took_seconds, hit))

    def p99_ms(self, since: float, until: float) -> float:
        times = sorted(took for began, took, _ in self.answers if since <= began < until)
        return 1000 * times[int(0.99 * len(times))]

    def hit_rate(self, since: float, until: float) -> float:
        hits = [hit for began, _, hit in self.answers if since <= began < until]
        return sum(hits) / len(hits)

    def resumed_after(self, moment: float) -> float:
        """Return how long after a moment hits were the rule again: nine of ten in a tenth of a second."""
        later = sorted(answer for answer in self.answers if answer[0] >= moment)
        width = int(self.rate_hz / 10)
        for place in range(len(later) - width):
            window = later[place : place + width]
            if sum(hit for _, _, hit in window) >= 0.9 * width:
                return window[0][0] - moment
        return math.inf
