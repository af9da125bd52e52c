"""Several gateway processes over one store: one synthesis between them, and no short clip when one is killed.

``SAYONCE_KILLS`` sets how many leaders are killed.
"""

import asyncio
import json
import os
import random
import socket
import threading
from contextlib import ExitStack

import pytest
import uvicorn

from tests.helpers.commandline import CommandLine
from tests.helpers.crowd import ask
from tests.helpers.killed_leaders import leading

KILLS = int(os.environ.get("SAYONCE_KILLS", "100"))
LEADERS_AT_ONCE = 8
RATE_HZ = 24_000
CHUNKS = 12


def sound(text, number):
    return f"{text}-{number:04d}|".encode("utf-16-le").ljust(4800, b"\1")[:4800]


def whole(text):
    return b"".join(sound(text, number) for number in range(CHUNKS))


class SlowSpeaker:
    """An OpenAI-compatible server that sends raw PCM in pieces, as fast as a GPU would; it counts its calls.

    A text in ``held`` is said up to that chunk, once; then whoever asked waits for the rest until it is gone.
    """

    def __init__(self, pause_seconds):
        self.pause_seconds = pause_seconds
        self.said = []
        self.held = {}
        self.holding = set()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        config = uvicorn.Config(
            self._app, log_level="critical", lifespan="off", ws="none", interface="asgi3", timeout_keep_alive=600
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()
        self._socket.close()

    async def _app(self, scope, receive, send):
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        text = json.loads(body)["input"]
        self.said.append(text)
        held = self.held.pop(text, None)
        headers = [(b"content-type", b"audio/pcm")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number in range(CHUNKS):
            if number == held:
                self.holding.add(text)
                await receive()
                return
            await send({"type": "http.response.body", "body": sound(text, number), "more_body": True})
            await asyncio.sleep(self.pause_seconds)
        await send({"type": "http.response.body"})


@pytest.fixture(params=["redis", "sqlite"])
def store(request, tmp_path):
    return request.getfixturevalue("valkey").url if request.param == "redis" else f"sqlite:///{tmp_path}/shared.db"


def configured(directory, upstream):
    (directory / "sayonce.toml").write_text(
        f"""
        [engines.gpu]
        kind = "openai"
        base_url = "{upstream.url}"
        model = "slow"
        response_format = "pcm"
        sample_rate_hz = {RATE_HZ}
        concurrency = {KILLS}
        """
    )
    return CommandLine(directory)


async def speak(url, text):
    return await ask(url, input=text, voice="v", response_format="pcm")


async def test_a_thousand_requests_at_four_processes_for_fifty_texts_are_fifty_syntheses(tmp_path, store):
    with SlowSpeaker(0.005) as upstream, ExitStack() as stack:
        sayonce = configured(tmp_path, upstream)
        urls = [stack.enter_context(sayonce.serving("--store", store)).url for _ in range(4)]
        asked = [(urls[number % 4], f"text {number // 4 % 50}") for number in range(1000)]
        answers = await asyncio.gather(*(speak(*each) for each in asked))
        for (_, text), answer in zip(asked, answers, strict=True):
            assert (answer.status, answer.content) == (200, whole(text))
        assert sorted(upstream.said) == sorted(f"text {number}" for number in range(50))


@pytest.mark.timeout(60 + 3 * KILLS)
async def test_a_leader_killed_in_mid_stream_leaves_no_short_clip_anywhere(tmp_path, store):
    with SlowSpeaker(0.02) as upstream, ExitStack() as stack:
        sayonce = configured(tmp_path, upstream)
        follower = stack.enter_context(sayonce.serving("--store", store))
        places = asyncio.Semaphore(LEADERS_AT_ONCE)

        async def outlived(text, chunks):
            """Kill a leader a moment after so many chunks: its followers hear the whole clip, and its own client no false end."""
            if chunks < CHUNKS:  # else it is killed about when it is done
                upstream.held[text] = chunks
            async with places, leading(tmp_path, store) as leader:
                cut = asyncio.create_task(speak(leader.url, text))
                while text not in upstream.said:
                    await asyncio.sleep(0.005)
                following = asyncio.create_task(speak(follower.url, text))
                while chunks < CHUNKS and text not in upstream.holding:
                    await asyncio.sleep(0.005)
                await asyncio.sleep(random.random() / 10)
                leader.kill()
                heard = (await asyncio.gather(cut, return_exceptions=True))[0]
                assert isinstance(heard, ConnectionError) or (chunks, heard.content) == (CHUNKS, whole(text))
            assert (await following).content == whole(text)

        await asyncio.gather(*(outlived(f"killed {number}", number % (CHUNKS + 1)) for number in range(KILLS)))
        afterwards = stack.enter_context(sayonce.serving("--store", store))
        for number in range(KILLS):
            again = await speak(afterwards.url, f"killed {number}")
            assert again.content == whole(f"killed {number}")
            assert again.headers["cache-status"].startswith("sayonce; hit;")
