"""Which of several equal servers is asked: the one with the fewest requests under way, and none that has just failed.

What requests meet decides whether a server has failed. While it has, it is checked beside them after pauses that grow;
once it passes it is on trial, one request at a time, until one of them is whole: a server that fails at once would
otherwise have the fewest under way, and draw everybody to it. Where no better one is left, it is asked all the same;
but one that hangs is nobody's second choice, as they have waited already.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from typing import Any, Final

from sayonce.core.clock import Clock
from sayonce.errors import EngineBusy, EngineError, EngineTimeout

log = logging.getLogger("sayonce.speech")

_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 30.0
_JITTER: Final = 0.25
"""Pauses are up to so much longer or shorter, so that many processes do not check at one moment."""
_LONGEST_REST_SECONDS: Final = 60


class Health(Enum):
    GOOD = auto()
    TRIAL = auto()
    FAILED = auto()


class Upstream:
    """One of an engine's servers, and what is known of it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.health = Health.GOOD
        self.hangs = False
        """Whether it failed by giving no answer, which costs each request time."""
        self.under_way = 0
        self.calls = 0
        self.failures = 0
        self.rests_until = 0.0
        """Until then it has asked not to be asked (``Retry-After``)."""
        self.pause_seconds = _FIRST_PAUSE_SECONDS
        """How long it is left alone before the next check; grows until it speaks a whole utterance."""
        self.revival: asyncio.Task[None] | None = None
        self.generation = 0
        """Raised when it fails and when it is back: what began earlier says nothing of it now."""
        self.latest = 0
        """The number of the latest request: among equals, the server that was asked longest ago is next."""

    @property
    def up(self) -> bool:
        return self.health is not Health.FAILED


Failures = dict[Upstream, EngineError]
"""The servers that a request has tried, and how each failed it, the latest last."""
Check = Callable[[Upstream], Awaitable[EngineError | None]]
"""Asks a server for something that costs nothing, and returns what is wrong with it."""


class Balance:
    """The servers of one engine. ``changed`` is called when they can take more than before, or less."""

    def __init__(
        self,
        name: str,
        urls: Iterable[str],
        check: Check,
        changed: Callable[[], None],
        *,
        clock: Clock = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.upstreams = tuple(map(Upstream, urls))
        self._name = name
        self._check = check
        self._changed = changed
        self._clock = clock
        self._sleep = sleep
        self._numbers = itertools.count(1)
        self._moved = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def capacity(self, each: int) -> int:
        """Return how many requests can be under way at once, ``each`` being what one server takes."""
        return sum(_room(self._awake() or self.upstreams, each).values())

    async def choose(self, failures: Failures, each: int, wait_seconds: float) -> Upstream:
        """Return the server to ask next, after waiting until one is free of those that the request has not tried.

        Raises:
            EngineError: none is left; it is why the latest failed.
            EngineBusy: none became free in time, or those that are left asked for a pause.

        """
        try:
            async with asyncio.timeout(wait_seconds):
                while (free := self._free(failures, each)) is None:
                    await self._moved.wait()
        except TimeoutError:
            raise EngineBusy(f"{self._name!r} is busy: no server became free within {wait_seconds:g} s") from None
        return free

    def _free(self, failures: Failures, each: int) -> Upstream | None:
        left = [one for one in self._awake() if one not in failures and not (failures and one.hangs)]
        if not left:
            raise self._none_left(next(reversed(failures.values()), None))
        room = _room(left, each)
        free = [upstream for upstream in left if upstream.under_way < room[upstream]]
        return min(free, key=lambda one: (not one.up, one.hangs, one.under_way, one.latest), default=None)

    def _none_left(self, latest: EngineError | None) -> EngineError:
        rests = [left for upstream in self.upstreams if (left := upstream.rests_until - self._clock()) > 0]
        if latest is not None and (isinstance(latest, EngineBusy) or not rests):
            return latest
        return EngineBusy(f"{self._name!r} has asked for a pause", retry_after_seconds=math.ceil(min(rests)))

    def _awake(self) -> list[Upstream]:
        return [upstream for upstream in self.upstreams if upstream.rests_until <= self._clock()]

    @contextmanager
    def asking(self, upstream: Upstream, failures: Failures | None = None) -> Iterator[None]:
        """Count a request at a server, and learn from its end: a client's mistake, or its leaving, says nothing.

        ``failures`` are those of the same request elsewhere: what a second server cannot speak either is no fault of it.
        """
        upstream.under_way += 1
        upstream.calls += 1
        upstream.latest = next(self._numbers)
        generation = upstream.generation
        try:
            yield
        except EngineError as error:
            upstream.failures += 1
            spoke_of_server = not isinstance(error, EngineBusy) and not _fails_everywhere(error, failures or {})
            if generation == upstream.generation and spoke_of_server:
                self._failed(upstream, error)
            raise
        else:
            if generation == upstream.generation:
                self._succeeded(upstream)
        finally:
            upstream.under_way -= 1
            self._notify()

    def rest(self, upstream: Upstream, seconds: int) -> None:
        """Leave a server alone for as long as it has asked for."""
        seconds = min(seconds, _LONGEST_REST_SECONDS)
        upstream.rests_until = self._clock() + seconds
        self._start(self._wake(seconds))

    async def close(self) -> None:
        """End the checks; idempotent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- health -----------------------------------------------------------------------------------------------------

    def _failed(self, upstream: Upstream, error: EngineError) -> None:
        if not upstream.up:
            return
        self._become(upstream, Health.FAILED)
        upstream.hangs = isinstance(error, EngineTimeout)
        # What follows the colon can be the server's own words, and those can hold the text.
        log.warning("engine %s: %s has failed: %s", self._name, upstream.url, error.message.partition(": ")[0])
        upstream.revival = self._start(self._revive(upstream))

    def _succeeded(self, upstream: Upstream) -> None:
        upstream.pause_seconds = _FIRST_PAUSE_SECONDS
        if upstream.up:
            upstream.health = Health.GOOD
            return
        if upstream.revival is not None:
            upstream.revival.cancel()
        self._come_back(upstream, Health.GOOD)

    async def _revive(self, upstream: Upstream) -> None:
        await self._sleep(self._pause_seconds(upstream))
        while (error := await self._check(upstream)) is not None:
            upstream.hangs = isinstance(error, EngineTimeout)
            await self._sleep(self._pause_seconds(upstream))
        self._come_back(upstream, Health.TRIAL)
        self._notify()

    def _come_back(self, upstream: Upstream, health: Health) -> None:
        self._become(upstream, health)
        upstream.hangs = False
        log.warning("engine %s: %s answers again", self._name, upstream.url)

    def _become(self, upstream: Upstream, health: Health) -> None:
        upstream.health = health
        upstream.generation += 1

    def _pause_seconds(self, upstream: Upstream) -> float:
        pause_seconds = upstream.pause_seconds
        upstream.pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)
        return pause_seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 (jitter is no secret)

    async def _wake(self, seconds: float) -> None:
        await self._sleep(seconds)
        self._notify()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _notify(self) -> None:
        """Wake all waiters; each then looks for itself."""
        self._moved.set()
        self._moved.clear()
        self._changed()


def _fails_everywhere(error: EngineError, failures: Failures) -> bool:
    """Whether another server has answered the same request in full, and could not speak it: the request itself may be why."""
    return error.answered and any(earlier.answered for earlier in failures.values())


def _room(upstreams: Iterable[Upstream], each: int) -> dict[Upstream, int]:
    """Return how many requests each server may have under way; where none is good, as if nothing were known."""
    upstreams = list(upstreams)
    if not any(upstream.health is Health.GOOD for upstream in upstreams):
        return dict.fromkeys(upstreams, each)
    room = {Health.GOOD: each, Health.TRIAL: 1, Health.FAILED: 0}
    return {upstream: room[upstream.health] for upstream in upstreams}
