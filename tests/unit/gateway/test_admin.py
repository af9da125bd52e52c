"""Lists, health, statistics, explain and purge, over real sockets."""

import pytest

from sayonce.testing import StubEngine
from tests.helpers.serving import serving, speak


@pytest.fixture
async def engine():
    return StubEngine()


@pytest.fixture
async def client(engine, tmp_path):
    async with serving(engine, StubEngine("other"), store=f"sqlite:///{tmp_path}/clips.db") as client:
        yield client


async def test_models_and_voices_are_listed_in_openais_form(client):
    models = (await client.get("/v1/models")).json()
    names = [model["id"] for model in models["data"]]
    assert (models["object"], names) == ("list", ["stub", "other", "tts-1", "tts-1-hd", "gpt-4o-mini-tts"])
    voices = (await client.get("/v1/audio/voices")).json()
    assert [(voice["id"], voice["model"]) for voice in voices["data"]][:2] == [("anna", "stub"), ("ben", "stub")]


async def test_stats_count_requests_and_saved_seconds(client):
    await speak(client)
    await client.service.cache.settle()
    for _ in range(3):
        await speak(client)
    figures = (await client.get("/v1/cache/stats")).json()
    process = figures["process"]
    assert (process["led"], process["hit"], process["requests"], process["hit_rate"]) == (1, 3, 4, 0.75)
    assert process["saved_seconds"] == pytest.approx(3 * process["engine seconds"], rel=0.01)
    assert (figures["store"]["name"], figures["store"]["entries"]) == ("sqlite", 1)


@pytest.mark.parametrize("store", ["memory://", "sqlite"])
@pytest.mark.parametrize("what", ["key", "tag", "all"])
async def test_a_purged_clip_is_made_anew_in_every_format(engine, tmp_path, what, store):
    async with serving(engine, store=store if store == "memory://" else f"sqlite:///{tmp_path}/clips.db") as client:
        for formats in (["mp3", "wav", "pcm"], ["wav", "pcm", "mp3"], ["pcm", "mp3", "wav"]):
            for audio_format in formats:
                key = (await speak(client, response_format=audio_format)).headers["x-sayonce-key"]
            await client.service.cache.settle()
            value = {"key": key, "tag": "voice=anna", "all": True}[what]
            assert (await client.post("/v1/cache/purge", json={what: value})).status_code == 200
            for audio_format in formats:
                answer = await speak(client, response_format=audio_format)
                first = audio_format == formats[0]
                expected = "sayonce; fwd=miss; stored" if first else "sayonce; hit; detail=memory"
                assert answer.headers["cache-status"] == expected, formats
                await client.service.cache.settle()


async def test_a_purge_of_one_voice_leaves_the_others(client):
    await speak(client, voice="ben")
    await client.post("/v1/cache/purge", json={"tag": "voice=anna"})
    assert (await speak(client, voice="ben")).headers["cache-status"].startswith("sayonce; hit")


@pytest.mark.parametrize(
    "body", [{}, {"key": "abc"}, {"key": 7}, {"tag": "colour=red"}, {"tag": "voice"}, {"all": False}, {"al": True},
             {"key": "0" * 64, "all": True}]
)  # fmt: skip
async def test_a_purge_that_is_not_clear_removes_nothing(client, body):
    await speak(client)
    answer = await client.post("/v1/cache/purge", json=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert (await speak(client)).headers["cache-status"].startswith("sayonce; hit")


@pytest.mark.parametrize("query", ["wiat=false", "tag=voice=anna", "foo", "wait=true&Wait=false"])
async def test_a_purge_whose_query_is_not_understood_removes_nothing(client, query):
    await speak(client)
    answer = await client.post(f"/v1/cache/purge?{query}", json={"all": True})
    error = answer.json()["error"]
    name = query.rpartition("&")[2].partition("=")[0]
    assert (answer.status_code, error["param"]) == (400, name)
    assert error["message"] == f"this path takes no query parameter '{name}'; there is: wait"
    assert (await speak(client)).headers["cache-status"].startswith("sayonce; hit")


async def test_explain_shows_the_document_and_where_the_clip_is(client):
    asked = {"model": "stub", "voice": "anna", "input": "Hello there.", "response_format": "wav"}
    missing = (await client.post("/v1/cache/explain", json=asked)).json()
    assert (missing["stored"], missing["nearest"]) == ({"take": None, "clip": None}, None)
    assert missing["document"]["parameters"] == {"speed": 1.0, "emotion": "calm"}
    answer = await speak(client)
    found = (await client.post("/v1/cache/explain", json=asked)).json()
    assert found["key"] == answer.headers["x-sayonce-key"]
    assert found["stored"] == {"take": "memory", "clip": "memory"}


async def test_explain_says_why_a_request_missed(client):
    await speak(client, emotion="happy")
    await speak(client, "Something else entirely.", voice="ben")
    asked = {"model": "stub", "voice": "anna", "input": "Hello there.", "emotion": "angry"}
    nearest = (await client.post("/v1/cache/explain", json=asked)).json()["nearest"]
    assert nearest == [{"field": "parameters.emotion", "this": "angry", "other": "happy"}]


async def test_explain_compares_two_requests(client):
    one = {"model": "stub", "voice": "anna", "input": "Hello", "speed": 1.25}
    other = {"model": "stub", "voice": "ben", "input": "Hello", "response_format": "opus"}
    found = (await client.post("/v1/cache/explain", json={"request": one, "other": other})).json()
    assert [each["field"] for each in found["differences"]] == ["parameters.speed", "voice"]


async def test_a_path_that_is_not_there_is_an_error_in_the_apis_form(client):
    for method, path, status, told in (
        ("GET", "/v1/nothing", 404, "there is no path '/v1/nothing'; /docs"),
        ("DELETE", "/v1/" + 900 * "x", 404, f"there is no path '/v1/{76 * 'x'}…'"),
        ("PUT", "/v1/models", 405, "this path takes GET, HEAD, OPTIONS"),
        ("PUT", "/v1/audio/voices", 405, "this path takes GET, HEAD, OPTIONS, POST"),
        ("GET", "/v1/audio/speech", 405, "this path takes OPTIONS, POST"),
    ):
        answer = await client.request(method, path)
        error = answer.json()["error"]
        code = {404: "not_found", 405: "method_not_allowed"}[status]
        assert (answer.status_code, error["type"], error["code"]) == (status, "invalid_request_error", code)
        assert error["message"].startswith(told)
        assert answer.headers.get("allow", "") == (told.removeprefix("this path takes ") if status == 405 else "")
