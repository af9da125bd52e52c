"""A circuit breaker: while a backend fails, calls are skipped, and one probe at a time asks whether it is back.

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
FAILED_MOMENTS: Final = 3
"""Opens when so many moments of failure follow each other without a success."""
FAILURE_RATIO: Final = 0.5
LEAST_MOMENTS: Final = 5
"""Opens when so many of the latest calls failed, in so many moments, whatever succeeded between them."""
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
        self._moments: deque[float] = deque(maxlen=LEAST_MOMENTS)
        self._failed_moments = 0
        self._probe_at = 0.0

    @property
    def open(self) -> bool:
        """Whether ordinary calls have to be left out."""
        return self.state is not State.CLOSED

    @property
    def doubtful(self) -> bool:
        """Whether nothing has succeeded since the latest failure."""
        return self._failed_moments > 0

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
        self._failed_moments = 0
        if self.state is State.CLOSED:
            return False
        self.state = State.CLOSED
        self._recent.clear()
        self._moments.clear()
        return True

    def failed(self, now: float, began: float | None = None) -> bool:
        """Record a failure and return whether it opened the breaker.

        ``began`` is when the call was made. Calls that failed together count as one moment, however many they are: the
        machine may have been busy elsewhere, and one such pause is no outage.
        """
        if self.state is State.OPEN:
            return False
        self._recent.append((now, False))
        if began is None or not self._moments or began >= self._moments[-1]:
            self._moments.append(now)
            self._failed_moments += 1
        probed = self.state is State.HALF_OPEN
        if not probed and not self._too_many(now):
            return False
        self.state = State.OPEN
        self._probe_at = now + PROBE_AFTER_SECONDS
        return not probed

    def suspected(self, at: float) -> None:
        """Count an earlier moment in which a call had waited and got no answer, as the failure that follows confirms it."""
        self._moments.append(at)
        self._failed_moments += 1

    def _too_many(self, now: float) -> bool:
        since = now - WINDOW_SECONDS
        recent = [good for moment, good in self._recent if moment > since]
        moments = sum(moment > since for moment in self._moments)
        if min(moments, self._failed_moments) >= FAILED_MOMENTS:
            return True
        return moments >= LEAST_MOMENTS and recent.count(False) >= FAILURE_RATIO * len(recent)
