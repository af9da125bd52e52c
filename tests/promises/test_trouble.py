"""A Redis in trouble: callers get the right sound, a little later, and hits come back by themselves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from sayonce.cache import Flight, Lookup, Made
from sayonce.cache.guard import CALLS_AT_ONCE, WRITING_BYTES, Guard
from sayonce.core.counters import Counter, Counts, Operation
from sayonce.core.outcome import Outcome
from sayonce.errors import Failure
from sayonce.testing import FakeClock, FaultyStore
from tests.helpers.deployments import Node
from tests.helpers.faults import (
    OUTAGES,
    REFUSED_WRITES,
    Fault,
    Scene,
    damaged,
    killed,
    on_the_wire,
    password_set,
    stopped,
)
from tests.helpers.store_in_trouble import BOUND_SECONDS, BUDGET_SECONDS, KNOWN, SLACK_SECONDS, sound, standing
from tests.helpers.tcp_proxy import wire_to

AFTER_PROBES_SECONDS = 1.3
"""Long enough for two probes to fail."""


@pytest.fixture(scope="module")
def shared_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("trouble"), "--enable-debug-command", "yes").running() as node:
        yield node


@pytest.fixture
async def scene(shared_node: Node) -> AsyncIterator[Scene]:
    shared_node.call("FLUSHALL")
    async with wire_to(shared_node.port) as wire:
        yield Scene(shared_node, wire)


def said(caplog: pytest.LogCaptureFixture, what: str) -> int:
    return sum(what in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("fault", OUTAGES.values(), ids=OUTAGES.keys())
async def test_an_outage_costs_no_more_than_the_bound_and_hits_resume_by_themselves(
    scene: Scene, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sayonce.store")
    async with standing(scene.wire.url) as stand:
        await stand.fill()
        with fault(scene):
            assert Outcome.LED in await stand.ask_all(range(40))
            await stand.cache.settle()
            assert stand.cache.store_state == "failing"
            assert stand.slowest_seconds < BOUND_SECONDS + SLACK_SECONDS
            stand.slowest_seconds = 0
            for number in range(20):  # and from then on it costs nothing, also while it is tried again
                await stand.ask(number)
                await asyncio.sleep(AFTER_PROBES_SECONDS / 20)
            assert stand.slowest_seconds < BUDGET_SECONDS
            assert stand.cache.store_state == "failing"
            assert said(caplog, "circuit breaker opened") == 1
        await stand.hits_again()
        await stand.hits_all_again()
        assert stand.cache.store_state == "ok"
        assert (said(caplog, "circuit breaker opened"), said(caplog, "answers again")) == (1, 1)


@pytest.mark.parametrize("fault", REFUSED_WRITES.values(), ids=REFUSED_WRITES.keys())
async def test_a_redis_that_takes_no_writes_still_gives_hits_and_says_so_once(
    scene: Scene, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    async with standing(scene.node.url) as stand:
        await stand.fill()
        with fault(scene):
            for _ in range(5):
                assert await stand.ask_all(KNOWN) == {Outcome.HIT}
                assert await stand.ask_all(range(100, 120)) == {Outcome.LED}
                await stand.cache.settle()
            assert stand.cache.store_state == "unwritable"
            assert stand.cache.counters["store errors: full"] >= 100
            assert said(caplog, "takes no new values") == 1
            assert stand.slowest_seconds < BOUND_SECONDS + SLACK_SECONDS
        await stand.ask(100)
        await stand.cache.settle()
        assert await stand.ask(100) is Outcome.HIT
        assert stand.cache.store_state == "ok"
        assert said(caplog, "takes new values again") == 1


async def test_a_delay_within_the_budget_is_only_a_delay(scene: Scene) -> None:
    async with standing(scene.wire.url) as stand:
        await stand.fill()
        with on_the_wire(scene, delay_seconds=BUDGET_SECONDS / 5):
            assert await stand.ask_all(KNOWN) == {Outcome.HIT}
            assert BUDGET_SECONDS / 5 <= stand.slowest_seconds < BUDGET_SECONDS + SLACK_SECONDS
        assert stand.cache.store_state == "ok"


async def test_more_requests_than_connections_only_wait_and_are_no_outage(scene: Scene) -> None:
    budget_seconds = 10 * BUDGET_SECONDS
    async with standing(scene.wire.url, budget_seconds=budget_seconds) as stand:
        await stand.fill()
        with on_the_wire(scene, delay_seconds=2 * BUDGET_SECONDS):
            await stand.ask_all(range(8 * CALLS_AT_ONCE))
            await stand.cache.settle()
        assert stand.cache.store_state == "ok"
        assert stand.cache.counters["store errors: busy"] > 0
        assert stand.slowest_seconds < 40 * budget_seconds


async def test_damaged_values_are_misses_that_heal(scene: Scene) -> None:
    async with standing(scene.node.url) as stand:
        await stand.fill()
        with damaged(scene):
            assert await stand.ask_all(KNOWN) == {Outcome.LED}
            await stand.cache.settle()
            assert stand.cache.store_state == "ok"
            assert await stand.ask_all(KNOWN) == {Outcome.HIT}


@pytest.mark.parametrize("jump_seconds", [86_400, -86_400])
async def test_a_clock_that_jumps_fails_nobody(scene: Scene, clock: FakeClock, jump_seconds: float) -> None:
    async with standing(scene.node.url, clock=clock) as stand:
        await stand.fill()
        clock.advance(jump_seconds)
        await stand.ask_all(KNOWN)
        await stand.cache.settle()
        assert await stand.ask_all(KNOWN) == {Outcome.HIT}
        clock.advance(-jump_seconds)
        await stand.ask_all(KNOWN)
        await stand.cache.settle()
        assert await stand.ask_all(KNOWN) == {Outcome.HIT}
        assert stand.cache.store_state == "ok"


async def test_a_wrong_password_at_the_start_is_said_without_it(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    url = scene.node.url.replace("redis://", "redis://default:hunter2@")
    with password_set(scene):
        async with standing(url) as stand:
            assert await stand.ask_all(range(20)) == {Outcome.LED}
            await stand.cache.settle()
            assert stand.cache.store_state == "failing"
    assert said(caplog, "AuthenticationError: invalid username-password pair") == 1
    assert "hunter2" not in caplog.text


async def test_a_store_that_is_down_at_the_start_is_found_later(scene: Scene) -> None:
    with killed(scene):
        stack = contextlib.AsyncExitStack()
        stand = await stack.enter_async_context(standing(scene.node.url))
        assert await stand.ask_all(range(20)) == {Outcome.LED}
    await stand.hits_again()
    await stack.aclose()


# -- writes ------------------------------------------------------------------------------------------------------------


async def test_writes_never_delay_an_answer(scene: Scene) -> None:
    async with standing(scene.node.url) as stand:
        await stand.fill()
        with contextlib.ExitStack() as stack:
            made_at = 0.0

            async def lead(_: Flight) -> Made:
                nonlocal made_at
                stack.enter_context(stopped(scene))
                made_at = time.perf_counter()
                return Made(body=sound(100))

            answer = await stand.cache.answer(Lookup(stand.cache.key(100), lead))
            assert (await answer.result()).body == sound(100)
            assert time.perf_counter() - made_at < BUDGET_SECONDS / 2
            await stand.cache.settle()
            assert stand.cache.counters["store errors: timeout"] > 0


async def test_writes_that_pile_up_on_a_slow_store_are_bounded_and_counted() -> None:
    store, counts = FaultyStore(), Counts()
    guard = Guard(store, 60, counts)
    blocked = asyncio.Event()
    size = WRITING_BYTES // 10
    writes = [asyncio.create_task(guard.done(Operation.PUT, blocked.wait, size_bytes=size)) for _ in range(15)]
    await asyncio.sleep(0)
    blocked.set()
    assert sorted(await asyncio.gather(*writes)) == [False] * 5 + [True] * 10
    assert counts[Counter.STORE_WRITES_DROPPED, "store"] == 5
    assert await guard.done(
        Operation.PUT, blocked.wait, size_bytes=10 * WRITING_BYTES
    )  # a single one, however large, has its chance


async def test_no_call_waits_once_the_circuit_breaker_of_the_store_has_opened() -> None:
    store = FaultyStore()
    guard = Guard(store, 0.02, Counts())
    patient = asyncio.create_task(guard.call(Operation.GET, asyncio.Event().wait, timeout_factor=1000))
    await asyncio.sleep(0)
    store.fault = "hang"
    async with asyncio.timeout(2):
        assert await guard.call(Operation.GET, lambda: store.get(bytes(32))) is None
        assert not guard.breaker.open  # one failure is none
        assert await patient is None
    assert guard.breaker.open


async def test_a_call_with_a_long_timeout_is_given_up_with_the_store_though_nobody_else_asks() -> None:
    store = FaultyStore()
    store.fault = "hang"
    guard = Guard(store, 0.1, Counts())
    began = time.monotonic()
    assert await guard.call(Operation.GET, asyncio.Event().wait, timeout_factor=1000) is None
    assert time.monotonic() - began < 5 * 0.1 + SLACK_SECONDS
    assert guard.breaker.open


async def test_a_call_with_a_long_timeout_waits_while_the_store_answers_others() -> None:
    store = FaultyStore()
    guard = Guard(store, 0.02, Counts())
    assert await guard.call(Operation.GET, lambda: asyncio.sleep(0.5, "slow"), timeout_factor=1000) == "slow"
    assert store.asked  # beside it, whether it answers at all
    assert not guard.breaker.open


async def test_one_call_that_fails_is_no_outage_where_the_store_answers_the_next() -> None:
    store = FaultyStore()
    guard = Guard(store, 0.02, Counts())
    for _ in range(4):
        assert await guard.call(Operation.GET, asyncio.Event().wait) is None
        await asyncio.sleep(0.01)  # the store is asked again beside, and answers
    assert not guard.breaker.open


async def test_waiting_for_one_of_the_stores_slots_is_not_an_outage() -> None:
    counts = Counts()
    guard = Guard(FaultyStore(), 0.02, counts)
    never = asyncio.Event()
    patient = [
        asyncio.create_task(guard.call(Operation.GET, never.wait, timeout_factor=10)) for _ in range(CALLS_AT_ONCE)
    ]
    await asyncio.sleep(0)
    assert await guard.call(Operation.GET, never.wait) is None
    assert counts[Counter.STORE_ERRORS, "store", Failure.BUSY] == 1
    assert not guard.breaker.open
    never.set()
    await asyncio.gather(*patient)
