"""Several gateway processes over one store: one synthesis between them, and no short clip when one is killed.

``SAYONCE_KILLS`` sets how often the leader is killed (by default a few times). The thousand requests at once keep two
cores busy for a minute, clients and engine included, and run where ``SAYONCE_STRESS`` is set.
"""

import asyncio
import os
import signal
import socket
import threading
from contextlib import ExitStack

import httpx
import pytest
import uvicorn

from commandline import CommandLine

KILLS = int(os.environ.get("SAYONCE_KILLS", "3"))
RATE_HZ = 24_000
CHUNKS = 12


def sound(text, number):
    return f"{text}-{number:04d}|".encode("utf-16-le").ljust(4800, b"\1")[:4800]


def whole(text):
    return b"".join(sound(text, number) for number in range(CHUNKS))


class SlowSpeaker:
    """An OpenAI-compatible server that sends raw PCM in pieces, as fast as a GPU would; it counts its calls."""

    def __init__(self, pause_seconds):
        self.pause_seconds = pause_seconds
        self.said = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        config = uvicorn.Config(self._app, log_level="critical", lifespan="off", ws="none", interface="asgi3")
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
        text = httpx.Response(200, content=body).json()["input"]
        self.said.append(text)
        headers = [(b"content-type", b"audio/pcm")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number in range(CHUNKS):
            await send({"type": "http.response.body", "body": sound(text, number), "more_body": True})
            await asyncio.sleep(self.pause_seconds)
        await send({"type": "http.response.body"})


@pytest.fixture(params=["redis", "sqlite"])
def store(request, tmp_path):
    return request.getfixturevalue("valkey").url if request.param == "redis" else f"sqlite:///{tmp_path}/shared.db"


def configured(directory, upstream):
    (directory / "sayonce.toml").write_text(
        f"""
        # Four gateways, their clients and their engine keep this machine's cores busy for seconds: a store that seems
        # slow is not, and giving it up would have each process compute alone, as it should when it is.
        [store]
        budget_ms = 2000

        [engines.gpu]
        kind = "openai"
        base_url = "{upstream.url}"
        model = "slow"
        response_format = "pcm"
        sample_rate_hz = {RATE_HZ}
        """
    )
    return CommandLine(directory)


async def speak(client, url, text):
    asked = {"input": text, "voice": "v", "response_format": "pcm"}
    return await client.post(f"{url}/v1/audio/speech", json=asked)


@pytest.mark.skipif("SAYONCE_STRESS" not in os.environ, reason="SAYONCE_STRESS is not set")
@pytest.mark.timeout(300)
async def test_a_thousand_requests_at_four_processes_for_fifty_texts_are_fifty_syntheses(tmp_path, store):
    with SlowSpeaker(0.005) as upstream, ExitStack() as stack:
        sayonce = configured(tmp_path, upstream)
        urls = [stack.enter_context(sayonce.serving("--store", store)).url for _ in range(4)]
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(timeout=60, limits=limits, trust_env=False) as client:
            asked = [(urls[number % 4], f"text {number // 4 % 50}") for number in range(1000)]
            answers = await asyncio.gather(*(speak(client, *each) for each in asked))
        for (_, text), answer in zip(asked, answers, strict=True):
            assert (answer.status_code, answer.content) == (200, whole(text))
        assert sorted(upstream.said) == sorted(f"text {number}" for number in range(50))


@pytest.mark.timeout(60 + 20 * KILLS)
async def test_a_leader_killed_in_mid_stream_leaves_no_short_clip_anywhere(tmp_path, store):
    with SlowSpeaker(0.05) as upstream, ExitStack() as stack:
        sayonce = configured(tmp_path, upstream)
        follower = stack.enter_context(sayonce.serving("--store", store))
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            for number in range(KILLS):
                text = f"killed {number}"
                with sayonce.serving("--store", store) as leader:
                    cut = asyncio.create_task(speak(client, leader.url, text))
                    while text not in upstream.said:
                        await asyncio.sleep(0.005)
                    following = asyncio.create_task(speak(client, follower.url, text))
                    await asyncio.sleep(0.2)
                    leader.send_signal(signal.SIGKILL)
                    with pytest.raises(httpx.TransportError):
                        await cut
                assert (await following).content == whole(text)
                again = await speak(client, follower.url, text)
                assert (again.content, again.headers["cache-status"][:13]) == (whole(text), "sayonce; hit;")
