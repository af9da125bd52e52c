"""The reference workload with and without the cache: real speech, 60 % of the requests repeated, Zipf-distributed.

``python -m bench.workload [--engine hibari|piper] [--requests 10000] [--clients 16] [--format mp3]``

The same requests are sent twice to one server, in blocks in turn: once as they are, once with ``Cache-Control:
no-store``, which makes the engine speak each of them. Clients ask again as soon as they have their answer.

``hibari`` speaks in the gateway's own process, in a hundredth of the time that its speech lasts, and shares all cores
with it. ``piper`` is slower and a server of its own on a core of its own, as the engines are that a cache is bought for.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import NamedTemporaryFile
from typing import Any

import uvloop

from bench.client import Client
from bench.common import (
    ADDRESS,
    LOAD_CORE,
    SERVER_CORE,
    Server,
    bench_server,
    finish,
    percentile,
    sayonce,
    stats,
    stay_on,
    table,
    verdict,
)

REPEATED = 0.6
BLOCKS = 20
TARGET = 2.4
WARM_UP = [f"Gate {number} is open." for number in range(32)]
PIPER = """
[engines.piper]
kind = "openai"
base_url = "http://{address}:{port}/v1"
model = "joe"
response_format = "pcm"
sample_rate_hz = 22050
concurrency = 1
"""
NO_STORE = b"Cache-Control: no-store\r\n"
PEOPLE = ["Anna", "Ben", "Clara", "David", "Emma", "Frank", "Grace", "Henry", "Iris", "Jack", "Kate", "Liam", "Mary"]
PEOPLE += ["Noah", "Olive", "Peter", "Quinn", "Rose", "Sam", "Tess"]
THINGS = ["order", "parcel", "table", "ticket", "bill", "letter", "room", "taxi", "flight", "train"]
THINGS += ["coat", "phone", "bag", "key", "card", "meal", "boat", "desk", "map", "lamp"]
ENDS = ["ready", "late", "here", "early", "paid", "lost", "found", "gone", "new", "open", "fine"]


def workload(requests: int, seed: int = 1) -> list[str]:
    """Return the texts in the order of their requests; of each, the rest are repeats by Zipf's law with exponent 1."""
    distinct = round(requests * (1 - REPEATED))
    every = [f"{who}'s {what} is {end}." for who, what, end in itertools.product(PEOPLE, THINGS, ENDS)]
    chance = random.Random(seed)
    texts = chance.sample(every, distinct)
    weights = [1 / rank for rank in range(1, distinct + 1)]
    sent = texts + chance.choices(texts, weights, k=requests - distinct)
    chance.shuffle(sent)
    return sent


@contextmanager
def gateway(engine: str) -> Iterator[tuple[Server, dict[str, str]]]:
    """Run the gateway over an engine, and yield it with the fields that a request to it needs."""
    if engine == "hibari":
        with sayonce() as server:
            yield server, {"model": "hibari", "voice": "heart"}
        return
    with bench_server("piper_server.py", core=LOAD_CORE) as piper, NamedTemporaryFile("w", suffix=".toml") as config:
        config.write(PIPER.format(address=ADDRESS, port=piper.port))
        config.flush()
        with sayonce("--config", config.name, "--engine", "piper", core=SERVER_CORE) as server:
            stay_on(SERVER_CORE)
            yield server, {"model": "piper", "voice": "joe"}


async def send(port: int, texts: list[str], clients: int, asked: dict[str, str], headers: bytes) -> list[float]:
    """Have the clients send a block in its order, and return the seconds that each answer took."""
    waiting, latencies = deque(texts), []

    async def one() -> None:
        client = Client(port)
        while waiting:
            fields = {"input": waiting.popleft(), **asked}
            reply = await client.ask(json.dumps(fields).encode(), headers)
            if reply.status != 200:
                raise SystemExit(f"{fields['input']!r}: {reply.status} {reply.body[:200]!r}")
            latencies.append(reply.seconds)
        client.close()

    await asyncio.gather(*(one() for _ in range(clients)))
    return latencies


class Side:
    """One way to send the workload, and what came of it."""

    def __init__(self, headers: bytes = b"") -> None:
        self.headers = headers
        self.latencies: list[float] = []
        self.seconds = self.cpu_seconds = self.engine_calls = self.engine_seconds = 0.0

    def block(self, server: Server, texts: list[str], clients: int, asked: dict[str, str]) -> None:
        before, cpu, started = stats(server.port), server.cpu_seconds(), time.perf_counter()
        self.latencies += uvloop.run(send(server.port, texts, clients, asked, self.headers))
        self.seconds += time.perf_counter() - started
        self.cpu_seconds += server.cpu_seconds() - cpu
        after = stats(server.port)
        self.engine_calls += after.get("engine calls", 0) - before.get("engine calls", 0)
        self.engine_seconds += after.get("engine seconds", 0) - before.get("engine seconds", 0)

    def figures(self) -> dict[str, Any]:
        latency = {f"p{p}_ms": 1000 * percentile(self.latencies, p) for p in (50, 90, 99)}
        return {
            "per_second": len(self.latencies) / self.seconds,
            "engine_calls": int(self.engine_calls),
            "engine_seconds": self.engine_seconds,
            "cpu_seconds": self.cpu_seconds,
            **latency,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("hibari", "piper"), default="hibari")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--format", default="mp3")
    options = parser.parse_args()
    texts = workload(options.requests)
    size = -(-len(texts) // BLOCKS)
    cached, uncached = Side(), Side(NO_STORE)
    with gateway(options.engine) as (server, fields):
        asked = fields | {"response_format": options.format}
        for side in (cached, uncached):
            uvloop.run(send(server.port, WARM_UP, options.clients, asked, side.headers))
        for start in range(0, len(texts), size):
            for side in (cached, uncached):
                side.block(server, texts[start : start + size], options.clients, asked)
    _report(options.engine, cached, uncached, texts)


def _report(engine: str, cached: Side, uncached: Side, texts: list[str]) -> None:
    distinct = len(set(texts))
    figures = {"with the cache": cached.figures(), "without (no-store)": uncached.figures()}
    title = f"{len(texts):,} requests for {distinct:,} texts, {engine}, sqlite"
    columns = ("", "requests/s", "engine calls", "engine s", "CPU s", "p50 ms", "p90 ms", "p99 ms")
    table(title, columns, [(side, *found.values()) for side, found in figures.items()])
    ratio = uncached.seconds / cached.seconds
    saved = uncached.engine_seconds - cached.engine_seconds
    print(f"\nengine seconds saved: {saved:.1f} of {uncached.engine_seconds:.1f}")
    print(f"server's CPU time, without over with: {uncached.cpu_seconds / cached.cpu_seconds:.2f}")
    exact = cached.engine_calls == distinct
    print(f"engine calls {cached.engine_calls:.0f} = distinct requests {distinct}: {'met' if exact else 'MISSED'}")
    verdict("throughput, with the cache over without", ratio, target=TARGET)
    finish(
        "workload",
        {"engine": engine, "requests": len(texts), "distinct": distinct, "throughput_ratio": ratio, "sides": figures},
    )


if __name__ == "__main__":
    main()
