"""The flights of one process: at most one under way for a key, joined by every request that it may answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, Final

from sayonce.cache.compute_errors import CarriedError
from sayonce.cache.flight import Flight
from sayonce.cache.threads import CLOSED
from sayonce.cache.view import TRUST_SECONDS, View
from sayonce.core.epochs import Stamp
from sayonce.errors import EngineError, SayonceError, logged

log = logging.getLogger("sayonce.cache")

_LANDED_LATELY: Final = 256
"""Flights that may land while a request looks into the store, which then may have found nothing yet."""


class Flights:
    """The flights that are under way; ``current`` tells whether nothing of a stamp was purged since."""

    def __init__(self, current: Callable[[Stamp], bool], view: View) -> None:
        self._current = current
        self._view = view
        self._flights: dict[bytes, Flight] = {}
        self._landed_lately: deque[bytes] = deque(maxlen=_LANDED_LATELY)
        self._tasks: set[asyncio.Task[None]] = set()
        self.closed = False
        """Whether the cache is closed, and nothing may be computed any more."""

    def joinable(self, key: bytes) -> Flight | None:
        """Return the flight that a request may join: not one with tags that were purged after it began."""
        flight = self._flights.get(key)
        if flight is None or not self._current(flight.stamp):
            return None
        # An instance that cannot hear of purges joins only what began after any that may have been confirmed by now.
        return flight if self._view.trusted or self._view.now() - flight.launched < TRUST_SECONDS else None

    def landed_lately(self, key: bytes) -> bool:
        """Whether a flight of the key may have landed since a request looked into the store."""
        return key in self._landed_lately

    async def landing_over(self, key: bytes) -> None:
        """Wait until a value that is whole is written, too: a request for a new one does not join what has made it."""
        flight = self._flights.get(key)
        if flight is not None and flight.done:
            await flight.over()

    def launch(self, flight: Flight, key: bytes, work: Coroutine[Any, Any, None]) -> None:
        """Start a flight's computation; between ``joinable`` and this there must be no await, so that one wins.

        Raises:
            RuntimeError: the cache is closed.

        """
        if self.closed:
            work.close()
            raise RuntimeError(CLOSED)
        if not flight.private:
            self._flights[key] = flight
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(partial(self._landed, flight, key))
        flight.task, flight.abandon = task, partial(self._abandon, flight, key, task)

    def _abandon(self, flight: Flight, key: bytes, task: asyncio.Task[None]) -> None:
        """End a computation that nobody waits for; a request that comes from now on begins another."""
        if self._flights.get(key) is flight:
            del self._flights[key]
        task.cancel()

    def _landed(self, flight: Flight, key: bytes, task: asyncio.Task[None]) -> None:
        """Close the flight: only now, after the write, may another one for the same key start."""
        self._tasks.discard(task)
        flight.task = None
        if not flight.landing.done():
            flight.landing.set_result(False)
        if self._flights.get(key) is flight:
            del self._flights[key]
            self._landed_lately.append(key)
        error = EngineError("the computation was cancelled") if task.cancelled() else task.exception()
        if error is None:
            return
        told = flight.renews or isinstance(error, SayonceError | CarriedError) or logged(error)
        if not told:
            log.error("a computation failed unexpectedly", exc_info=error)
        if not flight.done:
            flight.fail(error)

    def discard(self, keys: Iterable[bytes]) -> None:
        """Let the flights of keys end for their listeners alone: their values are not kept, and nobody joins them."""
        for key in keys:
            flight = self._flights.pop(key, None)
            if flight is not None:
                flight.discarded = True

    def discard_all(self) -> None:
        """Do so with every flight."""
        self.discard(list(self._flights))

    async def settle(self, timeout_seconds: float | None = None) -> None:
        """Wait until no flight is under way and every write has landed; what lasts longer is cancelled."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        cancelled: set[asyncio.Task[None]] = set()
        while tasks := self._tasks - cancelled:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            _, late = await asyncio.wait(tasks, timeout=left)
            for task in late:
                task.cancel()
            cancelled |= late
        if cancelled:  # once each: they still give their leases back
            await asyncio.wait(cancelled)
