"""A circuit breaker: while a backend fails, it is not asked, and one call at a time tries whether it is back."""

from __future__ import annotations

from typing import Final

OPEN_AFTER: Final = 3
"""Consecutive failures that open the breaker."""

PROBE_AFTER_SECONDS: Final = 1.0


class Breaker:
    """Counts consecutive failures; times are seconds of a monotonic clock, given by the caller."""

    def __init__(self) -> None:
        self._failures = 0
        self._probe_at = 0.0

    @property
    def open(self) -> bool:
        return self._failures >= OPEN_AFTER

    def allows(self, now: float) -> bool:
        """Whether a call may be made now; while open, one probe in every interval may."""
        if not self.open:
            return True
        if now < self._probe_at:
            return False
        self._probe_at = now + PROBE_AFTER_SECONDS
        return True

    def succeeded(self) -> bool:
        """Record a success and return whether it closed the breaker."""
        was_open, self._failures = self.open, 0
        return was_open

    def failed(self, now: float) -> bool:
        """Record a failure and return whether it opened the breaker."""
        was_open = self.open
        self._failures += 1
        self._probe_at = now + PROBE_AFTER_SECONDS
        return self.open and not was_open
