"""The one vocabulary for how a request was answered: headers, counters, logs and tests all use it."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """How a request was answered."""

    HIT = "hit"  # a stored value
    STALE = "stale"  # the same, past its time to live: it is made anew meanwhile, or cannot be
    JOINED = "joined"  # somebody else's computation, under way
    LED = "led"  # computed for this request, and stored
    BYPASS = "bypass: no-store"  # computed for this request alone
    FAILED = "failed"  # the computation failed; nothing was stored

    @property
    def stored(self) -> bool:
        """Whether a stored value answered."""
        return self in _STORED

    @property
    def computed(self) -> bool:
        """Whether this request itself made the engine work."""
        return self in _COMPUTED


_STORED = frozenset((Outcome.HIT, Outcome.STALE))
_COMPUTED = frozenset((Outcome.LED, Outcome.BYPASS))


class Refusal(StrEnum):
    """Why stored bytes were not accepted as the value of a key."""

    TRUNCATED = "truncated"
    TOO_LARGE = "too large"  # longer than any value of ours
    FOREIGN = "foreign"  # not an envelope
    VERSION = "version"  # an envelope of a version that this release does not read
    SEAL = "seal"  # altered, forged, sealed with another secret, or stored under another key
    HEADER = "header"  # sealed by us and still not readable: a bug, never sound
    CONTENT = "content"  # a sealed value that is not what its function returns, or declares
    LOST = "body lost"  # a pointer, and no body where it points
    ALTERED = "body altered"  # a pointer, and another body where it points
    UNREACHABLE = "body unreachable"  # a pointer, and no body store is configured here
