"""Purges between instances: none is lost, with any content of the table and any difference between clocks."""

import asyncio
import logging
import time
from functools import partial

import msgspec
import pytest

from sayonce.cache import Cache, Lookup, Obeyed
from sayonce.cache.guard import CALLS_AT_ONCE
from sayonce.cache.known_purges import MAX_PURGED_TAGS, Unwritten
from sayonce.cache.purge_table import TABLE
from sayonce.cache.workers_directory import WorkersDirectory
from sayonce.core.counters import Operation
from sayonce.core.envelope import Entry, Sealer
from sayonce.core.key import Secret
from sayonce.core.purges import PurgeRecords
from sayonce.errors import InvalidRequest
from sayonce.stores.redis.names import table_name
from sayonce.testing import FaultyStore
from tests.helpers.instances import SECRET, instance, say


@pytest.fixture
async def two(valkey):
    async with instance(valkey.url) as one, instance(valkey.url) as other:
        yield one, other


async def test_of_purges_at_the_same_moment_none_is_lost(two):
    """After a purge is confirmed, nothing that was computed before it is a hit at any instance."""
    one, other = two
    for number in range(100):
        wait = number % 10 == 0
        for what, cache in (("a", one), ("b", other)):
            await say(cache, what, b"old %d" % number, "voice=x")
        purges = [asyncio.create_task(each.purge("voice=x", wait=wait)) for each in two]
        await asyncio.sleep(0)  # both have chosen their numbers, and what follows is computed between
        for what, cache in (("c", one), ("d", other)):
            await say(cache, what, b"old %d" % number, "voice=x")
        expected = Obeyed.EVERYWHERE if wait else Obeyed.SOON
        assert await asyncio.gather(*purges) == [expected] * 2
        if not wait:
            await asyncio.gather(*(each._invalidation.read() for each in two))
        for what in "abcd":
            for cache in two:
                said, _ = await say(cache, what, b"new %d" % number, "voice=x")
                assert said == b"new %d" % number or (what in "cd" and said == b"old %d" % number), (what, number)
        last = [await one.purge("voice=x", wait=False)]
        await asyncio.gather(*(each._invalidation.read() for each in two))
        assert last == [Obeyed.SOON]
        assert (await say(other, "c", b"newest", "voice=x"))[0] == b"newest"
        await other.purge("voice=x", wait=False)


async def test_a_tag_that_is_purged_right_after_everything_is_outdated_where_both_are_read_at_once(two):
    one, other = two
    await other._invalidation.read()
    read, other._invalidation.read = other._invalidation.read, pausing  # nothing is read between the two
    await asyncio.sleep(0.3)
    await one.remove_all(wait=False)
    await say(one, "a", b"old", "voice=x")
    await one.settle()
    await one.purge("voice=x", wait=False)
    other._invalidation.read = read
    await read()
    assert await say(other, "a", b"new", "voice=x") == (b"new", False)


async def test_what_others_purged_is_read_though_requests_have_every_slot_of_the_store():
    """And what a purge asks for is done, and written: without it nothing that is stored could answer those requests."""
    store, called = FaultyStore(), []
    async with Cache(store, budget_seconds=0.02) as one, Cache(store, budget_seconds=0.02) as other:
        one.watch("book=voices", partial(noting, called))
        await one._invalidation.read()
        store.fault = "away"
        assert await one.purge("voice=mine", wait=False) is Obeyed.HERE
        store.fault = None
        await other.purge("book=voices", wait=False)
        never = asyncio.Event()
        ask = partial(one._guard.call, Operation.GET, never.wait, timeout_factor=1000)
        requests = [asyncio.create_task(ask()) for _ in range(2 * CALLS_AT_ONCE)]
        await asyncio.sleep(0)
        asked = one.view.now()
        await one._invalidation.read()
        assert (called, one.view.covers(asked), one.store_state) == (["called"], True, "ok")
        assert not one._invalidation.known.unwritten
        never.set()
        await asyncio.gather(*requests)


async def noting(called):
    called.append("called")


async def pausing():
    """Stand in for a reading that is not made."""


async def test_a_purge_holds_also_where_another_instances_clock_is_ahead(valkey):
    """The one that is ahead has chosen a higher number and not written it yet, and computes under it."""
    async with instance(valkey.url) as one, instance(valkey.url, clock=lambda: time.time() + 60) as ahead:
        await one.purge("voice=x", wait=False)
        await ahead._invalidation.read()
        held, write = asyncio.Event(), ahead._invalidation._table.write

        async def late(tag, epoch):
            await held.wait()
            return await write(tag, epoch)

        ahead._invalidation._table.write = late
        purging = asyncio.create_task(ahead.purge("voice=x", wait=False))
        await asyncio.sleep(0)
        assert await say(ahead, "a", b"old", "voice=x") == (b"old", False)
        await one.purge("voice=x", wait=False)
        held.set()
        await purging
        await ahead._invalidation.read()
        assert await say(ahead, "a", b"new", "voice=x") == (b"new", False)


async def test_of_keys_that_are_removed_at_the_same_moment_each_leaves_every_memory(two):
    one, other = two
    for number in range(10):
        for cache in two:
            assert await say(cache, f"a{number}", b"old") in ((b"old", False), (b"old", True))
            await say(cache, f"b{number}", b"old")
            await cache.settle()
        await asyncio.gather(
            one.remove(one.key(f"a{number}"), wait=False), other.remove(other.key(f"b{number}"), wait=False)
        )
        await asyncio.gather(*(each._invalidation.read() for each in two))
        assert (await say(other, f"a{number}", b"new"))[0] == b"new"
        assert (await say(one, f"b{number}", b"new"))[0] == b"new"


async def test_a_watched_table_is_read_again_though_this_instance_wrote_the_higher_number(two):
    """Two uploads at once: each instance reads the names anew, although it wrote the higher number itself."""
    one, other = two
    read = {one: 0, other: 0}
    for cache in two:

        async def watched(cache=cache):
            read[cache] += 1

        cache.watch("book=voices", watched)
    for number in range(1, 11):
        before = dict(read)
        await asyncio.gather(*(cache.announce("book=voices", wait=False) for cache in two))
        await asyncio.gather(*(each._invalidation.read() for each in two))
        assert all(read[cache] > before[cache] for cache in two), number


async def test_a_request_after_a_removal_joins_no_computation_that_began_before_it(two):
    one, other = two
    begun, gate, key = asyncio.Event(), asyncio.Event(), one.key("k")

    async def slow(flight):
        from sayonce.cache import Made

        flight.begin()
        begun.set()
        await gate.wait()
        return Made(body=b"old")

    under_way = asyncio.create_task(one.answer(Lookup(key, slow)))
    await begun.wait()
    assert (await other.remove(key)).obeyed is Obeyed.EVERYWHERE
    after = asyncio.create_task(say(other, "k", b"new"))
    done, _ = await asyncio.wait([after], timeout=2)
    assert done, "it waits for the old one"
    assert after.result() == (b"new", False)
    gate.set()
    assert (await (await under_way).result()).body == b"old"  # whoever listened before hears it to its end
    await one.settle()
    for cache in two:
        assert (await say(cache, "k", b"newer"))[0] in (b"new", b"newer")


def mistaken(records):
    """Return what this secret has sealed under the digest of one tag, with the record of another as its body."""
    body = msgspec.msgpack.encode(("", "voice=z", 2**60))
    key = bytes.fromhex(records.field("voice=y"))
    return Sealer(SECRET).seal(Entry(key=key, body=body, media_type="", created=1.0, expires=2.0**62))


BAD = {
    "no field of ours": lambda records, cache: ("x", b"notanumber"),
    "garbage": lambda records, cache: (records.field("voice=y"), b"\0garbage" * 30),
    "another secret": lambda records, cache: (
        records.field("voice=y"),
        PurgeRecords(Sealer(Secret(b"another")), "", cache.key).sealed("voice=y", 2**60, 1.0),
    ),
    "moved": lambda records, cache: (records.field("voice=y"), records.sealed("voice=z", 2**60, 1.0)),
    "sealed for one tag, and of another": lambda records, cache: (records.field("voice=y"), mistaken(records)),
}


@pytest.mark.parametrize("bad", BAD)
async def test_a_bad_record_of_a_purge_costs_itself_and_is_counted_and_told_once(two, valkey, caplog, bad):
    one, other = two
    records = PurgeRecords(Sealer(SECRET), "", one.key)
    field, value = BAD[bad](records, one)
    with valkey.client() as client, caplog.at_level(logging.WARNING, "sayonce.cache"):
        client.hset(table_name(TABLE), field, value)
        for _ in range(5):
            await other._invalidation.read()
        assert sum(other.counters[name] for name in other.counters if name.startswith("refused")) == 1
        await say(other, "a", b"old", "voice=x")
        await say(other, "b", b"old", "voice=y")
        assert await one.purge("voice=x", "voice=y") is Obeyed.EVERYWHERE
        assert await say(other, "a", b"new", "voice=x") == (b"new", False)
        assert await say(other, "b", b"new", "voice=y") == (b"new", False)
    told = [record for record in caplog.records if "record of a purge" in record.getMessage()]
    assert 1 <= len(told) <= 2  # each instance tells it once


async def test_the_purges_of_another_namespace_are_neither_obeyed_nor_refused(valkey):
    async with instance(valkey.url) as one, instance(valkey.url, namespace="other") as other:
        await say(other, "a", b"old", "voice=x")
        await one.purge("voice=x", wait=False)
        await other._invalidation.read()
        assert await say(other, "a", b"new", "voice=x") == (b"old", True)
        assert not [name for name in other.counters if name.startswith("refused")]


async def test_an_older_genuine_record_that_is_put_back_changes_nothing(two, valkey):
    one, other = two
    await one.purge("voice=x", wait=False)
    with valkey.client() as client:
        old = client.hgetall(table_name(TABLE))
        await say(other, "a", b"old", "voice=x")
        await one.purge("voice=x")
        client.hset(table_name(TABLE), mapping=old)
        await asyncio.gather(*(each._invalidation.read() for each in two))
        assert await say(other, "a", b"new", "voice=x") == (b"new", False)
    async with instance(valkey.url) as fresh:
        assert (await say(fresh, "a", b"newest", "voice=x"))[0] != b"old"


async def test_tags_of_a_purge_are_bounded_and_the_error_names_the_field(two):
    one, _ = two
    for tags in (["voice=" + "x" * 1200], [""], ["voice=x"] * 65):
        with pytest.raises(InvalidRequest) as refused:
            await one.purge(*tags)
        assert refused.value.param == "tags"


@pytest.mark.parametrize("kind", ["redis", "sqlite"])
async def test_more_than_a_thousand_tags_become_a_purge_of_everything_and_the_table_shrinks(valkey, tmp_path, kind):
    url = valkey.url if kind == "redis" else f"sqlite:///{tmp_path}/clips.db"
    async with instance(url) as one, instance(url) as other:
        await say(other, "a", b"old", "voice=never named")
        for first in range(0, MAX_PURGED_TAGS + 1, 50):
            await one.purge(*(f"voice={number}" for number in range(first, first + 50)), wait=False)
        await other._invalidation.read()
        assert await say(other, "a", b"new", "voice=never named") == (b"new", False)
        until = time.monotonic() + 20
        while len(await one.store.read_table(TABLE)) > 60:
            assert time.monotonic() < until, len(await one.store.read_table(TABLE))
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.5)
        assert len(await one.store.read_table(TABLE)) <= 60  # and nobody puts them back
        await say(one, "b", b"kept", "voice=another")
        await one.purge("voice=x", wait=False)
        assert await say(one, "b", b"again", "voice=another") == (b"kept", True)  # a tag is only a tag again
        await other.purge("voice=another", wait=False)
        await one._invalidation.read()
        assert (await say(one, "b", b"again", "voice=another"))[0] == b"again"


def test_a_workers_file_of_purges_is_read_though_two_changes_share_a_time_stamp(tmp_path, monkeypatch):
    import os

    one = WorkersDirectory(tmp_path)
    other = WorkersDirectory(tmp_path)
    other._name += "-other"
    for number in range(3):
        one.leave(Unwritten({"voice=x": number}, set()))
        path = tmp_path / one._name
        os.utime(path, ns=(1, 1))
        assert [told.epochs for told in other.read()] == [{"voice=x": number}]
        assert list(other.read()) == []
