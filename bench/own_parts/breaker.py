"""Our circuit breaker beside purgatory, pybreaker and aiobreaker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

from bench.own_parts.common import Work, cases, costs, run
from sayonce.core.breaker import Breaker

Guarded = Callable[[Work], Awaitable[Any]]
OPEN_SECONDS = 0.1


def our_breaker() -> Guarded:
    breaker = Breaker()

    async def call(work: Work) -> Any:
        began = time.monotonic()
        if breaker.open and not breaker.allows(began):
            raise RuntimeError("open")
        try:
            value = await work()
        except ConnectionError:
            breaker.failed(time.monotonic(), began)
            raise
        breaker.succeeded(time.monotonic())
        return value

    return call


def purgatory_breaker() -> Guarded:
    from purgatory.domain.model import Context

    context = Context("x", threshold=5, ttl=OPEN_SECONDS)

    async def call(work: Work) -> Any:
        with context:
            return await work()

    return call


def pybreaker_breaker() -> Guarded:
    from pybreaker import CircuitBreaker

    breaker = CircuitBreaker(fail_max=5, reset_timeout=OPEN_SECONDS)

    async def call(work: Work) -> Any:
        with breaker.calling():
            return await work()

    return call


def aiobreaker_breaker() -> Guarded:
    from aiobreaker import CircuitBreaker

    return CircuitBreaker(fail_max=5, timeout_duration=timedelta(seconds=OPEN_SECONDS)).call_async


async def good() -> None:
    pass


async def bad() -> None:
    raise ConnectionError


async def burst(call: Guarded) -> str:
    """Have 20 calls fail in the same moment, as when the machine pauses, and ask whether the next call is made."""
    pause = asyncio.Event()

    async def waits() -> None:
        await pause.wait()
        raise ConnectionError

    calls = [asyncio.ensure_future(call(waits)) for _ in range(20)]
    await asyncio.sleep(0)
    pause.set()
    await asyncio.gather(*calls, return_exceptions=True)
    return "stays closed" if await succeeds(call) else "opens"


async def every_second(call: Guarded) -> str:
    """Have every second of 100 calls fail: a server that half of the calls wait for in vain."""
    made = 0

    async def counted(work: Work) -> None:
        nonlocal made
        made += 1
        await work()

    for number in range(100):
        with suppress(Exception):
            await call(lambda number=number: counted(bad if number % 2 else good))
    return "never opens" if made == 100 else f"opens after {made} calls"


async def probes(call: Guarded) -> str:
    """Open it by failures one after the other, wait, and ask how many of 50 calls at once try whether it is back."""
    while await succeeds(call, bad):
        await asyncio.sleep(0)
    await asyncio.sleep(0.6)
    tried = 0

    async def hangs() -> None:
        nonlocal tried
        tried += 1
        await asyncio.sleep(0.05)

    await asyncio.gather(*(call(hangs) for _ in range(50)), return_exceptions=True)
    return f"{tried} of 50"


async def succeeds(call: Guarded, work: Work = good) -> bool:
    """Whether a call is made, be it that it fails."""
    try:
        await call(work)
    except ConnectionError:
        return True
    except Exception:  # noqa: BLE001 (each library has its own for an open breaker)
        return False
    return True


def compare() -> dict[str, Any]:
    libraries = {"purgatory": purgatory_breaker, "pybreaker": pybreaker_breaker, "aiobreaker": aiobreaker_breaker}
    make = {"ours": our_breaker} | {name: made for name, made in libraries.items() if find_spec(name)}

    calls = {side: made() for side, made in make.items()}
    taken = costs({side: (lambda call=call: run(lambda: call(good))) for side, call in calls.items()}, 20_000)
    rows: dict[str, dict[str, object]] = {"a call that succeeds, µs": {side: taken[side] for side in make}}
    for case, ask in {
        "20 calls fail in one moment": burst,
        "every second of 100 calls fails": every_second,
        "calls that try whether it is back": probes,
    }.items():
        rows[case] = {side: asyncio.run(ask(made())) for side, made in make.items()}
    cases("Circuit breaker", rows)
    return rows
