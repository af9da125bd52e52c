import asyncio

import pytest

from sayonce.errors import EngineBusy
from sayonce.speech.engines.runtime.slots import Slots


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class Callers:
    """Callers that keep their slot until they are told to leave."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.speaking = 0
        self.leave = asyncio.Event()

    async def call(self) -> None:
        async with self.slots:
            self.speaking += 1
            try:
                await self.leave.wait()
            finally:
                self.speaking -= 1


async def test_no_more_utterances_are_spoken_at_once_than_there_are_slots():
    callers = Callers(Slots(2, 3))
    tasks = [asyncio.create_task(callers.call()) for _ in range(5)]
    await settle()
    assert (callers.speaking, callers.slots.waiting, callers.slots.taken) == (2, 3, 5)
    callers.leave.set()
    await asyncio.gather(*tasks)
    assert (callers.slots.waiting, callers.slots.taken) == (0, 0)


async def test_an_utterance_beyond_the_engines_queue_is_refused_at_once():
    callers = Callers(Slots(1, 1))
    tasks = [asyncio.create_task(callers.call()) for _ in range(2)]
    await settle()
    with pytest.raises(EngineBusy, match="1 speaking and 1 waiting") as busy:
        await callers.call()
    assert busy.value.retry_after_seconds == 1
    callers.leave.set()
    await asyncio.gather(*tasks)
    await callers.call()


async def test_an_engine_without_a_queue_refuses_an_utterance_when_no_slot_is_free():
    callers = Callers(Slots(1, 0))
    task = asyncio.create_task(callers.call())
    await settle()
    with pytest.raises(EngineBusy):
        await callers.call()
    callers.leave.set()
    await task


async def test_a_cancelled_waiter_frees_its_place_in_the_queue():
    callers = Callers(Slots(1, 1))
    first, second = (asyncio.create_task(callers.call()) for _ in range(2))
    await settle()
    second.cancel()
    await settle()
    third = asyncio.create_task(callers.call())
    await settle()
    assert callers.slots.taken == 2
    callers.leave.set()
    await asyncio.gather(first, third)


async def test_a_cancelled_or_failed_speaker_frees_its_slot():
    callers = Callers(Slots(1, 1))
    first, second = (asyncio.create_task(callers.call()) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    assert (callers.speaking, callers.slots.taken) == (1, 1)
    callers.leave.set()
    await second


async def test_the_hint_when_to_retry_follows_how_often_a_slot_gets_free(clock):
    slots = Slots(1, 0, clock=clock)
    for _ in range(30):
        async with slots:
            clock.advance(20)
    async with slots:
        with pytest.raises(EngineBusy) as busy:
            await slots.__aenter__()
    assert busy.value.retry_after_seconds == 20


async def test_the_hint_is_bounded_and_time_without_work_does_not_count(clock):
    slots = Slots(1, 0, clock=clock)
    for seconds in (2.0, 10_000.0):
        for _ in range(30):
            async with slots:
                clock.advance(seconds)
            clock.advance(5_000)
        async with slots:
            with pytest.raises(EngineBusy) as busy:
                await slots.__aenter__()
        assert busy.value.retry_after_seconds == min(seconds, 60)


async def test_queued_utterances_move_up_when_slots_are_added():
    callers = Callers(Slots(1, 3))
    tasks = [asyncio.create_task(callers.call()) for _ in range(4)]
    await settle()
    callers.slots.resize(3)
    await settle()
    assert (callers.speaking, callers.slots.waiting) == (3, 1)
    callers.leave.set()
    await asyncio.gather(*tasks)
    assert callers.slots.taken == 0


async def test_with_fewer_slots_utterances_go_on_and_none_begins_before_a_slot_is_free():
    callers = Callers(Slots(3, 2))
    tasks = [asyncio.create_task(callers.call()) for _ in range(4)]
    await settle()
    callers.slots.resize(1)
    assert (callers.speaking, callers.slots.waiting) == (3, 1)
    for leaving, waiting in ((0, 1), (1, 1), (2, 0)):
        tasks[leaving].cancel()
        await settle()
        assert callers.slots.waiting == waiting
    assert callers.speaking == 1
    waits = asyncio.create_task(callers.call())
    await settle()
    assert (callers.speaking, callers.slots.waiting) == (1, 1)
    callers.leave.set()
    await asyncio.gather(tasks[3], waits)


@pytest.mark.parametrize("order", ["admitted, then cancelled", "cancelled, then admitted"])
async def test_a_waiter_that_is_admitted_and_cancelled_at_one_moment_takes_no_slot_with_it(order):
    callers = Callers(Slots(1, 1))
    first, second = (asyncio.create_task(callers.call()) for _ in range(2))
    await settle()
    steps = [lambda: callers.slots.resize(2), second.cancel]
    for step in steps if order.startswith("admitted") else reversed(steps):
        step()
    await settle()
    assert (callers.slots.speaking, callers.slots.waiting) == (1, 0)
    callers.leave.set()
    await first
    assert callers.slots.taken == 0


async def behind(slots: Slots, leave: asyncio.Event, order: list[str], name: str, on_hurry=lambda _: None) -> None:
    async with slots.behind(on_hurry):
        order.append(name)
        await leave.wait()


async def in_front(slots: Slots, order: list[str], name: str) -> None:
    async with slots:
        order.append(name)


async def test_what_nobody_waits_for_lets_all_others_pass_and_takes_one_slot_at_a_time():
    slots, leave, order = Slots(2, 3), asyncio.Event(), []
    tasks = [asyncio.create_task(behind(slots, leave, order, name)) for name in ("a", "b")]
    await settle()
    assert (order, slots.speaking, slots.waiting) == (["a"], 1, 0)
    held = Callers(slots)
    tasks += [asyncio.create_task(held.call()), asyncio.create_task(in_front(slots, order, "person"))]
    await settle()
    assert (slots.speaking, slots.waiting) == (2, 1)
    leave.set()
    held.leave.set()
    await asyncio.gather(*tasks)
    assert order == ["a", "person", "b"]
    assert slots.taken == 0


async def test_what_somebody_comes_to_wait_for_moves_from_behind_into_the_queue_of_all_others():
    slots, leave, order, hurries = Slots(1, 3), asyncio.Event(), [], []
    held = Callers(slots)
    tasks = [asyncio.create_task(held.call())]
    await settle()
    tasks += [asyncio.create_task(behind(slots, leave, order, name, hurries.append)) for name in ("a", "b")]
    await settle()
    hurries[1]()
    hurries[1]()  # which changes nothing more
    tasks.append(asyncio.create_task(in_front(slots, order, "person")))
    await settle()
    assert slots.waiting == 2
    leave.set()
    held.leave.set()
    await asyncio.gather(*tasks)
    assert order == ["b", "person", "a"]
    assert slots.taken == 0


async def test_as_many_may_wait_behind_as_the_queue_holds_and_one_that_leaves_frees_its_turn():
    slots, leave, order = Slots(1, 1), asyncio.Event(), []
    first, second = (asyncio.create_task(behind(slots, leave, order, name)) for name in ("a", "b"))
    await settle()
    with pytest.raises(EngineBusy):
        await behind(slots, leave, order, "c")
    second.cancel()
    await settle()
    third = asyncio.create_task(behind(slots, leave, order, "d"))
    await settle()
    first.cancel()
    await settle()
    assert order == ["a", "d"]
    third.cancel()
    await settle()
    assert slots.speaking == 0
    leave.set()
    await behind(slots, leave, order, "e")
    assert order == ["a", "d", "e"]


async def test_nothing_waits_behind_for_longer_than_the_rest():
    slots = Slots(1, 1, wait_seconds=0.01)
    async with slots:
        with pytest.raises(EngineBusy, match="nothing became free"):
            await behind(slots, asyncio.Event(), [], "a")
    assert slots.taken == 0
