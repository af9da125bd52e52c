"""Computations may wait for one another, more of them than there are threads: all are made, and no call is kept waiting."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import sayonce
from sayonce.cache import sync
from sayonce.cache.threads import COMPUTATIONS, Threads
from tests.helpers.voice_samples import SAMPLES, reference

MANY = 4 * COMPUTATIONS


@pytest.fixture
async def cache():
    async with sayonce.open("memory://") as cache:
        yield cache


@pytest.fixture
def plain(monkeypatch):
    """A cache for plain code that computes two values at once."""
    monkeypatch.setattr(sync, "_COMPUTATIONS", 2)
    with sayonce.open_sync("memory://") as cache:
        yield cache


def every(threads, function, numbers):
    """Call a function for every number, in as many threads as needed; a deadlock is a failure."""
    with ThreadPoolExecutor(threads) as pool:
        return [asked.result(20) for asked in [pool.submit(function, number) for number in numbers]]


def test_more_callers_than_threads_whose_values_need_others_all_have_theirs(plain):
    begun = threading.Barrier(2)

    @plain.remember("inner", revision="1")
    def inner(x: int) -> int:
        return x + 1

    @plain.remember("outer", revision="1")
    def outer(x: int) -> int:
        begun.wait(10)  # every place is taken
        return inner(x) * 10

    assert every(20, outer, range(20)) == [(x + 1) * 10 for x in range(20)]


def test_a_remembered_value_may_need_other_remembered_values_to_any_depth(plain):
    @plain.remember("sum", revision="1")
    def total(x: int) -> int:
        return x + total(x - 1) if x else 0

    assert total(100) == 5050


def test_a_queued_value_is_computed_for_the_running_computations_that_need_it(plain):
    gate = threading.Event()

    @plain.remember("inner", revision="1")
    def inner(x: int) -> int:
        return x + 1

    @plain.remember("outer", revision="1")
    def outer(x: int) -> int:
        assert gate.wait(10)
        return inner(7) + x

    with ThreadPoolExecutor(20) as pool:
        needing = [pool.submit(outer, number) for number in range(10)]
        alone = [pool.submit(inner, 7) for _ in range(10)]
        gate.set()
        assert [asked.result(20) for asked in needing] == [8 + number for number in range(10)]
        assert {asked.result(20) for asked in alone} == {8}


async def test_plain_functions_within_an_event_loop_may_need_one_another(cache):
    loop = asyncio.get_running_loop()

    @cache.remember("inner", revision="1")
    def inner(x: int) -> int:
        return x + 1

    @cache.remember("outer", revision="1")
    def outer(x: int) -> int:
        return asyncio.run_coroutine_threadsafe(inner(x), loop).result() * 10

    async with asyncio.timeout(20):
        found = await asyncio.gather(*map(outer, range(MANY)), *map(inner, range(MANY)))
    assert found[:MANY] == [(x + 1) * 10 for x in range(MANY)]


async def test_values_of_one_cache_may_need_those_of_another(cache, plain):
    @plain.remember("inner", revision="1")
    def inner(x: int) -> int:
        return x + 1

    @cache.remember("outer", revision="1")
    def outer(x: int) -> int:
        return inner(x) * 10

    async with asyncio.timeout(20):
        assert await asyncio.gather(*map(outer, range(MANY))) == [(x + 1) * 10 for x in range(MANY)]


async def test_callers_who_take_every_thread_of_the_event_loop_have_their_values(cache):
    embed = sayonce.adapters.generic.wrap(
        lambda audio: np.zeros(3), cache, name="speaker", revision="1", audio=("audio",)
    )
    references = [reference(SAMPLES + number) for number in range(MANY)]
    async with asyncio.timeout(20):
        await asyncio.gather(*(asyncio.to_thread(embed, each) for each in references))
    assert cache.counters["led"] == MANY


async def test_long_computations_do_not_delay_stored_values(cache):
    gate = threading.Event()

    @cache.remember("slow", revision="1")
    def slow(x: int) -> int:
        assert gate.wait(20)
        return x

    @cache.remember("speaker", revision="1", audio=("audio",))
    def embed(audio: bytes) -> int:
        return len(audio)

    await embed(reference())
    held = [asyncio.create_task(slow(number)) for number in range(MANY)]
    await asyncio.sleep(0.05)
    async with asyncio.timeout(10):
        assert await embed(reference()) == len(reference())
    assert not any(task.done() for task in held)
    gate.set()
    assert await asyncio.gather(*held) == list(range(MANY))


async def test_no_more_computations_run_at_once_than_there_are_threads(cache):
    gate, running = threading.Event(), []

    @cache.remember("f", revision="1")
    def busy(x: int) -> int:
        running.append(x)
        assert gate.wait(20)
        return x

    asked = [asyncio.create_task(busy(number)) for number in range(MANY)]
    async with asyncio.timeout(10):
        while len(running) < COMPUTATIONS:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert sorted(running) == list(range(COMPUTATIONS))
    gate.set()
    assert await asyncio.gather(*asked) == list(range(MANY))


async def test_a_computation_that_is_given_up_before_its_turn_hands_the_turn_on():
    threads, gate = Threads(1), threading.Event()
    first = asyncio.create_task(threads.compute(gate.wait, 10))
    given_up, last = (asyncio.create_task(threads.compute(int)) for _ in range(2))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([given_up])
    assert not last.done()
    gate.set()
    assert (await first, await asyncio.wait_for(last, 10)) == (True, 0)
    threads.close()


async def test_a_turn_that_comes_as_its_computation_is_given_up_is_handed_on():
    threads = Threads(1)
    given_up = asyncio.create_task(threads.compute(int))
    await asyncio.sleep(0)  # it has its turn, and does not know yet
    given_up.cancel()
    await asyncio.wait([given_up])
    assert await asyncio.wait_for(threads.compute(int), 10) == 0
    threads.close()
