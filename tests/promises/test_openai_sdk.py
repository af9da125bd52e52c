"""OpenAI's own Python SDK, unchanged but for ``base_url``."""

import io

import openai
import pytest
import soundfile

from sayonce.gateway.access import new_key
from sayonce.testing import StubEngine
from tests.helpers.serving import serving

ASKED = {"model": "stub", "voice": "anna", "input": "Hello there."}


@pytest.fixture
async def sdk():
    async with (
        serving(StubEngine()) as client,
        openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{client.port}/v1", api_key="any") as sdk,
    ):
        yield sdk


async def test_openais_sdk_creates_a_clip(sdk):
    for _ in range(2):
        clip = await sdk.audio.speech.create(**ASKED)
        assert soundfile.info(io.BytesIO(clip.content)).format == "MP3"


async def test_openais_sdk_streams_a_clip_into_a_file(sdk, tmp_path):
    for _ in range(2):
        async with sdk.audio.speech.with_streaming_response.create(**ASKED, response_format="wav") as answer:
            await answer.stream_to_file(tmp_path / "clip.wav")
        samples, rate = soundfile.read(tmp_path / "clip.wav")
        assert len(samples) / rate == 0.4


async def test_openais_sdk_gets_the_clip_by_server_sent_events(sdk):
    import base64
    import json

    whole = (await sdk.audio.speech.create(**ASKED, response_format="pcm")).content
    async with sdk.audio.speech.with_streaming_response.create(
        **ASKED, response_format="pcm", stream_format="sse"
    ) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line.removeprefix("data: ")) async for line in answer.iter_lines() if line]
    assert b"".join(base64.b64decode(event["audio"]) for event in events[:-1]) == whole
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    assert events[-1]["type"] == "speech.audio.done"


async def test_extra_body_of_openais_sdk_reaches_the_engine(sdk):
    calm = (await sdk.audio.speech.create(**ASKED, response_format="pcm")).content
    happy = await sdk.audio.speech.create(**ASKED, response_format="pcm", extra_body={"emotion": "happy"})
    assert happy.content != calm


async def test_a_clients_mistakes_arrive_as_errors_of_openais_sdk(sdk):
    with pytest.raises(openai.NotFoundError, match="there is no model"):
        await sdk.audio.speech.create(**{**ASKED, "model": "gpt-9"})
    with pytest.raises(openai.BadRequestError, match="between"):
        await sdk.audio.speech.create(**ASKED, speed=9)


async def test_openais_sdk_lists_models(sdk):
    assert [model.id async for model in await sdk.models.list()] == [
        "stub", "tts-1", "tts-1-hd", "gpt-4o-mini-tts",
    ]  # fmt: skip


@pytest.mark.parametrize("where", ["base_url", "azure_endpoint", "deployment"])
async def test_azures_client_speaks_with_its_own_address_and_header(tmp_path, where):
    key, line = new_key("school")
    (tmp_path / "keys").write_text(line)
    async with serving(StubEngine(), security__api_keys_file=str(tmp_path / "keys")) as client:
        server = f"http://127.0.0.1:{client.port}"
        there = {
            "base_url": {"base_url": f"{server}/v1"},
            "azure_endpoint": {"azure_endpoint": server},
            "deployment": {"azure_endpoint": server, "azure_deployment": "stub"},
        }[where]
        async with openai.AsyncAzureOpenAI(**there, api_key=key, api_version="2025-03-01-preview") as sdk:
            for _ in range(2):
                clip = await sdk.audio.speech.create(**ASKED, response_format="wav")
                assert clip.response.headers["cache-status"].startswith("sayonce; ")
            if where == "azure_endpoint":
                assert [model.id async for model in sdk.models.list()][:1] == ["stub"]
