import asyncio
import json
import logging
from io import BytesIO

import httpx
import numpy as np
import pytest
import soundfile

from sayonce.errors import (
    BadAudio,
    ConfigError,
    EngineBusy,
    EngineError,
    EngineTimeout,
    InvalidRequest,
    NotFound,
    SayonceError,
    TooLarge,
    UnsupportedMedia,
)
from sayonce.speech.engines import build_engine
from sayonce.speech.engines.runtime.http_errors import translated
from tests.helpers.engine_speech import hear, pcm, unkeyed, utterance
from tests.helpers.serving import serving as gateway
from tests.helpers.serving import speak
from tests.helpers.upstream import SAMPLE_RATE_HZ, Upstream, head, raw_upstream, samples_of, wav

KEY = "sk-a-secret-that-nobody-may-see"
MP3 = b"\xff\xfb\x90\x64" + bytes(400)


@pytest.fixture(scope="module")
def serving():
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(serving):
    serving.heard.clear()
    serving.headers.clear()
    serving._answer = None
    return serving


@pytest.fixture
async def connect():
    """Return engines for an address, which are closed in the end."""
    engines = []

    async def connect(url, **options):
        section = {"kind": "openai", "base_url": url, "model": "tts-1", "default_voice": "alloy", **options}
        engines.append(build_engine("far", section))
        await engines[-1].load()
        return engines[-1]

    yield connect
    for engine in engines:
        await engine.close()


# -- asking -------------------------------------------------------------------------------------------------------------


async def test_the_request_to_an_upstream_server_is_openais_and_leaves_defaults_out(upstream, connect):
    engine = await connect(upstream.url + "/")
    await pcm(engine, "Hello.", speed=1.0, instructions="")
    await pcm(engine, "Hello.")
    said = {"model": "tts-1", "input": "Hello.", "voice": "alloy", "response_format": "wav"}
    assert upstream.heard == [said, said]
    assert set(upstream.paths) == {"/v1/audio/speech"}


async def test_every_declared_parameter_reaches_the_upstream_server(upstream, connect):
    assert await unkeyed(await connect(upstream.url), "Hello.") == []


async def test_unknown_fields_are_handed_on_and_cannot_replace_the_gateways_own(upstream, connect):
    engine = await connect(upstream.url)
    given = {"emotion": {"happy": 0.5}, "seed": None, "response_format": "mp3", "input": "Something else."}
    speech = utterance(engine, "Hello.")
    speech.parameters.update(given)
    assert [item async for item in engine.synthesize(speech)]
    assert upstream.heard[0]["emotion"] == {"happy": 0.5}
    assert upstream.heard[0]["seed"] is None
    assert (upstream.heard[0]["response_format"], upstream.heard[0]["input"]) == ("wav", "Hello.")


async def test_fields_that_say_how_the_client_is_answered_are_not_sent_upstream(upstream, connect):
    speech = utterance(await connect(upstream.url), "Hello.")
    speech.parameters.update({"stream": True, "stream_format": "sse"})
    engine = await connect(upstream.url)
    assert [item async for item in engine.synthesize(speech)]
    assert not {"stream", "stream_format"} & upstream.heard[0].keys()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("", None),
        ("no-cache", "no-cache"),
        ("no-store", "no-store"),
        ("no-cache, no-store", "no-store"),
        ("max-age=0", None),
    ],
)
async def test_no_cache_of_a_request_is_passed_on_to_an_upstream_server_that_caches_too(upstream, asked, told):
    async with gateway(build_engine("stub", {"kind": "openai", "base_url": upstream.url, "model": "m"})) as client:
        assert (await speak(client, headers={"cache-control": asked})).status_code == 200
        assert (await speak(client, headers={"cache-control": "only-if-cached"}, text="New.")).status_code == 504
    assert [headers.get("cache-control") for headers in upstream.headers] == [told]


async def test_models_of_the_server_keep_their_names_and_aliases_become_its_first(upstream, connect):
    engine = await connect(upstream.url, models=["tts-1-hd"], aliases=["gpt-4o-mini-tts"])
    for asked in ("tts-1-hd", "gpt-4o-mini-tts", "far", None):
        await pcm(engine, "Hello.", model=asked)
    assert [said["model"] for said in upstream.heard] == ["tts-1-hd", "tts-1", "tts-1", "tts-1"]
    assert set(engine.models) == {"gpt-4o-mini-tts", "tts-1-hd"}


async def test_voices_are_passed_on_to_an_upstream_server_unless_a_list_is_configured(upstream, connect):
    assert (await connect(upstream.url)).resolve_voice("whoever") == "whoever"
    engine = await connect(upstream.url, voices=["alloy", "nova"], voice_aliases={"heart": "nova"})
    assert engine.resolve_voice("heart") == "nova"
    with pytest.raises(NotFound, match="has no voice 'ash'; it has alloy, heart, nova"):
        engine.resolve_voice("ash")


async def test_an_openai_engines_identity_differs_by_server_revision_and_format_and_holds_no_key(connect, monkeypatch):
    monkeypatch.setenv("FAR_KEY", KEY)
    url = "http://127.0.0.1:9/v1"
    variants = [
        {},
        {"revision": "2"},
        {"response_format": "mp3"},
        {"response_format": "pcm"},
        {"response_format": "pcm", "sample_rate_hz": 16_000},
    ]
    identities = [json.dumps((await connect(url, **options)).identity()) for options in variants]
    identities.append(json.dumps((await connect("http://127.0.0.1:8/v1")).identity()))
    assert len(set(identities)) == len(identities)
    with_key = await connect("HTTP://127.0.0.1:9/v1/", api_key_env="FAR_KEY")
    assert json.dumps(with_key.identity()) == identities[0]


# -- the key ------------------------------------------------------------------------------------------------------------


async def test_the_api_key_goes_to_the_upstream_server_and_nowhere_else(upstream, connect, monkeypatch, caplog):
    monkeypatch.setenv("FAR_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    engine = await connect(upstream.url, api_key_env="FAR_KEY")
    await pcm(engine, "Hello.")
    assert upstream.headers[0]["authorization"] == f"Bearer {KEY}"
    told = [repr(engine), repr(engine._client), str(engine.identity())]
    for status in (400, 401, 429, 500, 200):
        upstream.answer(status, json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}}).encode())
        with pytest.raises(SayonceError) as failed:
            await pcm(engine, "Hello.")
        told += [str(failed.value), repr(failed.value), repr(failed.value.__cause__)]
    assert KEY not in "".join(told) + caplog.text


async def test_no_api_key_is_sent_upstream_where_none_is_configured(upstream, connect):
    await pcm(await connect(upstream.url), "Hello.")
    assert "authorization" not in upstream.headers[0]


# -- audio --------------------------------------------------------------------------------------------------------------


async def test_wav_from_an_upstream_server_becomes_samples_at_the_rate_of_its_header(upstream, connect):
    start, audio = await hear(await connect(upstream.url), "Hello.")
    assert (start.sample_rate_hz, start.channels, start.media_type) == (SAMPLE_RATE_HZ, 1, "audio/pcm")
    assert audio == samples_of(upstream.heard[0])


async def test_raw_samples_from_an_upstream_server_are_taken_at_the_configured_rate(upstream, connect):
    upstream.answer(200, b"\xff\xfb\x01\x00" * 100, "audio/pcm")  # which look like MPEG
    start, audio = await hear(await connect(upstream.url, response_format="pcm", sample_rate_hz=22_050), "Hello.")
    assert (start.sample_rate_hz, start.media_type, len(audio)) == (22_050, "audio/pcm", 400)


@pytest.mark.parametrize("asked", ["wav", "pcm", "mp3", "flac"])
@pytest.mark.parametrize(
    ("body", "stated", "media_type"),
    [
        (MP3, "audio/mpeg", "audio/mpeg"),
        (b"ID3\x04" + MP3, "application/octet-stream", "audio/mpeg"),
        (b"fLaC" + bytes(100), "audio/wav", "audio/flac"),
        (b"OggS" + bytes(100), "audio/ogg", "audio/ogg"),
        (b"\xff\xf1\x50\x80" + bytes(100), "audio/aac", "audio/aac"),
        (wav(b"\x01\x02" * 100), "audio/mpeg", "audio/pcm"),
    ],
)
async def test_audio_from_an_upstream_server_has_the_format_of_its_content_whatever_was_asked_or_stated(
    upstream, connect, asked, body, stated, media_type
):
    upstream.answer(200, [body[:1], body[1:5], body[5:]], stated)
    start, audio = await hear(await connect(upstream.url, response_format=asked), "Hello.")
    assert start.media_type == media_type
    assert audio == (b"\x01\x02" * 100 if media_type == "audio/pcm" else body)


async def test_a_server_that_says_opus_and_means_vorbis_does_not_give_its_clients_vorbis(upstream):
    file = BytesIO()
    soundfile.write(file, np.zeros(8000), 16_000, format="OGG", subtype="VORBIS")
    upstream.answer(200, file.getvalue(), "audio/ogg")
    section = {"kind": "openai", "base_url": upstream.url, "model": "m", "response_format": "opus"}
    async with gateway(build_engine("stub", section)) as client:
        for _ in range(2):
            answer = await speak(client, response_format="opus")
            assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/ogg")
            assert answer.content[28:36] == b"OpusHead"
    assert len(upstream.heard) == 1


async def test_audio_is_heard_while_the_upstream_server_still_speaks(connect):
    samples = bytes(range(200))
    chunk = wav(samples * 10)[:244]
    async with raw_upstream(head("Transfer-Encoding: chunked") + b"f4\r\n" + chunk + b"\r\n", hang=True) as url:
        engine = await connect(url)
        speech = engine.synthesize(utterance(engine, "Hello."))
        assert (await anext(speech)).sample_rate_hz == SAMPLE_RATE_HZ
        assert await anext(speech) == samples
        await speech.aclose()


# -- failures -----------------------------------------------------------------------------------------------------------


def error(message="No.", **more) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "expected", "told", "param"),
    [
        (400, error("Bad voice.", param="voice"), InvalidRequest, "Bad voice", "voice"),
        (422, b'{"detail": [{"loc": ["body", "speed"], "msg": "too fast"}]}', InvalidRequest, "too fast", "speed"),
        (400, b'{"detail": "no"}', InvalidRequest, "answered 400: no", None),
        (400, b"<html>", InvalidRequest, "answered 400$", None),
        (404, error("No model x.", param="model"), NotFound, "No model x", "model"),
        (404, b'{"detail": "Not Found"}', EngineError, "engines.far.base_url", None),
        (404, error("there is no path '/audio/speech'; /docs shows"), EngineError, "engines.far.base_url", None),
        (404, b"<html>nothing here</html>", EngineError, "engines.far.base_url", None),
        (404, b"404 page not found", EngineError, "engines.far.base_url", None),
        (404, error("Invalid URL (POST /v1/audio/speech)"), EngineError, "engines.far.base_url", None),
        (404, error("Cannot POST /v1/audio/speech"), EngineError, "engines.far.base_url", None),
        (404, error("no Route matched with those values"), EngineError, "engines.far.base_url", None),
        (404, error("Voice 'zoë' not found"), NotFound, "Voice 'zoë' not found", None),
        (404, error("The voice 'Route POST:/audio/speech' does not exist"), NotFound, "does not exist", None),
        (405, b"", EngineError, "engines.far.base_url", None),
        (410, error("The model is retired."), NotFound, "retired", None),
        (402, error("No credit left."), EngineError, "No credit left", None),
        (409, error("Not now."), EngineError, "Not now", None),
        (413, error("Too long."), TooLarge, "Too long", "input"),
        (415, error("No such audio."), UnsupportedMedia, "No such audio", None),
        *((status, error("No."), InvalidRequest, "No", None) for status in (406, 414, 422, 431, 451)),
        (401, error(), EngineError, "engines.far.api_key_env", None),
        (403, error(), EngineError, "engines.far.api_key_env", None),
        (500, error("Out of memory."), EngineError, "answered 500: Out of memory", None),
        (502, b"<html>Bad gateway</html>", EngineError, "answered 502$", None),
        (503, error("Overloaded."), EngineError, "Overloaded", None),
        (504, b"", EngineTimeout, "answered 504", None),
        (200, error("The model is not loaded."), EngineError, "an error: The model is not loaded", None),
        (200, b'{"detail": "no"}', EngineError, "an error: no", None),
        (200, b'{"ok": true}', BadAudio, 'text instead of audio: {"ok": true}$', None),
        (200, b"", BadAudio, "an empty body", None),
        (200, b"<!doctype html><p>Log in", BadAudio, "a web page", None),
        (200, b"hello", BadAudio, "text instead of audio: hello$", None),
        (200, b"\x80\xff hello", BadAudio, "no known audio", None),
        (200, b"hello\0there", BadAudio, "no known audio", None),
        (500, b"CUDA out of memory\n", EngineError, "answered 500: CUDA out of memory$", None),
        (400, b"  voice 'x'\r\n  is\tunknown ", InvalidRequest, "answered 400: voice 'x' is unknown$", None),
        (500, b"\x1b[31mred\x1b[0m\x07 \xe2\x80\xaeevil", EngineError, "answered 500: red evil$", None),
        (500, "café ".encode() * 900, EngineError, f"answered 500: {'café ' * 60}…$", None),
        (500, error("a\nb\x1b[2Jc"), EngineError, "answered 500: a bc$", None),
        (500, b'{"odd": "form"}', EngineError, 'answered 500: {"odd": "form"}$', None),
        (500, b'{"errors": ["gone"]}', EngineError, "gone", None),
        (500, b"\x80\xff\x00", EngineError, "answered 500$", None),
        (404, b"404 page not found\n", EngineError, "engines.far.base_url", None),
        (400, error("No.", param="p" * 65), InvalidRequest, "No", None),
        (200, wav(b""), BadAudio, "empty", None),
        (200, wav(bytes(100))[:20], BadAudio, "header", None),
        (200, wav(bytes(100))[:-10], BadAudio, "cut off", None),
        (204, b"", EngineError, "answered 204", None),
    ],
)
async def test_failures_of_an_upstream_server_are_told_apart_by_who_can_act(
    upstream, connect, status, body, expected, told, param
):
    upstream.answer(status, body)
    with pytest.raises(expected, match=told) as failed:
        await pcm(await connect(upstream.url), "Hello.")
    assert type(failed.value) is expected
    assert failed.value.param == param
    assert "far" in str(failed.value) or expected is BadAudio


@pytest.mark.parametrize("asked", ["wav", "pcm", "mp3"])
@pytest.mark.parametrize(
    "stated", ["application/json", "application/json; charset=utf-8", "audio/pcm", "audio/wav", ""]
)
@pytest.mark.parametrize(
    ("body", "told"),
    [(error("Not loaded."), "Not loaded"), (b' {\n  "detail": "gone"}', "gone"), (b"<html>Log in", "a web page")],
)
async def test_an_error_with_a_good_status_is_never_audio(upstream, connect, asked, stated, body, told):
    upstream.answer(200, body, stated)
    with pytest.raises(EngineError, match=told):
        await pcm(await connect(upstream.url, response_format=asked), "Hello.")


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"retry_after": "7"}, 7),
        (429, {}, 1),
        (429, {"retry_after": "soon"}, 1),
        (503, {"retry_after": "3"}, 3),
        (503, {"retry_after": "2.2"}, 3),
        (503, {"retry_after_ms": "4500"}, 5),
        (429, {"retry_after_ms": "250", "retry_after": "9"}, 1),
        (429, {"retry_after": "Fri, 31 Dec 2100 23:59:59 GMT"}, 3600),
        (429, {"retry_after": "Fri, 31 Dec 1999 23:59:59 GMT"}, 1),
    ],
)
async def test_a_busy_server_says_when_to_come_back(upstream, connect, status, headers, seconds):
    upstream.answer(status, error("Slow down."), **headers)
    with pytest.raises(EngineBusy, match="Slow down") as busy:
        await pcm(await connect(upstream.url), "Hello.")
    assert busy.value.retry_after_seconds == seconds


async def test_a_redirect_of_an_upstream_server_is_not_followed(upstream, connect):
    upstream.answer(307, b"", location=f"{upstream.url}/audio/speech")
    with pytest.raises(EngineError, match="answered 307: its speech API is elsewhere"):
        await pcm(await connect(upstream.url), "Hello.")
    assert len(upstream.heard) == 1


AUDIO = wav(bytes(1000))


@pytest.mark.parametrize(
    ("answer", "reset"),
    [
        (head(f"Content-Length: {len(AUDIO)}") + AUDIO[:500], False),
        (head("Transfer-Encoding: chunked") + b"1f4\r\n" + AUDIO[:500] + b"\r\n", False),
        (head("Transfer-Encoding: chunked") + b"1f4\r\n" + AUDIO[:100], False),
        (head() + AUDIO[:500], False),  # the end of the connection is the end of the body
        (head(f"Content-Length: {len(AUDIO)}") + AUDIO[:500], True),
        (head(f"Content-Length: {len(AUDIO)}"), False),
        (b"", False),
        (b"SSH-2.0-OpenSSH_9.2\r\n", False),
    ],
)
async def test_an_answer_that_breaks_off_is_never_a_whole_utterance(connect, answer, reset):
    async with raw_upstream(answer, reset=reset) as url:
        with pytest.raises(BadAudio):
            await pcm(await connect(url), "Hello.")


@pytest.mark.parametrize(
    ("asked", "answer", "kept"),
    [
        ("pcm", head() + bytes(range(200)) * 40, False),
        ("wav", head() + wav(b"")[:-4] + b"\xff" * 4 + bytes(range(200)) * 40, False),
        ("wav", head() + wav(bytes(range(200)) * 40), True),
        ("pcm", head("Content-Length: 8000") + bytes(range(200)) * 40, True),
        ("pcm", head("Transfer-Encoding: chunked") + b"1f40\r\n" + bytes(range(200)) * 40 + b"\r\n0\r\n\r\n", True),
    ],
)
async def test_audio_that_may_be_half_an_utterance_is_heard_and_not_stored(asked, answer, kept):
    """The end of the connection is the end of the body, and would be so too if the server had died."""
    async with raw_upstream(answer) as url:
        section = {"kind": "openai", "base_url": url, "model": "m", "response_format": asked}
        async with gateway(build_engine("stub", section)) as client:
            for audio_format in ("pcm", "mp3", "pcm", "mp3"):
                said = await speak(client, response_format=audio_format)
                await client.service.cache.settle()
            assert said.headers["cache-status"].startswith("sayonce; hit" if kept else "sayonce; fwd=miss")
            assert (await speak(client, response_format="wav")).content[44:] == bytes(range(200)) * 40
            assert client.service.cache.counters["engine calls"] == (1 if kept else 5)


@pytest.mark.parametrize("answer", [b"", head(f"Content-Length: {len(AUDIO)}"), head() + AUDIO[:500]])
async def test_an_upstream_server_that_hangs_is_given_up(connect, answer):
    async with raw_upstream(answer, hang=True) as url:
        with pytest.raises(EngineTimeout, match="did not answer in time"):
            await pcm(await connect(url, timeout_seconds=0.05), "Hello.")


async def test_an_upstream_server_that_is_not_there_is_named(connect):
    async with raw_upstream(b"") as url:
        pass
    with pytest.raises(EngineError, match="'far' cannot be reached"):
        await pcm(await connect(url), "Hello.")


async def test_a_proxy_is_used_only_for_upstream_servers_elsewhere(upstream, connect, monkeypatch):
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with raw_upstream(head() + AUDIO) as proxy:
        monkeypatch.setenv("http_proxy", proxy.removesuffix("/v1"))
        await pcm(await connect(upstream.url), "Hello.")
        assert len(upstream.heard) == 1
        assert await pcm(await connect("http://speech.invalid/v1"), "Hello.") == bytes(1000)


async def test_a_listener_that_leaves_ends_the_request_to_the_upstream_server(connect):
    async with raw_upstream(head() + AUDIO[:500], hang=True) as url:
        engine = await connect(url)
        speech = engine.synthesize(utterance(engine, "Hello."))
        assert await anext(speech)
        await speech.aclose()
        assert not engine._client._transport._pool.connections


async def test_many_utterances_at_once_get_each_its_own_answer_from_an_upstream_server(upstream, connect):
    engine = await connect(upstream.url)
    spoken = await asyncio.gather(*(pcm(engine, f"Text {number}.") for number in range(40)))
    assert len(set(spoken)) == 40


def _every(kind):
    return {kind}.union(*map(_every, kind.__subclasses__()))


@pytest.mark.parametrize("kind", sorted(_every(httpx.HTTPError) | {httpx.InvalidURL}, key=lambda kind: kind.__name__))
def test_every_error_of_the_http_client_becomes_ours(kind):
    request = httpx.Request("POST", "http://127.0.0.1")
    given = {"request": request, "response": httpx.Response(500)} if kind is httpx.HTTPStatusError else {}
    with pytest.raises(EngineError, match="far") as failed, translated("far"):
        raise kind("something", **given)
    assert issubclass(kind, httpx.TimeoutException) == isinstance(failed.value, EngineTimeout)


def test_a_connection_that_was_reset_without_a_word_is_told_in_words():
    told = "broke its answer off: the connection was reset"
    with pytest.raises(EngineError, match=told), translated("far"):
        raise httpx.ReadError("")


# -- configuration ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"base_url": "speech.example/v1"}, "engines.far.base_url must be like http"),
        ({"base_url": "ftp://speech.example"}, "engines.far.base_url must be like http"),
        ({"base_url": "http://"}, "engines.far.base_url must be like http"),
        ({"base_url": "http://me:word@speech.example/v1"}, "engines.far.base_url must have neither credentials"),
        ({"base_url": "http://speech.example/v1?key=word"}, "engines.far.base_url must have neither credentials"),
        ({"base_url": "http://[::1/v1"}, "engines.far.base_url is no address"),
        ({"base_url": None}, "engines.far.base_url must be a text or a list of texts"),
        (
            {"api_key_env": "sk-hidden"},
            r"api_key_env must be the name of an environment variable, which holds the key$",
        ),
        ({"api_key_env": "NOT_SET_ANYWHERE"}, "environment variable NOT_SET_ANYWHERE, which holds no key"),
        ({"api_key": "sk-123"}, "engines.far.api_key is not an option .* api_key_env"),
        ({"response_format": "vorbis"}, "engines.far.response_format must be one of aac, flac, .*, not 'vorbis'"),
        ({"timeout_seconds": 0}, "engines.far.timeout_seconds must be a number above 0, not 0"),
        ({"default_voice": "ash", "voices": ["alloy"]}, "engines.far.default_voice: .* it has alloy"),
    ],
)
def test_a_wrong_option_of_an_openai_engine_is_named_with_what_would_be_right(options, told):
    with pytest.raises(ConfigError, match=told) as refused:
        build_engine("far", {"kind": "openai", "base_url": "http://127.0.0.1/v1", "model": "tts-1", **options})
    assert "word" not in str(refused.value)
