"""GDSF beside theine's W-TinyLFU and cachetools."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from bench.own_parts.common import cases, costs
from sayonce.core.eviction import new_policy
from sayonce.observe.simulate import footprint, reference_trace, simulate


def replayed(trace: Sequence[Any], kept: Any) -> tuple[float, int]:
    """Return the share of compute seconds that a mapping of keys to sizes saves, and the most bytes that it held."""
    saved = total = 0.0
    sizes: dict[bytes, int] = {}
    for access in trace:
        total += access.cost_seconds
        if kept.get(access.key) is not None:
            saved += access.cost_seconds
        else:
            kept.put(access.key, access.size_bytes)
            sizes[access.key] = access.size_bytes
    return saved / total, sum(size for key, size in sizes.items() if kept.get(key) is not None)


class Theine:
    """theine's W-TinyLFU, which counts entries."""

    def __init__(self, entries: int) -> None:
        from theine import Cache

        self._cache: Any = Cache(entries)

    def get(self, key: bytes) -> int | None:
        value, found = self._cache.get(key)
        return value if found else None

    def put(self, key: bytes, size: int) -> None:
        self._cache.set(key, size)


def compare() -> dict[str, Any]:
    trace = list(reference_trace())
    whole = footprint(trace)
    mean = whole / len({access.key for access in trace})
    rows: dict[str, dict[str, object]] = {}
    for percent in (1, 5):
        room = int(whole * percent / 100)
        shares: dict[str, object] = {
            policy: f"{simulate(trace, policy, room).saved_share:.3f}" for policy in ("gdsf", "lru")
        }
        if find_spec("theine"):
            shares["theine"] = _theine(trace, room, int(room / mean))
        rows[f"share of compute seconds saved in {percent} %"] = shares
    rows["a get that hits, µs"] = _gets()
    cases("Eviction, on the reference trace", rows)
    return rows


def _theine(trace: Sequence[Any], room: int, entries: int) -> str:
    """Return what theine saves once the number of its entries has been found by trial that takes the room."""
    first = best = 0.0
    for _ in range(7):
        share, taken = replayed(trace, Theine(entries))
        held = taken / room
        first = first or held
        best = max(best, share) if held <= 1 else best
        entries = int(entries / held**0.8)
    return f"{best:.3f}, but {first:.2f} of the room by the mean size"


def _gets() -> dict[str, object]:
    keys, gets = [os.urandom(32) for _ in range(10_000)], {}
    for policy in ("gdsf", "lru"):
        kept: Any = new_policy(policy, 10**9)
        for key in keys:
            kept.put(key, key, 1000, 0.3)
        gets[policy] = kept.get
    if find_spec("theine"):
        cache = Theine(20_000)
        for key in keys:
            cache.put(key, 1000)
        gets["theine"] = cache.get
    if find_spec("cachetools"):
        from cachetools import LRUCache

        lru: Any = LRUCache(10**9, getsizeof=lambda _: 1000)
        lru.update(zip(keys, keys, strict=True))
        gets["cachetools LRU"] = lru.get
    taken = costs({side: (lambda get=get: [get(key) for key in keys]) for side, get in gets.items()}, 3)
    return {side: us / len(keys) for side, us in taken.items()}
