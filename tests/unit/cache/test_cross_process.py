"""One computation between instances that share a store: Valkey, SQLite, and a store made for tests."""

import asyncio
import contextlib

import pytest

from sayonce.cache import Cache, Lookup, lease
from sayonce.cache.guard import CALLS_AT_ONCE
from sayonce.core.cache_control import Policy
from sayonce.core.envelope import Sealer
from sayonce.core.key import Secret
from sayonce.core.outcome import Outcome
from sayonce.core.relay import new_owner
from sayonce.errors import EngineError, Failure, StoreError
from sayonce.stores import open_store
from sayonce.stores.records import COMPUTATION
from sayonce.testing import FakeClock, FaultyStore
from tests.helpers.chunked_work import Work, listen
from tests.helpers.memory_leases import share


@pytest.fixture(params=["memory", "sqlite", "valkey"])
async def instances(request, tmp_path, monkeypatch):
    """Make caches that share a store, as separate processes would."""
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.4)
    common = FaultyStore()
    share(common, asyncio.get_running_loop().time)

    def store():
        if request.param == "memory":
            return common
        url = f"sqlite:///{tmp_path}/clips.db" if request.param == "sqlite" else request.getfixturevalue("valkey").url
        return open_store(url, sealer=Sealer(Secret()))

    async with contextlib.AsyncExitStack() as stack:

        async def instance() -> Cache:
            return await stack.enter_async_context(Cache(store(), budget_seconds=0.5))

        yield instance


async def test_requests_at_several_instances_are_one_computation(instances):
    caches = [await instances() for _ in range(4)]
    work = Work()
    key = caches[0].key("hello")
    answers = await asyncio.gather(*(cache.answer(Lookup(key, work)) for cache in caches for _ in range(25)))
    assert {await listen(answer) for answer in answers} == {b"onetwothreefour"}
    assert work.runs == 1
    outcomes = [answer.outcome for answer in answers]
    assert outcomes.count(Outcome.LED) == 1


async def test_a_follower_at_another_instance_hears_the_first_chunk_before_the_end(instances):
    one, other = await instances(), await instances()
    work, key = Work(), one.key("hello")
    work.gate.clear()
    await one.answer(Lookup(key, work))
    follower = await other.answer(Lookup(key, work))
    assert (follower.outcome, follower.media_type) == (Outcome.JOINED, "audio/pcm")
    heard = follower.flight.chunks()
    assert [await anext(heard), await anext(heard)] == [b"one", b"two"]
    work.gate.set()
    assert [chunk async for chunk in heard] == [b"three", b"four"]
    assert (await follower.result()).body == b"onetwothreefour"
    assert work.runs == 1


async def test_nothing_is_published_while_nobody_elsewhere_follows(instances):
    one = await instances()
    published, publish = [], one.store.records.publish

    async def noted(key, owner, part, records):
        published.extend(records)
        await publish(key, owner, part, records)

    one.store.records.publish = noted
    await listen(await one.answer(Lookup(one.key("hello"), Work())))
    await one.settle()
    assert published == []


async def die(cache):
    """End an instance's computation as SIGKILL would: nothing more is published, renewed or released."""
    cache._guard.call = cache._guard.done = lost
    leases = [task for task in asyncio.all_tasks() if task.get_coro().__qualname__.startswith("Lease.")]
    for task in (*leases, *cache._flights._tasks):
        task.cancel()


async def lost(*_, **__):
    return None


async def test_a_follower_takes_over_from_a_dead_leader_and_nobody_hears_a_short_clip(instances):
    one, other = await instances(), await instances()
    dead, alive = Work(), Work()
    dead.gate.clear()
    key = one.key("hello")
    await one.answer(Lookup(key, dead))
    follower = await other.answer(Lookup(key, alive))
    heard = follower.flight.chunks()
    assert await anext(heard) == b"one"
    await die(one)
    assert b"one" + b"".join([chunk async for chunk in heard]) == b"onetwothreefour"
    assert alive.runs == 1
    await other.settle()
    assert (await (await instances()).answer(Lookup(key, alive))).outcome is Outcome.HIT


async def test_a_successor_that_speaks_otherwise_is_never_spliced_onto_what_was_heard(instances):
    one, other = await instances(), await instances()
    dead, alive = Work(), Work(b"ONE", b"TWO", b"THREE", b"FOUR")
    dead.gate.clear()
    key = one.key("hello")
    await one.answer(Lookup(key, dead))
    follower = await other.answer(Lookup(key, alive))
    heard = follower.flight.chunks()
    assert await anext(heard) == b"one"
    await die(one)
    with pytest.raises(EngineError, match="ask once more"):
        [chunk async for chunk in heard]
    await other.settle()
    again = await other.answer(Lookup(key, alive))
    assert await listen(again) == b"ONETWOTHREEFOUR"


async def test_a_leaders_failure_is_not_passed_on_to_followers_in_other_processes(instances):
    one, other = await instances(), await instances()
    failing, sound = Work(), Work()
    failing.gate.clear()
    failing.failure = EngineError("out of memory")
    key = one.key("hello")
    leader = await one.answer(Lookup(key, failing))
    follower = await other.answer(Lookup(key, sound))
    failing.gate.set()
    with pytest.raises(EngineError):
        await listen(leader)
    assert await listen(follower) == b"onetwothreefour"


async def test_a_lease_is_released_when_the_computation_is_done(instances, monkeypatch):
    monkeypatch.setattr(lease, "LEASE_SECONDS", 60)
    one, other = await instances(), await instances()
    key = one.key("hello")
    await listen(await one.answer(Lookup(key, Work())))
    await one.settle()
    await one.delete(key)
    leases = other.store.leases
    assert await leases.acquire(key, "another", 60) == "another"
    await leases.release(key, "another")
    assert (await other.answer(Lookup(key, Work()))).outcome is Outcome.LED


async def test_a_lease_outlives_a_long_computation(instances):
    one, other = await instances(), await instances()
    work, key = Work(), one.key("hello")
    work.gate.clear()
    await one.answer(Lookup(key, work))
    await asyncio.sleep(1)  # more than two leases long; the lease is real time, as its store keeps it
    follower = asyncio.create_task(other.answer(Lookup(key, work)))
    await asyncio.sleep(0.1)
    work.gate.set()
    assert await listen(await follower) == b"onetwothreefour"
    assert work.runs == 1


async def test_a_lease_lasts_until_the_last_chunk_is_published(instances):
    one, other = await instances(), await instances()
    work, successor, key = Work(), Work(), one.key("hello")
    work.gate.clear()
    await one.answer(Lookup(key, work))
    follower = await other.answer(Lookup(key, successor))
    heard = follower.flight.chunks()
    assert [await anext(heard), await anext(heard)] == [b"one", b"two"]
    records = one.store.records
    publish = records.publish

    async def publish_late(*record):
        await asyncio.sleep(1)  # more than two leases long
        await publish(*record)

    records.publish = publish_late
    work.gate.set()
    assert [chunk async for chunk in heard] == [b"three", b"four"]
    assert successor.runs == 0


async def test_chunks_that_come_together_are_published_together(instances):
    one, other = await instances(), await instances()
    publish, published = one.store.records.publish, []

    async def counted(key, owner, part, records):
        if part == COMPUTATION:
            published.append(len(records))
        await publish(key, owner, part, records)

    one.store.records.publish = counted
    work, key = Work(*[b"chunk"] * 100), one.key("hello")
    work.gate.clear()
    await one.answer(Lookup(key, work))
    follower = await other.answer(Lookup(key, work))
    work.gate.set()
    assert await listen(follower) == 100 * b"chunk"
    await one.settle()
    assert sum(published) == 1 + 100 + 1
    assert len(published) < 10


async def test_the_winner_of_a_lease_looks_in_the_store_before_it_computes():
    class Slow(FaultyStore):
        async def get(self, wanted):
            await asyncio.sleep(0.1 if wanted == key else 0)
            return await super().get(wanted)

    store = Slow()
    share(store, FakeClock())
    async with Cache(store, budget_seconds=1) as one:
        key = one.key("hello")
        await listen(await one.answer(Lookup(key, Work())))
    async with Cache(store, budget_seconds=0.02) as other:
        assert (await other.answer(Lookup(key, Work()))).outcome is Outcome.HIT
        assert other.counters["store errors: timeout"] == 1  # the first look


async def test_following_another_process_takes_none_of_the_stores_slots(instances, monkeypatch):
    monkeypatch.setattr(lease, "LEASE_SECONDS", 5.0)  # so many are renewed late on a busy machine
    one, other = await instances(), await instances()
    known = one.key("known")
    await listen(await one.answer(Lookup(known, Work())))
    await one.settle()
    work = Work()
    work.gate.clear()
    keys = [one.key(number) for number in range(CALLS_AT_ONCE + 8)]
    await asyncio.gather(*(one.answer(Lookup(key, work)) for key in keys))
    followers = await asyncio.gather(*(other.answer(Lookup(key, work)) for key in keys))
    hit = await other.answer(Lookup(known, Work()))
    work.gate.set()
    assert ({follower.outcome for follower in followers}, hit.outcome) == ({Outcome.JOINED}, Outcome.HIT)
    assert {await listen(follower) for follower in followers} == {b"onetwothreefour"}


async def test_a_store_lost_during_a_flight_still_gives_everyone_their_clip():
    store = FaultyStore()
    share(store, FakeClock())
    async with Cache(store, budget_seconds=0.02) as one, Cache(store, budget_seconds=0.02) as other:
        work, key = Work(), one.key("hello")
        work.gate.clear()
        leader = await one.answer(Lookup(key, work))
        follower = await other.answer(Lookup(key, work))
        heard = follower.flight.chunks()
        assert await anext(heard) == b"one"
        store.fault = "hang"
        store.records.read = store.records.publish = store.leases.release = lambda *_: asyncio.Event().wait()
        work.gate.set()
        assert await listen(leader) == b"onetwothreefour"
        assert b"one" + b"".join([chunk async for chunk in heard]) == b"onetwothreefour"


async def test_a_no_cache_request_gets_its_own_computation_at_another_instance(instances):
    one, other = await instances(), await instances()
    key = one.key("hello")
    await listen(await one.answer(Lookup(key, Work())))
    await one.settle()
    new = Work(b"new", b"er", b"", b"")
    assert await listen(await other.answer(Lookup(key, new, policy=Policy(no_cache=True)))) == b"newer"


async def test_no_cache_does_not_take_over_what_another_instance_had_made_before(instances):
    one, other = await instances(), await instances()
    old, new, key = Work(), Work(b"new", b"er", b"", b""), one.key("hello")
    old.gate.clear()
    await one.answer(Lookup(key, old))
    follower = await other.answer(Lookup(key, new))
    read, asked = other.store.records.read, asyncio.Event()

    async def late(questions):
        await asked.wait()
        return await read(questions)

    other.store.records.read = late  # it hears of the end only after it was asked for a new one
    old.gate.set()
    await one.settle()
    anew = asyncio.create_task(other.answer(Lookup(key, new, policy=Policy(no_cache=True))))
    await asyncio.sleep(0)
    asked.set()
    assert await listen(follower) == b"onetwothreefour"
    assert (await listen(await anew), (await anew).outcome) == (b"newer", Outcome.LED)


async def test_a_store_that_is_too_full_for_a_lease_still_gives_what_it_has(instances):
    one, other = await instances(), await instances()
    key = one.key("hello")
    await listen(await one.answer(Lookup(key, Work())))
    await one.settle()

    async def full(*_):
        raise StoreError("OOM command not allowed", failure=Failure.FULL)

    other.store.leases.acquire = full
    work = Work()
    found, joined = other.begin(Lookup(key, work))  # which does not ask the store first
    assert (await found.result()).body == b"onetwothreefour"
    assert (found.outcome, joined, work.runs) == (Outcome.HIT, False, 0)


async def test_a_lease_that_nobody_gave_back_hides_nothing_that_is_stored(instances, monkeypatch):
    """As where a store that hung carries out what it was asked long ago: its holder is gone, and gives no sign of life."""
    monkeypatch.setattr(lease, "LEASE_SECONDS", 60.0)
    one, other = await instances(), await instances()
    key = one.key("hello")
    await listen(await one.answer(Lookup(key, Work())))
    await one.settle()
    gone = new_owner(Secret(), key)
    assert await one.store.leases.acquire(key, gone, 60.0) == gone
    work = Work()
    found, _ = other.begin(Lookup(key, work))  # which does not ask the store first
    assert (await asyncio.wait_for(found.result(), 2)).body == b"onetwothreefour"
    assert (found.outcome, work.runs) == (Outcome.HIT, 0)


@pytest.mark.parametrize("computing", [True, False], ids=["while it computes", "while the lease is on its way"])
async def test_a_flight_that_is_cancelled_at_the_end_of_its_process_leaves_no_lease(computing):
    store, work = FaultyStore(), Work()
    share(store, asyncio.get_running_loop().time)
    acquire, granted = store.leases.acquire, asyncio.Event()

    async def slowly(*request):
        holder = await acquire(*request)
        granted.set()
        await asyncio.sleep(0 if computing else 0.2)
        return holder

    async def release(*request, to=store.leases.release):
        await asyncio.sleep(0.01)  # as a server would
        await to(*request)

    store.leases.acquire, store.leases.release = slowly, release
    async with Cache(store, budget_seconds=0.5) as cache:
        work.gate.clear()
        key = cache.key("hello")
        asking = asyncio.create_task(cache.answer(Lookup(key, work)))
        await granted.wait()
        while computing and not work.runs:
            await asyncio.sleep(0)
        await cache.settle(timeout_seconds=0)
        await asyncio.wait([asking])
        assert (store.leases.holder(key), work.runs) == (None, computing)
