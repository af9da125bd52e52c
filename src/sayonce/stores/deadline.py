"""Deadlines of awaits, which count only the time in which the event loop could have heard the answer.

Every call of a store has one, so they share a timer: to start and stop one for each call would cost more than to hand a
hit over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from types import TracebackType
from typing import Any, Final, Self

_TICK_SECONDS: Final = 0.01
"""A look that comes later than this after the one before tells of a busy event loop or machine, not of a slow store."""


class Deadlines:
    """The deadlines of calls under way on one event loop.

    Their clock advances by no more than a tick from one look to the next. While a call with a
    ``probed`` deadline waits, ``probe`` is called each time that another ``budget_seconds`` have passed.
    """

    def __init__(self, budget_seconds: float = inf, probe: Callable[[], None] = lambda: None) -> None:
        self._budget_seconds = budget_seconds
        self._probe = probe
        self._loop: asyncio.AbstractEventLoop | None = None
        self.running: set[Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._clock_seconds = 0.0  # at the last look
        self._looked_at = 0.0
        self._next_seconds = inf  # of the clock, at the next look

    def after(self, seconds: float, *, probed: bool = False) -> Deadline:
        """Return a context that raises TimeoutError within ``seconds`` of the time in which the event loop listens."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()  # only once: up to Python 3.11 each is a system call
        return Deadline(self, self._loop, seconds, probed=probed)

    def moved(self) -> asyncio.AbstractEventLoop:
        """Go on in the event loop that runs now; what was under way in the one before has ended with it.

        Raises:
            RuntimeError: the one before goes on.

        """
        if self._loop is not None and not self._loop.is_closed():
            raise RuntimeError("this is used in two event loops at once; open one for each of them")
        self.running.clear()
        self._timer, self._next_seconds = None, inf
        self._loop = asyncio.get_running_loop()
        return self._loop

    def expire(self) -> None:
        """End all that is under way now."""
        for deadline in self.running:
            deadline.expire()

    def begin(self, deadline: Deadline) -> None:
        now = self.now(deadline.loop)
        deadline.due = now + deadline.seconds
        if deadline.probed:
            deadline.probe_due = now + self._budget_seconds
        self.running.add(deadline)
        if deadline.due < self._next_seconds:
            self._wake(deadline.loop, now, deadline.due)

    def now(self, loop: asyncio.AbstractEventLoop) -> float:
        """Return the seconds in which the event loop listened."""
        passed_seconds = loop.time() - self._looked_at
        return self._clock_seconds + min(passed_seconds, _TICK_SECONDS)

    def _wake(self, loop: asyncio.AbstractEventLoop, now: float, due: float) -> None:
        """Look again when something is due, or after a tick."""
        if self._timer is not None:
            self._timer.cancel()
        self._clock_seconds, self._looked_at = now, loop.time()
        self._next_seconds = min(due, now + _TICK_SECONDS)
        self._timer = loop.call_at(self._looked_at + self._next_seconds - now, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the calls that are over time; where the loop itself is late, let it read the answers first."""
        now = self.now(loop)
        late = loop.time() - self._looked_at > 2 * _TICK_SECONDS
        over = self._clock_seconds if late else now
        self._timer, self._next_seconds = None, inf
        probing = False
        for deadline in self.running:
            if deadline.due <= over:
                deadline.expire()
            elif deadline.probe_due <= now:
                deadline.probe_due = now + self._budget_seconds
                probing = True
        left = [deadline.due for deadline in self.running if deadline.due > over]
        if left:
            due = min(left)
            self._wake(loop, now, due if due > now else now + _TICK_SECONDS)
        if probing:
            self._probe()


class Deadline:
    """A deadline of the task that enters it, as ``asyncio.timeout`` is."""

    due: float
    probe_due = inf

    def __init__(self, deadlines: Deadlines, loop: asyncio.AbstractEventLoop, seconds: float, *, probed: bool) -> None:
        self.loop = loop
        self.seconds = seconds
        self.probed = probed
        self._deadlines = deadlines
        self._expired = False

    def __enter__(self) -> Self:
        task = asyncio.current_task(self.loop)
        if task is None:  # another event loop runs than before
            self.loop = self._deadlines.moved()
            task = asyncio.current_task(self.loop)
        assert task is not None
        self._task: asyncio.Task[Any] = task
        self._cancelled_before = task.cancelling()
        self._deadlines.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deadlines.running.discard(self)
        cancelling = self._task.uncancel() if self._expired else self._task.cancelling()
        del self._task  # it keeps an error, whose frames have this deadline: a cycle would keep all that they hold
        if cancelling > self._cancelled_before:
            if kind is None:
                # Up to Python 3.11 asyncio.wait_for, which the Redis client uses, loses a cancellation that comes at the
                # same moment as its result (python/cpython#86296).
                raise asyncio.CancelledError
        elif self._expired and kind is asyncio.CancelledError:
            raise TimeoutError from error

    @property
    def passed_seconds(self) -> float:
        """How long ago it began, without the time that the event loop was late since."""
        return self._deadlines.now(self.loop) - (self.due - self.seconds)

    def expire(self) -> None:
        """End it now."""
        if not self._expired:
            self._expired = True
            self._task.cancel()
