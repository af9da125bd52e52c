"""LiteLLM's SDK; it reads a clip to its end before it returns it."""

import litellm
from driver import serve


async def whole(job):
    clip = await litellm.aspeech(
        model="openai/tts-1", voice="alloy", input=job["text"], api_base=job["url"], api_key=job["key"]
    )
    yield clip.content


serve(whole=whole)
