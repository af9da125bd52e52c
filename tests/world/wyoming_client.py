"""A client of the Wyoming protocol, as Home Assistant has one, for a running ``wyoming-openai``."""

from driver import serve
from wyoming.audio import AudioChunk, AudioStop
from wyoming.client import AsyncClient
from wyoming.info import Describe, Info
from wyoming.tts import Synthesize


async def voices(job):
    async with AsyncClient.from_uri(job["url"]) as client:
        await client.write_event(Describe().event())
        info = Info.from_event(await client.read_event())
        for program in info.tts:
            for voice in program.voices:
                yield f"{voice.name}\n".encode()


async def stream(job):
    async with AsyncClient.from_uri(job["url"]) as client:
        yield b""
        await client.write_event(Synthesize(text=job["text"]).event())
        while event := await client.read_event():
            if AudioChunk.is_type(event.type):
                chunk = AudioChunk.from_event(event)
                job["rate_hz"] = chunk.rate
                yield chunk.audio
            elif AudioStop.is_type(event.type):
                return


serve(voices=voices, stream=stream)
