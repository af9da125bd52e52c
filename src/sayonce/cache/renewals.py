"""What is known of values that are made anew in the background: which of them cannot be, for the moment."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sayonce.cache.flight import Flight
from sayonce.core.counters import Counter, Counts, Renewal
from sayonce.errors import SayonceError

log = logging.getLogger("sayonce.cache")

PAUSE_SECONDS: Final = 30.0
"""How long a value is not tried again that could not be made anew: it is played on meanwhile."""
_MAX_KEYS: Final = 10_000
_TELL_AGAIN_SECONDS: Final = 60.0


class Renewals:
    """Counts renewals, and lets one that failed rest."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._resting: dict[bytes, float] = {}
        """The keys of those that failed lately, and until when; the oldest first."""
        self._told_at = -_TELL_AGAIN_SECONDS

    def may_begin(self, key: bytes) -> bool:
        """Whether a value may be made anew now."""
        return key not in self._resting or self._resting[key] <= time.monotonic()

    @contextmanager
    def noted(self, flight: Flight, key: bytes) -> Iterator[None]:
        """Note how a flight ends, if it makes a value anew."""
        try:
            yield
        except Exception as error:
            if flight.renews:
                told = error.code or error.kind if isinstance(error, SayonceError) else type(error).__name__
                self._failed(key, told)
            raise
        if flight.renews and not flight.keepable:
            self._failed(key, "what was made is not to be kept")
        elif flight.renews:
            self._resting.pop(key, None)
            self._counts.add(Counter.RENEWALS, Renewal.DONE)

    def _failed(self, key: bytes, reason: str) -> None:
        self._counts.add(Counter.RENEWALS, Renewal.FAILED)
        now = time.monotonic()
        self._resting.pop(key, None)  # so that it comes last
        self._resting[key] = now + PAUSE_SECONDS
        if len(self._resting) > _MAX_KEYS:
            del self._resting[next(iter(self._resting))]
        if now - self._told_at >= _TELL_AGAIN_SECONDS:
            self._told_at = now
            log.warning("what is past its time to live cannot be made anew, and is played on: %s", reason)
