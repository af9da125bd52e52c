"""A flight that has landed leaves nothing behind, however it ended: its body goes with its last listener."""

import asyncio
import weakref

import pytest

from sayonce.cache import Cache, Lookup
from sayonce.cache.guard import Guard
from sayonce.core.cache_control import Policy
from sayonce.core.counters import Counts, Operation
from sayonce.core.envelope import Sealer
from sayonce.core.key import Secret
from sayonce.errors import EngineError
from sayonce.stores import open_store
from sayonce.testing import FaultyStore
from tests.helpers.chunked_work import Work, listen
from tests.helpers.landed import Landed, run_without_collector
from tests.helpers.serving import until


@pytest.fixture(params=["sqlite", "valkey"])
def url(request, tmp_path):
    return f"sqlite:///{tmp_path}/clips.db" if request.param == "sqlite" else request.getfixturevalue("valkey").url


def instance(url):
    return Cache(open_store(url, sealer=Sealer(Secret())), budget_seconds=5)


def test_what_a_computation_leaves_running_keeps_no_flight():
    """As a connection that was opened for it, a timer or a task."""
    run_without_collector(leaving_much_running())


async def leaving_much_running():
    async with Cache() as cache:
        landed, ending, endings = Landed(), asyncio.Event(), []

        async def work(flight):
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
            task, timer = loop.create_task(ending.wait()), loop.call_later(3600, ending.set)
            endings.extend([transport.close, task.cancel, timer.cancel])
            return await Work()(flight)

        await listen(await cache.answer(Lookup(cache.key("hello"), work)))
        await cache.settle()
        left = await landed.left()
        for end in endings:
            end()
        assert left == []


async def heard(cache, key, work):
    await listen(await cache.answer(Lookup(key, work)))


async def held_beyond_the_beginning_of_the_lease(cache, key, work):
    work.gate.clear()
    listening = asyncio.create_task(heard(cache, key, work))
    await until(lambda: "store calls: read" in cache.counters)  # it looks for followers
    work.gate.set()
    await listening


async def failing(cache, key, _):
    async def breaking_off(flight):
        flight.begin("audio/pcm")
        flight.send(b"one")
        raise EngineError("no voice")

    with pytest.raises(EngineError):
        await heard(cache, key, breaking_off)


async def left_alone(cache, key, work):
    work.gate.clear()
    answer = await cache.answer(Lookup(key, work, Policy(no_store=True)))
    await anext(answer.flight.chunks())
    answer.close()


@pytest.mark.parametrize("way", [heard, held_beyond_the_beginning_of_the_lease, failing, left_alone])
def test_a_flight_is_free_however_it_ended(url, way):
    run_without_collector(ending(url, way))


async def ending(url, way):
    async with instance(url) as cache:
        landed = Landed()
        for number in range(3):
            await way(cache, cache.key(number), Work())
        await cache.settle()
        assert await landed.left() == []


def test_flights_are_free_at_the_leader_and_at_its_follower(url):
    run_without_collector(following(url))


async def following(url):
    async with instance(url) as one, instance(url) as other:
        landed, work, key = Landed(), Work(), one.key("hello")
        work.gate.clear()
        leading = asyncio.create_task(heard(one, key, work))
        await until(lambda: work.runs)
        following = asyncio.create_task(heard(other, key, work))
        await until(lambda: "flights: followed" in other.counters)
        work.gate.set()
        await asyncio.gather(leading, following)
        assert work.runs == 1
        await asyncio.gather(one.settle(), other.settle())
        assert await landed.left() == []


def test_a_call_of_the_store_that_is_cancelled_keeps_nothing_of_its_caller():
    """As the renewal of a lease that ends: its error has frames, which have its deadline."""
    run_without_collector(cancelled_calls_are_free())


class Held:
    """What a caller has in its frame."""


async def cancelled_calls_are_free():
    guard = Guard(FaultyStore(), 60, Counts())
    held = Held()

    async def caller(_):
        await guard.call(Operation.RENEW, asyncio.Event().wait)

    calling = asyncio.create_task(caller(held))
    await asyncio.sleep(0)
    calling.cancel()
    await asyncio.wait([calling])
    kept = weakref.ref(held)
    del calling, held
    assert kept() is None
