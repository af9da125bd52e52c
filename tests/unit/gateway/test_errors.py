"""Errors of the gateway: each says in the API's form what is wrong, names the field, and keeps nothing."""

import asyncio
import json

import httpx
import pytest

from sayonce.errors import EngineError
from sayonce.speech import takes
from sayonce.testing import StubEngine
from tests.helpers.audio_samples import length_seconds
from tests.helpers.serving import serving, speak

TAKE_SECONDS = 0.4


@pytest.fixture
async def engine():
    return StubEngine()


@pytest.fixture
async def client(engine, tmp_path):
    async with serving(engine, store=f"sqlite:///{tmp_path}/clips.db") as client:
        yield client


@pytest.mark.parametrize("stream_format", ["audio", "sse"])
async def test_a_failure_in_mid_stream_never_ends_cleanly_and_is_not_kept(client, engine, stream_format):
    engine.failure, engine.fails_at = EngineError("broke"), 2
    with pytest.raises(httpx.RemoteProtocolError):
        await speak(client, stream_format=stream_format)
    assert client.service.cache.counters["failed"] == 1
    engine.failure = None
    answer = await speak(client)
    assert (answer.headers["cache-status"], length_seconds(answer.content)) == (
        "sayonce; fwd=miss; stored",
        TAKE_SECONDS,
    )


async def test_a_client_of_http_1_0_gets_an_error_instead_of_half_a_clip(client, engine):
    engine.failure, engine.fails_at = EngineError("broke"), 2
    answer = await http_1_0(client.port)
    assert answer.startswith(b"HTTP/1.1 502")
    engine.failure = None
    answer = await http_1_0(client.port)
    assert b"content-length: 19244" in answer  # 0.4 s of PCM16 at 24 kHz, and the header


async def http_1_0(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"model": "stub", "input": "Hi", "voice": "anna", "response_format": "wav"}).encode()
    writer.write(
        b"POST /v1/audio/speech HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        % (len(body), body)
    )
    answer = await reader.read()
    writer.close()
    return answer


async def test_a_failing_engine_is_a_502_that_says_why(client, engine):
    engine.failure = EngineError("out of memory on the GPU")
    answer = await speak(client)
    assert answer.status_code == 502
    assert answer.json()["error"] == {
        "message": "out of memory on the GPU", "type": "engine_error", "param": None, "code": "engine_failed"
    }  # fmt: skip
    engine.failure = None
    assert (await speak(client)).headers["cache-status"] == "sayonce; fwd=miss; stored"


async def test_another_engine_never_answers_in_the_place_of_the_one_that_was_asked(tmp_path):
    failing, sound = StubEngine("stub"), StubEngine("other")
    failing.failure = EngineError("out of memory")
    async with serving(failing, sound, store=f"sqlite:///{tmp_path}/clips.db") as client:
        assert (await speak(client)).status_code == 502
        assert sound.calls == []
        other = await speak(client, model="other")
        failing.failure = None
        answer = await speak(client)
        assert answer.headers["cache-status"] == "sayonce; fwd=miss; stored"
        assert answer.headers["x-sayonce-key"] != other.headers["x-sayonce-key"]


async def test_an_engine_that_never_ends_is_stopped_and_nothing_is_kept(client, engine, monkeypatch):
    monkeypatch.setattr(takes, "_MAX_BYTES", 100_000)
    engine.chunks = 100
    with pytest.raises(httpx.RemoteProtocolError):
        await speak(client, response_format="pcm")
    assert engine.finished == 0
    await client.service.cache.settle()
    assert (await client.service.cache.store.stats()).entries == 0


async def test_empty_audio_is_refused_and_not_kept(client, engine):
    engine.chunks = 0
    answer = await speak(client)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "bad_audio")
    engine.chunks = 4
    assert (await speak(client)).headers["cache-status"] == "sayonce; fwd=miss; stored"


async def test_a_bug_is_a_500_in_the_apis_form_without_its_text(client, engine):
    engine.failure = ZeroDivisionError("secret detail")
    answer = await speak(client)
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
    assert "secret" not in answer.text


BAD = [
    ({"input": ""}, 400, "input", "empty"),
    ({"input": " \n "}, 400, "input", "empty"),
    ({"input": None}, 400, "input", "empty"),
    ({"input": 5}, 400, "input", "string"),
    ({"input": ["a"]}, 400, "input", "list"),
    ({"input": "x" * 5000}, 400, "input", "5000 characters"),
    ({"voice": "zoe"}, 404, "voice", "anna, ben"),
    ({"voice": 7}, 400, "voice", "string"),
    ({"voice": {"name": "anna"}}, 400, "voice", "id"),
    ({"model": "gpt-9"}, 404, "model", "stub"),
    ({"model": 9}, 400, "model", "string"),
    ({"response_format": "midi"}, 400, "response_format", "mp3, opus"),
    ({"response_format": 1}, 400, "response_format", "string"),
    ({"stream_format": "morse"}, 400, "stream_format", "sse"),
    ({"speed": 9}, 400, "speed", "between 0.25 and 4"),
    ({"speed": "fast"}, 400, "speed", "number"),
    ({"speed": True}, 400, "speed", "number"),
    ({"emotion": "sad"}, 400, "emotion", "calm, happy, angry"),
    ({"sped": 1.5}, 400, "sped", "speed, emotion"),
    ({"speed": "1"}, 400, "speed", "number, not '1'"),
    ({"speed": [1]}, 400, "speed", "number"),
    ({"speed": 2**64}, 400, "speed", "64 bits"),
    ({"voice": []}, 400, "voice", "a string or an object"),
    ({"voice": {"id": 7}}, 400, "voice", "a string 'id'"),
]


@pytest.mark.parametrize(("fields", "status", "param", "told"), BAD, ids=lambda value: str(value)[:40])
async def test_bad_input_names_the_field_and_what_would_be_right(client, engine, fields, status, param, told):
    answer = await speak(client, **({"text": fields.pop("input")} if "input" in fields else {}), **fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param)
    assert told in error["message"]
    assert (engine.calls, (await client.service.cache.store.stats()).entries) == ([], 0)


@pytest.mark.parametrize(
    ("body", "content_type", "status", "told"),
    [
        (b"{", "application/json", 400, "not JSON"),
        (b"", "application/json", 400, "empty"),
        (b"[]", "application/json", 400, "object"),
        (b'{"model": "stub"}', "application/json", 400, "'input' is missing"),
        (b'{"input": "\\ud800"}', "application/json", 400, "half a surrogate pair"),
        (b'{"input": "\xff"}', "application/json", 400, "not UTF-8"),
        (b'\xef\xbb\xbf{"input": "hi"}', "application/json", 400, "byte order mark"),
        (b'{"input": "hi", "speed": 1e400}', "application/json", 400, "too large"),
        (b'{"input": "hi", "speed": %b}' % (b"9" * 5000), "application/json", 400, "too large"),
        (b'{"input": "hi", "x": %b}' % (b"[" * 100_000), "application/json", 400, "not JSON"),
        (b'{"input": "hi", "speed": NaN}', "application/json", 400, "JSON"),
        (b"input=hi", "application/x-www-form-urlencoded", 415, "application/json"),
        (b'{"input": "%b"}' % (b"x" * 1_000_000), "application/json", 400, "at most 4096"),
        (b'{"input": "%b"}' % (b"x" * 8_000_000), "application/json", 413, "8000000 bytes"),
    ],
)
async def test_a_body_that_cannot_be_read_says_why(client, engine, body, content_type, status, told):
    answer = await client.post("/v1/audio/speech", content=body, headers={"content-type": content_type})
    assert answer.status_code == status
    assert told in answer.json()["error"]["message"]
    assert engine.calls == []


@pytest.mark.parametrize("field", ["model", "voice", "stream_format", "x" * 1_000_000])
async def test_errors_do_not_send_megabytes_of_the_request_back(client, field):
    answer = await speak(client, **{field: "y" * 1_000_000})
    assert answer.status_code in (400, 404)
    assert len(answer.json()["error"]["message"]) < 400


async def test_of_a_field_that_comes_twice_the_last_is_spoken(client, engine):
    body = b'{"model": "stub", "input": "one", "voice": "anna", "input": "two"}'
    answer = await client.post("/v1/audio/speech", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, [call.text for call in engine.calls]) == (200, ["two"])


async def test_a_chunked_body_is_bounded_too(client):
    async def long():
        for _ in range(160):
            yield b"x" * 65536

    answer = await client.post("/v1/audio/speech", content=long(), headers={"content-type": "application/json"})
    assert answer.status_code == 413
