"""Speech that a server sends as events, OpenAI's ``speech.audio.*`` as vLLM-Omni writes them."""

import base64
import json

import httpx
import pytest

from sayonce.errors import BadAudio, EngineError, InvalidRequest
from sayonce.speech.engines import build_engine
from sayonce.speech.engines.openai import events
from tests.helpers.engine_speech import utterance
from tests.helpers.serving import serving as gateway
from tests.helpers.serving import speak
from tests.helpers.upstream import head, raw_upstream, wav

SAMPLES = bytes(each * each * 7 % 251 for each in range(1200))
EVENTS = "text/event-stream; charset=utf-8"


def delta(audio: bytes, response_format="wav") -> bytes:
    data = {"type": "speech.audio.delta", "audio": base64.b64encode(audio).decode(), "response_format": response_format}
    return f"event: speech.audio.delta\ndata: {json.dumps(data)}\n\n".encode()


def failed(**error) -> bytes:
    data = {"type": "speech.audio.error", "error": {"type": "server_error", "param": None, **error}}
    return f"event: speech.audio.error\ndata: {json.dumps(data)}\n\n".encode()


DONE = b'event: speech.audio.done\ndata: {"type":"speech.audio.done","usage":{"input_tokens":1}}\n\n'
FILE = wav(SAMPLES)
PLACEHOLDER = FILE[:4] + b"\xff" * 4 + FILE[8:40] + b"\xff" * 4
"""The header that vLLM-Omni streams."""


def far(url, **options):
    return build_engine("stub", {"kind": "openai", "base_url": url, "model": "m", **options})


async def hear_into(heard, client):
    body = {"model": "stub", "input": "Hello.", "voice": "anna", "response_format": "pcm", "sample_rate": 16_000}
    async with client.stream("POST", "/v1/audio/speech", json=body) as answer:
        async for chunk in answer.aiter_raw():
            heard.append(chunk)


async def heard(engine):
    items = [item async for item in engine.synthesize(utterance(engine, "Hello."))]
    return items[0], b"".join(items[1:])


@pytest.fixture
async def connect():
    engines = []

    async def connect(url, **options):
        engines.append(far(url, default_voice="anna", **options))
        await engines[-1].load()
        return engines[-1]

    yield connect
    for engine in engines:
        await engine.close()


async def test_events_are_heard_and_kept_as_the_clip_that_they_hold(upstream):
    parts = [delta(PLACEHOLDER), *(delta(SAMPLES[at : at + 333]) for at in range(0, len(SAMPLES), 333)), DONE]
    upstream.answer(200, parts, EVENTS)
    async with gateway(far(upstream.url)) as client:
        for outcome in ("fwd=miss; stored", "hit"):
            answer = await speak(client, response_format="pcm", sample_rate=16_000)
            assert (answer.status_code, answer.content) == (200, SAMPLES)
            assert outcome in answer.headers["cache-status"]
            await client.service.cache.settle()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
async def test_events_come_in_pieces_of_any_size_and_with_any_end_of_line(size, ending):
    two_lines = delta(SAMPLES[50:300], "pcm").replace(b', "response_format"', b',\ndata: "response_format"')
    whole = b": hello\n\nretry: 7\n" + delta(SAMPLES[:50], "pcm") + b"data:{}\n\n" + two_lines + DONE
    body = whole.replace(b"\n", ending.encode())

    async def pieces():
        for at in range(0, len(body), size):
            yield body[at : at + size]

    assert b"".join([audio async for audio in events.audio_of("far", pieces(), Exception)]) == SAMPLES[:300]


async def test_bytes_behind_the_last_event_are_not_heard():
    async def pieces():
        yield delta(SAMPLES[:64], "pcm") + b"data: [DONE]\n\n" + DONE + delta(b"noise", "pcm")

    assert b"".join([audio async for audio in events.audio_of("far", pieces(), Exception)]) == SAMPLES[:64]


async def test_raw_samples_and_whole_files_in_events_are_heard(upstream, connect):
    upstream.answer(200, [delta(SAMPLES, "pcm"), DONE], EVENTS)
    start, audio = await heard(await connect(upstream.url, response_format="pcm", sample_rate_hz=44_100))
    assert (start.sample_rate_hz, audio) == (44_100, SAMPLES)
    upstream.answer(200, [delta(wav(SAMPLES[:400])), delta(wav(SAMPLES[400:])), DONE], EVENTS)
    assert (await heard(await connect(upstream.url)))[1] == SAMPLES


async def test_events_are_heard_while_the_server_still_speaks(connect):
    sent = delta(PLACEHOLDER) + delta(SAMPLES[:400])
    chunk = f"{len(sent):x}\r\n".encode() + sent + b"\r\n"
    answer = head("Transfer-Encoding: chunked").replace(b"audio/wav", EVENTS.encode()) + chunk
    async with raw_upstream(answer, hang=True) as url:
        engine = await connect(url)
        speech = engine.synthesize(utterance(engine, "Hello."))
        await anext(speech)
        assert await anext(speech) == SAMPLES[:400]
        await speech.aclose()


@pytest.mark.parametrize("end", [b"", b": still here\n\n", DONE[:-2], b"data: [DONE]\n\n"])
async def test_events_that_end_without_the_last_one_are_heard_cut_and_not_kept(upstream, end):
    upstream.answer(200, [delta(PLACEHOLDER), delta(SAMPLES), end], EVENTS)
    async with gateway(far(upstream.url)) as client:
        for _ in range(2):
            audio = []
            with pytest.raises(httpx.RemoteProtocolError):
                await hear_into(audio, client)
            assert b"".join(audio) == SAMPLES
    assert len(upstream.heard) == 2


@pytest.mark.parametrize(
    ("events", "expected", "told"),
    [
        ([failed(message="CUDA out of memory", code=500)], EngineError, "answered with an error: CUDA out of memory"),
        ([b'data: {"type": "error", "error": "it failed"}\n\n'], EngineError, "answered with an error: it failed"),
        ([b'data: {"error": {"message": "gone"}}\n\n'], EngineError, "answered with an error: gone"),
        ([b'event: error\ndata: {"type": "error", "message": "no"}\n\n'], EngineError, "answered with an error: no"),
        ([failed(message="no such language", code=400)], InvalidRequest, "no such language"),
        ([DONE], BadAudio, "an empty body"),
        ([], BadAudio, "ended without speech.audio.done"),
        ([b"data: hello\n\n"], BadAudio, "an event that cannot be read"),
        ([b'data: {"type": "speech.audio.delta", "audio": "!!"}\n\n'], BadAudio, "an event that cannot be read"),
        ([b"data: \xff\n\n"], BadAudio, "an event that cannot be read"),
    ],
)
async def test_events_without_audio_are_an_error_with_the_servers_reason(upstream, connect, events, expected, told):
    upstream.answer(200, events, EVENTS)
    with pytest.raises(expected, match=told) as raised:
        await heard(await connect(upstream.url))
    assert type(raised.value) is expected


async def test_an_error_event_behind_audio_cuts_the_clip(upstream, connect):
    upstream.answer(200, [delta(PLACEHOLDER), delta(SAMPLES), failed(message="lost", code=500)], EVENTS)
    with pytest.raises(EngineError, match="lost"):
        await heard(await connect(upstream.url))


async def test_an_event_without_an_end_is_given_up(monkeypatch, upstream, connect):
    monkeypatch.setattr(events, "_LONGEST_EVENT_BYTES", 5_000)
    for endless in (b"x" * 10_000, b"data: x\n" * 2_000):
        upstream.answer(200, [endless], EVENTS)
        with pytest.raises(BadAudio, match="an event of more than 5000 bytes"):
            await heard(await connect(upstream.url))
