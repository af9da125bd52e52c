"""A circuit breaker: while a backend fails, it is not asked, and one call at a time tries whether it is back.

After M. Nygard, *Release It!*: CLOSED until too many of the recent calls failed, then OPEN; an interval later HALF-OPEN
for one probe, which decides between the two.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import Final

WINDOW_CALLS: Final = 20
WINDOW_SECONDS: Final = 2.0
"""Only the latest calls count, so that a long good time does not delay the opening."""
LEAST_FAILURES: Final = 5
FAILURE_RATIO: Final = 0.5
PROBE_AFTER_SECONDS: Final = 0.5
PROBE_LIMIT_SECONDS: Final = 2.0
"""After this a probe that never told its result is taken for failed."""


class State(Enum):
    CLOSED = auto()
    OPEN = auto()
    HALF_OPEN = auto()


class Breaker:
    """Counts the failures among recent calls; times are seconds of a monotonic clock, given by the caller."""

    def __init__(self) -> None:
        self.state = State.CLOSED
        self._recent: deque[tuple[float, bool]] = deque(maxlen=WINDOW_CALLS)
        self._probe_at = 0.0
        self._failed_at = 0.0

    @property
    def open(self) -> bool:
        """Whether ordinary calls have to be left out."""
        return self.state is not State.CLOSED

    def allows(self, now: float) -> bool:
        """Whether a call may be made now; while open, that is one probe at a time."""
        if not self.open:
            return True
        if now < self._probe_at:
            return False
        self.state = State.HALF_OPEN
        self._probe_at = now + PROBE_LIMIT_SECONDS
        return True

    def succeeded(self, now: float) -> bool:
        """Record a success and return whether it closed the breaker."""
        if self.state is State.OPEN:
            return False  # a late answer to a call from before
        self._recent.append((now, True))
        if self.state is State.CLOSED:
            return False
        self.state = State.CLOSED
        self._recent.clear()
        return True

    def failed(self, now: float, began: float | None = None) -> bool:
        """Record a failure and return whether it opened the breaker.

        ``began`` is when the call was made. Calls that failed together count once: one moment in which nothing was
        answered, be it a machine that was busy elsewhere, is no outage, however many waited through it.
        """
        if self.state is State.OPEN or (began is not None and began < self._failed_at):
            return False
        self._failed_at = now
        self._recent.append((now, False))
        probed = self.state is State.HALF_OPEN
        if not probed and not self._too_many(now):
            return False
        self.state = State.OPEN
        self._probe_at = now + PROBE_AFTER_SECONDS
        return not probed

    def _too_many(self, now: float) -> bool:
        recent = [good for moment, good in self._recent if moment > now - WINDOW_SECONDS]
        failures = recent.count(False)
        return failures >= LEAST_FAILURES and failures >= FAILURE_RATIO * len(recent)
