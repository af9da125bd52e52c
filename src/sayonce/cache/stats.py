"""The figures that an operator asks for first: how much is kept, how often it is used, and what that saved."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from sayonce.cache.cache import Cache
from sayonce.core.outcome import Outcome
from sayonce.errors import StoreError
from sayonce.stores.base import Store

_TIMEOUT_SECONDS: Final = 1.0
_ANSWERS = tuple(outcome.value for outcome in Outcome if outcome is not Outcome.FAILED)
_REUSED = tuple(outcome.value for outcome in Outcome if outcome.stored or outcome is Outcome.JOINED)


async def collect(cache: Cache) -> dict[str, Any]:
    """Return the figures of a cache's tiers, of this process, and of the store's whole life, if the store answers."""
    figures: dict[str, Any] = {
        "memory": await _tier(cache.memory),
        "process": summary(cache.counters),
        "state": cache.store_state,
        "trouble": cache.trouble,
    }
    if cache.store is not None:
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                figures |= await stored(cache.store)
        except (StoreError, TimeoutError):
            figures["store"] = {"name": cache.store.name, "entries": None, "used_bytes": None, "max_bytes": None}
    return figures


async def stored(store: Store) -> dict[str, Any]:
    """Return the figures of a store, and of its whole life.

    Raises:
        StoreError: it did not answer.

    """
    return {"store": await _tier(store), "lifetime": summary(await store.totals())}


def summary(counters: dict[str, float]) -> dict[str, Any]:
    """Return the counters with the requests they add up to and the share of them that cost no computing."""
    requests = sum(counters.get(name, 0) for name in _ANSWERS)
    reused = sum(counters.get(name, 0) for name in _REUSED)
    return {"requests": requests, "hit_rate": reused / requests if requests else None, **counters}


async def _tier(store: Store) -> dict[str, Any]:
    stats = await store.stats()
    return {"name": store.name, "entries": stats.entries, "used_bytes": stats.used_bytes, "max_bytes": stats.max_bytes}
