"""A request's ``Cache-Control``, and what it lets the cache do (RFC 9111 section 5.2.1)."""

from __future__ import annotations

from typing import Final

import msgspec

from sayonce.core.envelope import Entry
from sayonce.errors import InvalidRequest


class Policy(msgspec.Struct, frozen=True):
    """The request's directives; the default reads and keeps."""

    no_store: bool = False
    no_cache: bool = False
    only_if_cached: bool = False
    max_age_seconds: int | None = None
    min_fresh_seconds: float = 0.0
    """A stored value that lives for less than this counts as past its time to live."""
    expected_bytes: int = 0
    """The size that a stored value may have: a large one gets more time than the store's budget."""

    @property
    def reads(self) -> bool:
        """Whether a stored value may answer."""
        return not (self.no_store or self.no_cache)

    def accepts(self, entry: Entry, now: float) -> bool:
        """Whether this stored value is young enough to answer; with ``max-age`` it is not past its time to live, either."""
        return self.max_age_seconds is None or (now - entry.created <= self.max_age_seconds and now < entry.expires)

    def fresh(self, entry: Entry, now: float) -> bool:
        """Whether this stored value is within its time to live for long enough."""
        return now + self.min_fresh_seconds < entry.expires


DEFAULT: Final = Policy()
FOREVER_SECONDS: Final = 2**31
"""Stands for a number of seconds that is too large to represent (RFC 9111 section 1.2.2)."""
_MAX_DIGITS: Final = 10


def parse_cache_control(value: str) -> Policy:
    """Read a request's ``Cache-Control``; directives that do not concern a request are ignored (RFC 9111 5.2.3).

    Raises:
        InvalidRequest: ``max-age`` is not a number of seconds.

    """
    found = {name.strip().lower(): argument for name, _, argument in (part.partition("=") for part in value.split(","))}
    max_age = _seconds(found["max-age"]) if "max-age" in found else None
    policy = Policy("no-store" in found, "no-cache" in found, "only-if-cached" in found, max_age)
    return DEFAULT if policy == DEFAULT else policy  # which is answered the short way


def _seconds(argument: str) -> int:
    digits = argument.strip().strip('"')
    if not (digits.isascii() and digits.isdecimal()):
        raise InvalidRequest("Cache-Control: max-age takes a number of seconds", param="Cache-Control")
    return int(digits) if len(digits) < _MAX_DIGITS else FOREVER_SECONDS
