"""LiveKit's TTS of ``livekit-plugins-openai``: MP3, decoded as it arrives."""

from driver import serve
from livekit.plugins import openai


async def stream(job):
    tts = openai.TTS(base_url=job["url"], api_key=job["key"])
    yield b""
    async with tts.synthesize(job["text"]) as clip:
        async for sound in clip:
            job["rate_hz"] = sound.frame.sample_rate
            yield bytes(sound.frame.data)
    await tts.aclose()


serve(stream=stream)
