"""What is kept of a value that was purged while it was computed, or that another process relayed."""

from __future__ import annotations

import msgspec
import pytest

from sayonce.cache import Cache, Flight
from sayonce.cache.made import Keep
from sayonce.core.relay import Ending
from sayonce.stores.memory import MemoryStore

TAGS = (("voice=alice", 0),)


@pytest.fixture(params=["memory alone", "store"])
async def cache(request, clock):
    async with Cache(MemoryStore(clock=clock) if request.param == "store" else None, clock=clock) as cache:
        yield cache


async def kept(cache, flight, entry, keep=Keep.EVERYWHERE):
    """Keep an entry; return what is told of that, and whether memory and the store have it."""
    await cache._tiers.keep(flight, entry, keep)
    assert flight.entry is entry  # heard in any case
    stored = cache.store is not None and await cache.store.get(entry.key) is not None
    return flight.landing.result(), cache.memory.peek(entry.key) is not None, stored


async def test_what_is_current_is_kept_in_memory_and_the_store(cache, make_entry):
    shared = cache.store is not None
    assert await kept(cache, Flight(1.0, TAGS), make_entry(tags=TAGS)) == (True, True, shared)
    assert await kept(cache, Flight(1.0, TAGS), make_entry(1, tags=TAGS), Keep.MEMORY) == (not shared, True, False)
    assert await kept(cache, Flight(1.0, TAGS), make_entry(2, tags=TAGS), Keep.NOWHERE) == (False, False, False)


@pytest.mark.parametrize("what", ["the flight's stamp", "the entry's tags", "the flight"])
async def test_what_was_purged_while_it_was_computed_is_kept_nowhere(cache, make_entry, what):
    """Its bytes would lie in memory and the store until they expire, and its answer would say that it is stored."""
    flight = Flight(1.0, TAGS if what == "the flight's stamp" else ())
    entry = make_entry(tags=TAGS if what == "the entry's tags" else ())
    if what == "the flight":
        flight.discarded = True
    else:
        await cache.purge("voice=alice")
    puts = []
    if cache.store is not None:
        cache.store.put = puts.append
    assert await kept(cache, flight, entry) == (False, False, False)
    assert puts == []


async def test_what_another_instance_made_of_a_key_that_was_removed_is_kept_nowhere(clock, make_entry):
    async with Cache(MemoryStore(clock=clock), clock=clock) as cache:
        entry = make_entry(tags=TAGS)
        await cache.delete(entry.key)
        assert await kept(cache, Flight(1.0, TAGS), entry) == (False, False, False)


@pytest.mark.parametrize("what", ["purge", "discard"])
async def test_what_is_purged_while_it_is_written_is_removed_again(clock, make_entry, what):
    store = MemoryStore(clock=clock)
    async with Cache(store, clock=clock) as cache:
        flight, put = Flight(1.0, TAGS), store.put

        async def meanwhile(entry):
            written = await put(entry)
            if what == "purge":
                await cache.purge("voice=alice")
            else:
                flight.discarded = True
            return written

        store.put = meanwhile
        told, _, stored = await kept(cache, flight, make_entry(tags=TAGS))
        assert (told, stored) == (False, False)


async def test_a_relayed_value_is_the_entry_that_the_store_has_or_that_was_told(clock, make_entry):
    async with Cache(MemoryStore(clock=clock), clock=clock) as cache:
        entry = make_entry(tags=TAGS)
        ending = Ending.of(len(entry.body), entry)

        async def relayed(ending, flight=None, key=entry.key):
            flight = flight or Flight(1.0, TAGS)
            return await cache._tiers.relayed(flight, key, ending, timeout_factor=1.0)

        assert await relayed(ending) is None  # nobody has it
        await cache.store.put(entry)
        discarded = Flight(1.0, TAGS)
        discarded.discarded = True
        assert await relayed(ending, discarded) == entry
        assert cache.memory.peek(entry.key) is None
        assert await relayed(Ending.of(5, msgspec.structs.replace(entry, body=b"other"))) is None
        assert await relayed(msgspec.structs.replace(ending, entry=make_entry(1))) is None  # of another key
        told = msgspec.structs.replace(ending, entry=entry)
        assert await relayed(told) == entry
        assert cache.memory.peek(entry.key) is None  # it was kept nowhere
        assert await relayed(ending) == entry
        assert cache.memory.peek(entry.key) == entry
