"""A clip as OpenAI's server-sent events."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from sayonce.cache import Answer
from sayonce.errors import SayonceError
from sayonce.gateway.http import error_answer

MEDIA_TYPE: Final = b"text/event-stream"
_SLICE_BYTES: Final = 24_576
"""Audio bytes in one event, a multiple of 3 so that base64 needs no padding within a clip."""


async def events(answer: Answer) -> AsyncIterator[bytes]:
    """Yield a clip as events; an error becomes an event before the stream breaks off."""
    try:
        async for chunk in _audio(answer):
            yield _delta(base64.b64encode(chunk).decode())
    except SayonceError as error:
        yield _event({"type": "error", "error": error_answer(error).error})
        raise
    yield _DONE


def length(body: bytes) -> int:
    """Return how many bytes the events of a whole clip are."""
    slices, encoded = -(-len(body) // _SLICE_BYTES), 4 * -(-len(body) // 3)
    return slices * len(_delta("")) + encoded + len(_DONE)


async def _audio(answer: Answer) -> AsyncIterator[bytes]:
    if answer.entry is None:
        assert answer.flight is not None
        async for chunk in answer.flight.chunks():
            yield chunk
        return
    body = answer.entry.body
    for start in range(0, len(body), _SLICE_BYTES):
        yield body[start : start + _SLICE_BYTES]


def _delta(audio: str) -> bytes:
    return _event({"type": "speech.audio.delta", "audio": audio})


def _event(data: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(data)


_DONE: Final = _event(
    {"type": "speech.audio.done", "usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}}
)
