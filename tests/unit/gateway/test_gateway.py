"""The gateway's answers: hits, misses, formats and directives, over real sockets."""

import asyncio
import io
import json

import pytest
import soundfile

from sayonce.speech import takes
from sayonce.testing import StubEngine
from tests.helpers.audio_samples import length_seconds
from tests.helpers.raw_requests import LIVE, SPEECH, answer, connected, post
from tests.helpers.serving import serving, speak

TAKE_SECONDS = 0.4


@pytest.fixture
async def engine():
    return StubEngine()


@pytest.fixture
async def client(engine, tmp_path):
    async with serving(engine, store=f"sqlite:///{tmp_path}/clips.db") as client:
        yield client


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


async def test_a_known_request_for_a_clip_in_memory_is_answered_as_it_comes_without_a_task(client, monkeypatch):
    await speak(client)
    async with connected(client, post()) as (reader, writer):
        _, _, clip = await answer(reader)
        monkeypatch.setattr(client.gateway, "_speech", None)  # what a task would go through
        writer.write(post())
        status, headers, again = await answer(reader)
        assert (status, headers["cache-status"], again) == (200, "sayonce; hit; detail=memory", clip)
    assert client.service.cache.counters["hit"] == 2
    assert client.gateway.observer.shown().latest[0].outcome == "hit"


async def test_a_hit_in_memory_looks_for_no_voices_however_its_bytes_come(client, engine, monkeypatch):
    """Also by a name that may be an uploaded voice elsewhere: what is in memory is what the name meant a moment ago."""
    engine.clones, engine.offers = True, lambda _: False  # as one that tells nobody its voices
    async with connected(client, post()) as (reader, writer):
        await answer(reader)
        monkeypatch.setattr(client.service.synthesizer, "learn_voices", None)
        writer.write(post().removesuffix(SPEECH))
        await asyncio.sleep(0.05)
        writer.write(SPEECH)
        assert (await answer(reader))[1]["cache-status"] == "sayonce; hit; detail=memory"


async def test_a_compressed_body_is_refused_also_where_the_same_is_known_uncompressed(client):
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SPEECH), SPEECH)
    head = post(b"", "Transfer-Encoding: gzip, chunked").replace(b"Content-Length: 0\r\n", b"")
    async with connected(client, post() + head + chunked) as (reader, _):
        assert [(await answer(reader))[0] for _ in range(2)] == [200, 415]
    async with connected(client, head + chunked) as (reader, _):
        assert (await answer(reader))[0] == 415


async def test_pipelined_requests_for_a_clip_in_memory_are_answered_in_their_order(client):
    await speak(client)
    async with connected(client, post() + LIVE + post() * 3) as (reader, _):
        bodies = [(await answer(reader))[2] for _ in range(5)]
    assert [body[:4] for body in bodies] == [b"RIFF", b'{"st', b"RIFF", b"RIFF", b"RIFF"]


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
        assert length_seconds(answer.content) == pytest.approx(TAKE_SECONDS, abs=0.09)
    assert len(engine.calls) == 1


@pytest.mark.parametrize("audio_format", ["mp3", "opus", "aac", "flac", "wav"])
async def test_a_streamed_miss_lasts_as_long_as_the_take(client, audio_format):
    answer = await speak(client, response_format=audio_format)
    assert answer.headers["cache-status"] == "sayonce; fwd=miss; stored"
    # AAC, and an MP3 that is streamed, cannot say how much of their first or last frames is padding.
    assert length_seconds(answer.content) == pytest.approx(TAKE_SECONDS, abs=0.09)


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


async def test_a_hit_plays_the_very_bytes_that_the_miss_streamed(client):
    """Sound that an engine puts between and behind its parts is in both, or in neither."""
    streamed = [await speak(client, "One. Two.", response_format=each) for each in ("pcm", "wav", "flac")]
    played = [await speak(client, "One. Two.", response_format=each) for each in ("pcm", "wav", "flac")]
    assert "miss" in streamed[0].headers["cache-status"]
    samples = {streamed[0].content, played[0].content}
    for each in (*streamed[1:], *played[1:]):
        samples.add(soundfile.read(io.BytesIO(each.content), dtype="int16")[0].tobytes())
    assert len(samples) == 1


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
