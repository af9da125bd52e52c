"""Uploaded voices at servers that keep voices: sent once, asked for by name, never another's sound."""

import asyncio
import base64
import re

import pytest
from starlette.routing import request_response

from sayonce.core.cache_control import DEFAULT
from sayonce.gateway.access import new_key
from sayonce.speech.engines import build_engine
from sayonce.speech.engines.copies import keeper
from sayonce.speech.engines.copies import server as server_api
from tests.helpers.serving import serving, until
from tests.helpers.uploaded_voices import reference, upload
from tests.helpers.upstream import SAMPLE_RATE_HZ
from tests.helpers.vllm_omni import Omni, omnis, sound

FORMAT = {"model": "far", "response_format": "pcm", "sample_rate": SAMPLE_RATE_HZ}


def far(*servers: Omni, **options):
    urls = [server.url for server in servers]
    return build_engine("far", {"kind": "openai", "base_url": urls, "model": "tts", **options})


async def speak(client, text="Hello.", voice="alice", headers=None, **more):
    body = {**FORMAT, "input": text, "voice": voice, **more}
    return await client.post("/v1/audio/speech", json=body, headers=headers)


async def assert_heard(client, text="Hello.", audio=None, transcript="", **more):
    answer = await speak(client, text, **more)
    assert answer.status_code == 200, answer.text
    assert answer.content == sound(text, reference() if audio is None else audio, transcript)


def counted(client, what):
    return client.service.cache.counters[f"voice copies {what}: far"]


# -- once for each server -----------------------------------------------------------------------------------------------


async def test_fifty_voices_and_five_hundred_requests_send_each_reference_to_each_server_once():
    references = {f"voice {number}": reference(seed=number, seconds=0.1) for number in range(50)}
    async with omnis(2) as servers, serving(far(*servers)) as client:
        for name, audio in references.items():
            await upload(client, name, audio, ref_text=f"This is {name}.")
        for name, audio in references.items():  # ten at once are shared among both servers
            heard = [
                assert_heard(client, f"Text {number}.", audio, f"This is {name}.", voice=name) for number in range(10)
            ]
            await asyncio.gather(*heard)
        assert sum(len(server.asked) for server in servers) == 500
        assert [len(server.uploads) for server in servers] == [50, 50]
        assert [len(set(server.uploads)) for server in servers] == [50, 50]
        assert [server.references for server in servers] == [[], []]
        assert counted(client, "sent") == 100


@pytest.mark.parametrize("tells", [("name",), ("name", "created_at"), ("name", "file_size")])
@pytest.mark.parametrize("answers", [(), ("name",), ("name", "created_at")])
async def test_a_server_that_tells_less_of_its_voices_is_asked_by_name_too(tells, answers):
    async with omnis(1) as [server], serving(far(server)) as client:
        server.tells, server.answers, server.speaks_unknown = tells, answers, True
        await upload(client)
        await assert_heard(client)
        server.voices.clear()
        await assert_heard(client, "Again.")
        assert (len(server.uploads), server.references) == (2, [])


async def test_a_server_that_was_not_asked_for_a_voice_gets_no_reference_of_it():
    async with omnis(2) as servers, serving(far(*servers)) as client:
        await upload(client)
        await assert_heard(client)
        assert sum(len(server.uploads) for server in servers) == 1


async def test_a_reference_is_sent_once_however_many_wait_for_it():
    async with omnis(1) as [server], serving(far(server)) as client:
        await upload(client)
        server.gate.clear()
        asked = [asyncio.create_task(assert_heard(client, f"Text {number}.")) for number in range(12)]
        await until(lambda: server.uploads)
        await asyncio.sleep(0.05)
        assert server.asked == []
        server.gate.set()
        await asyncio.gather(*asked)
        assert (len(server.uploads), server.references) == (1, [])


async def test_two_instances_over_one_store_send_a_reference_once(tmp_path):
    store = f"sqlite:///{tmp_path}/s.db"
    async with omnis(1) as [server]:
        async with serving(far(server), store=store) as one, serving(far(server), store=store) as other:
            await upload(one)
            await until(other.service.synthesizer.voices.names.live)
            server.gate.clear()
            asked = [asyncio.create_task(assert_heard(each, "At once.")) for each in (one, other)]
            asked += [asyncio.create_task(assert_heard(each, f"To {id(each)}.")) for each in (one, other)]
            await until(lambda: server.uploads)
            server.gate.set()
            await asyncio.gather(*asked)
        async with serving(far(server), store=store) as later:
            await assert_heard(later, "Later.")
        assert (len(server.uploads), server.references) == (1, [])


async def test_the_name_of_a_copy_tells_nobody_whose_voice_it_is_and_another_secret_makes_another_name(tmp_path):
    names = set()
    async with omnis(1) as [server]:
        for number in range(2):
            secret = tmp_path / f"secret-{number}"
            secret.write_text(f"{number}" * 40)
            async with serving(far(server), security__key_secret_file=str(secret)) as client:
                await upload(client, ref_text="one two")
                await assert_heard(client, transcript="one two")
        names = set(server.uploads)
    assert len(names) == 2
    assert all(re.fullmatch(r"sayonce-[0-9a-f]{40}", name) for name in names)


async def test_tenants_with_one_reference_have_a_copy_each_and_keep_it_when_the_other_leaves(tmp_path):
    made = {name: new_key(name) for name in ("school", "bank")}
    (tmp_path / "keys.txt").write_text("\n".join(line for _, line in made.values()))
    keys = {name: {"authorization": f"Bearer {key}"} for name, (key, _) in made.items()}
    async with omnis(1) as [server], serving(far(server), security__api_keys_file=str(tmp_path / "keys.txt")) as client:
        for headers in keys.values():
            await upload(client, headers=headers)
            await assert_heard(client, headers=headers)
        assert len(set(server.uploads)) == 2
        await client.delete("/v1/audio/voices/alice", headers=keys["school"])
        await until(lambda: len(server.voices) == 1)
        await assert_heard(client, "Again.", headers=keys["bank"])
        assert (await speak(client, headers=keys["school"])).status_code == 404
        assert (len(server.uploads), server.references) == (2, [])


async def test_no_tenant_speaks_in_anothers_voice_by_the_name_of_its_copy_or_is_told_it(tmp_path):
    made = {name: new_key(name) for name in ("school", "bank")}
    (tmp_path / "keys.txt").write_text("\n".join(line for _, line in made.values()))
    school, bank = ({"authorization": f"Bearer {key}"} for key, _ in made.values())
    async with omnis(1) as [server], serving(far(server), security__api_keys_file=str(tmp_path / "keys.txt")) as client:
        await upload(client, headers=school)
        await assert_heard(client, headers=school)
        [name] = server.uploads
        guessed = await speak(client, voice="nobody", headers=bank)
        assert (
            guessed.json()["error"]["message"] == "'far' answered 400: Invalid voice 'nobody'. Supported: ryan, vivian"
        )
        for voice in (name, name.upper(), f" {name}", name.replace("s", "ſ"), {"id": name}):
            assert (await speak(client, voice=voice, headers=bank)).status_code == 404
        for more in (
            {"speaker": name},
            {"voice": None, "speaker": name},
            {"voices": [{"name": name}]},
            {"blend": {name: 1}},
        ):
            refused = await speak(client, headers=bank, **{"voice": "ryan", **more})
            assert refused.status_code in (400, 404)
        assert len(server.asked) == 2  # the school's, and the guess
        await upload(client, name.replace("a", "b"), reference(seed=1), headers=bank)
        await assert_heard(client, audio=reference(seed=1), voice=name.replace("a", "b"), headers=bank)


async def test_a_transcript_that_comes_with_the_request_goes_to_the_server_with_its_reference():
    async with omnis(1) as [server], serving(far(server)) as client:
        await upload(client, ref_text="one two")
        await assert_heard(client, transcript="three", ref_text="three")
        await assert_heard(client, transcript="one two")
        assert (len(server.uploads), len(server.references)) == (1, 1)


async def test_a_reference_that_is_sent_along_is_kept_nowhere():
    async with omnis(1) as [server], serving(far(server)) as client:
        await upload(client)
        answer = await speak(client, voice=None, ref_audio=base64.b64encode(reference()).decode())
        assert answer.content == sound("Hello.", reference(), "")
        assert (server.uploads, len(server.references)) == ([], 1)


# -- a server that forgets, or lies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("speaks_unknown", [False, True])
async def test_a_server_that_comes_back_empty_is_given_the_reference_again_and_nobody_hears_another_voice(
    speaks_unknown,
):
    async with omnis(2) as servers, serving(far(*servers)) as client:
        await upload(client, ref_text="one two")
        await asyncio.gather(*(assert_heard(client, f"Text {number}.", transcript="one two") for number in range(4)))
        servers[0].speaks_unknown = speaks_unknown
        await servers[0].restart_empty()
        for number in range(4):
            await assert_heard(client, f"More {number}.", transcript="one two")
        assert [len(server.uploads) for server in servers] == [2, 1]
        assert [server.references for server in servers] == [[], []]
        assert counted(client, "lost") == 1


async def test_a_name_under_which_somebody_put_another_reference_is_not_believed():
    async with omnis(1) as [server], serving(far(server)) as client:
        await upload(client)
        await assert_heard(client)
        server.put(server.uploads[0], reference(2))
        await assert_heard(client, "Again.")
        assert (len(server.uploads), server.references) == (2, [])


async def test_a_name_that_somebody_takes_as_soon_as_it_was_sent_is_not_believed():
    async with omnis(1) as [server], serving(far(server)) as client:
        server.takes = "loses"
        await upload(client)
        await assert_heard(client)
        assert (len(server.uploads), len(server.references)) == (1, 1)


async def test_a_name_that_was_there_before_is_replaced_since_nobody_knows_its_reference():
    async with omnis(1) as [server]:
        async with serving(far(server)) as client:
            await upload(client)
            await assert_heard(client)
        server.put(server.uploads[0], reference(2))
        async with serving(far(server)) as client:  # over an empty store
            await upload(client)
            await assert_heard(client, "Again.")
        assert server.removed == server.uploads[:1]
        assert (len(server.uploads), server.references) == (2, [])


@pytest.mark.parametrize("forgets_after_listing", [False, True])
async def test_a_server_that_claims_to_keep_a_voice_and_does_not_is_sent_references(forgets_after_listing):
    async with omnis(1) as [server], serving(far(server)) as client:
        server.speaks_unknown = True
        await upload(client)
        if forgets_after_listing:
            speaks = server._speak

            async def forget(request):
                server.voices.clear()
                return await speaks(request)

            server._app.routes[-1].app = request_response(forget)
        else:
            server.takes = "lies"
        for number in range(4):
            await assert_heard(client, f"Text {number}.")
        assert len(server.uploads) == (3 if forgets_after_listing else 1)
        assert len(server.references) == 4


async def test_a_server_that_does_not_speak_by_a_name_that_it_lists_is_sent_the_reference():
    async with omnis(1) as [server], serving(far(server)) as client:
        server.speaks = "refuses names"
        await upload(client)
        for number in range(4):
            await assert_heard(client, f"Text {number}.")
        assert (len(server.uploads), len(server.references), len(server.asked)) == (1, 4, 5)


async def test_a_callers_mistake_is_told_and_the_voice_is_asked_for_by_its_name_after_it():
    async with omnis(1) as [server], serving(far(server)) as client:
        await upload(client)
        await assert_heard(client)
        server.speaks = 422
        answer = await speak(client, "Bonjour.", language="Klingon")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_parameter")
        assert "'Klingon' is not supported" in answer.json()["error"]["message"]
        assert client.service.synthesizer.catalogue.engines[0].upstreams[0].failures == 0
        server.speaks, server.asked[:] = "speaks", []
        await assert_heard(client, "Again.")
        assert (len(server.uploads), server.references) == (1, [])


# -- a server that keeps none ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 404, 405, 409, 413, 422, 500, 501, 503])
async def test_where_an_upload_is_refused_references_go_along_and_it_is_not_tried_each_time(status):
    async with omnis(1) as [server], serving(far(server)) as client:
        server.takes = status
        await upload(client)
        for number in range(5):
            await assert_heard(client, f"Text {number}.")
        assert (len(server.uploads), len(server.references)) == (1, 5)
        assert client.service.synthesizer.catalogue.engines[0].upstreams[0].up


@pytest.mark.parametrize("lists", [401, 404, 405, 501, 503, "uploads"])
async def test_a_server_without_a_list_of_uploads_is_sent_no_voice_to_keep(lists):
    async with omnis(1) as [server], serving(far(server)) as client:
        server.lists = lists
        await upload(client)
        for number in range(5):
            await assert_heard(client, f"Text {number}.")
        assert (server.uploads, len(server.references), server.looks) == ([], 5, 1)


@pytest.mark.parametrize("hangs", ["lists", "takes"])
async def test_a_server_that_hangs_over_its_voices_holds_a_request_for_a_bounded_time_once(monkeypatch, hangs):
    monkeypatch.setattr(server_api, "_LOOK_SECONDS", 0.2)
    monkeypatch.setattr(server_api, "_SEND_SECONDS", 0.2)
    async with omnis(1) as [server], serving(far(server)) as client:
        setattr(server, hangs, "hang")
        await upload(client)
        await upload(client, "bob", reference(2))
        for number in range(3):
            await assert_heard(client, f"Text {number}.")
            await assert_heard(client, f"Text {number}.", reference(2), voice="bob")
        assert (len(server.uploads), len(server.references)) == (0 if hangs == "lists" else 1, 6)


async def test_requests_wait_for_a_slow_upload_for_a_bounded_time_and_it_goes_on(monkeypatch):
    monkeypatch.setattr(keeper, "_COPY_SECONDS", 0.2)
    async with omnis(1) as [server], serving(far(server)) as client:
        server.gate.clear()
        await upload(client)
        await asyncio.gather(*(assert_heard(client, f"Text {number}.") for number in range(3)))
        await assert_heard(client, "While it is sent.")
        assert (len(server.uploads), len(server.references), server.voices) == (1, 4, {})
        server.gate.set()
        await until(lambda: counted(client, "sent"))
        await assert_heard(client, "By its name.")
        assert (len(server.uploads), len(server.references)) == (1, 4)


async def test_a_list_of_voices_that_fails_after_the_answer_began_is_no_proof_that_a_voice_is_kept():
    async with omnis(1) as [server], serving(far(server)) as client:
        await upload(client)
        await assert_heard(client)
        server.lists, server.speaks_unknown = 503, True
        kept, server.voices = server.voices, {}
        await assert_heard(client, "Again.")
        assert len(server.references) == 1
        server.lists, server.voices = "voices", kept
        await assert_heard(client, "As before.")
        assert (len(server.uploads), len(server.references), counted(client, "lost")) == (1, 1, 0)


async def test_with_upload_voices_never_no_server_is_asked_for_its_voices(tmp_path):
    store = f"sqlite:///{tmp_path}/s.db"
    async with omnis(1) as [server]:
        async with serving(far(server), store=store) as client:
            await upload(client)
            await assert_heard(client)
            assert len(server.voices) == 1
        looks = server.looks
        async with serving(far(server, upstream_voices="never"), store=store) as client:
            await until(lambda: not server.voices)  # what was kept there before
            await assert_heard(client, "Again.")
            assert (len(server.uploads), len(server.references), server.looks) == (1, 1, looks)


# -- removing --------------------------------------------------------------------------------------------------------------


async def test_a_voice_that_is_removed_is_removed_from_the_servers():
    async with omnis(2) as servers, serving(far(*servers)) as client:
        await upload(client)
        await upload(client, "bob")  # of the same reference
        await asyncio.gather(*(assert_heard(client, f"Text {number}.") for number in range(4)))
        await client.delete("/v1/audio/voices/alice")
        await assert_heard(client, "By its other name.", voice="bob")
        assert [len(server.voices) for server in servers] == [1, 1]
        await client.delete("/v1/audio/voices/bob")
        await until(lambda: not any(server.voices for server in servers))
        assert [len(server.uploads) for server in servers] == [1, 1]
        await until(lambda: counted(client, "removed") == 2)


async def test_a_voice_that_is_uploaded_anew_with_another_reference_leaves_no_old_copy():
    async with omnis(1) as [server], serving(far(server)) as client:
        await upload(client)
        await assert_heard(client)
        await upload(client, audio=reference(2))
        await assert_heard(client, audio=reference(2))
        await until(lambda: [voice["reference"] for voice in server.voices.values()] == [reference(2)])
        assert len(set(server.uploads)) == 2


async def test_a_removal_that_fails_is_tried_again_also_by_an_instance_that_starts_later(monkeypatch, tmp_path):
    monkeypatch.setattr(keeper, "_FIRST_PAUSE_SECONDS", 0.01)
    store = f"sqlite:///{tmp_path}/s.db"
    async with omnis(1) as [server]:
        async with serving(far(server), store=store) as client:
            await upload(client)
            await assert_heard(client)
            server.removes = 500
            await client.delete("/v1/audio/voices/alice")
            await until(lambda: counted(client, "failed") >= 2)
            assert len(server.voices) == 1
        server.removes = "removes"
        async with serving(far(server), store=store):
            await until(lambda: not server.voices)


async def test_a_copy_under_an_earlier_secret_is_removed_and_a_servers_own_voice_is_not(tmp_path):
    store = f"sqlite:///{tmp_path}/s.db"
    async with omnis(1) as [server]:
        server.put("narrator", reference(2))
        for number in range(2):
            secret = tmp_path / f"secret-{number}"
            secret.write_text(f"{number}" * 40)
            async with serving(far(server), store=store, security__key_secret_file=str(secret)) as client:
                if number:
                    await until(lambda: server.removed)
                else:
                    await upload(client)
                    await assert_heard(client)
                    names = client.service.synthesizer.voices.names
                    await client.service.cache.store.write_field(
                        "voice copies", names.table.field(server.url, "narrator"), b"x"
                    )
        assert (list(server.voices), server.removed) == (["narrator"], server.uploads)


async def test_a_request_that_runs_while_its_voice_is_removed_is_heard_right_and_sends_no_copy_again():
    async with omnis(1) as [server], serving(far(server)) as client:
        server.speaks_unknown = True
        await upload(client)
        await assert_heard(client)
        synthesizer = client.service.synthesizer
        plan = synthesizer.plan(synthesizer.parse({**FORMAT, "input": "Late.", "voice": "alice"}))
        speech = await synthesizer.takes._utterance(plan, DEFAULT)
        await client.delete("/v1/audio/voices/alice")
        await until(lambda: not server.voices)
        engine = synthesizer.catalogue.engines[0]
        heard = b"".join([item async for item in engine.synthesize(speech) if isinstance(item, bytes)])
        assert heard == sound("Late.", reference(), "")
        assert (server.voices, len(server.uploads), len(server.references)) == ({}, 1, 1)


async def test_a_voice_that_is_removed_while_it_is_sent_does_not_stay():
    async with omnis(1) as [server], serving(far(server)) as client:
        await upload(client)
        server.gate.clear()
        asked = asyncio.create_task(speak(client))
        await until(lambda: server.uploads)
        await client.delete("/v1/audio/voices/alice")
        server.gate.set()
        assert (await asked).content == sound("Hello.", reference(), "")
        await until(lambda: counted(client, "removed"))
        assert server.voices == {}


async def test_a_server_has_as_many_copies_as_it_may_and_loses_what_was_used_longest_ago(monkeypatch):
    monkeypatch.setattr(keeper, "MOST", 3)
    async with omnis(1) as [server], serving(far(server)) as client:
        references = {f"voice {number}": reference(seed=number) for number in range(5)}
        for name, audio in references.items():
            await upload(client, name, audio)
        for number, name in enumerate(["voice 0", "voice 1", "voice 2", "voice 0", "voice 3", "voice 0", "voice 4"]):
            await assert_heard(client, f"Text {number}.", references[name], voice=name)
        left = [voice["reference"] for voice in server.voices.values()]
        assert left == [references["voice 0"], references["voice 3"], references["voice 4"]]
        assert (len(server.uploads), server.references) == (5, [])
        await assert_heard(client, "Again.", references["voice 1"], voice="voice 1")
        assert len(server.voices) == 3
