"""A baseline: a bare ``redis.asyncio`` GET loop (hiredis, uvloop), as fast as the answers come.

``python -m bench.bare_get PORT NAME TASKS SECONDS``
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time

import uvloop
from redis.asyncio import Redis


async def main(port: int, name: str, tasks: int, seconds: float) -> dict[str, float]:
    latencies: list[float] = []
    async with Redis(port=port) as client:
        await client.get(name)
        started, cpu_started = time.perf_counter(), time.process_time()

        async def one() -> None:
            while (began := time.perf_counter()) - started < seconds:
                assert await client.get(name)
                latencies.append(time.perf_counter() - began)

        await asyncio.gather(*(one() for _ in range(tasks)))
        elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu_started
    return {
        "per_second": len(latencies) / elapsed,
        "p50_ms": 1000 * statistics.median(latencies),
        "cpu_us": 1e6 * cpu / len(latencies),
        "errors": 0,
    }


if __name__ == "__main__":
    port_, name_, tasks_, seconds_ = sys.argv[1:]
    print(json.dumps(uvloop.run(main(int(port_), name_, int(tasks_), float(seconds_)))))
