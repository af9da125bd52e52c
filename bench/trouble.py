"""What a Redis in trouble adds to a request, fault by fault, against the same Redis in good health just before.

``python bench/trouble.py [--rate 200] [--seconds 2]``: requests at a steady rate through ``Cache.answer``, with no memory
tier, over a proxy and a real server, and with a computation that costs nothing, so that what is seen is the store's.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from common import HERE, finish, median, percentile, table

sys.path.insert(0, str(HERE.parent / "tests"))  # the faults are those that the tests put it through

from deployments import Node
from sayonce.core.outcome import Outcome
from standing import BOUND_SECONDS, KNOWN, Stand, standing
from test_trouble import OUTAGES, REFUSED_WRITES, Scene
from wire import wire_to

COLUMNS = ("ms", "healthy p50", "p99", "in trouble p50", "p99", "worst", "hits", "hits again after")
NAMES = ("fault", "healthy_p50_ms", "healthy_p99_ms", "p50_ms", "p99_ms", "worst_ms", "hits", "hits_again_ms")
Row = list[object]


async def load(stand: Stand, rate_hz: float, seconds: float) -> tuple[list[float], float]:
    """Ask at a steady rate; return how many milliseconds each took, and the share of hits."""
    started = time.monotonic()
    tasks = []
    for number in range(int(rate_hz * seconds)):
        await asyncio.sleep(started + number / rate_hz - time.monotonic())
        tasks.append(asyncio.create_task(_timed(stand, number % len(KNOWN))))
    answers = await asyncio.gather(*tasks)
    return [took for took, _ in answers], sum(hit for _, hit in answers) / len(answers)


async def _timed(stand: Stand, number: int) -> tuple[float, bool]:
    began = time.perf_counter()
    outcome = await stand.ask(number)
    return 1000 * (time.perf_counter() - began), outcome is Outcome.HIT


async def measure(
    name: str, scene: Scene, fault: Callable[[Scene], AbstractContextManager[None]], rate_hz: float, seconds: float
) -> Row:
    async with standing(scene.wire.url) as stand:
        await stand.fill()
        await load(stand, rate_hz, 0.5)
        healthy, _ = await load(stand, rate_hz, seconds)
        with fault(scene):
            troubled, hits = await load(stand, rate_hz, seconds)
            await stand.cache.settle()
        again = 1000 * await stand.hits_again()
    row: Row = [name, median(healthy), percentile(healthy, 99), median(troubled), percentile(troubled, 99)]
    return [*row, max(troubled), f"{hits:.0%}", again]


async def run(rate_hz: float, seconds: float) -> list[Row]:
    rows = []
    for name, fault in {**OUTAGES, **REFUSED_WRITES}.items():
        with tempfile.TemporaryDirectory() as directory, Node(Path(directory)).running() as node:
            async with wire_to(node.port) as wire:
                rows.append(await measure(name, Scene(node, wire), fault, rate_hz, seconds))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    logging.disable()
    rows = asyncio.run(run(options.rate, options.seconds))
    table(f"{options.rate:g} requests/s; bound {1000 * BOUND_SECONDS:.0f} ms", COLUMNS, rows)
    finish(
        "trouble", {"bound_ms": 1000 * BOUND_SECONDS, "faults": [dict(zip(NAMES, row, strict=True)) for row in rows]}
    )


if __name__ == "__main__":
    main()
