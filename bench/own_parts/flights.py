"""A flight beside a cache of whole results."""

from __future__ import annotations

import asyncio
import time
from importlib.util import find_spec
from typing import Any

from bench.common import median
from bench.own_parts.common import ROUNDS, cases
from sayonce.cache.flight import Flight

LISTENERS, CHUNKS, CHUNK = 50, 10, bytes(4800)


async def _our_listeners() -> list[float]:
    flight, began = Flight(time.time()), time.perf_counter()

    async def listen() -> float:
        async for _ in flight.chunks():
            first = time.perf_counter() - began
            break
        return first

    listeners = [asyncio.ensure_future(listen()) for _ in range(LISTENERS)]
    flight.begin()
    for _ in range(CHUNKS):
        await asyncio.sleep(0.02)
        flight.send(CHUNK)
    return await asyncio.gather(*listeners)


async def _their_listeners() -> list[float]:
    from async_lru import alru_cache

    began = time.perf_counter()

    @alru_cache
    async def speech() -> bytes:
        chunks = []
        for _ in range(CHUNKS):
            await asyncio.sleep(0.02)
            chunks.append(CHUNK)
        return b"".join(chunks)

    async def listen() -> float:
        await speech()
        return time.perf_counter() - began

    return await asyncio.gather(*(listen() for _ in range(LISTENERS)))


def compare() -> dict[str, Any]:
    sides = {"ours": _our_listeners} | ({"async-lru": _their_listeners} if find_spec("async_lru") else {})
    rows: dict[str, dict[str, object]] = {
        f"first byte of {LISTENERS} listeners, ms, of speech that takes {20 * CHUNKS}": {
            side: 1000 * median([median(asyncio.run(work())) for _ in range(ROUNDS)]) for side, work in sides.items()
        }
    }
    cases("One computation for many", rows)
    return rows
