"""What another program has put under a name of ours: it is removed, and costs nobody else anything."""

import logging

import pytest

from sayonce.cache import Obeyed
from sayonce.cache.purge_table import TABLE
from sayonce.core.envelope import Sealer
from sayonce.core.key import Secret
from sayonce.stores import open_store
from sayonce.stores.redis.names import TOTALS, table_name
from tests.helpers.instances import instance, say


@pytest.fixture
async def store(valkey):
    store = open_store(valkey.url, sealer=Sealer(Secret()), budget_seconds=5)
    await store.open()
    yield store
    await store.close()


async def test_a_foreign_value_under_the_key_of_the_table_of_purges_is_removed_and_told_once(valkey, caplog):
    """No purge would reach another instance, for good."""
    async with instance(valkey.url) as one, instance(valkey.url) as other:
        for number in range(2):
            await say(other, number, b"old", "voice=x")
            valkey.client().delete(table_name(TABLE))
            valkey.client().set(table_name(TABLE), "x")
            with caplog.at_level(logging.WARNING, "sayonce.store"):
                assert await one.purge("voice=x") is Obeyed.EVERYWHERE
            assert await say(other, number, b"new", "voice=x") == (b"new", False)
    assert sum("was removed" in record.message for record in caplog.records) in (1, 2)  # by each instance at most once


@pytest.mark.parametrize("lies", ["string", "list"])
async def test_a_table_begins_anew_where_a_foreign_value_has_its_key(store, valkey, lies):
    for page in (table_name("voices"), TOTALS):
        valkey.client().set(page, "x") if lies == "string" else valkey.client().rpush(page, "x")
    await store.write_field("voices", "name", b"record")
    await store.count({"hit": 2})
    assert await store.read_table("voices") == {"name": b"record"}
    assert await store.totals() == {"hit": 2}


@pytest.mark.parametrize("planted", ["banana", "1e400", "inf", "9" * 400, ""])
async def test_a_total_that_is_no_number_costs_that_total_alone(store, valkey, planted):
    await store.count({"hit": 1, "led": 1})
    valkey.client().hset(TOTALS, "hit", planted)
    assert await store.totals() == {"led": 1}
    await store.count({"hit": 2, "led": 1})
    assert (await store.totals())["led"] == 2
    await store.count({"hit": 2})
    assert (await store.totals()).get("hit", 4) == 4


async def test_a_purge_is_not_called_done_where_the_table_cannot_be_read_in_time(valkey):
    """This instance can write its record, and others could not read it."""
    async with instance(valkey.url) as one:
        read_table = one.store.read_table

        async def slow(table):
            await read_table(table)
            raise TimeoutError

        one.store.read_table = slow
        assert await one.purge("voice=x") is Obeyed.HERE
        one.store.read_table = read_table
        assert await one.purge("voice=x") is Obeyed.EVERYWHERE


async def test_a_purge_is_not_called_done_where_its_record_was_accepted_and_is_not_there(valkey):
    async with instance(valkey.url) as one:
        swap = one.store.swap_field

        async def swallowed(table, name, old, new):
            return table == TABLE

        one.store.swap_field = swallowed
        assert await one.purge("voice=x") is Obeyed.HERE
        one.store.swap_field = swap
        assert await one.purge("voice=x") is Obeyed.EVERYWHERE
