"""Names of uploaded voices when the store is in trouble, or lies: never another voice in the place of the one asked for."""

import asyncio
import base64
import json
from types import SimpleNamespace

import pytest

from sayonce.cache import Cache
from sayonce.core.envelope import Sealer
from sayonce.core.key import Secret
from sayonce.speech import voices
from sayonce.speech.voice_names import TABLE, VoiceNames
from sayonce.speech.voices import UploadedVoices
from sayonce.stores import open_store
from sayonce.stores.redis.names import table_name
from sayonce.stores.sqlite.file import damaged_beside
from sayonce.testing import FaultyStore
from tests.helpers.gateway_to_upstream import gateway, speak, was_refused
from tests.helpers.serving import until
from tests.helpers.uploaded_voices import reference, upload


def passed_on(upstream):
    """Return the names that the server elsewhere was asked for as its own."""
    return [said.get("voice") for said in upstream.heard if "ref_audio" not in said]


async def test_until_the_table_of_names_was_read_a_named_voice_is_refused_and_the_default_speaks(node, upstream):
    async with gateway(node, upstream) as client:
        await upload(client)
    node.stop()
    async with gateway(node, upstream, default_voice="vivian") as client:
        assert was_refused(await speak(client, voice="alice"))
        assert was_refused(await speak(client, voice="somebody"))
        assert (await client.get("/v1/audio/voices")).status_code == 503
        assert (await speak(client)).status_code == 200
        assert (await speak(client, ref_audio=base64.b64encode(reference()).decode())).status_code == 200
        assert passed_on(upstream) == ["vivian"]
        node.cont()
        await until(lambda: client.service.cache.view.fresh)
        assert (await speak(client, voice="alice")).status_code == 200
        assert (await speak(client, voice="somebody")).status_code == 200
    assert passed_on(upstream) == ["vivian", "somebody"]


async def test_while_the_store_is_away_an_uploaded_name_is_refused_and_a_servers_own_goes_on(node, upstream):
    async with gateway(node, upstream) as client:
        await upload(client)
        assert (await speak(client, voice="alice")).status_code == 200
        node.kill()
        await until(lambda: not client.service.cache.view.fresh)
        assert was_refused(await speak(client, voice="alice"))
        assert (await speak(client, voice="vivian")).status_code == 200
    assert passed_on(upstream) == ["vivian"]


async def test_a_name_that_the_store_has_lost_is_never_passed_on(node, upstream):
    async with gateway(node, upstream) as client:
        made = (await upload(client)).json()
        node.kill()
        node.start()
        while not client.service.synthesizer.voices.names.lost("", "alice"):
            await client.service.synthesizer.learn_voices()
        for voice in ("alice", made["id"]):
            assert was_refused(await speak(client, voice=voice))
        assert (await upload(client, audio=reference(2))).status_code == 201
        assert (await speak(client, voice="alice")).status_code == 200
    assert passed_on(upstream) == []


async def test_while_the_table_may_lack_names_an_unknown_one_is_refused(tmp_path, upstream):
    path = tmp_path / "clips.db"
    store = SimpleNamespace(url=f"sqlite:///{path}")
    async with gateway(store, upstream) as client:
        await upload(client)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(path.stat().st_size - 4096))
    async with gateway(store, upstream, default_voice="vivian") as client:
        assert was_refused(await speak(client, voice="alice"))
        assert was_refused(await speak(client, voice="somebody"))
        assert (await speak(client)).status_code == 200
        assert (await upload(client)).status_code == 201
        assert (await speak(client, voice="alice")).status_code == 200
    [damaged] = damaged_beside(path)
    damaged.unlink()
    async with gateway(store, upstream) as client:
        assert (await speak(client, voice="somebody")).status_code == 200
    assert passed_on(upstream) == ["vivian", "somebody"]


async def test_a_removed_name_is_never_passed_on_also_by_an_instance_that_starts_later(node, upstream):
    async with gateway(node, upstream) as client:
        made = (await upload(client)).json()
        await client.delete("/v1/audio/voices/alice")
        for voice in ("alice", made["id"]):
            assert (await speak(client, voice=voice)).status_code == 404
    async with gateway(node, upstream) as client:
        for voice in ("alice", made["id"]):
            assert (await speak(client, voice=voice)).status_code == 404
        assert (await client.get("/v1/audio/voices")).json()["data"] == []
        assert (await upload(client)).status_code == 201
        assert (await speak(client, voice="alice")).status_code == 200
    assert passed_on(upstream) == []


async def test_a_name_sealed_with_another_secret_is_refused_until_it_is_uploaded_again_or_removed(node, upstream):
    async with gateway(node, upstream) as client:
        await upload(client)
        await upload(client, "bob")
    async with gateway(node, upstream, secret="another secret") as client:
        assert was_refused(await speak(client, voice="alice"))
        assert was_refused(await speak(client, voice="bob"))
        assert (await upload(client)).status_code == 201
        assert (await speak(client, voice="alice")).status_code == 200
        assert (await client.delete("/v1/audio/voices/bob")).status_code == 200
        assert (await speak(client, voice="bob")).status_code == 404
    assert passed_on(upstream) == []


async def test_a_bad_record_in_the_table_of_names_costs_that_name_alone(node, upstream):
    async with gateway(node, upstream) as client:
        await upload(client)
        await upload(client, "bob", reference(2))
    page = table_name(TABLE)
    with node.client() as redis:
        for field, value in {
            b"not json": b"x",
            b"\xff\xfe": b"x",
            b'["",""]': b"x",
            b"5": b"x",
            json.dumps(["", "", "bob"], separators=(",", ":")).encode(): b"garbage",
            json.dumps(["", "", "carol"], separators=(",", ":")).encode(): b"",
        }.items():
            redis.hset(page, field, value)
    async with gateway(node, upstream) as client:
        assert (await speak(client, voice="alice")).status_code == 200
        assert was_refused(await speak(client, voice="bob"))
        assert was_refused(await speak(client, voice="carol"))
        assert [voice["name"] for voice in (await client.get("/v1/audio/voices")).json()["data"]] == ["alice"]
    assert passed_on(upstream) == []


async def test_a_voices_record_moved_to_another_name_is_not_believed(node, upstream):
    async with gateway(node, upstream) as client:
        await upload(client)
    page = table_name(TABLE)
    with node.client() as redis:
        [record] = redis.hgetall(page).values()
        redis.hset(page, json.dumps(["", "", "bob"], separators=(",", ":")), record)
    async with gateway(node, upstream) as client:
        assert was_refused(await speak(client, voice="bob"))
    assert upstream.heard == []


async def test_an_older_record_of_a_name_that_comes_back_is_not_believed(node, upstream):
    page = table_name(TABLE)
    async with gateway(node, upstream) as client:
        old = (await upload(client)).json()["id"]
        with node.client() as redis:
            [(field, record)] = redis.hgetall(page).items()
        new = (await upload(client, audio=reference(2))).json()["id"]
        with node.client() as redis:
            redis.hset(page, field, record)
        await client.service.synthesizer.learn_voices()
        found = client.service.synthesizer.voices.names.find("", "alice")
        assert (found.id == new, found.id == old) == (True, False)


async def test_a_plan_of_an_earlier_outage_never_answers_for_a_name(node, upstream):
    async with gateway(node, upstream) as client:

        async def lose_the_store():
            node.stop()
            await until(lambda: not client.service.cache.view.fresh)

        async def find_the_store():
            node.cont()
            await until(lambda: client.service.cache.view.fresh)

        await lose_the_store()
        await client.service.cache.settle_view()
        client.service.synthesizer.voices.names.read = True
        assert (await speak(client, voice="carol")).status_code == 200
        await find_the_store()
        assert (await upload(client, "carol")).status_code == 201
        assert (await speak(client, voice="carol")).status_code == 200
        await lose_the_store()
        assert was_refused(await speak(client, voice="carol"))
        await find_the_store()
    assert passed_on(upstream) == ["carol"]


@pytest.mark.parametrize("voice", ["alice", "vivian"])
async def test_with_unknown_voices_refused_only_uploaded_and_listed_names_are_spoken(node, upstream, voice):
    options = {"unknown_voices": "refuse", "voices": ["vivian"], "default_voice": "vivian"}
    async with gateway(node, upstream, **options) as client:
        await upload(client)
        assert (await speak(client, voice=voice)).status_code == 200
        assert (await speak(client)).status_code == 200
        refused = await speak(client, voice="somebody")
        assert (refused.status_code, refused.json()["error"]["param"]) == (404, "voice")
    assert set(passed_on(upstream)) == {"vivian"}


async def test_unknown_voices_are_refused_also_where_the_engine_lists_none(node, upstream):
    async with gateway(node, upstream, unknown_voices="refuse", default_voice="vivian") as client:
        assert (await speak(client)).status_code == 200
        assert (await speak(client, voice="somebody")).status_code == 404
    assert passed_on(upstream) == ["vivian"]


async def test_the_id_of_a_reference_that_is_not_uploaded_any_more_is_never_passed_on(node, upstream):
    async with gateway(node, upstream) as client:
        reference_id = (await upload(client)).json()["id"]
        assert (await speak(client, voice=reference_id)).status_code == 200
        await client.delete("/v1/audio/voices/alice")
    node.call("FLUSHALL")
    async with gateway(
        node, upstream, voice_aliases={"narrator": reference_id}
    ) as client:  # which has never heard of it
        for voice in (reference_id, reference_id.upper(), {"id": reference_id}, "narrator"):
            refused = await speak(client, voice=voice)
            assert (refused.status_code, refused.json()["error"]["param"]) == (404, "voice")
    assert passed_on(upstream) == []


async def test_marks_of_removed_names_are_bounded_and_this_instance_still_knows_the_names(monkeypatch):
    monkeypatch.setattr(voices, "MAX_VOICES", 2)
    store = FaultyStore()
    uploaded = UploadedVoices(Cache(store))
    for number in range(5):
        await uploaded.add("", f"voice {number}", reference(number), "")
        await uploaded.remove("", f"voice {number}")
    assert len(await store.read_table(TABLE)) == 2
    await uploaded.refresh()
    assert all(uploaded.names.record("", f"voice {number}").removed for number in range(5))


async def test_an_instance_that_has_seen_too_many_names_passes_on_none(monkeypatch):
    monkeypatch.setattr("sayonce.speech.voice_names.MAX_KNOWN", 2)
    uploaded = UploadedVoices(Cache(FaultyStore()))
    await uploaded.add("", "alice", reference(), "")
    assert uploaded.names.find("", "somebody") is None
    await uploaded.add("", "bob", reference(), "")
    with pytest.raises(Exception, match="no uploaded voice 'somebody'"):
        uploaded.names.find("", "somebody")


def test_doctor_warns_where_lost_names_would_be_passed_on(quick, node, upstream, tmp_path):
    (tmp_path / "sayonce.toml").write_text(
        f'[store]\nurl = "{node.url}"\n[engines.far]\nkind = "openai"\nmodel = "tts"\nbase_url = "{upstream.url}"\n'
    )
    advice = 'unknown_voices = "refuse" in [engines.far]'
    assert advice not in quick("doctor").out

    async def write():
        store = open_store(node.url, sealer=Sealer(Secret()))
        names = VoiceNames(Cache(store), store)
        async with Cache(store):
            await names.write("", voices.NamedVoice("alice", "id", "", 1.0, 0.0))

    asyncio.run(write())
    assert advice in quick("doctor").out
    node.call("CONFIG", "SET", "appendonly", "yes")
    assert advice not in quick("doctor").out
