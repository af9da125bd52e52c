"""Clients that leave while the engine speaks: what is kept is spoken to its end, what is for them alone is not."""

import asyncio
import json
from contextlib import aclosing, asynccontextmanager

import pytest

from sayonce.cache import Cache, Lookup, Made
from sayonce.core.cache_control import Policy
from sayonce.core.outcome import Outcome
from sayonce.speech.engines import AudioStart, build_engine
from sayonce.testing import StubEngine
from tests.helpers.serving import serving, speak, until
from tests.helpers.upstream import head, wav

NO_STORE = {"cache-control": "no-store"}
PRIVATE = Policy(no_store=True)


class Speaker(StubEngine):
    """An engine for one at a time that tells when it has stopped; ``silent`` holds it before its first chunk."""

    concurrency = 1
    media_type = "audio/pcm"
    silent = False

    def __init__(self):
        super().__init__()
        self.stopped = 0

    async def synthesize(self, utterance):
        try:
            async with aclosing(super().synthesize(utterance)) as audio:
                async for item in audio:
                    if isinstance(item, AudioStart):
                        yield AudioStart(self.sample_rate_hz, media_type=self.media_type)
                        continue
                    if self.silent:
                        await self.gate.wait()
                    yield item
        finally:
            self.stopped += 1


@pytest.fixture
async def engine():
    engine = Speaker()
    engine.gate.clear()
    return engine


@pytest.fixture
async def client(engine):
    async with serving(engine) as client:
        yield client
        engine.gate.set()


def slots(client, name="stub"):
    return client.service.synthesizer.takes.slots[name]


@asynccontextmanager
async def streaming(client, headers=None, **fields):
    body = {"model": "stub", "input": "Hello there.", "voice": "anna", "response_format": "pcm", **fields}
    async with client.stream("POST", "/v1/audio/speech", json=body, headers=headers) as answer:
        yield answer


async def assert_abandoned(client, engine):
    await until(lambda: slots(client).taken == 0)
    assert (engine.stopped, engine.finished) == (1, 0)
    counters = client.service.cache.counters
    assert (counters["left"], counters["engine failures: stub"]) == (1, 0)


@pytest.mark.parametrize("gives", ["audio/pcm", "audio/mpeg"])
@pytest.mark.parametrize("stream_format", ["audio", "sse"])
async def test_a_client_that_leaves_a_no_store_stream_frees_the_engines_slot(client, engine, gives, stream_format):
    engine.media_type = gives
    async with streaming(client, NO_STORE, response_format="mp3", stream_format=stream_format) as answer:
        assert answer.headers["cache-status"] == "sayonce; fwd=bypass"
        assert slots(client).speaking == 1
    await assert_abandoned(client, engine)


async def test_a_no_store_client_that_leaves_after_the_first_bytes_frees_the_slot_for_the_next(client, engine):
    async with streaming(client, NO_STORE) as answer:
        assert await anext(answer.aiter_raw())
    await assert_abandoned(client, engine)
    engine.gate.set()
    assert (await speak(client, headers=NO_STORE)).status_code == 200


async def test_a_no_store_client_that_leaves_before_the_first_sound_frees_the_engines_slot(client, engine):
    engine.silent = True
    leaving = asyncio.create_task(speak(client, headers=NO_STORE))
    await until(lambda: engine.calls)
    leaving.cancel()
    await assert_abandoned(client, engine)


async def test_a_no_store_client_that_leaves_frees_the_slot_also_when_the_format_needs_the_whole_take(client, engine):
    engine.media_type = "audio/mpeg"
    leaving = asyncio.create_task(speak(client, headers=NO_STORE, response_format="flac"))
    await until(lambda: engine.calls)
    leaving.cancel()
    await assert_abandoned(client, engine)


async def test_an_http_1_0_client_that_leaves_a_no_store_request_frees_the_engines_slot(client, engine):
    _, writer = await asyncio.open_connection("127.0.0.1", client.port)
    body = json.dumps({"model": "stub", "input": "Hi", "voice": "anna", "response_format": "wav"}).encode()
    request = "POST /v1/audio/speech HTTP/1.0\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: {}\r\n\r\n"
    writer.write(request.format(len(body)).encode() + body)
    await until(lambda: engine.calls)
    writer.close()
    await assert_abandoned(client, engine)


async def test_a_client_that_leaves_a_no_store_stream_closes_the_connection_to_the_upstream_server():
    closed = asyncio.Event()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        clip = wav(bytes(10_000))
        writer.write(head(f"Content-Length: {len(clip)}") + clip[:5000])
        await reader.read()  # until the other side has had enough
        closed.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    far = build_engine("far", {"kind": "openai", "base_url": url, "model": "tts-1", "default_voice": "alloy"})
    async with server, serving(far) as client:
        async with streaming(client, NO_STORE, model="far", voice="alloy") as answer:
            assert await anext(answer.aiter_raw())
        await closed.wait()
        await until(lambda: slots(client, "far").taken == 0)


@pytest.mark.parametrize("control", ["no-cache", "max-age=60"])
async def test_a_clip_that_will_be_stored_is_spoken_to_its_end_though_nobody_listens(client, engine, control):
    async with streaming(client, {"cache-control": control}) as answer:
        await anext(answer.aiter_raw())
    await client.get("/health/live")  # by then the server knows that the other connection has ended
    assert slots(client).speaking == 1
    engine.gate.set()
    await client.service.cache.settle()
    assert (await speak(client, response_format="pcm")).headers["cache-status"].startswith("sayonce; hit")
    assert (engine.finished, len(engine.calls)) == (1, 1)


# -- the flight -----------------------------------------------------------------------------------------------------------


class Work:
    """A computation that begins and then waits, and tells when it was abandoned."""

    def __init__(self):
        self.gate = asyncio.Event()
        self.abandoned = asyncio.Event()

    async def __call__(self, flight):
        flight.begin()
        flight.send(b"one")
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.abandoned.set()
            raise
        return Made(body=b"one")


@pytest.fixture
async def cache():
    async with Cache() as cache:
        yield cache
        await cache.settle(0)


async def test_a_no_store_answer_that_nobody_reads_yet_is_not_abandoned(cache):
    work = Work()
    answer = await cache.answer(Lookup(cache.key("hello"), work, policy=PRIVATE))
    await asyncio.sleep(0)
    work.gate.set()
    assert (await answer.result()).body == b"one"
    answer.close()
    assert not work.abandoned.is_set()


async def test_a_no_store_answer_that_is_closed_before_it_was_read_is_abandoned(cache):
    work = Work()
    answer = await cache.answer(Lookup(cache.key("hello"), work, policy=PRIVATE))
    answer.close()
    await work.abandoned.wait()


async def test_a_listener_that_leaves_at_the_moment_of_the_first_chunk_leaves_nothing_behind(cache):
    work = Work()

    async def begin_as_the_caller_leaves(flight):
        flight.begin()
        asking.cancel()
        return await work(flight)

    asking = asyncio.create_task(cache.answer(Lookup(cache.key("hello"), begin_as_the_caller_leaves, policy=PRIVATE)))
    await work.abandoned.wait()


async def test_a_no_store_client_that_leaves_does_not_disturb_the_flight_that_others_joined(cache):
    kept, private, key = Work(), Work(), cache.key("hello")
    leader = await cache.answer(Lookup(key, kept))
    alone = await cache.answer(Lookup(key, private, policy=PRIVATE))
    follower = await cache.answer(Lookup(key, kept))
    for answer in (alone, leader, follower):
        answer.close()
    await private.abandoned.wait()
    kept.gate.set()
    assert (follower.outcome, (await follower.result()).body) == (Outcome.JOINED, b"one")
