"""The gateway's answers: headers, errors and directives, over real sockets."""

import asyncio
import io
import json

import av
import httpx
import pytest
import soundfile

from sayonce.errors import EngineError, InvalidRequest
from sayonce.speech import refusals, takes
from sayonce.testing import StubEngine
from tests.helpers.serving import serving, speak, until

TAKE_SECONDS = 0.4


@pytest.fixture
async def engine():
    return StubEngine()


@pytest.fixture
async def client(engine, tmp_path):
    async with serving(engine, store=f"sqlite:///{tmp_path}/clips.db") as client:
        yield client


def seconds(body: bytes) -> float:
    """How long a clip is for a library that did not encode it."""
    with av.open(io.BytesIO(body)) as container:
        stream = container.streams.audio[0]
        return sum(frame.samples for frame in container.decode(stream)) / stream.codec_context.sample_rate


async def test_the_first_request_is_a_miss_and_every_repeat_a_hit_with_the_same_sound(client, engine):
    first = await speak(client)
    assert (first.status_code, first.headers["cache-status"]) == (200, "sayonce; fwd=miss; stored")
    assert "age" not in first.headers
    second = await speak(client)
    assert second.headers["cache-status"] == "sayonce; hit; detail=memory"
    assert (
        soundfile.read(io.BytesIO(first.content))[0].tolist() == soundfile.read(io.BytesIO(second.content))[0].tolist()
    )
    assert len(engine.calls) == 1


async def test_a_hit_tells_its_length_age_key_tag_and_what_it_cost(client):
    first = await speak(client)
    second = await speak(client)
    assert int(second.headers["content-length"]) == len(second.content)
    assert second.headers["age"] == "0"
    assert second.headers["x-sayonce-key"] == first.headers["x-sayonce-key"]
    assert len(bytes.fromhex(second.headers["x-sayonce-key"])) == 32
    assert float(second.headers["x-sayonce-compute-ms"]) > 0
    assert second.headers["etag"] == first.headers["etag"].removeprefix("W/")


async def test_a_gateway_serves_stored_clips_after_a_restart(engine, tmp_path):
    for tier in ("fwd=miss; stored", "hit; detail=sqlite"):
        async with serving(engine, store=f"sqlite:///{tmp_path}/clips.db") as client:
            assert (await speak(client, response_format="mp3")).headers["cache-status"] == f"sayonce; {tier}"
    assert len(engine.calls) == 1


@pytest.mark.parametrize("audio_format", ["mp3", "opus", "aac", "flac", "wav"])
async def test_every_format_comes_from_one_take_and_lasts_as_long(client, engine, audio_format):
    await speak(client)
    for _ in range(2):
        answer = await speak(client, response_format=audio_format)
        assert answer.headers["cache-status"].startswith("sayonce; hit")
        assert seconds(answer.content) == pytest.approx(TAKE_SECONDS, abs=0.09)
    assert len(engine.calls) == 1


@pytest.mark.parametrize("audio_format", ["mp3", "opus", "aac", "flac", "wav"])
async def test_a_streamed_miss_lasts_as_long_as_the_take(client, audio_format):
    answer = await speak(client, response_format=audio_format)
    assert answer.headers["cache-status"] == "sayonce; fwd=miss; stored"
    # AAC, and an MP3 that is streamed, cannot say how much of their first or last frames is padding.
    assert seconds(answer.content) == pytest.approx(TAKE_SECONDS, abs=0.09)


async def test_headers_of_raw_formats_tell_rate_and_channels(client, engine):
    pcm = await speak(client, response_format="pcm")
    assert pcm.headers["content-type"] == "audio/pcm;rate=24000;channels=1"
    assert pcm.content == b"".join(engine.sound(engine.calls[0], number) for number in range(engine.chunks))
    mulaw = await speak(client, response_format="mulaw")
    assert (mulaw.headers["content-type"], len(mulaw.content)) == ("audio/basic", 3200)


async def test_mp3_is_the_default_format(client):
    answer = await client.post("/v1/audio/speech", json={"model": "stub", "input": "Hi", "voice": "anna"})
    assert answer.headers["content-type"] == "audio/mpeg"


@pytest.mark.parametrize(("audio_format", "looks"), [("wav", 1), ("pcm", 1), ("flac", 2), ("mp3", 2)])
async def test_a_miss_looks_for_its_take_and_for_a_clip_that_a_store_may_have(client, audio_format, looks):
    await speak(client, response_format=audio_format)
    await client.service.cache.settle()
    prefix = "store calls: "
    calls = {
        name.removeprefix(prefix): n for name, n in client.service.cache.counters.items() if name.startswith(prefix)
    }
    asked = {name: calls[name] for name in ("get", "acquire", "release")}
    assert asked == {"get": looks, "acquire": 1, "release": 1}


async def test_three_hundred_equal_requests_at_once_are_one_synthesis(client, engine):
    answers = await asyncio.gather(*(speak(client) for _ in range(300)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) <= 2  # the streamed header, and the finished one
    assert len(engine.calls) == 1


async def test_three_hundred_requests_for_a_hundred_texts_are_a_hundred_syntheses(client, engine):
    answers = await asyncio.gather(*(speak(client, f"Text {number % 100}.") for number in range(300)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(engine.calls) == 100


async def test_followers_hear_the_first_byte_before_the_synthesis_has_ended(client, engine):
    engine.gate.clear()
    body = {"model": "stub", "input": "Hello", "voice": "anna", "response_format": "pcm"}
    async with (
        client.stream("POST", "/v1/audio/speech", json=body) as leader,
        client.stream("POST", "/v1/audio/speech", json=body) as follower,
    ):
        heard = [leader.aiter_raw(), follower.aiter_raw()]
        assert all([await anext(each) for each in heard])
        assert follower.headers["cache-status"] == "sayonce; fwd=miss; collapsed"
        assert engine.finished == 0
        engine.gate.set()
        for each in heard:
            assert [chunk async for chunk in each]


async def test_the_first_bytes_are_sent_before_the_take_is_packed(client, monkeypatch):
    """Packing holds the interpreter for milliseconds, also where the engine gives the whole take at once."""
    monkeypatch.setattr(takes, "_LISTENERS_FIRST_SECONDS", 200 * takes._LISTENERS_FIRST_SECONDS)
    to_thread, told = asyncio.to_thread, []

    async def noting(function, *given):
        told.extend(["packed"] * (function is takes.pack))
        return await to_thread(function, *given)

    async def send(message):
        told.extend(["heard"] * bool(message.get("body")))

    monkeypatch.setattr(asyncio, "to_thread", noting)
    body = json.dumps({"model": "stub", "input": "Hello there.", "voice": "anna", "response_format": "pcm"}).encode()
    scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/v1/audio/speech"}
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    messages = asyncio.Queue()
    messages.put_nowait({"type": "http.request", "body": body})
    await client.gateway(scope | {"headers": headers}, messages.get, send)
    assert (told[0], told.count("packed")) == ("heard", 1)


async def test_the_first_client_may_hang_up_and_the_clip_is_stored(client, engine):
    engine.gate.clear()
    body = {"model": "stub", "input": "Hello there.", "voice": "anna", "response_format": "pcm"}
    async with client.stream("POST", "/v1/audio/speech", json=body) as leader:
        await anext(leader.aiter_raw())
    engine.gate.set()
    await client.service.cache.settle()
    assert (await speak(client, response_format="pcm")).headers["cache-status"].startswith("sayonce; hit")
    assert len(engine.calls) == 1


@pytest.mark.parametrize("stream_format", ["audio", "sse"])
async def test_a_failure_in_mid_stream_never_ends_cleanly_and_is_not_kept(client, engine, stream_format):
    engine.failure, engine.fails_at = EngineError("broke"), 2
    with pytest.raises(httpx.RemoteProtocolError):
        await speak(client, stream_format=stream_format)
    assert client.service.cache.counters["failed"] == 1
    engine.failure = None
    answer = await speak(client)
    assert (answer.headers["cache-status"], seconds(answer.content)) == ("sayonce; fwd=miss; stored", TAKE_SECONDS)


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


async def test_a_hit_plays_the_very_bytes_that_the_miss_streamed(client):
    """Whatever an engine puts between and behind its parts is in both, or in neither."""
    streamed = [await speak(client, "One. Two.", response_format=each) for each in ("pcm", "wav", "flac")]
    played = [await speak(client, "One. Two.", response_format=each) for each in ("pcm", "wav", "flac")]
    assert "miss" in streamed[0].headers["cache-status"]
    samples = {streamed[0].content, played[0].content}
    for answer in (*streamed[1:], *played[1:]):
        samples.add(soundfile.read(io.BytesIO(answer.content), dtype="int16")[0].tobytes())
    assert len(samples) == 1


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


async def test_a_no_store_request_neither_reads_nor_keeps_a_clip(client, engine):
    for _ in range(2):
        answer = await speak(client, headers={"cache-control": "no-store"})
        assert answer.headers["cache-status"] == "sayonce; fwd=bypass"
    assert (await speak(client)).headers["cache-status"] == "sayonce; fwd=miss; stored"
    assert len(engine.calls) == 3


async def test_a_no_cache_request_makes_every_format_anew(client, engine):
    old = {each: (await speak(client, response_format=each)).content for each in ("wav", "pcm")}
    engine.sound = lambda utterance, number: b"\1\0" * 2400  # a sampling model's other take
    new = await speak(client, response_format="wav", headers={"cache-control": "no-cache"})
    assert new.headers["cache-status"] == "sayonce; fwd=miss; stored"
    pcm = await speak(client, response_format="pcm")
    assert pcm.headers["cache-status"].startswith("sayonce; hit")
    assert pcm.content == b"\1\0" * 9600 != old["pcm"]


async def test_a_take_that_is_still_being_written_is_no_new_one(client, engine, monkeypatch):
    store, written = client.service.cache.store, asyncio.Event()
    put = store.put

    async def put_late(entry):
        await written.wait()
        return await put(entry)

    monkeypatch.setattr(store, "put", put_late)
    await speak(client)
    asked = asyncio.create_task(speak(client, headers={"cache-control": "no-cache"}))
    await asyncio.sleep(0.1)
    written.set()
    assert (await asked).headers["cache-status"] == "sayonce; fwd=miss; stored"
    assert len(engine.calls) == 2


async def test_only_if_cached_is_504_or_a_hit_in_any_format(client, engine):
    only = {"cache-control": "only-if-cached"}
    missing = await speak(client, headers=only)
    assert (missing.status_code, missing.json()["error"]["code"]) == (504, "not_cached")
    assert engine.calls == []
    await speak(client)
    assert (await speak(client, headers=only)).status_code == 200
    assert (await speak(client, headers=only, response_format="opus")).status_code == 200


async def test_fields_that_are_not_heard_are_not_keyed(client, engine):
    await speak(client, trace_id="one")
    assert (await speak(client, trace_id="two")).headers["cache-status"].startswith("sayonce; hit")


async def test_spellings_that_nobody_can_hear_apart_share_a_clip(client, engine):
    await speak(client, "Caf\u00e9 au lait")
    for spelling in ("Cafe\u0301 au lait", "  Caf\u00e9 au lait\n"):
        assert (await speak(client, spelling)).headers["cache-status"].startswith("sayonce; hit")
    assert (
        (await speak(client, voice={"id": "anna"}, text="Caf\u00e9 au lait", speed=None, emotion="calm"))
        .headers["cache-status"]
        .startswith("sayonce; hit")
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("US", "us"), ("-5 degrees", "5 degrees"), ("C++", "C#"), ("we're", "were"), ("nowhere", "now here"),
        ("One.\n\nTwo.", "One.\nTwo."), ("1", "1.0"), ("\uff21", "A"),
    ],
)  # fmt: skip
async def test_texts_that_may_sound_different_never_share_a_clip(client, one, other):
    keys = {(await speak(client, text)).headers["x-sayonce-key"] for text in (one, other)}
    assert len(keys) == 2


async def test_the_engines_revision_is_part_of_the_key(tmp_path):
    for revision in ("1", "2"):
        engine = StubEngine()
        engine.revision = revision
        async with serving(engine, store=f"sqlite:///{tmp_path}/clips.db") as client:
            assert (await speak(client)).headers["cache-status"] == "sayonce; fwd=miss; stored"


async def test_a_full_engine_is_a_503_with_a_time_to_come_back(tmp_path):
    engine = StubEngine()
    engine.concurrency, engine.queue = 1, 1
    async with serving(engine) as client:
        engine.gate.clear()
        asked = [asyncio.create_task(speak(client, text)) for text in ("one", "two", "three")]
        done, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        [busy] = [task.result() for task in done]
        assert (busy.status_code, busy.json()["error"]["code"]) == (503, "engine_busy")
        assert int(busy.headers["retry-after"]) >= 1
        engine.gate.set()
        assert [(await task).status_code for task in waiting] == [200, 200]


async def test_an_engine_that_keeps_silent_is_a_504(engine):
    engine.ready = SilentEvent()
    async with serving(engine, server__request_timeout="0.05") as client:
        answer = await speak(client)
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "engine_timeout")
        engine.ready.really.set()


class SilentEvent:
    """An engine's ``ready`` that is set only when the test says so."""

    def __init__(self):
        self.really = asyncio.Event()

    def set(self):
        pass

    def is_set(self):
        return self.really.is_set()

    async def wait(self):
        await self.really.wait()


async def test_known_requests_are_answered_while_the_engine_loads_and_unknown_ones_wait(engine, tmp_path):
    store = f"sqlite:///{tmp_path}/clips.db"
    async with serving(engine, store=store) as client:
        await speak(client)
    engine.ready = SilentEvent()
    async with serving(engine, store=store) as client:
        health = await client.get("/health/ready")
        assert (health.status_code, health.json()["engines"]) == (503, {"stub": "loading"})
        unknown = asyncio.create_task(speak(client, "Something new."))
        assert (await speak(client)).headers["cache-status"] == "sayonce; hit; detail=sqlite"
        assert not unknown.done()
        engine.ready.really.set()
        assert (await unknown).status_code == 200
        assert (await client.get("/health/ready")).status_code == 200


class BrokenEngine(StubEngine):
    async def load(self):
        raise EngineError("the weights are missing")


async def test_an_engine_that_cannot_load_is_a_503_that_says_why(tmp_path):
    async with serving(BrokenEngine()) as client:
        answer = await speak(client)
        assert (answer.status_code, answer.json()["error"]["message"]) == (502, "the weights are missing")
        health = await client.get("/health/ready")
        assert (health.status_code, health.json()["status"]) == (503, "failed")


async def test_a_failing_store_is_not_an_unready_service(engine, valkey):
    async with serving(engine, store="redis://127.0.0.1:1") as client:
        assert (await speak(client)).status_code == 200
        assert (await client.get("/health/ready")).status_code == 200


async def test_redis_is_shared_by_instances(valkey):
    engines = StubEngine(), StubEngine()
    async with serving(engines[0], store=valkey.url) as one, serving(engines[1], store=valkey.url) as other:
        await speak(one, response_format="mp3")
        await one.service.cache.settle()
        answer = await speak(other, response_format="mp3")
        assert answer.headers["cache-status"] == "sayonce; hit; detail=redis"
    assert engines[1].calls == []


class Stubborn(StubEngine):
    """Is asked for one format, and gives another."""

    def __init__(self, asked, given):
        super().__init__()
        self.take_format = asked
        self.given = given

    async def synthesize(self, utterance):
        from sayonce.audio.encode.encoders import encode
        from sayonce.audio.formats import FORMATS
        from sayonce.audio.pcm import Pcm
        from sayonce.speech.engines import AudioStart

        self.calls.append(utterance)
        pcm = b"".join(self.sound(utterance, number) for number in range(4))
        if self.given is None:
            yield AudioStart(24000)
            yield pcm
        else:
            yield AudioStart(0, 0, FORMATS[self.given].media_type)
            yield encode(Pcm(pcm, 24000, 1, len(pcm) // 2), FORMATS[self.given])


@pytest.mark.parametrize(("asked", "given"), [("mp3", None), (None, "mp3"), ("flac", "mp3"), ("mp3", "mp3")])
async def test_a_clip_is_in_the_format_asked_for_whatever_the_engine_gives(tmp_path, asked, given):
    engine = Stubborn(asked, given)
    async with serving(engine, store=f"sqlite:///{tmp_path}/clips.db") as client:
        for audio_format, begins in (("mp3", b"\xff\xf3"), ("flac", b"fLaC"), ("mp3", b""), ("flac", b"fLaC")):
            for _ in range(2):
                answer = await speak(client, response_format=audio_format)
                assert answer.headers["content-type"] == {"mp3": "audio/mpeg", "flac": "audio/flac"}[audio_format]
                assert answer.content.startswith(begins)
                assert seconds(answer.content) == pytest.approx(TAKE_SECONDS, abs=0.15)
    assert len(engine.calls) == 1


async def test_a_client_that_leaves_the_queue_frees_its_place(engine):
    engine.concurrency, engine.queue = 1, 1
    async with serving(engine) as client:
        slots = client.service.synthesizer.takes.slots["stub"]
        engine.gate.clear()
        speaking = asyncio.create_task(speak(client, "one"))
        await until(lambda: slots.taken == 1)
        leaving = asyncio.create_task(speak(client, "two"))
        await until(lambda: slots.waiting == 1)
        assert (await speak(client, "three")).status_code == 503
        leaving.cancel()
        await until(lambda: slots.waiting == 0)
        staying = asyncio.create_task(speak(client, "three"))
        await until(lambda: slots.waiting == 1)
        engine.gate.set()
        assert [(await speaking).status_code, (await staying).status_code] == [200, 200]
        assert [call.text for call in engine.calls] == ["one", "three"]


async def test_a_place_in_the_queue_stays_while_any_client_waits_for_its_flight(engine):
    engine.concurrency, engine.queue = 1, 1
    async with serving(engine) as client:
        slots = client.service.synthesizer.takes.slots["stub"]
        engine.gate.clear()
        speaking = asyncio.create_task(speak(client, "one"))
        await until(lambda: slots.taken == 1)
        leaving, staying = (asyncio.create_task(speak(client, "two")) for _ in range(2))
        await until(lambda: slots.waiting == 1)
        await asyncio.sleep(0.05)  # for the second of them to have joined
        leaving.cancel()
        await until(lambda: client.service.cache.counters["left"] == 1)
        assert slots.waiting == 1
        engine.gate.set()
        assert [(await speaking).status_code, (await staying).status_code] == [200, 200]


async def test_a_client_that_waits_too_long_in_the_queue_is_told_to_come_back(engine):
    engine.concurrency, engine.queue_seconds = 1, 0.05
    async with serving(engine) as client:
        engine.gate.clear()
        speaking = asyncio.create_task(speak(client, "one"))
        await until(lambda: client.service.synthesizer.takes.slots["stub"].taken == 1)
        late = await speak(client, "two")
        assert (late.status_code, int(late.headers["retry-after"]) >= 1) == (503, True)
        engine.gate.set()
        assert (await speaking).status_code == 200


async def test_an_engines_refusal_is_remembered_for_a_moment(client, engine):
    engine.failure = InvalidRequest("'input' has nothing to speak", param="input")
    for _ in range(3):
        answer = await speak(client)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input")
    assert len(engine.calls) == 1


async def test_an_engines_refusal_is_forgotten_after_seconds(client, engine, monkeypatch):
    monkeypatch.setattr(refusals, "_REMEMBERED_SECONDS", 0.05)
    engine.failure = InvalidRequest("'input' has nothing to speak", param="input")
    assert (await speak(client)).status_code == 400
    engine.failure = None
    await asyncio.sleep(0.06)
    assert (await speak(client)).status_code == 200
