"""The cache: one computation however many ask, and nothing kept that is not whole."""

import asyncio
import time
from datetime import timedelta

import pytest

from sayonce.cache import Cache, Flight, Lookup, Made
from sayonce.cache.guard import CALLS_AT_ONCE
from sayonce.core.cache_control import Policy
from sayonce.core.outcome import Outcome
from sayonce.errors import EngineError, Failure, NotCached, StoreError, Unkeyable
from sayonce.stores.memory import MemoryStore
from sayonce.testing import FakeClock, FaultyStore
from tests.helpers.memory_leases import share


class Work:
    """A computation that counts its runs, sends chunks, and can be held before its last one."""

    def __init__(self, chunks=(b"one", b"two", b"three")):
        self.chunks = chunks
        self.runs = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure = None

    async def __call__(self, flight: Flight) -> Made:
        self.runs += 1
        flight.begin()
        for chunk in self.chunks[:-1]:
            flight.send(chunk)
        await self.gate.wait()
        if self.failure:
            raise self.failure
        flight.send(self.chunks[-1])
        return Made(body=b"".join(self.chunks))


@pytest.fixture
async def store():
    return FaultyStore()


@pytest.fixture
async def cache(store):
    async with Cache(store, clock=FakeClock(), budget_seconds=0.02) as cache:
        yield cache


async def listen(answer) -> bytes:
    if answer.entry is not None:
        return answer.entry.body
    return b"".join([chunk async for chunk in answer.flight.chunks()])


async def test_a_repeat_is_a_hit_and_computes_nothing(cache):
    work, key = Work(), cache.key("hello")
    first = await cache.answer(Lookup(key, work))
    assert (first.outcome, await listen(first)) == (Outcome.LED, b"onetwothree")
    await cache.settle()
    second = await cache.answer(Lookup(key, work))
    assert (second.outcome, second.tier, second.entry.body) == (Outcome.HIT, "memory", b"onetwothree")
    assert work.runs == 1


async def test_three_hundred_equal_lookups_at_once_compute_once(cache):
    work, key = Work(), cache.key("hello")
    answers = await asyncio.gather(*(cache.answer(Lookup(key, work)) for _ in range(300)))
    assert {await listen(answer) for answer in answers} == {b"onetwothree"}
    outcomes = [answer.outcome for answer in answers]
    assert (outcomes.count(Outcome.LED), outcomes.count(Outcome.JOINED)) == (1, 299)
    assert work.runs == 1


async def test_followers_hear_the_first_chunk_before_the_end(cache):
    work, key = Work(), cache.key("hello")
    work.gate.clear()
    leader = await cache.answer(Lookup(key, work))
    follower = await cache.answer(Lookup(key, work))
    heard = follower.flight.chunks()
    assert await anext(heard) == b"one"
    assert not leader.flight.done
    work.gate.set()
    assert [chunk async for chunk in heard] == [b"two", b"three"]


async def test_a_late_follower_starts_at_the_first_byte(cache):
    work, key = Work(), cache.key("hello")
    work.gate.clear()
    leader = await cache.answer(Lookup(key, work))
    early = leader.flight.chunks()
    assert [await anext(early), await anext(early)] == [b"one", b"two"]
    late = await cache.answer(Lookup(key, work))
    work.gate.set()
    assert await listen(late) == b"onetwothree"


async def test_a_slow_listener_delays_nobody(cache):
    work, key = Work(), cache.key("hello")
    leader = await cache.answer(Lookup(key, work))
    slow = leader.flight.chunks()
    assert await anext(slow) == b"one"
    assert await listen(await cache.answer(Lookup(key, work))) == b"onetwothree"
    assert [chunk async for chunk in slow] == [b"two", b"three"]


async def test_the_listener_that_began_a_flight_may_leave_and_the_others_hear_all(cache):
    work, key = Work(), cache.key("hello")
    work.gate.clear()

    async def ask():
        return await listen(await cache.answer(Lookup(key, work)))

    leader, follower = asyncio.create_task(ask()), asyncio.create_task(ask())
    while work.runs == 0:
        await asyncio.sleep(0)
    leader.cancel()
    await asyncio.wait([leader])
    work.gate.set()
    assert await follower == b"onetwothree"
    await cache.settle()
    assert cache.peek(key).body == b"onetwothree"


async def test_a_value_whose_only_listener_left_is_still_stored(cache):
    work, key = Work(), cache.key("hello")
    work.gate.clear()
    asker = asyncio.create_task(cache.answer(Lookup(key, work)))
    await asyncio.wait([asker])
    work.gate.set()
    await cache.settle()
    assert (await cache.answer(Lookup(key, work))).outcome is Outcome.HIT


async def test_a_failure_reaches_every_waiter_once_and_is_not_stored(cache):
    work, key = Work(), cache.key("hello")
    work.gate.clear()
    work.failure = EngineError("the engine broke")
    answers = [await cache.answer(Lookup(key, work)) for _ in range(5)]
    work.gate.set()
    results = await asyncio.gather(*map(listen, answers), return_exceptions=True)
    assert [str(error) for error in results] == ["the engine broke"] * 5
    await cache.settle()
    assert await cache.find(key) is None
    work.failure = None
    assert await listen(await cache.answer(Lookup(key, work))) == b"onetwothree"
    assert work.runs == 2


async def test_a_failure_before_the_first_chunk_is_raised_to_everyone_who_asked(cache):
    async def fails(_):
        raise EngineError("no")

    results = await asyncio.gather(
        *(cache.answer(Lookup(cache.key(1), fails)) for _ in range(3)), return_exceptions=True
    )
    assert [type(result) for result in results] == [EngineError] * 3


async def test_a_second_attempt_does_not_append_to_the_body_of_the_first(cache):
    work, key = Work(), cache.key("hello")
    work.failure = EngineError("broken off")
    with pytest.raises(EngineError):
        await listen(await cache.answer(Lookup(key, work)))
    await cache.settle()
    work.failure = None
    assert await listen(await cache.answer(Lookup(key, work))) == b"onetwothree"


class HeldStore(FaultyStore):
    """Holds its writes until told."""

    def __init__(self):
        super().__init__()
        self.may_write = asyncio.Event()

    async def put(self, entry):
        await self.may_write.wait()
        return await super().put(entry)


async def test_a_flight_lasts_until_its_write_has_landed():
    store = HeldStore()
    async with Cache(store, memory=MemoryStore(0), budget_seconds=60) as cache:
        work, key = Work(), cache.key("hello")
        assert await listen(await cache.answer(Lookup(key, work))) == b"onetwothree"
        late = await cache.answer(Lookup(key, work))
        assert (late.outcome, late.entry.body) == (Outcome.JOINED, b"onetwothree")
        store.may_write.set()
        await cache.settle()
        assert (await cache.answer(Lookup(key, work))).tier == "faulty"
        assert work.runs == 1


class LateStore(FaultyStore):
    """Its first look-up is answered only when told, with what was true when it was asked."""

    def __init__(self):
        super().__init__()
        self.may_answer = asyncio.Event()
        self.looked = 0

    async def get(self, key):
        self.looked += 1
        first = self.looked == 1
        entry = await super().get(key)
        if first:
            await self.may_answer.wait()
        return entry


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "among others"])
async def test_a_lookup_that_wins_a_flight_looks_in_the_store_again_before_it_computes(shared):
    store = LateStore()
    if shared:
        share(store, time.monotonic)
    async with Cache(store, memory=MemoryStore(0), budget_seconds=60) as cache:
        work, key = Work(), cache.key("hello")
        parents = (Lookup(cache.key("parent"), Work()),) if shared else ()  # what is derived has no lease of its own
        lookup = Lookup(key, lambda flight, *_: work(flight), parents=parents)
        slow = asyncio.create_task(cache.answer(lookup))
        while not store.looked:
            await asyncio.sleep(0)
        await listen(await cache.answer(lookup))
        await cache.settle()
        store.may_answer.set()
        assert (await slow).outcome is Outcome.HIT
        assert work.runs == 1


async def test_a_purge_during_a_flight_keeps_its_late_write_from_bringing_the_clip_back(cache, store):
    work, key = Work(), cache.key("hello")
    work.gate.clear()
    before = await cache.answer(Lookup(key, work, tags=["voice=alice"]))
    await cache.purge("voice=alice")
    after = await cache.answer(Lookup(key, work, tags=["voice=alice"]))
    assert after.outcome is Outcome.LED
    work.gate.set()
    assert [await listen(before), await listen(after)] == [b"onetwothree"] * 2
    await cache.settle()
    [(tag, epoch)] = cache.peek(key).tags
    assert (tag, epoch > 0, (await store.get(key)).tags) == ("voice=alice", True, ((tag, epoch),))


async def test_purging_a_tag_outdates_its_entries_and_no_others(cache):
    alice, bob = cache.key("alice"), cache.key("bob")
    await listen(await cache.answer(Lookup(alice, Work(), tags=["voice=alice"])))
    await listen(await cache.answer(Lookup(bob, Work(), tags=["voice=bob"])))
    await cache.settle()
    await cache.purge("voice=alice")
    assert await cache.find(alice) is None
    assert await cache.find(bob) is not None


async def test_another_instance_learns_of_a_purge_when_it_opens(store):
    async with Cache(store) as one:
        key = one.key("hello")
        await listen(await one.answer(Lookup(key, Work(), tags=["voice=alice"])))
        await one.settle()
        await one.purge("voice=alice")
    async with Cache(store) as other:
        assert await other.find(key) is None


@pytest.mark.parametrize("remove", ["delete", "clear"])
async def test_removing_a_key_during_its_flight_keeps_the_result_out_of_the_store(cache, remove):
    work, key = Work(), cache.key("hello")
    work.gate.clear()
    flight = await cache.answer(Lookup(key, work))
    await (cache.delete(key) if remove == "delete" else cache.clear())
    work.gate.set()
    assert await listen(flight) == b"onetwothree"
    await cache.settle()
    assert await cache.find(key) is None


async def test_entries_live_for_their_time_to_live_less_at_most_a_tenth():
    clock = FakeClock()
    lifetimes = []
    async with Cache(clock=clock, ttl=timedelta(hours=10)) as cache:
        for number in range(200):
            entry = await cache.fetch(number, lambda: b"x")
            lifetimes.append(entry.expires - clock.now)
        assert 9 * 3600 <= min(lifetimes) < 9.2 * 3600
        assert 9.8 * 3600 < max(lifetimes) <= 10 * 3600
        clock.advance(10 * 3600)
        assert cache.peek(cache.key(0)) is None


async def test_no_store_neither_reads_nor_keeps(cache):
    work, key = Work(), cache.key("hello")
    assert await listen(await cache.answer(Lookup(key, work))) == b"onetwothree"
    answer = await cache.answer(Lookup(key, work, policy=Policy(no_store=True)))
    assert (answer.outcome, await listen(answer)) == (Outcome.BYPASS, b"onetwothree")
    other = cache.key("another")
    await listen(await cache.answer(Lookup(other, work, policy=Policy(no_store=True))))
    await cache.settle()
    assert await cache.find(other) is None
    assert work.runs == 3


async def test_what_no_cache_makes_after_a_purge_at_another_instance_is_kept():
    store, work = FaultyStore(), Work()
    here, elsewhere = Cache(store), Cache(store)
    key = here.key("hello")
    await here.settle_view()
    await elsewhere.purge("voice=alice")
    answer = await here.answer(Lookup(key, work, Policy(no_cache=True), tags=("voice=alice",)))
    await answer.result()
    await here.settle()
    assert await here.find(key) is not None
    assert await elsewhere.find(key) is not None


async def test_no_cache_does_not_take_over_what_is_derived_of_an_earlier_value(cache):
    take, clip, gate = cache.key("take"), cache.key("clip"), asyncio.Event()
    work = Work()

    async def derive(flight, parent):
        entry = await parent.result()
        await gate.wait()
        return Made(body=entry.body)

    def lookup(policy):
        return Lookup(clip, derive, policy, parents=(Lookup(take, work, policy),))

    await (await cache.answer(Lookup(take, work))).result()
    work.chunks = (b"new",)
    earlier = asyncio.create_task(cache.answer(lookup(Policy())))
    await asyncio.sleep(0)
    anew = asyncio.create_task(cache.answer(lookup(Policy(no_cache=True))))
    await asyncio.sleep(0.01)
    gate.set()
    assert (await (await earlier).result()).body == b"onetwothree"
    assert (await (await anew).result()).body == b"new"
    assert ((await anew).outcome, work.runs) == (Outcome.LED, 2)


async def test_no_cache_computes_anew_and_stores_the_result(cache):
    key = cache.key("hello")
    await listen(await cache.answer(Lookup(key, Work([b"old", b""]))))
    await cache.settle()
    answer = await cache.answer(Lookup(key, Work([b"new", b""]), policy=Policy(no_cache=True)))
    assert (answer.outcome, await listen(answer)) == (Outcome.LED, b"new")
    await cache.settle()
    assert cache.peek(key).body == b"new"


async def test_only_if_cached_never_computes(cache):
    work, key = Work(), cache.key("hello")
    with pytest.raises(NotCached):
        await cache.answer(Lookup(key, work, policy=Policy(only_if_cached=True)))
    assert work.runs == 0


async def test_max_age_computes_anew_what_is_older(store):
    clock = FakeClock()
    async with Cache(store, clock=clock) as cache:
        work, key = Work(), cache.key("hello")
        await listen(await cache.answer(Lookup(key, work)))
        await cache.settle()
        clock.advance(100)
        assert (await cache.answer(Lookup(key, work, policy=Policy(max_age_seconds=100)))).outcome is Outcome.HIT
        assert (await cache.answer(Lookup(key, work, policy=Policy(max_age_seconds=99)))).outcome is Outcome.LED


async def test_max_age_does_not_join_a_flight_that_finds_what_is_older(store):
    clock = FakeClock()
    async with Cache(store, memory=MemoryStore(0), clock=clock) as cache:
        work, key = Work(), cache.key("hello")
        await listen(await cache.answer(Lookup(key, work)))
        await cache.settle()
        clock.advance(100)
        for seconds, runs in ((100, 1), (99, 2)):
            flight, _ = cache.begin(Lookup(key, work))  # which looks into the store
            answer = await cache.answer(Lookup(key, work, policy=Policy(max_age_seconds=seconds)))
            assert await listen(answer) == b"onetwothree"
            assert clock() - (await answer.result()).created <= seconds
            assert (flight.outcome, work.runs) == (Outcome.HIT, runs)
            await cache.settle()


@pytest.mark.parametrize(
    ("fault", "counted"),
    [
        ("hang", "timeout"),
        (StoreError("gone", failure=Failure.LOST), "lost"),
        (RuntimeError("a bug in the store"), "broken"),
    ],
)
async def test_a_failing_store_never_fails_a_request(cache, store, fault, counted):
    store.fault = fault
    for number in range(8):
        assert await listen(await cache.answer(Lookup(cache.key(number), Work()))) == b"onetwothree"
    await cache.settle()
    assert cache.counters[f"store errors: {counted}"] >= 3
    assert cache.store_state == "failing"


class Recording(FaultyStore):
    """Remembers what it was asked to remove, whether it does so or not."""

    def __init__(self):
        super().__init__()
        self.removed = []

    async def delete(self, key):
        self.removed.append(key)
        return await super().delete(key)


@pytest.mark.parametrize("fault", ["hang", StoreError("gone", failure=Failure.LOST)])
async def test_a_look_up_that_fails_does_not_cost_the_entry(fault):
    store = Recording()
    async with Cache(store, memory=MemoryStore(0), budget_seconds=0.02) as cache:
        key = cache.key("hello")
        await cache.fetch(key, lambda: b"kept")
        await cache.settle()
        store.fault = fault
        assert await cache.find(key) is None
        await cache.settle()
        store.fault = None
        assert ((await store.get(key)).body, store.removed) == (b"kept", [])


async def test_a_store_that_keeps_failing_is_not_asked_any_more(cache, store):
    store.fault = "down"
    for number in range(20):
        await listen(await cache.answer(Lookup(cache.key(number), Work())))
    await cache.settle()
    asked = store.asked
    await listen(await cache.answer(Lookup(cache.key("one more"), Work())))
    assert store.asked == asked


async def test_an_exhausted_pool_is_not_an_outage(cache, store):
    store.fault = StoreError("every connection is in use", failure=Failure.BUSY)
    for number in range(8):
        await listen(await cache.answer(Lookup(cache.key(number), Work())))
    assert cache.store_state == "ok"


async def test_a_busy_event_loop_is_not_a_slow_store():
    class Late(FaultyStore):
        async def get(self, key):
            answer = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(time.sleep, 0.1)  # other work, while the answer comes in
            asyncio.get_running_loop().call_later(0.005, answer.set_result, None)
            return await answer

    async with Cache(Late(), budget_seconds=0.02) as cache:
        assert await cache.find(cache.key("x")) is None
        assert "store errors: timeout" not in cache.counters


async def test_a_call_that_waited_for_a_slot_on_a_busy_event_loop_is_no_failure_of_the_store():
    class Slow(FaultyStore):
        gets = 0

        async def get(self, key):
            self.gets += 1
            if self.gets <= CALLS_AT_ONCE:
                return await asyncio.sleep(0.15)
            if self.gets == CALLS_AT_ONCE + 1:
                asyncio.get_running_loop().call_soon(time.sleep, 0.2)  # other work
            return await asyncio.Event().wait()

    async with Cache(Slow(), budget_seconds=0.2) as cache:
        asked = [cache.find(cache.key(number)) for number in range(2 * CALLS_AT_ONCE)]
        assert await asyncio.gather(*asked) == [None] * len(asked)
        assert cache.counters["store errors: busy"] >= CALLS_AT_ONCE  # they had their places for 50 ms of the budget
        assert "store errors: timeout" not in cache.counters
        assert cache.store_state == "ok"


async def test_time_in_which_the_event_loop_is_busy_is_no_part_of_the_budget():
    class Late(FaultyStore):
        async def get(self, key):
            time.sleep(0.3)  # other work, beyond the budget
            await asyncio.sleep(0.1)

    async with Cache(Late(), budget_seconds=0.2) as cache:
        assert await cache.find(cache.key("x")) is None
        assert "store errors: timeout" not in cache.counters


async def test_memory_still_hits_while_the_store_fails(cache, store):
    key = cache.key("hello")
    await listen(await cache.answer(Lookup(key, Work())))
    store.fault = "hang"
    assert (await cache.answer(Lookup(key, Work()))).tier == "memory"


async def test_a_document_without_exact_identity_is_refused(cache):
    with pytest.raises(Unkeyable, match="speed is nan"):
        await cache.fetch({"speed": float("nan")}, lambda: b"x")


async def test_a_value_without_exact_identity_is_named_by_its_path_in_the_document(cache):
    with pytest.raises(Unkeyable) as refused:
        cache.key({"parameters": {"seed": 2**64}})
    assert refused.value.param == "parameters.seed"


@pytest.mark.parametrize("kind", ["plain", "async", "made"])
async def test_fetch_takes_plain_and_async_functions(cache, kind):
    async def asynchronous():
        return b"value"

    compute = {"plain": lambda: b"value", "async": asynchronous, "made": lambda: Made(body=b"value")}[kind]
    assert (await cache.fetch("k", compute)).body == b"value"
    assert (await cache.fetch("k", lambda: b"other")).body == b"value"


async def test_fetch_refuses_to_keep_what_is_not_bytes(cache):
    with pytest.raises(TypeError, match="int"):
        await cache.fetch("k", lambda: 7)
    assert await cache.find(cache.key("k")) is None


async def test_namespaces_share_nothing(store):
    async with Cache(store, namespace="a") as a, Cache(store, namespace="b") as b:
        assert (await a.fetch("k", lambda: b"a")).body == b"a"
        assert (await b.fetch("k", lambda: b"b")).body == b"b"


async def test_lasting_counters_are_the_sum_of_every_life(store):
    for _ in range(2):
        async with Cache(store, memory=MemoryStore(0)) as cache:
            await cache.fetch("k", lambda: b"x")
            await cache.settle()
            await cache.fetch("k", lambda: b"x")
    totals = await store.totals()
    assert (totals["led"], totals["hit"]) == (1, 3)


async def test_closing_the_cache_finishes_its_flights(store):
    work = Work()
    work.gate.clear()
    cache = await Cache(store).open()
    key = cache.key("hello")
    await cache.answer(Lookup(key, work))
    asyncio.get_running_loop().call_soon(work.gate.set)
    await cache.close()
    assert (await store.get(key)).body == b"onetwothree"


@pytest.mark.parametrize("remove", ["delete", "clear"])
async def test_a_key_removed_at_one_instance_leaves_the_memory_of_the_others(store, remove):
    async with Cache(store) as one, Cache(store) as other:
        key = one.key("hello")
        await one.fetch(key, lambda: b"x")
        await one.settle()
        await other.find(key)
        assert other.peek(key) is not None
        await (one.delete(key) if remove == "delete" else one.clear())
        assert await other.find(key) is None


async def test_settling_waits_for_flights_no_longer_than_it_was_told(store):
    work = Work()
    work.gate.clear()
    cache = await Cache(store).open()
    answer = await cache.answer(Lookup(cache.key("hello"), work))
    await cache.settle(0.01)
    with pytest.raises(EngineError):
        await listen(answer)
    await cache.close()
