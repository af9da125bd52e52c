"""What clients look up, and how: lists, addresses that are nearly right, methods, keys, ids of requests."""

import asyncio
import gzip
import json

import pytest

from sayonce.gateway.access import new_key
from sayonce.gateway.paths import corrected
from sayonce.speech.openai_names import MODELS, VOICES
from sayonce.testing import StubEngine
from tests.helpers.serving import serving, speak
from tests.helpers.stub_engines import Cloner
from tests.helpers.uploaded_voices import upload

SPEECH = {"model": "stub", "input": "Hello there.", "voice": "anna", "response_format": "wav"}


@pytest.fixture
async def engine():
    return StubEngine("org/stub")


@pytest.fixture
async def client(engine):
    async with serving(StubEngine(), engine) as client:
        yield client


@pytest.fixture
def keys(tmp_path):
    made = {name: new_key(name) for name in ("school", "bank")}
    (tmp_path / "keys").write_text("\n".join(line for _, line in made.values()))
    return {"file": str(tmp_path / "keys"), **{name: key for name, (key, _) in made.items()}}


# -- lists --------------------------------------------------------------------------------------------------------------


async def test_voices_are_listed_twice_as_data_and_by_id_and_name(client):
    listed = (await client.get("/v1/audio/voices")).json()
    assert listed["voices"] == [{"id": name, "name": name} for name in ("anna", "ben", *VOICES)]
    assert {voice["id"] for voice in listed["data"]} == {"anna", "ben", *VOICES}


async def test_lists_take_whatever_query_a_client_adds(client):
    """Home Assistant's openai_tts asks for ``limit=100``, LocalAI's clients for the voices of a ``model``."""
    for path in ("/v1/models", "/v1/models/stub", "/v1/audio/models", "/v1/audio/voices"):
        asked = await client.get(path, params={"limit": 100, "model": "stub"})
        assert (asked.status_code, asked.json()) == (200, (await client.get(path)).json())


async def test_each_listed_voice_speaks_by_its_id():
    async with serving(Cloner()) as client:
        await upload(client, "alice")
        for voice in (await client.get("/v1/audio/voices")).json()["voices"]:
            assert (await speak(client, voice=voice["id"])).status_code == 200, voice


async def test_models_are_listed_and_shown_one_by_one_also_with_a_slash_in_the_name(client):
    listed = (await client.get("/v1/audio/models")).json()
    assert [each["id"] for each in listed["models"]] == ["stub", "org/stub", *MODELS]
    assert listed["data"] == (await client.get("/v1/models")).json()["data"]
    for model in listed["data"]:
        assert (await client.get(f"/v1/models/{model['id']}")).json() == model
    assert (await client.get("/v1/models/org%2Fstub")).json()["id"] == "org/stub"
    missing = await client.get("/v1/models/nothing")
    assert (missing.status_code, missing.json()["error"]["param"]) == (404, "model")
    assert "org/stub" in missing.json()["error"]["message"]


LISTS = ("/v1/models", "/v1/models/stub", "/v1/audio/models", "/v1/audio/voices")


async def test_public_lists_are_read_without_a_key_and_show_no_tenants_voice(keys):
    async with serving(Cloner(), server__public_lists=True, security__api_keys_file=keys["file"]) as client:
        school = {"authorization": f"Bearer {keys['school']}"}
        assert (await upload(client, "alice", headers=school)).status_code == 201
        for path in LISTS:
            for header in ({}, {"api-key": ""}, {"authorization": "Bearer"}):  # as clients do that were given none
                assert (await client.get(path, headers=header)).status_code == 200
            for header in ({"authorization": "Bearer wrong"}, {"api-key": "wrong"}, {"authorization": "Basic eDp5"}):
                assert (await client.get(path, headers=header)).status_code == 401
        voices = (await client.get("/v1/audio/voices")).json()
        assert (
            {voice["id"] for voice in voices["data"]}
            == {voice["id"] for voice in voices["voices"]}
            == {"anna", "ben", *VOICES}
        )
        for name, theirs in (("school", 3 + len(VOICES)), ("bank", 2 + len(VOICES))):
            headers = {"authorization": f"Bearer {keys[name]}"}
            assert len((await client.get("/v1/audio/voices", headers=headers)).json()["voices"]) == theirs
        assert (await speak(client)).status_code == 401


async def test_public_lists_show_no_voice_from_before_there_were_keys(keys, tmp_path):
    store = f"sqlite:///{tmp_path}/clips.db"
    async with serving(Cloner(), store=store) as client:
        await upload(client, "alice")
        assert "alice" in (await client.get("/v1/audio/voices")).text
    async with serving(
        Cloner(), store=store, server__public_lists=True, security__api_keys_file=keys["file"]
    ) as client:
        assert "alice" not in (await client.get("/v1/audio/voices")).text


async def test_lists_need_a_key_unless_they_are_public(keys):
    async with serving(StubEngine(), security__api_keys_file=keys["file"]) as client:
        for path in LISTS:
            assert (await client.get(path)).status_code == 401


# -- addresses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/audio/speech/", "//v1/audio/speech", "/v1//audio///speech//", "/audio/speech",
                                  "/v1/v1/audio/speech", "/audio/speech/", "/openai/v1/audio/speech"])  # fmt: skip
async def test_speech_is_served_at_nearly_the_right_address_with_the_body_that_was_sent(client, path):
    answer = await client.post(path, json=SPEECH)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/wav")
    again = await client.post("/v1/audio/speech", json=SPEECH)
    assert again.headers["x-sayonce-key"] == answer.headers["x-sayonce-key"]


@pytest.mark.parametrize("prefix", ["/openai", "/v1", "", "//openai/"])
@pytest.mark.parametrize("body", [SPEECH, {**SPEECH, "model": "elsewhere"}, {"input": "Hello there."}])
async def test_at_azures_address_the_deployment_is_the_model(client, engine, prefix, body):
    answer = await client.post(f"{prefix}/deployments/org/stub/audio/speech?api-version=2025-03-01", json=body)
    assert (answer.status_code, len(engine.calls)) == (200, 1)
    for name in ("nothing", "org"):
        missing = await client.post(f"{prefix}/deployments/{name}/audio/speech", json=SPEECH)
        assert (missing.status_code, missing.json()["error"]["param"]) == (404, "model")
    assert (await client.post(f"{prefix}/deployments/stub/audio/speech", json=[])).status_code == 400
    assert (await client.post(f"{prefix}/deployments/audio/speech", json=SPEECH)).status_code == 404


@pytest.mark.parametrize(
    ("path", "right"),
    [("/models", "/v1/models"), ("/v1/models/", "/v1/models"), ("/audio/voices/", "/v1/audio/voices"),
     ("/v1/v1/audio/models", "/v1/audio/models"), ("/models/stub", "/v1/models/stub"), ("/health/ready/", "/health/ready"),
     ("/v1/health/live", "/health/live")],
)  # fmt: skip
async def test_lists_and_health_are_served_at_nearly_the_right_address(client, path, right):
    assert (await client.get(path)).json() == (await client.get(right)).json()


@pytest.mark.parametrize(
    ("method", "path", "right"),
    [("POST", "/cache/purge", "/v1/cache/purge"), ("POST", "/v1/cache/purge/", "/v1/cache/purge"),
     ("POST", "//v1/cache/purge", "/v1/cache/purge"), ("POST", "/audio/voices", "/v1/audio/voices"),
     ("POST", "/v1/audio/voices/", "/v1/audio/voices"), ("DELETE", "/audio/voices/anna", "/v1/audio/voices/anna"),
     ("GET", "/v1/metrics", "/metrics"), ("GET", "/metrics/", "/metrics"), ("GET", "/cache/stats", "/v1/cache/stats"),
     ("GET", "/docs/", "/docs"), ("POST", "/api/v1/audio/speech", "/v1/audio/speech"),
     ("POST", "/v1/audio/speach", "/v1/audio/speech"),
     ("GET", "/v1/voices", "/v1/audio/voices"), ("GET", "/health/redy", "/health/ready"),
     ("POST", "/v1/%63ache/purge", "/v1/cache/purge"), ("POST", "/v1/cache%2Fpurge", "/v1/cache/purge"), ("GET", "/%6detrics", "/metrics"),
     ("POST", "/v1/audio/voice%73", "/v1/audio/voices"), ("DELETE", "/v1/audio/%76oices/anna", "/v1/audio/voices/anna"), ("GET", "/ready", "/health/ready"), ("POST", "/v1/speech", "/v1/audio/speech")],
)  # fmt: skip
async def test_a_changing_request_at_nearly_the_right_address_is_told_the_right_one_and_not_done(
    client, method, path, right
):
    before = await speak(client)
    answer = await client.request(method, path, json={"all": True})
    assert answer.status_code == 404
    assert answer.json()["error"]["message"].endswith(f"the right address is {right!r}")
    assert (await speak(client)).headers["cache-status"].startswith("sayonce; hit")
    assert before.status_code == 200


@pytest.mark.parametrize("path", ["/nothing", "/v1", "/v1/", "/" + "x" * 4000, "/" + "audio/" * 1000])
async def test_an_address_that_is_near_none_is_told_where_all_are(client, path):
    answer = await client.get(path)
    assert answer.status_code == 404
    assert "/docs" in answer.json()["error"]["message"]
    assert len(answer.content) < 1000


def test_a_right_address_is_not_rewritten(client):
    for route in client.gateway._others.routes:
        assert corrected(route.path) == route.path


# -- methods ------------------------------------------------------------------------------------------------------------


async def test_every_path_with_get_takes_head_and_every_path_options(client):
    key = (await speak(client)).headers["x-sayonce-key"]
    for route in client.gateway._others.routes:
        path = route.path.replace(":path}", "}").format(id="stub", name="dashboard.js", key=key)
        options = await client.options(path)
        assert (options.status_code, options.content) == (204, b"")
        allowed = options.headers["allow"].split(", ")
        assert allowed == sorted(allowed)
        assert route.methods | {"OPTIONS"} <= set(allowed)
        wrong = await client.patch(path)
        assert (wrong.status_code, wrong.headers["allow"]) == (405, options.headers["allow"])
        if "GET" in route.methods:
            got, head = await client.get(path), await client.head(path)
            assert (head.status_code, head.content) == (got.status_code, b"")
            assert head.headers["content-type"] == got.headers["content-type"]


async def test_options_of_a_path_that_is_not_there_is_a_404(client):
    assert (await client.options("/v1/nothing")).status_code == 404


# -- keys ---------------------------------------------------------------------------------------------------------------


async def test_a_key_may_come_as_api_key_and_is_checked_the_same(keys):
    async with serving(StubEngine(), security__api_keys_file=keys["file"]) as client:
        bearer = await speak(client, headers={"authorization": f"Bearer {keys['school']}"})
        header = await speak(client, headers={"api-key": keys["school"]})
        other = await speak(client, headers={"api-key": keys["bank"]})
        assert [each.status_code for each in (bearer, header, other)] == [200, 200, 200]
        assert bearer.headers["x-sayonce-key"] == header.headers["x-sayonce-key"] != other.headers["x-sayonce-key"]
        admin = await client.post("/v1/cache/purge", json={"all": True}, headers={"api-key": keys["school"]})
        assert admin.status_code == 403
        for wrong in ("", "wrong", f"Bearer {keys['school']}", keys["school"] + "x"):
            assert (await speak(client, headers={"api-key": wrong})).status_code == 401


async def test_two_keys_in_one_request_are_refused_whichever_they_are(keys):
    async with serving(StubEngine(), security__api_keys_file=keys["file"]) as client:
        school, bank = keys["school"], keys["bank"]
        for headers in (
            [("api-key", school), ("api-key", school)],
            [("api-key", school), ("authorization", f"Bearer {school}")],
            [("api-key", school), ("authorization", f"Bearer {bank}")],
            [("api-key", "wrong"), ("authorization", f"Bearer {bank}")],
        ):
            answer = await speak(client, headers=headers)
            assert answer.status_code == 401
            assert "once" in answer.json()["error"]["message"]


# -- bodies -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/audio/speech", "/v1/cache/explain", "/v1/cache/purge", "/v1/audio/voices"])
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "GZIP", "identity, gzip"])
async def test_a_compressed_body_is_a_415_that_says_what_would_be_right(client, path, coding):
    form = path.endswith("voices")
    headers = {
        "content-encoding": coding,
        "content-type": "multipart/form-data; boundary=x" if form else "application/json",
    }
    answer = await client.post(path, content=gzip.compress(json.dumps(SPEECH).encode()), headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (415, "Content-Encoding")
    assert "without Content-Encoding" in error["message"]
    assert answer.headers["accept-encoding"] == "identity"


async def test_a_body_with_a_compressed_transfer_encoding_is_a_415_too(client):
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    head = b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    writer.write(head + b"Transfer-Encoding: gzip, chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 415 ")
    assert b"without Transfer-Encoding" in answer


async def test_a_body_that_says_that_it_is_not_compressed_is_taken(client):
    assert (await speak(client, headers={"content-encoding": "identity"})).status_code == 200


# -- what every answer has ----------------------------------------------------------------------------------------------


async def answers_of_every_kind(client, headers=None):
    headers = headers or {}
    yield await speak(client, headers=headers)
    yield await speak(client, headers=headers)
    yield await speak(client, headers=headers, stream_format="sse")
    yield await speak(client, headers=headers, stream=False, response_format="mp3")
    yield await speak(client, headers=headers, voice="nobody")
    for method, path in (
        ("GET", "/v1/models"), ("GET", "/v1/audio/voices"), ("GET", "/health/live"), ("GET", "/health/ready"), ("GET", "/"),
        ("GET", "/docs"), ("GET", "/openapi.json"), ("GET", "/metrics"), ("GET", "/v1/cache/stats"), ("GET", "/v1/nothing"),
        ("PUT", "/v1/models"), ("OPTIONS", "/v1/models"), ("HEAD", "/v1/models"), ("POST", "/v1/audio/speech"),
        ("POST", "/v1/cache/purge"), ("GET", "/dashboard/dashboard.js"),
    ):  # fmt: skip
        yield await client.request(method, path, headers=headers)
    yield await client.get("/v1/models", headers={**headers, "host": "evil.example"})
    yield await client.get("/v1/models/" + "x" * 9000, headers=headers)


async def test_every_answer_has_an_id_of_its_own(client):
    ids = [each.headers["x-request-id"] async for each in answers_of_every_kind(client)]
    assert len(set(ids)) == len(ids)


async def test_the_id_of_a_request_comes_back_with_every_answer(client):
    for given in ("7f0c1d2e-5b1a-4a0e-9e55-0d2c6a8f3b11", "Root=1-67891233-abcdef", "x" * 128):
        async for answer in answers_of_every_kind(client, {"x-request-id": given}):
            assert answer.headers.get_list("x-request-id") == [given], answer.request.url


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", 'a"b', "a\tb", "caf\u00e9", "<script>", "a\\b"])
async def test_an_id_that_cannot_stand_in_a_log_line_is_replaced(client, given):
    answer = await client.get("/v1/models", headers={"x-request-id": given.encode()})
    assert answer.headers["x-request-id"].startswith("req_")


async def test_json_and_health_are_never_stored_by_a_proxy(client):
    async for answer in answers_of_every_kind(client):
        kind = answer.headers.get("content-type", "")
        if kind == "application/json" or answer.request.url.path.startswith("/health/"):
            assert answer.headers.get_list("cache-control") == ["no-store"], answer.request.url


async def test_streams_ask_nginx_not_to_hold_them_back_and_whole_answers_have_no_need(client):
    for fields in ({}, {"stream_format": "sse"}, {"text": "In another format.", "response_format": "mp3"}):
        answer = await speak(client, **fields)
        assert answer.headers["x-accel-buffering"] == "no"
    assert "x-accel-buffering" not in (await speak(client)).headers
