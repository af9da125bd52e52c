"""Requests of programs that speak to OpenAI's API, byte for byte as their sources and HTTP libraries build them.

The programs themselves are too large to be installed for a test; clients that are not run in ``test_world.py``.
"""

import asyncio
import json
from hashlib import sha256
from typing import NamedTuple

import pytest

from sayonce.speech.engines import build_engine
from sayonce.testing import StubEngine
from tests.helpers.audio_samples import by_ffmpeg
from tests.helpers.serving import serving

KEY = "so-a-key-of-a-program"
TEXT = "Your parcel has arrived."
AIOHTTP = ("Accept: */*", "Accept-Encoding: gzip, deflate, br", "User-Agent: Python/3.12 aiohttp/3.13.2")
REQUESTS = ("User-Agent: python-requests/2.32.5", "Accept-Encoding: gzip, deflate", "Accept: */*")
AXIOS = (
    "Accept: application/json, text/plain, */*",
    "User-Agent: axios/1.12.2",
    "Accept-Encoding: gzip, compress, deflate, br",
)
NODE_FETCH = ("Accept: */*", "User-Agent: node-fetch", "Accept-Encoding: gzip, deflate, br", "Connection: close")
URLLIB = ("Accept-Encoding: identity", "User-Agent: HomeAssistant-OpenAI-TTS", "Connection: close")
BEARER = f"Authorization: Bearer {KEY}"
COMPACT = (",", ":")
"""JSON.stringify leaves no spaces, Python's json.dumps does."""


class Program(NamedTuple):
    source: str
    headers: tuple[str, ...]
    fields: dict[str, object]
    separators: tuple[str, str] = (", ", ": ")
    form: str = "mp3"
    target: str = "/v1/audio/speech"


PROGRAMS = {
    "Open WebUI": Program(
        "backend/open_webui/routers/audio.py at 6adde20",
        (BEARER, *AIOHTTP),
        {"input": TEXT, "voice": "alloy", "model": "tts-1"},
    ),
    "Open WebUI, that tells who asks": Program(
        "ENABLE_FORWARD_USER_INFO_HEADERS",
        (BEARER, *AIOHTTP, "X-OpenWebUI-User-Name: J%C3%B6rg", "X-OpenWebUI-User-Role: user"),
        {"input": TEXT, "voice": "nova", "model": "tts-1-hd"},
    ),
    "SillyTavern": Program(
        "src/endpoints/openai.js at ba6f7b7 (1.12.6)",
        (BEARER, *NODE_FETCH),
        {"input": TEXT, "response_format": "mp3", "voice": "shimmer", "speed": 1, "model": "tts-1"},
        COMPACT,
    ),
    "Home Assistant's openai_tts": Program(
        "custom_components/openai_tts/openaitts_engine.py at 5c8b3be (3.7)",
        (*URLLIB, BEARER),
        {
            "model": "gpt-4o-mini-tts",
            "input": TEXT,
            "voice": "ballad",
            "response_format": "mp3",
            "speed": 1.0,
            "instructions": "",
        },
    ),
    "Home Assistant's openai_tts, streaming": Program(
        "the same, async_get_tts_stream",
        (BEARER, *AIOHTTP[:2], "User-Agent: HomeAssistant-OpenAI-TTS"),
        {
            "model": "tts-1",
            "input": TEXT,
            "voice": "sage",
            "response_format": "mp3",
            "speed": 1.25,
            "instructions": "Calmly.",
        },
    ),
    "Dify": Program(
        "dify-plugin-sdks openai_compatible/tts.py at 28d1d22 (0.10.1)",
        (*REQUESTS, BEARER),
        {"model": "gpt-4o-mini-tts", "input": TEXT, "voice": "alloy", "response_format": "mp3"},
    ),
    "RAGFlow": Program(
        "rag/llm/tts_model.py at b1b8cd6 (0.27.0)",
        (*REQUESTS, BEARER),
        {"model": "tts-1", "voice": "alloy", "input": TEXT},
    ),
    "LibreChat": Program(
        "api/server/services/Files/Audio/TTSService.js at 6aa8eff",
        (*AXIOS, BEARER),
        {"input": TEXT, "model": "tts-1", "voice": "onyx"},
        COMPACT,
    ),
    "xiaozhi-esp32-server": Program(
        "main/xiaozhi-server/core/providers/tts/openai.py at 7475ea2 (0.9.6)",
        (*REQUESTS, BEARER),
        {"model": "tts-1", "input": TEXT, "voice": "alloy", "response_format": "wav", "speed": 1.0},
        form="wav",
    ),
}


@pytest.fixture
async def gateway(tmp_path):
    (tmp_path / "keys").write_text(f"acme:{sha256(KEY.encode()).hexdigest()}\n")
    options = {"security__api_keys_file": str(tmp_path / "keys"), "server__public_lists": True}
    async with serving(StubEngine(chunks=40), **options) as client:
        yield client


async def ask(port, target, headers, body=b"", method="POST"):
    """Return (status, headers, body) of an answer to these very bytes."""
    head = [f"{method} {target} HTTP/1.1", f"Host: 127.0.0.1:{port}", *headers]
    if body:
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("\r\n".join([*head, "", ""]).encode() + body)
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    told = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    try:
        if "content-length" in told:
            return int(status.split()[1]), told, await reader.readexactly(int(told["content-length"]))
        return int(status.split()[1]), told, b"".join([piece async for piece in _chunks(reader)])
    finally:
        writer.close()
        await writer.wait_closed()


async def _chunks(reader):
    while size := int(await reader.readline(), 16):
        yield (await reader.readexactly(size + 2))[:size]
    await reader.readline()


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
async def test_a_client_program_hears_its_text_and_hears_it_again_from_the_cache(gateway, program):
    body = json.dumps(program.fields, separators=program.separators).encode()
    for kept in (False, True):
        status, headers, clip = await ask(gateway.port, program.target, program.headers, body)
        assert (status, headers["cache-status"].startswith("sayonce; hit")) == (200, kept), clip
        samples, rate = by_ffmpeg(clip, program.form)
        assert len(samples) / rate == pytest.approx(4, rel=0.03)
    (call,) = gateway.service.synthesizer.catalogue.engines[0].calls
    assert call.text == TEXT
    assert call.parameters["speed"] == program.fields.get("speed", 1.0)
    assert headers.get("x-sayonce-ignored", "") == ("instructions" if program.fields.get("instructions") else "")


async def test_open_webui_lists_models_and_voices_without_a_key(gateway):
    """It sends none; what it cannot read becomes a list of its own, of names that may not be there."""
    _, _, models = await ask(gateway.port, "/v1/audio/models", REQUESTS, method="GET")
    assert {"stub", "tts-1"} <= {model["id"] for model in json.loads(models).get("models", [])}
    _, _, voices = await ask(gateway.port, "/v1/audio/voices", REQUESTS, method="GET")
    offered = {voice["id"]: voice["name"] for voice in json.loads(voices).get("voices", [])}
    assert offered["anna"] == "anna"
    assert offered["alloy"] == "alloy"


async def test_home_assistant_lists_voices_by_the_hundred(gateway):
    """``voice_listing.py`` of openai_tts asks so; a parameter that only says how many is no mistake."""
    status, _, voices = await ask(gateway.port, "/v1/audio/voices?limit=100", (BEARER,), method="GET")
    assert status == 200
    listed = json.loads(voices)
    assert {"anna", "alloy"} <= {voice["id"] for voice in listed.get("items") or listed.get("data") or []}


@pytest.mark.parametrize("engine", ["espeak", "hibari"])
async def test_home_assistant_is_set_up_with_an_embedded_engine_and_nothing_configured(engine):
    """``config_flow.py`` of openai_tts has a full stop spoken, and takes any error for a server that is not there."""
    async with serving(build_engine(engine, {})) as client:
        fields = {"model": "tts-1", "input": ".", "voice": "alloy", "response_format": "mp3"}
        body, headers = json.dumps(fields).encode(), (BEARER, *AIOHTTP)
        for _ in range(2):
            status, told, clip = await ask(client.port, "/v1/audio/speech", headers, body)
            assert (status, told["content-type"]) == (200, "audio/mpeg"), clip
            samples, rate = by_ffmpeg(clip, "mp3")
            assert len(samples) / rate == pytest.approx(0.2, abs=0.1)
            assert not samples.any()
            assert "x-sayonce-ignored" not in told
        listed = ("User-Agent: HomeAssistant-OpenAI-TTS", BEARER)
        status, _, voices = await ask(client.port, "/v1/audio/voices", listed, method="GET")
        assert (status, "alloy" in {voice["id"] for voice in json.loads(voices)["data"]}) == (200, True)


@pytest.mark.parametrize(("base", "voice"), [("/v1", "alloy"), ("/v1/v1", "中文女"), ("/v1/v1", "Chinese Female")])
async def test_ragflow_is_heard_though_it_adds_the_version_twice_and_asks_for_voices_of_its_own(base, voice):
    """As its classes OpenAI, Xinference and GPUStack do."""
    engine = StubEngine()
    engine.voice_aliases = {"中文女": "ben", "Chinese Female": "ben"}
    async with serving(engine) as client:
        fields = {"model": "tts-1", "voice": voice, "input": TEXT}
        body = json.dumps(fields).encode()
        status, _, clip = await ask(client.port, f"{base}/audio/speech", (*REQUESTS, BEARER), body)
    assert (status, engine.calls[0].voice) == (200, "anna" if voice == "alloy" else "ben"), clip
