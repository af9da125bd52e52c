"""Time limits on awaits, which know a slow answer from an event loop that is late itself.

Every call of a store has one, so they share a timer: to start and stop one for each call would cost more than to hand a
hit over.
"""

from __future__ import annotations

import asyncio
from math import inf
from types import TracebackType
from typing import Any, Final, Self

_LATE_SECONDS: Final = 0.01
"""A timer that fires later than this tells of a busy event loop, not of a slow store."""


class Limits:
    """The time limits of calls under way on one event loop."""

    def __init__(self) -> None:
        self._running: set[Limit] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._due = inf

    def limit(self, seconds: float) -> Limit:
        """Return a context that raises TimeoutError within ``seconds``, give or take an event loop that is late."""
        return Limit(self, asyncio.get_running_loop(), seconds)

    def expire(self) -> None:
        """End all that is under way now."""
        for limit in self._running:
            limit.expire()

    def begin(self, limit: Limit) -> None:
        self._running.add(limit)
        if limit.due < self._due:
            self._wake(limit.loop, limit.due)

    def end(self, limit: Limit) -> None:
        self._running.discard(limit)

    def _wake(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._due = loop.call_at(due, self._look, loop), due

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """End what is over time; where the loop itself is late, what has arrived is looked at first."""
        now, due = loop.time(), self._due
        self._timer, self._due = None, inf
        if now - due > _LATE_SECONDS:
            self._wake(loop, now + _LATE_SECONDS)
            return
        for limit in self._running:
            if limit.due <= now:
                limit.expire()
        left = [limit.due for limit in self._running if limit.due > now]
        if left:
            self._wake(loop, min(left))


class Limit:
    """A time limit on the task that enters it, as ``asyncio.timeout`` is."""

    def __init__(self, limits: Limits, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.loop = loop
        self._limits = limits
        self._seconds = seconds
        self._expired = False

    def __enter__(self) -> Self:
        task = asyncio.current_task(self.loop)
        assert task is not None
        self._task: asyncio.Task[Any] = task
        self._cancelled_before = task.cancelling()
        self.due = self.loop.time() + self._seconds
        self._limits.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limits.end(self)
        if self._expired and self._task.uncancel() <= self._cancelled_before and kind is asyncio.CancelledError:
            raise TimeoutError from error

    @property
    def lost_cancellation(self) -> bool:
        """Whether the task was cancelled within, and nothing of that came out.

        Up to Python 3.11 asyncio.wait_for, which the Redis client uses, loses a cancellation that comes at the same
        moment as its result (python/cpython#86296).
        """
        return self._task.cancelling() > self._cancelled_before

    def expire(self) -> None:
        """End it now."""
        if not self._expired:
            self._expired = True
            self._task.cancel()
