"""A lookup: a value that is asked for, with all that the road needs to answer it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from enum import Enum, auto

import msgspec

from sayonce.cache.made import Made
from sayonce.core.cache_control import DEFAULT, Policy
from sayonce.core.envelope import Entry


class Scope(Enum):
    """Who may have the value from us. What a request with ``no-store`` asks for is that request's alone."""

    SHARED = auto()
    """Every process over the same store."""
    LOCAL = auto()
    """This process alone: nothing of it is written into any store, and no store is asked for it."""


def never_stale(_: Entry) -> bool:
    """Let no value answer past its time to live."""
    return False


def _nothing_known() -> None:
    """Know of nothing that speaks against a computation."""


async def never(*_: object) -> Made:
    """Compute nothing: the value is only looked for."""
    raise AssertionError("this lookup computes nothing")


class Lookup(msgspec.Struct, frozen=True):
    """One value that is asked for.

    Args:
        key: the digest that it is kept under.
        compute: makes it; gets the flight, to which it sends chunks if it streams, and the answers of the parents.
        policy: what the request lets the cache do.
        ttl: how long it is kept; the cache's own time when left out.
        tags: names under which it can be purged. Nobody joins its computation after such a purge.
        scope: who may have it from us.
        parents: what it is derived from. It then has their expiry and their tags, and no lease of its own: that of the
            parents lets one process do what is costly.
        fits: whether a parent that is stored is itself the answer; None where it never is.
        check: raises, before anything is begun, where computing is known to fail.
        stale: whether a stored value may answer past its time to live, while it is made anew in the background.

    """

    key: bytes
    compute: Callable[..., Awaitable[Made]]
    policy: Policy = DEFAULT
    ttl: timedelta | None = None
    tags: tuple[str, ...] = ()
    scope: Scope = Scope.SHARED
    parents: tuple[Lookup, ...] = ()
    fits: Callable[[Entry], bool] | None = None
    check: Callable[[], None] = _nothing_known
    stale: Callable[[Entry], bool] = never_stale

    @property
    def leased(self) -> bool:
        """Whether one process computes it for all that share a store."""
        return self.scope is Scope.SHARED and not self.parents

    @property
    def stored_key(self) -> bytes | None:
        """The key under which a store may have what answers as it is; None where it cannot."""
        if self.scope is Scope.SHARED:
            return self.key
        return None if self.fits is None else self.parents[0].stored_key
