"""Our reads from a Redis Cluster beside redis-py's RedisCluster: what they cost, and a primary that hangs."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import redis
import uvloop
from redis.asyncio.cluster import RedisCluster

from bench.cluster import start
from bench.common import ADDRESS, SERVER_CORE, median, stay_on
from bench.features import rate
from bench.own_parts.common import ROUNDS, cases
from sayonce.core.envelope import Entry, Sealer
from sayonce.core.key import Secret
from sayonce.stores import open_store

BODY = os.urandom(67_000)
KEYS = [os.urandom(32) for _ in range(60)]
TASKS = (1, 16)
BUDGET_SECONDS = 0.05
Read = Callable[[bytes], Awaitable[object]]


async def ours(stack: AsyncExitStack, url: str) -> Read:
    store = open_store(url, sealer=Sealer(Secret(b"benchmark")), budget_seconds=BUDGET_SECONDS)
    assert store is not None
    await store.open()
    stack.push_async_callback(store.close)
    now = time.time()
    for key in KEYS:
        await store.put(Entry(key=key, body=BODY, media_type="audio/mpeg", created=now, expires=now + 3600))
    return store.get


async def theirs(stack: AsyncExitStack, url: str) -> Read:
    port = int(url.rpartition(":")[2])
    client = await stack.enter_async_context(RedisCluster(host=ADDRESS, port=port))
    for key in KEYS:
        await client.set(key, BODY)
    return client.get


async def hung(read: Read) -> str:
    """Read every key over and over for two seconds while a primary hangs, each read within a budget as a request's is."""
    answered = late = refused = 0
    ended = time.monotonic() + 2
    while time.monotonic() < ended:
        for key in KEYS:
            try:
                async with asyncio.timeout(BUDGET_SECONDS):
                    await read(key)
                answered += 1
            except TimeoutError:
                late += 1
            except Exception:  # noqa: BLE001 (each side has errors of its own for this)
                refused += 1
    return f"{answered:,} answered, {late} late, {refused} refused"


async def measure(url: str, process: int) -> dict[str, dict[str, object]]:
    async with AsyncExitStack() as stack:
        sides = {"ours": await ours(stack, url), "redis-py": await theirs(stack, url)}
        turn = iter(range(1 << 60))
        found: dict[tuple[int, str], list[float]] = defaultdict(list)
        for _ in range(ROUNDS):
            for tasks in TASKS:
                for side, read in sides.items():
                    figures = await rate(lambda read=read: read(KEYS[next(turn) % len(KEYS)]), tasks, 0.4)
                    found[tasks, side].append(figures["cpu_us"])
        rows: dict[str, dict[str, object]] = {
            f"a GET of 67 kB, {tasks} tasks, µs": {side: median(found[tasks, side]) for side in sides}
            for tasks in TASKS
        }
        os.kill(process, signal.SIGSTOP)
        try:
            rows["2 s of reads, one of three primaries hangs"] = {
                side: await hung(read) for side, read in sides.items()
            }
        finally:
            os.kill(process, signal.SIGCONT)
        await asyncio.sleep(0.5)
    return rows


def compare() -> dict[str, Any]:
    with ExitStack() as stack:
        url = start(stack, 3)
        stay_on(SERVER_CORE)
        addresses = url.partition("//")[2].split(",")
        with redis.Redis(port=int(addresses[0].rpartition(":")[2])) as client:
            process = int(client.info("server")["process_id"])
        rows = uvloop.run(measure(url, process))
    cases("Redis Cluster of three", rows)
    return rows
