"""Reads from a Redis Cluster of three and of six primaries, against one server and the same client.

``python -m bench.cluster [--rounds 5] [--seconds 1]``

The store alone, as one process asks it: ``get`` of sealed clips of 60 kB, 16 at once and one at a time. All servers
share a core, the client has the other.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack

import uvloop

from bench.common import (
    ADDRESS,
    LOAD_CORE,
    SERVER_CORE,
    await_redis,
    finish,
    free_port,
    median,
    running,
    stay_on,
    table,
)
from bench.features import rate
from sayonce.core.envelope import Entry, Sealer
from sayonce.core.key import Secret
from sayonce.stores import open_store
from sayonce.stores.base import Store

CLIPS = 200
BODY = os.urandom(60_000)
TASKS = (16, 1)
SIDES = {"one server": 1, "Cluster of 3": 3, "Cluster of 6": 6}


async def measure(urls: dict[str, str], rounds: int, seconds: float) -> dict[tuple[str, int], list[dict[str, float]]]:
    found = defaultdict(list)
    now = time.time()
    entries = [
        Entry(key=os.urandom(32), body=BODY, media_type="audio/mpeg", created=now, expires=now + 3600)
        for _ in range(CLIPS)
    ]
    async with AsyncExitStack() as stack:
        reads = {}
        for side, url in urls.items():
            store = open_store(url, sealer=Sealer(Secret(b"benchmark")), budget_seconds=5)
            assert store is not None
            await store.open()
            stack.push_async_callback(store.close)
            for entry in entries:
                await store.put(entry)
            reads[side] = reader(store, entries)
        for number in range(rounds + 1):
            for tasks in TASKS:
                for side, read in reads.items():
                    figures = await rate(read, tasks, seconds)
                    if number:  # the first round warms up
                        found[side, tasks].append(figures)
    return found


def reader(store: Store, entries: Sequence[Entry]) -> Callable:
    turn = iter(range(1 << 60))

    async def read() -> None:
        assert await store.get(entries[next(turn) % CLIPS].key) is not None

    return read


def start(stack: ExitStack, primaries: int) -> str:
    """Start one server, or a Cluster without replicas, and return its URL."""
    ports = [free_port() for _ in range(primaries)]
    clustered = ["--cluster-enabled", "yes"] if primaries > 1 else []
    for port in ports:
        cluster = [*clustered, "--cluster-port", str(free_port())] if clustered else []
        command = ["redis-server", "--port", str(port), "--bind", ADDRESS, "--save", "", "--logfile", "log", *cluster]
        stack.enter_context(running(*command, core=LOAD_CORE))
    for port in ports:
        await_redis(port)
    if primaries == 1:
        return f"redis://{ADDRESS}:{ports[0]}"
    addresses = [f"{ADDRESS}:{port}" for port in ports]
    command = ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return f"redis+cluster://{','.join(addresses)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1)
    options = parser.parse_args()
    with ExitStack() as stack:
        urls = {side: start(stack, primaries) for side, primaries in SIDES.items()}
        stay_on(SERVER_CORE)
        found = uvloop.run(measure(urls, options.rounds, options.seconds))
    middle = {
        side: {name: median([figures[name] for figures in rounds]) for name in ("per_second", "p50_us", "cpu_us")}
        for side, rounds in found.items()
    }
    for tasks in TASKS:
        alone = middle["one server", tasks]["per_second"]
        rows = [
            (
                side,
                *(round(figures[name]) for name in ("per_second", "p50_us", "cpu_us")),
                figures["per_second"] / alone,
            )
            for (side, number), figures in middle.items()
            if number == tasks
        ]
        columns = ("", "reads/s", "p50 µs", "client's CPU µs", "of one server's")
        table(f"{tasks} at once, {len(BODY):,} bytes", columns, rows)
    finish("cluster", {"sides": {f"{side}, {tasks}": figures for (side, tasks), figures in middle.items()}})


if __name__ == "__main__":
    main()
