"""Costs and cases, side by side."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bench.common import median, table

ROUNDS = 7
Work = Callable[[], Awaitable[Any]]


def costs(sides: Mapping[str, Callable[[], object]], calls: int) -> dict[str, float]:
    """Return the median microseconds of processor time that a call takes on each side."""
    found: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(ROUNDS):
        for side, work in sides.items():
            began = time.process_time()
            for _ in range(calls):
                work()
            found[side].append(1e6 * (time.process_time() - began) / calls)
    return {side: median(each) for side, each in found.items()}


def cases(title: str, rows: Mapping[str, Mapping[str, object]]) -> None:
    """Print what each side did in each case."""
    sides = list(dict.fromkeys(side for row in rows.values() for side in row))
    table(title, ("", *sides), [(case, *(row.get(side, "-") for side in sides)) for case, row in rows.items()])


def run(work: Work) -> None:
    """Run a coroutine that waits for nothing, without an event loop."""
    try:
        work().__await__().send(None)
    except StopIteration:
        return
    raise RuntimeError("it waits")
