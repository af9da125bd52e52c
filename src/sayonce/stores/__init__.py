"""The stores: memory, one SQLite file, Redis, and large bodies outside them; budgets and failures are ``cache``'s."""

from __future__ import annotations

import time

from sayonce.core.clock import Clock
from sayonce.core.envelope import Sealer
from sayonce.core.eviction import PolicyName
from sayonce.core.key import Secret
from sayonce.stores.base import SealedStore, Store, StoreStats
from sayonce.stores.leases import Leases
from sayonce.stores.records import Question, Records, Sighting
from sayonce.stores.url import RedisURL, SQLiteURL, parse_url

__all__ = [
    "Leases",
    "Question",
    "Records",
    "SealedStore",
    "Sealer",
    "Secret",
    "Sighting",
    "Store",
    "StoreStats",
    "open_store",
]


def open_store(
    url: str,
    *,
    sealer: Sealer,
    clock: Clock = time.time,
    max_bytes: int | None = None,
    policy: PolicyName = "gdsf",
    budget_seconds: float = 0.05,
) -> Store | None:
    """Return the store that a URL names, not yet opened; None for ``memory://``, where the memory tier is the cache.

    ``max_bytes`` bounds the SQLite file, and ``policy`` is the order of eviction; Redis has its own ``maxmemory`` and
    ``maxmemory-policy``. ``budget_seconds`` is how long a connection to Redis is waited for.

    Raises:
        ConfigError: the URL is none of the valid forms; the message lists them and repeats nothing secret.

    """
    where = parse_url(url)
    # Imported here, so that a program loads the client of its own store alone.
    if isinstance(where, SQLiteURL):
        from sayonce.stores.sqlite.store import DEFAULT_MAX_BYTES, SQLiteStore  # noqa: PLC0415

        bound = DEFAULT_MAX_BYTES if max_bytes is None else max_bytes
        return SQLiteStore(
            where.path,
            sealer=sealer,
            clock=clock,
            max_bytes=bound,
            policy=policy,
            make_parents=where.default,
            budget_seconds=budget_seconds,
        )
    if isinstance(where, RedisURL):
        from sayonce.stores.redis.store import RedisStore  # noqa: PLC0415

        return RedisStore(where, sealer=sealer, clock=clock, budget_seconds=budget_seconds)
    return None
