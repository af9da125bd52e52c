"""From a server's answer to what an engine yields: samples as they arrive, or a file as it came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec

from sayonce.audio.decode import tags, telephony
from sayonce.audio.decode.wav import LONGEST_BYTES, WavReader
from sayonce.audio.decode.whole_file import decode
from sayonce.core.audio_start import AudioStart
from sayonce.errors import BadAudio
from sayonce.speech.engines.openai.content import MOST_HEAD_BYTES, NO_AUDIO, PCM, WAV, tell
from sayonce.speech.engines.openai.label import Label, Shape, read_label, shape_of
from sayonce.speech.engines.openai.samples import SamplesReader

Chunks = AsyncIterator[bytes]

_PASSED_ON: Final = ("audio/mpeg", "audio/flac", "audio/ogg", "audio/aac")
"""Containers that clients can be sent as they come; others are decoded first."""
_SELF_CONTAINED: Final = ("audio/flac", "audio/ogg")
"""Containers that show by themselves whether they are whole; MPEG audio and raw PCM do not."""


class Answer(msgspec.Struct, frozen=True):
    """An answer of a known kind; ``media_type`` is ``NO_AUDIO`` for an error, a page, or anything else."""

    name: str
    label: Label
    asked: str
    media_type: str
    head: bytes
    chunks: Chunks
    framed: bool
    """Whether its end is told from a connection that broke."""


async def recognise(name: str, content_type: str, asked: str, chunks: Chunks, *, framed: bool) -> Answer:
    """Read as much of an answer as tells what it is."""
    label, head, kind = read_label(content_type), b"", None
    async for chunk in chunks:
        head += chunk
        kind = tell(head, label, asked, ended=len(head) > MOST_HEAD_BYTES)
        if kind is not None:
            break
    kind = kind or tell(head, label, asked, ended=True) or NO_AUDIO
    return Answer(name, label, asked, kind, head, chunks, framed)


async def audio(
    answer: Answer, configured_hz: int | None, on_odd: Callable[[], None]
) -> AsyncIterator[AudioStart | bytes]:
    """Yield what the server says as an engine does; ``on_odd`` is called when bytes behind the last sample were dropped.

    Raises:
        BadAudio: it is cut off, or something else in it.
        EngineError: its label contradicts the configuration.

    """
    if answer.media_type == PCM:
        shape = shape_of(answer.name, answer.label, configured_hz, asked=answer.asked)
        items = _samples(answer, shape, on_odd)
    elif answer.media_type == WAV and telephony.tag(answer.head, tags.skip(answer.head)) not in telephony.NAMES:
        items = _wav(answer, on_odd)
    elif answer.media_type.startswith(_PASSED_ON):
        items = _as_it_came(answer)
    else:
        items = _whole(answer)
    async for item in items:
        yield item


async def _body(answer: Answer) -> Chunks:
    yield answer.head
    async for chunk in answer.chunks:
        yield chunk


async def _samples(answer: Answer, shape: Shape, on_odd: Callable[[], None]) -> AsyncIterator[AudioStart | bytes]:
    reader = SamplesReader(shape)
    yield AudioStart(shape.sample_rate_hz, shape.channels, proves_end=answer.framed)
    async for chunk in _body(answer):
        yield reader.feed(chunk)
    rest, odd = reader.finish()
    yield rest
    if odd:
        on_odd()


async def _wav(answer: Answer, on_odd: Callable[[], None]) -> AsyncIterator[AudioStart | bytes]:
    reader, started = WavReader(), False
    async for chunk in _body(answer):
        pcm = reader.feed(chunk)
        if pcm and not started:
            started = True
            proven = answer.framed or reader.says_length
            yield AudioStart(reader.sample_rate_hz or 0, reader.channels or 0, proves_end=proven)
        if pcm:
            yield pcm
    if rest := reader.finish():
        yield rest
    if reader.odd_bytes:
        on_odd()


async def _as_it_came(answer: Answer) -> AsyncIterator[AudioStart | bytes]:
    proven = answer.framed or answer.media_type.startswith(_SELF_CONTAINED)
    yield AudioStart(0, 0, answer.media_type, proven)
    yield answer.head.lstrip(b"\0\r\n")  # players do not look for MP3 behind zeros
    async for chunk in answer.chunks:
        yield chunk


async def _whole(answer: Answer) -> AsyncIterator[AudioStart | bytes]:
    """Decode a file of which clients cannot be sent the parts, once all of it is there."""
    file = bytearray()
    async for chunk in _body(answer):
        file += chunk
        if len(file) > LONGEST_BYTES:
            raise BadAudio(f"{answer.name!r} sent more than {LONGEST_BYTES} bytes of audio for one text")
    pcm = await asyncio.to_thread(decode, bytes(file), apart=True)
    yield AudioStart(pcm.sample_rate_hz, pcm.channels, proves_end=answer.framed)
    yield pcm.samples
