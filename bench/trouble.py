"""What a Redis in trouble adds to a request, fault by fault, against the same Redis in good health just before.

``python -m bench.trouble [--rate 200] [--seconds 2] [--only TEXT]``: requests at a steady rate through ``Cache.answer``,
with no memory tier, over real servers, and with a computation that costs nothing, so that what is seen is the store's.
Every answer is compared with what it should be, and the bound is that of ``docs/guarantees.md``.
What the event loop itself is late is no part of a request's time.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import math
import time
from contextlib import AsyncExitStack, ExitStack
from dataclasses import asdict, dataclass

from tests.helpers.steady_load import NUMBERS, Load
from tests.helpers.store_in_trouble import BUDGET_SECONDS, Stand, WrongSound

from bench.common import finish, median, percentile, table
from bench.troubles import TROUBLES, Bound, Trouble
from sayonce.core.outcome import Outcome

NOISE_MS = 5.0
"""What the machine may add where nothing is to be added."""
RESUMES_SECONDS = 2.0
WARM_SECONDS, AFTER_SECONDS = 0.5, 2.5
GIVEN_UP_SECONDS = 30.0
"""A request that is not answered by then has failed."""


@dataclass
class Listener:
    """Asks, and counts what no caller should ever get."""

    stand: Stand
    failed: int = 0
    wrong: int = 0

    async def ask(self, number: int) -> bool:
        try:
            async with asyncio.timeout(GIVEN_UP_SECONDS):
                return await self.stand.ask(number) is Outcome.HIT
        except WrongSound:
            self.wrong += 1
        except Exception:  # noqa: BLE001 (whatever it is, it is a failed request)
            self.failed += 1
        return False


@dataclass
class Row:
    """What came of one kind of trouble.

    Latencies are what it added to the median and the 99th percentile of good health; ``then`` is its second half.
    The worst request is compared with the median, and may also have come in the time after the trouble.
    """

    fault: str
    requests: int
    failed: int
    wrong: int
    hits: float
    healthy_p50_ms: float
    healthy_p99_ms: float
    p50_ms: float
    p99_ms: float
    worst_ms: float
    then_p99_ms: float
    lasted_s: float
    hits_again_s: float | None
    bound: str
    verdict: str = ""

    def judge(self, bound: Bound, *, resumes: bool) -> None:
        missed = {
            "failed": self.failed > 0,
            "wrong": self.wrong > 0,
            "worst": bound.worst_ms is not None and self.worst_ms > bound.worst_ms,
            "p99": bound.p99_ms is not None and self.p99_ms > bound.p99_ms + NOISE_MS,
            "then": bound.then_nothing and self.then_p99_ms > NOISE_MS,
            "hits": bound.hits and self.hits < 0.99,
            "hits again": resumes and (self.hits_again_s is None or self.hits_again_s > RESUMES_SECONDS),
        }
        what = ", ".join(name for name, is_missed in missed.items() if is_missed)
        self.verdict = f"MISSED: {what}" if what else "met"

    def cells(self) -> list[object]:
        again = "-" if self.hits_again_s is None else self.hits_again_s
        figures = [self.p50_ms, self.p99_ms, self.worst_ms, self.then_p99_ms, self.lasted_s, again]
        counts = [self.requests, self.failed, self.wrong, f"{self.hits:.0%}"]
        return [self.fault, *counts, *figures, self.bound, self.verdict]


COUNTS = ("requests", "failed", "wrong", "hits")
FIGURES = ("p50", "p99", "worst", "then p99", "lasted s", "hits again s")
COLUMNS = ("fault", *COUNTS, *FIGURES, "bound", "")


async def measure(trouble: Trouble, rate_hz: float, seconds: float) -> Row:
    pick = trouble.pick()
    async with trouble.place() as place, AsyncExitStack() as opened:
        undo = ExitStack()
        listener = Listener(await opened.enter_async_context(place.open()))
        await listener.stand.fill(NUMBERS)
        await Load(listener.ask, pick, rate_hz).beside(asyncio.sleep(WARM_SECONDS))
        healthy = Load(listener.ask, pick, rate_hz)
        await healthy.beside(asyncio.sleep(seconds))
        fault = place.fault(listener.stand)
        if trouble.at_start:
            undo.enter_context(fault)
            await opened.aclose()
            listener.stand = await opened.enter_async_context(place.open())
        troubled = Load(listener.ask, pick, rate_hz)
        moments = []

        async def story() -> None:
            moments.append(time.monotonic())
            if not trouble.at_start:
                await asyncio.to_thread(undo.enter_context, fault)
            await asyncio.sleep(0 if trouble.ends_by_itself else seconds)
            await asyncio.to_thread(undo.close)
            moments.append(time.monotonic())
            await asyncio.sleep(AFTER_SECONDS)

        await troubled.beside(story())
    return row(trouble, healthy, troubled, listener, *moments)


def row(trouble: Trouble, healthy: Load, troubled: Load, listener: Listener, began: float, ended: float) -> Row:
    usual = [1000 * took for _, took, _ in healthy.answers]
    times = [1000 * took for at, took, _ in troubled.answers if at < ended]
    later = [1000 * took for at, took, _ in troubled.answers if (began + ended) / 2 < at < ended]
    again = math.inf if trouble.new else troubled.resumed_after(ended)
    found = Row(
        fault=trouble.name,
        requests=len(times),
        failed=listener.failed,
        wrong=listener.wrong,
        hits=troubled.hit_rate(began, ended),
        healthy_p50_ms=median(usual),
        healthy_p99_ms=percentile(usual, 99),
        p50_ms=median(times) - median(usual),
        p99_ms=percentile(times, 99) - percentile(usual, 99),
        worst_ms=1000 * max(took for _, took, _ in troubled.answers) - median(usual),
        then_p99_ms=percentile(later, 99) - percentile(usual, 99),
        lasted_s=ended - began,
        hits_again_s=again if math.isfinite(again) else None,
        bound=trouble.bound.text,
    )
    found.judge(trouble.bound, resumes=not trouble.new)
    return found


async def run(rate_hz: float, seconds: float, only: str) -> list[Row]:
    return [await measure(trouble, rate_hz, seconds) for trouble in TROUBLES if only in trouble.name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--only", default="", help="troubles whose name has this in it")
    options = parser.parse_args()
    logging.disable()
    gc.freeze()  # else a collection looks through all that the tests import, for as long as 30 ms
    rows = asyncio.run(run(options.rate, options.seconds, options.only))
    title = f"{options.rate:g} requests/s, budget {1000 * BUDGET_SECONDS:g} ms; latencies in ms, added to good health's"
    table(title, COLUMNS, [found.cells() for found in rows])
    finish("trouble", {"budget_ms": 1000 * BUDGET_SECONDS, "faults": [asdict(found) for found in rows]})


if __name__ == "__main__":
    main()
