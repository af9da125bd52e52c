"""Speech as server-sent events: OpenAI's ``speech.audio.*``, as vLLM-Omni and others answer when they stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import msgspec

from sayonce.errors import BadAudio

_MEDIA_TYPE: Final = "text/event-stream"
_DELTA: Final = "speech.audio.delta"
_DONE: Final = "speech.audio.done"
_LONGEST_EVENT_BYTES: Final = 32_000_000
"""A server may send a clip of minutes in one event."""


class _Event(msgspec.Struct, frozen=True):
    """The data of an event, as far as it concerns the sound. ``audio`` is in base64, which msgspec decodes."""

    type: str = ""
    audio: bytes = b""
    error: Any = None


_decode: Final = msgspec.json.Decoder(_Event).decode


def are_events(content_type: str) -> bool:
    """Return whether an answer is labelled as events."""
    return content_type.partition(";")[0].strip().lower() == _MEDIA_TYPE


async def audio_of(
    name: str, chunks: AsyncIterator[bytes], failure: Callable[[bytes], Exception]
) -> AsyncIterator[bytes]:
    """Yield the bytes of the clip that a server's events hold; ``failure`` makes an error of one that tells of it.

    Raises:
        BadAudio: the stream ended without its last event, or holds what is no event.

    """
    async for data in _data(name, chunks):
        if data == b"[DONE]":
            continue
        try:
            event = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadAudio(f"{name!r} sent an event that cannot be read: {error}") from None
        if event.error is not None or event.type.endswith("error"):
            raise failure(data)
        if event.type == _DONE:
            return
        if event.type == _DELTA:
            yield event.audio
    raise BadAudio(f"{name!r} broke its answer off: its events ended without {_DONE}")


async def _data(name: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the data of each event that has any (WHATWG HTML section 9.2.6); one without a blank line behind it is cut."""
    data: list[bytes] = []
    size_bytes = 0
    async for line in _lines(name, chunks):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
            size_bytes += len(line)
            _check_size(name, size_bytes)
        elif not line and data:
            yield b"\n".join(data)
            data, size_bytes = [], 0


async def _lines(name: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the lines, which LF, CR or both end."""
    pending, after_cr = bytearray(), False
    async for chunk in chunks:
        if not chunk:
            continue
        text = chunk[1:] if after_cr and chunk.startswith(b"\n") else chunk
        after_cr = chunk.endswith(b"\r")
        searched = len(pending)
        pending += text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        while (end := pending.find(b"\n", searched)) >= 0:
            line = bytes(pending[:end])
            del pending[: end + 1]
            searched = 0
            yield line
        _check_size(name, len(pending))


def _check_size(name: str, size_bytes: int) -> None:
    if size_bytes > _LONGEST_EVENT_BYTES:
        raise BadAudio(f"{name!r} sent an event of more than {_LONGEST_EVENT_BYTES} bytes")
