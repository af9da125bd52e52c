"""Removing a key: nothing that was made before is played after, however late or from where it comes back."""

import asyncio

import pytest

from sayonce.cache import Lookup, Made, Obeyed, known_purges
from sayonce.cache.purge_table import TABLE
from sayonce.core.epochs import ALL, Epochs, derived, key_tag
from sayonce.stores.redis.names import name_of, table_name
from sayonce.testing import FakeClock
from tests.helpers.instances import instance, say

KEYS = [bytes([number]) * 32 for number in range(8)]


async def test_a_late_write_is_not_played_after_the_removal_of_its_key_was_confirmed(valkey):
    """Its instance was told of nothing yet when a third one asked, and the connection to the store was slow."""
    async with instance(valkey.url) as one, instance(valkey.url) as slow, instance(valkey.url) as third:
        sent, arrives, write = asyncio.Event(), asyncio.Event(), slow.store._write

        async def late(*arguments):
            sent.set()
            await arrives.wait()
            return await write(*arguments)

        slow.store._write = late
        slow._stored.index._budget_seconds = 30.0  # it waits longer than it takes to purge
        assert await say(slow, "a", b"old") == (b"old", False)
        await sent.wait()
        assert (await one.remove(one.key("a"))).obeyed is Obeyed.EVERYWHERE
        arrives.set()
        while not valkey.client().exists(name_of(one.key("a"))):
            await asyncio.sleep(0)
        assert await say(third, "a", b"new") == (b"new", False)
        await slow.settle()
        assert await say(third, "a", b"newer") == (b"new", True)


async def test_bytes_that_are_put_back_after_the_removal_of_their_key_are_played_nowhere(valkey):
    async with instance(valkey.url) as one, instance(valkey.url) as other:
        await say(one, "a", b"old")
        await one.settle()
        name = name_of(one.key("a"))
        old = valkey.client().get(name)
        await one.remove(one.key("a"))
        valkey.client().set(name, old)
        async with instance(valkey.url) as newcomer:
            for cache in (one, other, newcomer):
                assert await cache.find(cache.key("a")) is None
        assert await say(other, "a", b"new") == (b"new", False)
        await other.settle()
        assert await say(one, "a", b"newer") == (b"new", True)


async def test_a_clip_derived_from_a_removed_take_goes_with_it_also_where_the_take_is_put_back(valkey):
    async with instance(valkey.url) as one, instance(valkey.url) as other:
        source, form = one.key("take"), one.key("form")

        async def speak(_):
            return Made(body=b"take")

        async def derive(_, take):
            return Made(body=(await take.result()).body + b"'s form")

        answer = await one.answer(Lookup(form, derive, parents=(Lookup(source, speak),)))
        assert (await answer.result()).body == b"take's form"
        await one.settle()
        old = valkey.client().get(name_of(form))
        await other.remove(source, form)
        valkey.client().set(name_of(form), old)
        for cache in (one, other):
            assert await cache.find(form) is None


def test_an_epoch_of_a_key_outdates_what_lies_under_it_and_nothing_else():
    epochs = Epochs()
    before = epochs.stamp(["voice=x"], KEYS[0])
    epochs.learn({key_tag(KEYS[0]): 5})
    after = epochs.stamp(["voice=x"], KEYS[0])
    assert not epochs.current(before, KEYS[0])
    assert epochs.current(before, KEYS[1])
    assert epochs.current(after, KEYS[0])
    assert not epochs.current(derived([(before, KEYS[0])]), KEYS[1])
    assert epochs.current(derived([(after, KEYS[0])]), KEYS[1])


def test_of_more_removed_keys_than_are_known_the_oldest_may_go_once_nothing_late_can_come():
    epochs = Epochs()
    epochs.learn({key_tag(key): (number + 1) * 1000 for number, key in enumerate(KEYS)})
    assert epochs.surplus(len(KEYS), before=100) == set()
    assert epochs.surplus(6, before=100) == {key_tag(KEYS[0]), key_tag(KEYS[1])}
    assert epochs.surplus(2, before=4) == {key_tag(key) for key in KEYS[:3]}


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(known_purges, "MAX_REMOVED_KEYS", 3)


async def test_more_keys_than_can_be_known_at_once_outdate_everything(valkey, few):
    async with instance(valkey.url) as one, instance(valkey.url) as other:
        await say(one, "other", b"old")
        await one.settle()
        for key in KEYS[:3]:
            await one.remove(key, wait=False)
        assert ALL not in one._invalidation.known.epochs.known
        await one.remove(KEYS[3])
        assert await other.find(other.key("other")) is None


async def test_the_record_of_a_key_removed_long_ago_makes_room(valkey, few):
    """It is not put back either by an instance that knows it."""
    clock = FakeClock(1_000_000.0)
    async with instance(valkey.url, clock=clock) as one, instance(valkey.url, clock=clock) as other:
        for number, key in enumerate(KEYS):
            await one.remove(key, wait=number % 4 == 3)
            clock.advance(3600.0)
        async with asyncio.timeout(10):
            while valkey.client().hlen(table_name(TABLE)) > 5:  # the memories, three keys, and the one that came last
                await asyncio.sleep(0.1)
        await asyncio.sleep(0.5)
        assert valkey.client().hlen(table_name(TABLE)) <= 5
        for cache in (one, other):
            assert ALL not in cache._invalidation.known.epochs.known
            assert key_tag(KEYS[-1]) in cache._invalidation.known.epochs.known


async def test_the_record_of_a_removed_key_that_the_table_loses_is_put_back(valkey):
    """An instance that starts then would otherwise play what was purged."""
    async with instance(valkey.url) as one:
        await say(one, "a", b"old", "voice=x")
        await one.purge("voice=x")
        page = table_name(TABLE)
        for _ in range(3):
            valkey.client().delete(page)
            async with asyncio.timeout(10):
                while not valkey.client().exists(page):
                    await asyncio.sleep(0.001)
