"""Pipecat's OpenAITTSService in a pipeline, as a voice agent has it: raw PCM, which it takes for 24 kHz."""

import asyncio

from driver import serve
from pipecat.frames.frames import (
    EndFrame,
    InterruptionFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineTask
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.openai.tts import OpenAITTSService


class Listener(FrameProcessor):
    def __init__(self):
        super().__init__()
        self.heard = asyncio.Queue()

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, StartFrame):
            await self.heard.put(b"")
        elif isinstance(frame, TTSAudioRawFrame):
            self.rate_hz = frame.sample_rate
            await self.heard.put(frame.audio)
        elif isinstance(frame, TTSStoppedFrame):
            await self.heard.put(None)
        await self.push_frame(frame, direction)


async def stream(job):
    listener = Listener()
    service = OpenAITTSService(api_key=job["key"], base_url=job["url"])
    task = PipelineTask(Pipeline([service, listener]))
    running = asyncio.create_task(PipelineRunner(handle_sigint=False).run(task))
    yield await listener.heard.get()
    await task.queue_frame(TTSSpeakFrame(job["text"]))
    try:
        while sound := await listener.heard.get():
            job["rate_hz"] = listener.rate_hz
            yield sound
    except asyncio.CancelledError:
        await task.queue_frame(InterruptionFrame())
        raise
    finally:
        await task.queue_frame(EndFrame())
        await running


serve(stream=stream)
