"""A purge by a name: every clip that would answer that name is computed anew, under any name that it was made by."""

import asyncio

import pytest

from sayonce.gateway.access import new_key
from sayonce.speech.engines import build_engine
from tests.helpers.commandline import InProcess
from tests.helpers.serving import serving, speak
from tests.helpers.stub_engines import Cloner
from tests.helpers.uploaded_voices import reference, upload


@pytest.fixture
async def client(tmp_path):
    async with serving(Cloner(), store=f"sqlite:///{tmp_path}/clips.db") as client:
        yield client


def engine(upstream, name="far", **options):
    return build_engine(name, {"kind": "openai", "base_url": upstream.url, "model": "tts", **options})


async def purge(client, *tags, **more):
    answer = await client.post("/v1/cache/purge", json={"tags": list(tags)}, **more)
    assert (answer.status_code, answer.json()["obeyed"]) == (200, "every instance")


async def is_computed_once(client, **asked):
    """Whether the first of two requests is computed, and the second a hit."""
    answers = []
    for _ in range(2):
        answers.append((await speak(client, **asked)).headers["cache-status"])
        await client.service.cache.settle()
    return "fwd=miss" in answers[0] and "; hit" in answers[1]


@pytest.mark.parametrize("audio_format", ["wav", "mp3"])
@pytest.mark.parametrize("purged", ["ann", "bob"])
async def test_a_purge_by_any_name_of_a_reference_reaches_what_another_name_made(client, purged, audio_format):
    for name in ("ann", "bob"):
        await upload(client, name, ref_text="hello")
    assert await is_computed_once(client, voice="ann", response_format=audio_format)
    await purge(client, f"voice={purged}")
    assert await is_computed_once(client, voice="bob", response_format=audio_format)


async def test_a_purge_by_the_id_of_a_voice_reaches_what_its_name_made(client):
    made = (await upload(client, "ann")).json()["id"]
    assert await is_computed_once(client, voice="ann")
    await purge(client, f"voice={made}")
    assert await is_computed_once(client, voice=made)


async def test_a_purge_by_name_reaches_what_was_made_of_the_reference_when_it_was_sent_along(client):
    import base64

    await upload(client, "ann")
    assert await is_computed_once(client, voice=None, ref_audio=base64.b64encode(reference()).decode())
    await purge(client, "voice=ann")
    assert await is_computed_once(client, voice="ann")


async def test_a_purge_by_a_removed_name_reaches_what_it_made(client):
    for name in ("ann", "bob"):
        await upload(client, name)
    assert await is_computed_once(client, voice="bob")
    await client.delete("/v1/audio/voices/ann")
    await purge(client, "voice=ann")
    assert await is_computed_once(client, voice="bob")


async def test_a_purge_of_one_uploaded_voice_leaves_the_others(client):
    await upload(client, "ann")
    await upload(client, "carol", reference(2))
    assert await is_computed_once(client, voice="carol")
    await purge(client, "voice=ann")
    assert "; hit" in (await speak(client, voice="carol")).headers["cache-status"]


@pytest.mark.parametrize("tag", ["voice=alloy", "voice=ash", "model=tts-1", "model=far", "model=tts", "engine=far"])
async def test_a_purge_by_an_alias_reaches_what_it_stands_for(upstream, tag):
    far = engine(upstream, aliases=["tts-1"], voice_aliases={"alloy": "ash"})
    async with serving(far) as client:
        for model, voice in (("far", "ash"), ("tts-1", "alloy")):
            await purge(client, tag)
            assert await is_computed_once(client, model=model, voice=voice)


async def test_a_purge_by_one_of_two_engines_that_share_their_clips_reaches_what_the_other_made(upstream):
    async with serving(engine(upstream), engine(upstream, "near")) as client:
        assert await is_computed_once(client, model="far", voice="ash")
        await purge(client, "engine=near")
        assert await is_computed_once(client, model="near", voice="ash")


async def test_an_alias_of_an_uploaded_name_speaks_in_its_voice_and_is_purged_with_it(upstream):
    async with serving(engine(upstream, voice_aliases={"alloy": "ann"})) as client:
        await upload(client, "ann")
        assert await is_computed_once(client, model="far", voice="alloy")
        assert "ref_audio" in upstream.heard[-1]
        await purge(client, "voice=alloy")
        assert await is_computed_once(client, model="far", voice="ann")


async def test_a_purge_by_an_alias_of_an_uploaded_name_reaches_what_another_name_of_its_reference_made(upstream):
    async with serving(engine(upstream, voice_aliases={"alloy": "ann"})) as client:
        for name in ("ann", "bob"):
            await upload(client, name)
        assert await is_computed_once(client, model="far", voice="bob")
        await purge(client, "voice=alloy")
        assert await is_computed_once(client, model="far", voice="alloy")
        assert "; hit" in (await speak(client, model="far", voice="bob")).headers["cache-status"]


async def test_a_purge_by_name_reaches_the_clips_of_every_tenant_with_a_voice_of_that_name(tmp_path, monkeypatch):
    monkeypatch.setattr("sayonce.speech.purging.MAX_TAGS", 2)
    made = [new_key(tenant, admin=tenant == "operator") for tenant in ("school", "bank", "shop", "operator")]
    (tmp_path / "keys.txt").write_text("\n".join(line for _, line in made))
    *tenants, operator = [{"authorization": f"Bearer {key}"} for key, _ in made]
    async with serving(Cloner(), security__api_keys_file=str(tmp_path / "keys.txt")) as client:
        for number, headers in enumerate(tenants):
            for name in ("ann", "bob"):
                await upload(client, name, reference(number), headers=headers)
            assert await is_computed_once(client, voice="ann", headers=headers)
        await purge(client, "voice=bob", headers=operator)
        for headers in tenants:
            assert await is_computed_once(client, voice="bob", headers=headers)


async def test_a_name_that_another_instance_has_just_taken_is_known_to_the_purge(tmp_path):
    store = f"sqlite:///{tmp_path}/clips.db"
    async with serving(Cloner(), store=store) as one, serving(Cloner(), store=store) as other:
        await upload(one, "ann")
        assert await is_computed_once(one, voice="ann")
        await upload(one, "bob")
        await purge(other, "voice=bob")
        assert await is_computed_once(one, voice="bob")


def test_the_command_purges_by_every_name_that_a_request_may_use(tmp_path, monkeypatch, capsys, upstream):
    quick = InProcess(tmp_path, monkeypatch, capsys)
    far = {"aliases": ["tts-1"], "voice_aliases": {"alloy": "ann"}}
    (tmp_path / "sayonce.toml").write_text(
        f'[store]\nurl = "sqlite:///{tmp_path}/clips.db"\n[engines.far]\nkind = "openai"\nmodel = "tts"\n'
        f'base_url = "{upstream.url}"\naliases = ["tts-1"]\nvoice_aliases = {{ alloy = "ann" }}\n'
    )

    async def hear(*, computed):
        async with serving(engine(upstream, **far), store=f"sqlite:///{tmp_path}/clips.db") as client:
            if not client.service.synthesizer.voices.of(""):
                for name in ("ann", "bob"):
                    await upload(client, name)
            answer = await speak(client, model="tts-1", voice="ann")
            assert ("fwd=miss" in answer.headers["cache-status"]) is computed
            await client.service.cache.settle()

    asyncio.run(hear(computed=True))
    for tag in ("voice=bob", "voice=alloy", "model=tts-1"):
        asyncio.run(hear(computed=False))
        assert quick("purge", "--tag", tag).code == 0
        asyncio.run(hear(computed=True))
