"""A flight: what its listeners hear, also from a second maker, when it is abandoned, and who may join it."""

from __future__ import annotations

import asyncio

import pytest

from sayonce.cache.flight import Flight, computing
from sayonce.cache.flights import Flights
from sayonce.cache.view import TRUST_SECONDS, View
from sayonce.core.audio_start import AudioStart
from sayonce.core.outcome import Outcome
from sayonce.errors import EngineError


async def heard(flight):
    return b"".join([chunk async for chunk in flight.chunks()])


def begun(*chunks):
    """A flight of a maker that is gone, of which listeners have the chunks."""
    flight = Flight(1.0)
    flight.begin(AudioStart(24_000))
    for chunk in chunks:
        flight.send(chunk)
    flight.restart()
    return flight


async def test_another_head_at_a_take_over_breaks_the_flight_off():
    """Listeners know one form of the body: samples of another rate behind it would be noise."""
    flight = begun(b"ab")
    for other in (AudioStart(22_050), AudioStart(24_000, channels=2), "audio/mpeg", None):
        with pytest.raises(EngineError, match="does not speak it the same way again"):
            flight.begin(other)
    assert flight.head == AudioStart(24_000)
    flight.begin(AudioStart(24_000))


async def test_after_a_take_over_listeners_hear_what_is_new_alone(make_entry):
    flight = begun(b"ab", b"cd")
    for chunk in (b"a", b"bcde", b"f"):
        flight.send(chunk)
    flight.finish(make_entry(body=b"abcdef"))
    assert await heard(flight) == b"abcdef"
    assert flight.held_bytes() == 12


@pytest.mark.parametrize("chunk", [b"x", b"abx", b"bb"])
async def test_after_a_take_over_another_byte_breaks_the_flight_off(chunk):
    with pytest.raises(EngineError, match="does not speak it the same way again"):
        begun(b"ab", b"cd").send(chunk)


async def test_after_a_take_over_a_shorter_value_is_a_failure_and_no_clean_end(make_entry):
    flight = begun(b"ab", b"cd")
    flight.send(b"abc")
    flight.finish(make_entry(body=b"abc"))
    assert flight.done
    assert flight.entry is None
    with pytest.raises(EngineError):
        await heard(flight)


async def test_an_empty_chunk_is_nothing_to_hear():
    flight = Flight(1.0)
    flight.send(b"")
    assert flight.held_bytes() == 0
    assert not flight.has_begun
    assert (flight.outcome, flight.tier, flight.head) == (Outcome.LED, None, None)


class Abandoned:
    def __init__(self, flight):
        self.times = 0
        flight.abandon = self

    def __call__(self):
        self.times += 1


async def test_a_private_flight_is_abandoned_when_its_last_listener_leaves_and_not_before():
    flight = Flight(1.0, private=True)
    abandoned = Abandoned(flight)
    flight.listen()
    flight.listen()
    flight.leave()
    assert abandoned.times == 0
    flight.leave()
    assert abandoned.times == 1


async def test_a_shared_flight_is_abandoned_while_it_is_queued_alone():
    flight = Flight(1.0)
    abandoned = Abandoned(flight)
    flight.listen()
    flight.leave()
    assert abandoned.times == 0
    flight.listen()
    with flight.queued():
        assert abandoned.times == 0
        flight.leave()
        assert abandoned.times == 1
    flight.listen()
    flight.leave()
    assert abandoned.times == 1


async def test_a_flight_that_nobody_listens_to_any_more_is_not_queued():
    flight = Flight(1.0)
    abandoned = Abandoned(flight)
    with flight.queued():
        assert abandoned.times == 1
    flight.begin()
    with flight.queued():
        assert abandoned.times == 1


async def test_a_flight_that_has_ended_is_not_abandoned(make_entry):
    flight = Flight(1.0, private=True)
    abandoned = Abandoned(flight)
    flight.listen()
    flight.finish(make_entry())
    flight.leave()
    assert abandoned.times == 0


async def test_a_failure_before_the_first_byte_is_raised_at_once_and_one_after_it_by_the_body():
    silent, speaking = Flight(1.0), Flight(1.0)
    silent.fail(EngineError("no voice"))
    with pytest.raises(EngineError, match="no voice"):
        await silent.begun()
    speaking.begin()
    speaking.send(b"ab")
    speaking.fail(EngineError("broke off"))
    await speaking.begun()
    for listen in (heard, Flight.result):
        with pytest.raises(EngineError, match="broke off"):
            await listen(speaking)


async def test_a_computation_that_asks_for_its_own_value_is_told_so_instead_of_waiting_for_ever(make_entry):
    outer, inner = Flight(1.0), Flight(1.0)
    computing([outer])
    with pytest.raises(RecursionError, match="asks for the value that it computes"):
        await outer.result()
    waits = asyncio.create_task(inner.result())
    await asyncio.sleep(0)
    assert outer.awaited == [inner]
    computing([inner])
    for wait in (outer.result, outer.begun):
        with pytest.raises(RecursionError):
            await wait()
    inner.finish(make_entry())
    assert (await waits).body == b"sound"
    assert outer.awaited == []
    computing([])
    outer.finish(make_entry())
    assert (await outer.result()).body == b"sound"


@pytest.fixture
def view():
    """What is known of purges, read a moment ago, by a clock that stands still until it is told."""
    now = [100.0]
    view = View(0.0, clock=lambda: now[0])
    view.read(100.0)
    return view, now


async def wait_for_ever():
    await asyncio.Event().wait()


async def test_a_flight_is_joined_while_nothing_of_it_was_purged_and_purges_are_known(view):
    view, now = view
    purged = set()
    flights = Flights(lambda stamp: stamp not in purged, view)
    flight = Flight(1.0, (("voice=anna", 0),), launched=view.now())
    flights.launch(flight, b"key", wait_for_ever())
    assert flights.joinable(b"other") is None
    assert flights.joinable(b"key") is flight
    now[0] += TRUST_SECONDS * 0.9
    view.failed(now[0])
    assert flights.joinable(b"key") is flight
    now[0] = 100.0 + TRUST_SECONDS  # a purge may have been confirmed that this instance cannot hear of
    assert not view.trusted
    assert flights.joinable(b"key") is None
    view.read(now[0])
    assert flights.joinable(b"key") is flight
    purged.add(flight.stamp)
    assert flights.joinable(b"key") is None
    await flights.settle(0)


async def test_an_abandoned_flight_ends_its_work_and_is_joined_no_more(view):
    flights = Flights(lambda stamp: True, view[0])
    flight, later = Flight(1.0), Flight(2.0)
    flights.launch(flight, b"key", wait_for_ever())
    abandon = flight.abandon
    abandon()
    assert flights.joinable(b"key") is None
    flights.launch(later, b"key", wait_for_ever())
    abandon()
    assert flights.joinable(b"key") is later
    with pytest.raises(EngineError, match="cancelled"):
        await flight.result()
    assert await flight.landing is False
    assert not flights.landed_lately(b"key")
    await flights.settle(0)
    assert flights.landed_lately(b"key")


async def test_a_private_flight_is_joined_by_nobody(view):
    flights = Flights(lambda stamp: True, view[0])
    flights.launch(Flight(1.0, private=True), b"key", wait_for_ever())
    assert flights.joinable(b"key") is None
    await flights.settle(0)


async def test_a_discarded_flight_is_heard_to_its_end_and_joined_no_more(view):
    flights = Flights(lambda stamp: True, view[0])
    one, other = Flight(1.0), Flight(1.0)
    flights.launch(one, b"one", wait_for_ever())
    flights.launch(other, b"other", wait_for_ever())
    flights.discard([b"unknown", b"one"])
    assert (one.discarded, other.discarded) == (True, False)
    assert (flights.joinable(b"one"), flights.joinable(b"other")) == (None, other)
    assert one.task is not None
    flights.discard_all()
    assert other.discarded
    await flights.settle(0)
    assert one.task is None


async def test_what_fails_unexpectedly_is_logged_once_and_told_to_the_listeners(view, caplog):
    async def fail(error):
        raise error

    flights = Flights(lambda stamp: True, view[0])
    expected, unexpected = Flight(1.0), Flight(1.0)
    flights.launch(expected, b"expected", fail(EngineError("no voice")))
    flights.launch(unexpected, b"unexpected", fail(ValueError("a bug")))
    await flights.settle()
    assert isinstance(expected.error, EngineError)
    assert isinstance(unexpected.error, ValueError)
    assert [each.name for each in caplog.records] == ["sayonce.cache"]
    assert "a bug" in caplog.text


async def test_nothing_is_computed_once_flights_are_closed(view):
    flights = Flights(lambda stamp: True, view[0])
    flights.closed = True
    work = wait_for_ever()
    with pytest.raises(RuntimeError):
        flights.launch(Flight(1.0), b"key", work)
    assert work.cr_frame is None  # closed, and no warning of a coroutine that nobody awaited
    assert flights.joinable(b"key") is None
