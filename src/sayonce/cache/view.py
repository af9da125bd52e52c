"""How long what an instance knows of purges and names may be trusted.

An instance that purges, or changes a name, waits ``TRUST_SECONDS`` before saying that it is done. So no instance may use what
it read earlier than that without reading again, counted from the *beginning* of the reading, on a clock that goes on
while the process is stopped. A reading that began after a request had come is good for that request however long it
took, as on a busy machine: it has all that was confirmed before the request was sent.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

TRUST_SECONDS: Final = 0.5


class View:
    """When the last reading began, and so whether what is known may answer.

    While the store is away, what is known may still answer for ``offline_seconds``; with 0 it may not.
    """

    def __init__(self, offline_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._offline_seconds = offline_seconds
        self._fresh_until = clock()
        self._offline_until = clock() + TRUST_SECONDS + offline_seconds
        self._trusted_until = self._read_from = -math.inf
        self._try_again_at = -math.inf
        self.ever_read = False
        self.failures = 0
        """Readings in a row that failed though the store was asked."""

    @property
    def trusted(self) -> bool:
        """Whether what is known may answer a request now."""
        return self._clock() < self._trusted_until

    @property
    def fresh(self) -> bool:
        """Whether it was read so lately that nobody's change can have been confirmed since."""
        return self._clock() < self._fresh_until

    def covers(self, moment: float) -> bool:
        """Whether the last reading began after a moment, so that it has every change that was confirmed before it."""
        return self._read_from >= moment

    @property
    def due(self) -> bool:
        """Whether it is to be read before it answers, and the last attempt did not fail a moment ago."""
        now = self._clock()
        return now >= self._fresh_until and now >= self._try_again_at

    @property
    def away_seconds(self) -> float:
        """How long what is known has not been fresh; 0 while it is."""
        return max(0.0, self._clock() - self._fresh_until)

    @property
    def offline_seconds_left(self) -> float:
        """How much longer what is known may answer though the store is away."""
        return max(0.0, self._offline_until - self._clock())

    def always(self) -> None:
        """Trust what is known for good: nobody else can change it."""
        self._fresh_until = self._trusted_until = self._read_from = math.inf
        self.ever_read = True

    def read(self, began: float) -> None:
        """Note that a reading which began at a moment has succeeded."""
        self.ever_read = True
        self.failures = 0
        self._read_from = max(self._read_from, began)
        self._fresh_until = self._trusted_until = max(self._fresh_until, began + TRUST_SECONDS)
        self._offline_until = self._fresh_until + self._offline_seconds

    def failed(self, began: float, *, asked: bool = True) -> None:
        """Note that the store did not answer a reading, or was not asked: it is away until the next attempt."""
        self.failures = self.failures + 1 if asked else 0
        self._try_again_at = began + TRUST_SECONDS
        self._trusted_until = max(self._fresh_until, min(self._try_again_at, self._offline_until))

    def now(self) -> float:
        return self._clock()
