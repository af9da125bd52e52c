"""A gateway over Redis whose engine is a server elsewhere, which has voices of its own."""

from contextlib import asynccontextmanager

from sayonce.speech.engines import build_engine
from tests.helpers.serving import serving

SECRET = "a secret of the tests"


@asynccontextmanager
async def gateway(node, upstream, secret=SECRET, **options):
    section = {"kind": "openai", "base_url": upstream.url, "model": "tts", **options}
    engine = build_engine("far", section)
    async with serving(engine, store=node.url, security__key_secret=secret) as client:
        yield client


async def speak(client, text="Hello.", **fields):
    return await client.post(
        "/v1/audio/speech", json={"model": "far", "input": text, "response_format": "wav", **fields}
    )


def was_refused(answer):
    assert answer.status_code == 503, answer.text
    assert (answer.headers["retry-after"], answer.json()["error"]["param"]) == ("1", "voice")
    return True
