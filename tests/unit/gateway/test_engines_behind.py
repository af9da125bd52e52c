"""Engines behind the gateway: full, slow, loading, broken or refusing, and the instances that share a store."""

import asyncio

import pytest

from sayonce.errors import EngineError, InvalidRequest
from sayonce.speech import refusals
from sayonce.testing import StubEngine
from tests.helpers.audio_samples import length_seconds
from tests.helpers.serving import serving, speak, until

TAKE_SECONDS = 0.4


@pytest.fixture
async def engine():
    return StubEngine()


@pytest.fixture
async def client(engine, tmp_path):
    async with serving(engine, store=f"sqlite:///{tmp_path}/clips.db") as client:
        yield client


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
                assert length_seconds(answer.content) == pytest.approx(TAKE_SECONDS, abs=0.15)
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
