"""200 requests a second while Redis is killed, stopped, full and back: nobody fails, nobody hears the wrong sound."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sayonce.core.outcome import Outcome
from sayonce.testing import StubEngine
from tests.helpers import crowd
from tests.helpers.deployments import Cluster, Node, SentinelSet, wait_until
from tests.helpers.serving import serving
from tests.helpers.steady_load import NUMBERS, RATE_HZ, Event, Load
from tests.helpers.store_in_trouble import BOUND_SECONDS, RESUMES_SECONDS, SLACK_SECONDS, standing

pytestmark = pytest.mark.timeout(120)

log = logging.getLogger("tests.load")


@pytest.mark.slow
async def test_a_cache_whose_redis_is_killed_stopped_full_and_back_answers_within_the_bound(
    node: Node, record_property: Callable[[str, Any], None]
) -> None:
    async with standing(node.url) as stand:
        load = Load(lambda number: hits(stand.ask, number))
        await in_trouble(load, node, record_property)
    assert max(took for _, took, _ in load.answers) < BOUND_SECONDS + SLACK_SECONDS


@pytest.mark.slow
async def test_a_gateway_whose_redis_is_killed_stopped_full_and_back_fails_nobody(
    node: Node, record_property: Callable[[str, Any], None]
) -> None:
    async with gateway_over(node) as ask:
        await in_trouble(Load(ask), node, record_property)


async def test_every_answer_of_a_gateway_is_right_while_its_redis_is_killed_stopped_full_and_back(node: Node) -> None:
    """A small version without times, for machines of any speed: nothing fails, and hits come back after each trouble."""
    async with gateway_over(node) as ask:
        for trouble, end in [(node.kill, node.start), (node.stop, node.cont), (filling(node), emptying(node))]:
            trouble()
            for _ in range(2):
                await asyncio.gather(*map(ask, NUMBERS))
            await asyncio.to_thread(end)
            async with asyncio.timeout(60):  # for hits that never come back
                while not all(await asyncio.gather(*map(ask, NUMBERS))):
                    await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_a_healthy_redis_stays_in_use_at_200_connections_on_busy_processors(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """And one that hangs then is still noticed."""
    async with serving(StubEngine(), store=node.url, memory__max_bytes=0) as client:
        url = f"http://127.0.0.1:{client.port}"
        cache = client.service.cache

        async def ask_on(until: float) -> None:
            while time.monotonic() < until:
                number = random.choice(NUMBERS)
                answer = await crowd.ask(url, input=f"Text number {number}.", voice="anna", response_format="flac")
                assert answer.status == 200

        with burning():
            until = time.monotonic() + 20
            await asyncio.gather(*(ask_on(until) for _ in range(200)))
        assert "circuit breaker opened" not in caplog.text
        assert cache.counters["hit"] > 0
        node.stop()
        until = time.monotonic() + 5
        await asyncio.gather(*(ask_on(until) for _ in range(200)))
        assert "circuit breaker opened" in caplog.text
        node.cont()


@asynccontextmanager
async def gateway_over(node: Node) -> AsyncIterator[Callable[[int], Awaitable[bool]]]:
    """Yield a function that asks a gateway for a number, and compares the answer with what the engine speaks."""
    engine = StubEngine(chunks=2)
    async with serving(engine, store=node.url, memory__max_bytes=0, audio__take="as-is") as client:
        right: dict[int, bytes] = {}

        async def ask(number: int) -> bool:
            answer = await crowd.ask(
                f"http://127.0.0.1:{client.port}", input=f"Text number {number}.", voice="anna", response_format="pcm"
            )
            assert answer.status == 200
            assert right.setdefault(number, answer.content) == answer.content
            return answer.headers["cache-status"].startswith("sayonce; hit")

        for number in NUMBERS:
            await ask(number)
        for number, utterance in zip(NUMBERS, engine.calls, strict=True):  # what is right is what the engine says
            assert right[number] == b"".join(engine.sound(utterance, chunk) for chunk in range(2))
        yield ask


def filling(node: Node) -> Callable[[], object]:
    return lambda: node.call("CONFIG SET maxmemory 1 maxmemory-policy noeviction")


def emptying(node: Node) -> Callable[[], object]:
    return lambda: node.call("CONFIG SET maxmemory 0")


@contextmanager
def burning() -> Iterator[None]:
    """Have other processes want all processors."""
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


async def in_trouble(load: Load, node: Node, record_property: Callable[[str, Any], None]) -> None:
    """Put a Redis through everything under load; hits come back after each."""
    events: list[Event] = [
        (1.5, node.kill),
        (2.5, node.start),
        (5.0, node.stop),
        (6.0, node.cont),
        (8.5, filling(node)),
        (9.5, emptying(node)),
    ]
    await load.run(10.5, events)
    killed, started, stopped, continued, full, back = load.done_at
    healthy_ms = load.p99_ms(killed - 1, killed - 0.3)
    figures = {
        "p99 healthy": healthy_ms,
        "added p99 killed": load.p99_ms(killed, started) - healthy_ms,
        "added p99 stopped": load.p99_ms(stopped, continued) - healthy_ms,
        "added p99 full": load.p99_ms(full, back) - healthy_ms,
        "hits after start": 1000 * load.resumed_after(started),
        "hits after continue": 1000 * load.resumed_after(continued),
    }
    tell(figures, record_property)
    assert len(load.answers) > 0.95 * 10.5 * RATE_HZ
    assert figures["hits after start"] < 1000 * RESUMES_SECONDS
    assert figures["hits after continue"] < 1000 * RESUMES_SECONDS
    assert load.hit_rate(full, back) > 0.9 * load.hit_rate(full - 1, full)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [Node.kill, Node.stop], ids=["killed", "stopped"])
async def test_a_cluster_of_six_that_loses_a_primary_under_load_fails_nobody(
    tmp_path: Path, loss: Callable[[Node], None], record_property: Callable[[str, Any], None]
) -> None:
    with Cluster(tmp_path).running() as cluster:
        async with standing(cluster.url) as stand:
            lost = cluster.owner(stand.name(0))
            await loses(stand.ask, lambda: loss(lost), lambda: cluster.replaced(lost), record_property)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [Node.kill, Node.stop], ids=["killed", "stopped"])
async def test_a_sentinel_set_that_loses_its_primary_under_load_fails_nobody(
    tmp_path: Path, loss: Callable[[Node], None], record_property: Callable[[str, Any], None]
) -> None:
    with SentinelSet(tmp_path).running() as sentinels:
        async with standing(sentinels.url) as stand:
            lost = sentinels.primary
            await loses(stand.ask, lambda: loss(lost), lambda: sentinels.primary is not lost, record_property)


async def loses(
    ask: Callable[[int], Awaitable[Outcome]],
    loss: Callable[[], None],
    replaced: Callable[[], bool],
    record_property: Callable[[str, Any], None],
) -> None:
    """Lose a primary under load, and have hits again soon after another has taken its place."""
    load = Load(lambda number: hits(ask, number))
    await load.run(9, [(1.5, loss), (1.5, lambda: wait_until(replaced))])
    lost, replaced_at = load.done_at
    healthy_ms = load.p99_ms(lost - 1, lost - 0.3)
    figures = {
        "p99 healthy": healthy_ms,
        "added p99 without primary": load.p99_ms(lost, replaced_at) - healthy_ms,
        "until replaced": 1000 * (replaced_at - lost),
        "hits after replaced": 1000 * load.resumed_after(replaced_at),
    }
    tell(figures, record_property)
    assert len(load.answers) > 0.95 * 9 * RATE_HZ
    assert figures["hits after replaced"] < 1000 * RESUMES_SECONDS
    assert max(took for _, took, _ in load.answers) < BOUND_SECONDS + SLACK_SECONDS


async def hits(ask: Callable[[int], Awaitable[Outcome]], number: int) -> bool:
    return await ask(number) is Outcome.HIT


def tell(figures: dict[str, float], record_property: Callable[[str, Any], None]) -> None:
    for name, milliseconds in figures.items():
        record_property(f"{name}, ms", round(milliseconds, 1))
        log.info("%s: %.1f ms", name, milliseconds)
