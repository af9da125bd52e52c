"""OpenAI's SDK for Python."""

from driver import serve
from openai import AsyncOpenAI


async def whole(job):
    async with AsyncOpenAI(base_url=job["url"], api_key=job["key"]) as client:
        yield b""
        clip = await client.audio.speech.create(model="tts-1", voice="alloy", input=job["text"])
        yield clip.content


async def stream(job):
    asked = {"model": "gpt-4o-mini-tts", "voice": "coral", "input": job["text"], "instructions": "Speak cheerfully."}
    async with AsyncOpenAI(base_url=job["url"], api_key=job["key"]) as client:
        yield b""
        async with client.audio.speech.with_streaming_response.create(**asked) as clip:
            async for sound in clip.iter_bytes():
                yield sound


serve(whole=whole, stream=stream)
