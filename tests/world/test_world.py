"""Clients of OpenAI's speech API, unchanged, told nothing but an address and a key; ``tests/world/run`` runs this."""

import asyncio
import io
import wave
from contextlib import ExitStack

import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from sayonce.speech.engines import build_engine
from sayonce.testing import StubEngine
from tests.helpers.world_clients import CLIENTS, KEY, World

pytestmark = pytest.mark.world

SYNTHESIS_SECONDS = 3
SPEECH_SECONDS = 12
TEXT = "The train to the airport leaves from platform four in about twelve minutes, so there is no need to hurry."


class SlowEngine(StubEngine):
    """Speaks four times as fast as one listens."""

    def __init__(self):
        super().__init__(chunks=SPEECH_SECONDS * 10)

    async def synthesize(self, utterance):
        async for item in super().synthesize(utterance):
            if isinstance(item, bytes):
                await asyncio.sleep(SYNTHESIS_SECONDS / self.chunks)
            yield item


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with start_blocking_portal() as portal, ExitStack() as stack:
        yield World(portal, stack, tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def slow():
    return SlowEngine()


@pytest.fixture(scope="module")
def espeak():
    return build_engine("espeak", {})


every_client = pytest.mark.parametrize("name", CLIENTS)


@every_client
def test_a_client_hears_speech_as_long_as_it_was_spoken(world, espeak, name):
    """espeak speaks at 22,050 Hz, which clients of raw samples cannot know."""
    voice = CLIENTS[name].voice or world.voices(espeak)[0]
    asked = {"model": "tts-1", "voice": voice, "input": TEXT, "response_format": "wav"}
    answer = httpx.post(
        f"{world.gateway(espeak)}/audio/speech", json=asked, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False
    )
    with wave.open(io.BytesIO(answer.content)) as file:
        assert file.getframerate() == 22_050
        spoken_seconds = (len(answer.content) - 44) / 2 / 22_050
    for _ in range(2):
        assert world.hear(name, espeak, TEXT).seconds == pytest.approx(spoken_seconds, rel=0.03)


@every_client
def test_a_client_hears_a_miss_as_it_is_made_and_its_repetition_at_once(world, slow, name):
    text = f"Heard twice, by {name}."
    miss, hit = (world.hear(name, slow, text) for _ in range(2))
    print(f"{name}: first sound of a miss after {miss.first_ms} ms of {miss.all_ms}, of a hit after {hit.first_ms}")  # noqa: T201 (figures)
    assert [call.text for call in slow.calls].count(text) == 1
    for heard in (miss, hit):
        assert heard.seconds == pytest.approx(SPEECH_SECONDS, rel=0.03)
    if CLIENTS[name].streams:
        assert miss.first_ms < miss.all_ms / 4
    assert hit.first_ms < miss.all_ms / 4


@every_client
def test_a_client_that_leaves_costs_the_next_one_nothing(world, slow, name):
    text = f"Left, and heard again, by {name}."
    left = world.hear(name, slow, text, leave_after=1)
    assert left.all_ms < 1000 * SYNTHESIS_SECONDS / 2
    assert bool(left.sound) is CLIENTS[name].streams
    assert world.hear(name, slow, text).seconds == pytest.approx(SPEECH_SECONDS, rel=0.03)
    assert [call.text for call in slow.calls].count(text) == 1


def test_wyoming_openai_offers_the_voices_that_the_gateway_lists(world, slow):
    assert {"anna", "ben", "alloy", "verse"} <= set(world.voices(slow))
