"""The turn of one flight between processes: when it is led, followed, taken over, and computed without the others."""

from __future__ import annotations

import asyncio

import pytest

from sayonce.cache import Cache, Flight, Lookup
from sayonce.cache.cross_process import Doubt, NotBelieved, Turn, Unanswered
from sayonce.core.breaker import Breaker
from sayonce.core.counters import Counter, FlightPart, Operation
from sayonce.core.decision import Computing
from sayonce.core.outcome import Outcome
from sayonce.errors import StoreError
from sayonce.testing import FaultyStore
from tests.helpers.chunked_work import Work, listen
from tests.helpers.memory_leases import share

KEY = bytes(32)


@pytest.fixture
async def others():
    """What the flights of a process share with others, over a store that nobody else uses."""
    store = FaultyStore()
    share(store, asyncio.get_running_loop().time)
    async with Cache(store) as cache:
        yield cache._shared_flights()


def broken_off(turn, error):
    """Let a turn follow a holder until an error."""

    async def follow(holder):
        raise error

    turn._holder, turn._follow = "holder", follow
    return turn.follow()


async def test_a_flight_without_others_is_computed_here():
    flight = Flight(1.0)
    turn = Turn(None, flight, KEY)
    assert (turn.computing, turn.timeout_factor, turn.given_up) == (Computing.ALONE, 1.0, False)
    turn.lead()
    assert flight.outcome is Outcome.LED


async def test_a_flight_that_followed_nobody_takes_nothing_over(others):
    turn = Turn(others, Flight(1.0), KEY)
    assert (turn.computing, turn.given_up) == (Computing.UNDECIDED, False)
    assert turn.timeout_factor > 1
    await turn.acquire()
    assert turn.computing is Computing.LEASED
    turn.lead()
    assert others.counts[Counter.FLIGHTS, FlightPart.TAKEN_OVER] == 0
    assert (await asyncio.gather(turn.__aexit__())) == [None]


async def test_what_was_followed_before_is_taken_over_and_what_was_heard_comes_again(others):
    flight = Flight(1.0)
    flight.credit(Outcome.JOINED, None)
    flight.begin()
    flight.send(b"ab")
    Turn(others, flight, KEY).lead()
    assert others.counts[Counter.FLIGHTS, FlightPart.TAKEN_OVER] == 1
    assert flight.outcome is Outcome.LED
    flight.send(b"abc")
    assert flight.held_bytes() == 3


async def test_another_process_has_the_lease_until_it_gives_it_back(others):
    one, other = Turn(others, Flight(1.0), KEY), Turn(others, Flight(1.0), KEY)
    async with one:
        await one.acquire()
        await other.acquire()
        assert (one.computing, other.computing) == (Computing.LEASED, Computing.ELSEWHERE)
    await other.acquire()
    assert other.computing is Computing.LEASED
    await other.__aexit__()


@pytest.mark.parametrize("hung", ["claim", "release"])
async def test_a_lease_that_the_store_kept_for_nobody_is_taken_by_the_next_flight_of_its_process(
    others, hung, monkeypatch
):
    """A store that hangs gives a lease that nobody waits for any more, or does not hear that it was given back."""
    claim = others.leases.claim

    async def given_in_vain(*asked):
        await claim(*asked)
        raise StoreError("no answer")

    async def unheard(*_):
        raise StoreError("no answer")

    with monkeypatch.context() as hanging:
        hanging.setattr(others.leases, "release", unheard)
        if hung == "claim":
            hanging.setattr(others.leases, "claim", given_in_vain)
        async with Turn(others, Flight(1.0), KEY) as turn:
            await turn.acquire()
            assert turn.computing is (Computing.ALONE if hung == "claim" else Computing.LEASED)
    others.guard.breaker = Breaker()  # the store answers again
    async with Turn(others, Flight(1.0), KEY) as turn:
        await turn.acquire()
        assert turn.computing is Computing.LEASED


async def test_a_store_that_takes_nothing_new_is_asked_for_no_lease(others):
    others.guard.unwritable = "full"
    turn = Turn(others, Flight(1.0), KEY)
    await turn.acquire()
    assert (turn.computing, turn.given_up) == (Computing.ALONE, False)


async def test_a_store_that_does_not_answer_is_followed_no_more(others):
    turn = Turn(others, Flight(1.0), KEY)
    assert await broken_off(turn, Unanswered()) is None
    assert (turn.computing, turn.given_up) == (Computing.ALONE, True)


@pytest.mark.parametrize(
    ("doubts", "given_up"),
    [
        ([Doubt.FORGED] * 2, False),
        ([Doubt.FORGED] * 3, True),
        ([Doubt.OUTDATED] * 2, False),
        ([Doubt.UNANSWERED], False),
        ([Doubt.UNANSWERED, Doubt.FORGED], True),
    ],
)
async def test_a_flight_breaks_few_leases_before_it_computes_without_one(others, doubts, given_up):
    """Somebody who plants them again and again must not keep a listener waiting."""
    turn = Turn(others, Flight(1.0), KEY)
    for doubt in doubts:
        await others.leases.acquire(KEY, "holder", 60)
        assert await broken_off(turn, NotBelieved(doubt)) is None
        assert await others.leases.acquire(KEY, "next", 60) == "next"  # it was broken
        await others.leases.release(KEY, "next")
    assert turn.given_up is given_up
    assert turn.computing is (Computing.ALONE if given_up else Computing.UNDECIDED)
    assert sum(others.counts[Counter.FLIGHTS, doubt] for doubt in set(doubts)) == len(doubts)


async def test_what_no_instance_does_by_itself_is_told_once_a_minute(others, caplog, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("sayonce.cache.cross_process.time.monotonic", lambda: now[0])
    others.doubt(Doubt.OUTDATED)
    assert caplog.records == []
    others.doubt(Doubt.FORGED)
    now[0] += 59.9
    others.doubt(Doubt.UNANSWERED)
    assert ["altered, or made without this secret" in each.message for each in caplog.records] == [True]
    now[0] += 0.1
    others.doubt(Doubt.UNANSWERED)
    assert "no sign of life for 5 s" in caplog.records[-1].message
    assert [each.name for each in caplog.records] == ["sayonce.cache"] * 2


async def test_each_call_of_the_store_in_a_shared_flight_is_counted_by_its_operation():
    """Dashboards tell a busy lease from a busy read by it."""
    store = FaultyStore()
    share(store, asyncio.get_running_loop().time)
    async with Cache(store, budget_seconds=5) as one, Cache(store, budget_seconds=5) as other:
        work, key = Work(), one.key("hello")
        work.gate.clear()
        await one.answer(Lookup(key, work))
        follower = await other.answer(Lookup(key, work))
        work.gate.set()
        assert await listen(follower) == b"onetwothreefour"
        await one.settle()
        await other.settle()
        led, followed = ({key[2] for key in cache.counts if key[0] is Counter.STORE_CALLS} for cache in (one, other))
    assert led >= {Operation.ACQUIRE, Operation.READ, Operation.PUBLISH, Operation.PUT, Operation.RELEASE}
    assert followed >= {Operation.ACQUIRE, Operation.READ, Operation.PUBLISH, Operation.GET}
    assert all(isinstance(each, Operation) for each in led | followed)
