"""Foreign writes in Redis: reads of them are bounded, and a table that cannot be read is told and not taken for empty."""

import asyncio
import json
import logging
import resource
import time

import pytest

from sayonce.cache import Cache, Obeyed
from sayonce.cache.purge_table import TABLE as PURGES
from sayonce.core.envelope import Entry, Refused, Sealer
from sayonce.core.key import Secret
from sayonce.core.purges import PurgeRecords
from sayonce.errors import Failure, StoreError
from sayonce.speech.voice_names import TABLE as VOICES
from sayonce.speech.voice_names import VoiceNames
from sayonce.stores import open_store
from sayonce.stores.redis.names import TOTALS, name_of, table_name
from sayonce.stores.redis.protocol import MAX_VALUE_BYTES
from sayonce.stores.tables import BOUNDS, FIELD_BYTES, TableBound, bound_of
from tests.helpers.gateway_to_upstream import gateway, speak, was_refused
from tests.helpers.instances import SECRET, instance, say
from tests.helpers.redis_stores import fill_table
from tests.helpers.serving import serving, until
from tests.helpers.stub_engines import Cloner
from tests.helpers.uploaded_voices import upload


@pytest.fixture
async def store(valkey):
    store = open_store(valkey.url, sealer=Sealer(Secret()), budget_seconds=5)
    await store.open()
    yield store
    await store.close()


def entry(number, body=b"sound"):
    now = time.time()
    return Entry(key=bytes([number]) * 32, body=body, media_type="audio/wav", created=now, expires=now + 60)


async def test_a_value_beyond_the_bound_is_refused_and_commands_behind_it_are_answered(store, valkey):
    for number in range(4):
        await store.put(entry(number))
    await store.get(entry(0).key)
    with valkey.client() as client:
        client.set(name_of(entry(2).key), b"x" * (MAX_VALUE_BYTES + 1))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(5):
            found = await asyncio.gather(*(store.get(entry(n).key) for n in range(4)), return_exceptions=True)
            assert isinstance(found[2], Refused), found[2]
            assert [each.body for each in (*found[:2], found[3])] == [b"sound"] * 3
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000
    await store.put(entry(2))
    assert (await store.get(entry(2).key)).body == b"sound"


async def test_a_value_too_long_to_be_read_again_is_not_written_and_that_is_told_once(store, caplog):
    with caplog.at_level(logging.WARNING, "sayonce.store"):
        assert not await store.put(entry(1, bytes(MAX_VALUE_BYTES)))
        assert not await store.put(entry(1, bytes(MAX_VALUE_BYTES)))
        assert await store.get(entry(1).key) is None
        assert await store.put(entry(1, bytes(MAX_VALUE_BYTES - 1000)))
        assert await store.get(entry(1).key) is not None
    assert len([each for each in caplog.records if "is not kept" in each.getMessage()]) == 1


@pytest.mark.parametrize("table", [PURGES, VOICES, "another"])
async def test_a_table_reads_a_long_value_as_empty_and_leaves_a_long_name_out(store, valkey, table):
    await store.write_field(table, "ours", b"record")
    with valkey.client() as client:
        client.hset(table_name(table), "long", bytes(bound_of(table).value_bytes + 1))
        client.hset(table_name(table), "x" * (FIELD_BYTES + 1), "value")
    assert await store.read_table(table) == {"ours": b"record", "long": b""}
    assert await store.read_field(table, "long") == b""
    assert not await store.swap_field(table, "long", None, b"new")
    assert await store.swap_field(table, "long", b"", b"new")
    assert await store.read_field(table, "long") == b"new"


@pytest.mark.parametrize("what", ["fields", "bytes"])
async def test_a_table_beyond_its_bound_is_an_error_that_is_told_once_until_it_is_read_again(
    store, valkey, caplog, monkeypatch, what
):
    monkeypatch.setitem(BOUNDS, PURGES, TableBound(10 if what == "fields" else 1000, 100, 1000))
    await store.write_field(PURGES, "ours", b"record")
    with valkey.client() as client, caplog.at_level(logging.WARNING, "sayonce.store"):
        client.hset(table_name(PURGES), mapping={f"garbage {number}": bytes(100) for number in range(10)})
        for _ in range(3):
            with pytest.raises(StoreError, match=what) as raised:
                await store.read_table(PURGES)
            assert raised.value.failure is Failure.BEYOND
        assert what in store.unread[PURGES]
        client.hdel(table_name(PURGES), *(f"garbage {number}" for number in range(10)))
        assert await store.read_table(PURGES) == {"ours": b"record"}
        assert store.unread == {}
    assert [each.levelname for each in caplog.records if each.name == "sayonce.store"] == ["ERROR", "WARNING"]


async def test_totals_are_read_though_fields_in_their_table_are_no_numbers(store, valkey):
    await store.count({"hits": 2, "saved_seconds": 0.25})
    with valkey.client() as client:
        client.hset(TOTALS, mapping={"a": "many", "b": b"\xff" * 9, "c": "1" * 10_000, b"\xff": "nan", "d": "1e400x"})
    totals = await store.totals()
    assert (totals["hits"], totals["saved_seconds"], len(totals)) == (2, 0.25, 2)


async def test_a_long_record_of_a_purge_costs_itself_and_the_next_purge_replaces_it(valkey):
    async with instance(valkey.url) as one, instance(valkey.url) as other:
        field = PurgeRecords(Sealer(SECRET), "", one.key).field("voice=x")
        with valkey.client() as client:
            client.hset(table_name(PURGES), field, bytes(5_000_000))
        await say(other, "a", b"old", "voice=x")
        assert await one.purge("voice=x") is Obeyed.EVERYWHERE
        assert await say(other, "a", b"new", "voice=x") == (b"new", False)


async def test_while_the_table_of_purges_cannot_be_read_that_is_shown_and_no_purge_is_called_done(valkey):
    async with serving(Cloner(), store=valkey.url) as client:
        with valkey.client() as redis:
            fill_table(redis, PURGES, BOUNDS[PURGES].fields + 1)
            await until(lambda: client.service.cache.store_state == "failing" and not client.service.cache.view.fresh)
            ready = (await client.get("/health/ready")).json()
            assert (ready["status"], ready["store"]) == ("ready", "failing")
            assert ready["offline"]["hits_end_in_seconds"] > 0
            assert "20,000 fields" in (await client.get("/v1/cache/stats")).json()["trouble"]
            assert 'kind="beyond"' in (await client.get("/metrics")).text
            purged = await client.post("/v1/cache/purge", json={"tag": "voice=anna"})
            assert (purged.status_code, purged.json()["obeyed"]) == (202, "this instance")
            assert (await upload(client)).status_code == 503
            redis.delete(table_name(PURGES))
        await until(lambda: client.service.cache.store_state == "ok" and client.service.cache.view.fresh)
        purged = await client.post("/v1/cache/purge", json={"tag": "voice=anna"})
        assert (purged.status_code, purged.json()["obeyed"]) == (200, "every instance")
        assert (await upload(client)).status_code == 201


async def test_while_the_table_of_names_cannot_be_read_no_name_is_passed_on(node, upstream, monkeypatch):
    monkeypatch.setitem(BOUNDS, VOICES, TableBound(1000, 100_000, 1_000_000))
    async with gateway(node, upstream) as client:
        await upload(client)
    with node.client() as redis:
        fill_table(redis, VOICES, 1001)
        async with gateway(node, upstream) as client:
            for voice in ("alice", "somebody"):
                assert was_refused(await speak(client, voice=voice))
            assert (await client.get("/health/ready")).json()["store"] == "failing"
            redis.hdel(table_name(VOICES), *(f"garbage {number}" for number in range(1001)))
            await until(lambda: client.service.cache.view.fresh)
            assert (await speak(client, voice="alice")).status_code == 200
            assert (await client.get("/health/ready")).json()["store"] == "ok"
    assert all("ref_audio" in said for said in upstream.heard)


def spelled(*names):
    """Return other spellings of a name's field, which decode to the same."""
    plain = json.dumps(names, separators=(",", ":"))
    return [json.dumps(names), plain + " ", plain.replace("a", "\\u0061", 1), plain.encode() + b"\n"]


async def test_another_spelling_of_a_names_field_says_nothing_of_the_name(node, upstream):
    async with gateway(node, upstream) as client:
        await upload(client)
        with node.client() as redis:
            [(field, record)] = redis.hgetall(table_name(VOICES)).items()
            for stray in spelled("", "", "alice"):
                redis.hset(table_name(VOICES), stray, b"garbage")
            for stray in spelled("", "", "vanya"):
                redis.hset(table_name(VOICES), stray, record)
            redis.hset(table_name(VOICES), field.replace(b"alice", b"alice\xff"), b"garbage")
        await client.service.synthesizer.voices.refresh()
        assert (await speak(client, voice="alice")).status_code == 200
        assert (await upload(client)).status_code == 201
        assert (await speak(client, voice="alice")).status_code == 200
    async with gateway(node, upstream) as client:
        assert (await speak(client, voice="alice")).status_code == 200
        assert (await speak(client, voice="vanya")).status_code == 200  # no name of ours
    assert [said.get("voice") for said in upstream.heard if "ref_audio" not in said] == ["vanya"]


def test_doctor_tells_of_a_table_beyond_its_bound(quick, node, upstream, tmp_path):
    (tmp_path / "sayonce.toml").write_text(
        f'[store]\nurl = "{node.url}"\n[engines.far]\nkind = "openai"\nmodel = "tts"\nbase_url = "{upstream.url}"\n'
    )
    with node.client() as redis:
        fill_table(redis, PURGES, BOUNDS[PURGES].fields + 1)
    result = quick("doctor")
    assert result.code == 1
    told = result.out
    assert "20,000 fields" in told
    assert "running servers write their own back" in told


@pytest.mark.parametrize("table", [PURGES, VOICES])
async def test_a_table_full_of_garbage_holds_up_no_request_and_is_looked_at_once(valkey, monkeypatch, table):
    fields = [f'["","","garbage {n}"]' if table == VOICES else f"{n:064x}" for n in range(15_000)]
    with valkey.client() as client:
        client.hset(table_name(table), mapping=dict.fromkeys(fields, b"garbage" * 10))
    opened, open_envelope = [], Sealer.open
    monkeypatch.setattr(
        Sealer, "open", lambda self, key, sealed: opened.append(key) or open_envelope(self, key, sealed)
    )
    store = open_store(valkey.url, sealer=Sealer(Secret()), budget_seconds=5)
    async with Cache(store, budget_seconds=5) as cache:
        names, opened[:] = VoiceNames(cache, store), []
        cache._invalidation._table._sealed = {}
        read = names.learn if table == VOICES else cache._invalidation.read
        reading, longest = asyncio.create_task(read()), 0
        while not reading.done():
            before = len(opened)
            await asyncio.sleep(0)
            longest = max(longest, len(opened) - before)
        assert (len(opened), longest) == (15_000, 200)
        await read()
        assert len(opened) == 15_000
