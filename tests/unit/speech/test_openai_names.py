"""The names that OpenAI's clients send, of models and voices, mean what is here, with no configuration."""

import openai
import pytest

from sayonce.errors import ConfigError, NotFound
from sayonce.gateway.access import new_key
from sayonce.speech.catalogue import Catalogue
from sayonce.speech.engines import Voice, build_engine
from sayonce.speech.openai_names import MODELS, VOICES, meanings
from sayonce.speech.request import parse_request
from sayonce.testing import StubEngine
from tests.helpers.serving import serving, speak
from tests.helpers.stub_engines import Cloner
from tests.helpers.uploaded_voices import reference, upload

MISS = "sayonce; fwd=miss; stored"


class Polyglot(StubEngine):
    """Has voices of several languages; the default is not the first."""

    default_voice = "ben"

    def voices(self):
        return (Voice("anna", "en-GB"), Voice("ben", "en-US"), Voice("chloe", "fr"), Voice("dan", "en"), Voice("eve"))


class Far(StubEngine):
    """As an engine elsewhere: only the far side knows its voices."""

    def voices(self):
        return ()


def far(url="http://127.0.0.1:1/v1", name="far", **options):
    return build_engine(name, {"kind": "openai", "base_url": url, "model": "IndexTTS-2", **options})


def asked(catalogue, **fields):
    return parse_request({"input": "Hello there.", **fields}, catalogue)


async def status(client, **fields):
    answer = await speak(client, **fields)
    return answer.headers.get("cache-status") or (answer.status_code, answer.json()["error"]["message"])


# -- with no configuration ----------------------------------------------------------------------------------------------


async def test_openais_sdk_speaks_by_every_name_of_openais():
    async with (
        serving(StubEngine()) as client,
        openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{client.port}/v1", api_key="any") as sdk,
    ):
        for model in MODELS:
            for voice in VOICES:
                assert (await sdk.audio.speech.create(model=model, voice=voice, input="Hello.")).content
        assert {model.id async for model in await sdk.models.list()} >= {*MODELS}


async def test_the_embedded_engines_speak_by_openais_names():
    async with serving() as client:
        for model, own in (("tts-1", "heart"), ("espeak", "en-us")):
            first = await speak(client, model=model, voice="alloy", response_format="pcm")
            assert first.headers["cache-status"] == MISS
            again = await speak(client, model={"tts-1": "hibari"}.get(model, model), voice=own, response_format="pcm")
            assert (again.headers["cache-status"], again.content) == ("sayonce; hit; detail=memory", first.content)


async def test_a_name_of_openais_and_the_voice_that_it_means_are_one_clip():
    engine = StubEngine()
    async with serving(engine) as client:
        spoken = [
            await speak(client, model=model, voice=voice) for model in ("stub", *MODELS) for voice in ("alloy", "anna")
        ]
        assert len({answer.headers["x-sayonce-key"] for answer in spoken}) == len(engine.calls) == 1
        assert engine.calls[0].voice == "anna"
        assert (await speak(client, voice="ash")).headers["x-sayonce-key"] != spoken[0].headers["x-sayonce-key"]


def test_openais_voice_names_mean_the_engines_voices_of_the_default_language_in_their_order():
    meant = meanings(Polyglot())
    assert [*meant] == [*VOICES]
    assert [*meant.values()] == [("ben", "anna", "dan")[number % 3] for number in range(13)]


def test_at_espeak_openais_names_mean_voices_of_the_default_voices_language_and_writing():
    meant = [*meanings(build_engine("espeak", {})).values()]
    assert meant[:3] == ["en-us", "en-029", "en-gb"]
    assert meant[8] == "en-us"
    assert {voice.partition("-")[0] for voice in meant} == {"en"}
    assert "en-shaw" not in meant
    assert {*meanings(build_engine("espeak", {"default_voice": "zh"})).values()} == {"cmn"}
    assert [*meanings(build_engine("espeak", {"default_voice": "de+f3"})).values()][:3] == ["de+f3", "de", "de+f3"]


def test_a_text_without_a_voice_is_still_spoken_by_a_voice_that_reads_it():
    catalogue = Catalogue([build_engine("espeak", {})])
    assert parse_request({"input": "你好"}, catalogue).utterance.voice == "cmn"


def test_openais_voice_names_begin_with_the_engines_first_voice_where_none_is_the_default():
    meant = meanings(far(voices=["vivian", "nova", "ryan"]))
    assert [meant["alloy"], meant["ash"], meant["ballad"]] == ["vivian", "nova", "ryan"]
    assert "nova" not in meant  # which it has itself


# -- what goes before them ----------------------------------------------------------------------------------------------


def test_an_engines_own_voice_and_alias_go_before_a_name_of_openais():
    own = Catalogue([far(voices=["vivian", "alloy"], voice_aliases={"ash": "alloy"})])
    assert [asked(own, voice=each).utterance.voice for each in ("alloy", "ash", "ballad")] == [
        "alloy",
        "alloy",
        "vivian",
    ]


async def test_an_uploaded_voice_goes_before_a_name_of_openais_at_once_at_every_instance(tmp_path):
    store = f"sqlite:///{tmp_path}/clips.db"
    one, other = Cloner(), Cloner()
    async with serving(one, store=store) as here, serving(other, store=store) as there:
        for client in (here, there):
            assert (await speak(client, voice="alloy", text="Before.")).status_code == 200
        assert (await upload(here, "alloy")).status_code == 201
        for number, client in enumerate((here, there)):
            assert (await speak(client, voice="alloy", text=f"After, {number}.")).status_code == 200
            assert (await speak(client, voice="alloy", text="Before.")).headers["x-sayonce-key"]
        assert one.calls[-1].reference.audio == other.calls[-1].reference.audio == reference()
        listed = [each for each in (await here.get("/v1/audio/voices")).json()["data"] if each["id"] == "alloy"]
        named = [each for each in (await here.get("/v1/audio/voices")).json()["data"] if each["name"] == "alloy"]
        assert (listed, len(named)) == ([], 1)


async def test_a_name_of_openais_means_its_engines_voice_again_once_the_uploaded_voice_is_removed():
    engine = Cloner()
    async with serving(engine) as client:
        await upload(client, "alloy")
        await speak(client, voice="alloy")
        await client.delete("/v1/audio/voices/alloy")
        assert await status(client, voice="alloy") == MISS
        assert [(call.voice, call.reference is None) for call in engine.calls] == [("alloy", False), ("anna", True)]
        listed = {voice["id"]: voice.get("means") for voice in (await client.get("/v1/audio/voices")).json()["data"]}
        assert listed["alloy"] == "anna"


async def test_a_removed_voice_is_not_passed_on_under_a_name_of_openais(upstream):
    async with serving(far(upstream.url)) as client:
        await upload(client, "alloy")
        await client.delete("/v1/audio/voices/alloy")
        assert (await speak(client, model="far", voice="alloy")).status_code == 404
    assert upstream.heard == []


async def test_a_voice_uploaded_without_waiting_is_looked_for_before_a_name_of_openais_is_spoken(tmp_path):
    store = f"sqlite:///{tmp_path}/clips.db"
    one, other = Cloner(), Cloner()
    async with serving(one, store=store) as here, serving(other, store=store) as there:
        await speak(there, voice="ash", text="So that it has read the names.")
        assert (await upload(here, "alloy", params={"wait": "false"})).status_code == 202
        await speak(there, voice="alloy", text="At once.")
        assert other.calls[-1].reference is not None


def test_a_name_that_an_engine_was_given_goes_before_its_servers_and_that_before_openais():
    first, second = far(name="first", model="tts-1-hd"), far(name="tts-1", model="kokoro", aliases=["gpt-4o-mini-tts"])
    third = far(name="kokoro", model="tts-1")
    found = Catalogue([third, second, first])
    assert {name: engine.name for name, engine in found.models.items()} == {
        "kokoro": "kokoro", "tts-1": "tts-1", "gpt-4o-mini-tts": "tts-1", "first": "first", "tts-1-hd": "first",
    }  # fmt: skip


def test_a_model_that_two_servers_have_is_the_first_engines_and_a_name_given_twice_is_an_error():
    one, two = far(name="one"), far("http://127.0.0.1:2/v1", name="two")
    assert Catalogue([one, two]).find("IndexTTS-2") is one
    assert Catalogue([one, two]).find("two") is two
    for options in ({"aliases": ["m"]}, {"models": ["m"]}):
        with pytest.raises(ConfigError, match="'m' is claimed by two engines: 'one', 'two'"):
            Catalogue([far(name="one", models=["m"]), far(name="two", **options)])


async def test_openai_names_turned_off_are_names_like_any_other():
    async with serving(StubEngine(), server__openai_names=False) as client:
        assert (await speak(client, model="tts-1")).status_code == 404
        assert (await speak(client, voice="alloy")).status_code == 404
        assert "alloy" not in (await client.get("/v1/audio/voices")).text
        assert "tts-1" not in (await client.get("/v1/models")).text


# -- servers elsewhere --------------------------------------------------------------------------------------------------


async def test_a_server_that_alone_knows_its_voices_gets_their_names_unchanged_and_its_model(upstream):
    async with serving(far(upstream.url, models=["tts-1-hd"])) as client:
        for model in ("tts-1", "tts-1-hd", "IndexTTS-2", "far"):
            assert await status(client, model=model, voice="alloy") in (MISS, "sayonce; hit; detail=memory")
    assert [(said["model"], said["voice"]) for said in upstream.heard] == [
        ("IndexTTS-2", "alloy"),
        ("tts-1-hd", "alloy"),
    ]


async def test_a_server_with_a_configured_list_of_voices_is_asked_for_one_of_them(upstream):
    async with serving(far(upstream.url, voices=["vivian", "ryan"], default_voice="ryan")) as client:
        assert await status(client, model="tts-1", voice="alloy") == MISS
    assert [said["voice"] for said in upstream.heard] == ["ryan"]


async def test_openais_voice_names_are_refused_where_no_voice_is_known_and_unknown_ones_are_refused(upstream):
    async with serving(far(upstream.url, unknown_voices="refuse")) as client:
        assert (await speak(client, model="far", voice="alloy")).status_code == 404


# -- wherever a name is given -------------------------------------------------------------------------------------------


async def test_models_and_voices_are_listed_with_what_they_mean():
    async with serving(StubEngine(), Far("far")) as client:
        models = [model["id"] for model in (await client.get("/v1/models")).json()["data"]]
        assert models == ["stub", "far", *MODELS]
        listed = (await client.get("/v1/audio/voices")).json()
        voices = listed["data"]
        assert (
            [voice["id"] for voice in voices] == [voice["id"] for voice in listed["voices"]] == ["anna", "ben", *VOICES]
        )
        assert voices[2] == {
            "object": "voice", "id": "alloy", "name": "alloy", "model": "stub", "language": "en", "means": "anna",
        }  # fmt: skip


async def test_explain_and_purge_know_what_a_name_means():
    engine = StubEngine()
    async with serving(engine) as client:
        for tag in ("voice=alloy", "model=tts-1"):
            await speak(client, voice="anna")
            request = {"model": "tts-1", "input": "Hello there.", "voice": "alloy"}
            found = (await client.post("/v1/cache/explain", json=request)).json()
            assert (found["document"]["voice"], found["document"]["model"]) == ("anna", "stub")
            assert found["stored"]["take"] == "memory"
            await client.post("/v1/cache/purge", json={"tag": tag})
            assert await status(client, voice="alloy") == MISS
        assert await status(client, voice="ben") == MISS


# -- names that there are not -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("voice", "meant"),
    [
        ("zh-CN", "cmn"), ("zh_TW", "cmn"), ("zh-Hans-CN", "cmn"), ("zh-HK", "yue"), ("de-DE", "de"), ("fr_CA", "fr-fr"),
        ("en-AU", "en-gb"), ("zh-CN-XiaoxiaoNeural", "cmn"), (" en-us", "en-us"), ("Alloy", "alloy"), ("aloy", "alloy"),
    ],
)  # fmt: skip
def test_an_unknown_voice_of_espeak_is_answered_with_the_nearest_by_its_language(voice, meant):
    with pytest.raises(NotFound, match=rf"has no voice .*; it has af, .* more; did you mean '{meant}'\?$"):
        asked(Catalogue([build_engine("espeak", {})]), voice=voice)


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ({"voice": "anna "}, "anna"), ({"voice": "ANNA"}, "anna"), ({"voice": "anne"}, "anna"), ({"voice": "shimer"}, "shimmer"),
        ({"voice": "en-GB"}, "anna"), ({"model": "tts1"}, "tts-1"), ({"model": "TTS_1"}, "tts-1"), ({"model": "stubb"}, "stub"),
        ({"model": "gpt-4o-mini-tts-2025-03-20"}, "gpt-4o-mini-tts"),
    ],
)  # fmt: skip
def test_an_unknown_name_is_answered_with_the_nearest_and_with_those_that_exist(fields, meant):
    with pytest.raises(NotFound, match=rf"(has anna|there is: .*stub, tts-1).*; did you mean '{meant}'\?$") as refused:
        asked(Catalogue([StubEngine()]), **fields)
    assert refused.value.param == next(iter(fields))


@pytest.mark.parametrize("fields", [{"voice": "zh-CN"}, {"voice": ""}, {"voice": "x" * 200}, {"model": "whisper"}])
def test_no_voice_is_suggested_where_no_name_is_near(fields):
    with pytest.raises(NotFound) as refused:
        asked(Catalogue([StubEngine()]), **fields)
    assert "did you mean" not in refused.value.message


async def test_no_other_voice_speaks_in_the_place_of_an_unknown_name():
    engine = Cloner()
    async with serving(engine) as client:
        await upload(client, "alice")
        assert (await status(client, voice="alcie"))[1].endswith("; did you mean 'alice'?")
        assert (await status(client, model="stup"))[0] == 404
    assert engine.calls == []


async def test_a_tenant_is_suggested_its_own_voices_alone(tmp_path):
    made = {name: new_key(name) for name in ("school", "bank")}
    (tmp_path / "keys").write_text("\n".join(line for _, line in made.values()))
    bank, school = ({"authorization": f"Bearer {made[name][0]}"} for name in ("bank", "school"))
    async with serving(Cloner(), security__api_keys_file=str(tmp_path / "keys")) as client:
        await upload(client, "alice", headers=bank)
        assert "did you mean 'alice'" in (await speak(client, voice="alcie", headers=bank)).text
        assert "alice" not in (await speak(client, voice="alcie", headers=school)).text
