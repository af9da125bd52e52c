"""Clips: a take in the format that was asked for, encoded while the engine still speaks where that is so."""

from __future__ import annotations

import asyncio
from typing import Final

from sayonce.audio.encode.base import Encoder
from sayonce.audio.encode.encoders import Encoders, transcode
from sayonce.cache import Answer, Flight, Keep, Made
from sayonce.core.envelope import Entry
from sayonce.speech.engines import AudioStart
from sayonce.speech.packing import PCM
from sayonce.speech.plan import Plan

_FIRST_PART: Final = 16
_FIRST_SAMPLES: Final = 1500
"""The first piece that is encoded when a sentence comes at once: a part of a second, or so many samples; LAME gives nothing for
fewer than 1,400."""
_GROWTH: Final = 4
"""How much longer each next piece is: the whole takes few steps."""


class Clips:
    """Derives clips from takes that are stored, or that are being spoken."""

    def __init__(self) -> None:
        self._encoders = Encoders()

    async def make(self, plan: Plan, flight: Flight, take: Answer) -> Made:
        """Derive the format asked for from the take; listeners of the flight hear it as it is encoded.

        Raises:
            EngineError, CallerError: the take breaks off.

        """
        if take.known_entry is None and take.flight is not None:
            head = take.flight.head
            assert isinstance(head, AudioStart)
            if head.media_type == PCM:
                return await self._encode_live(plan, take.flight, head, flight)
            if plan.request.format.holds(head.media_type):
                return await _pass_on(plan, take.flight, head, flight)
        return await _derive(plan, await take.result())

    async def _encode_live(self, plan: Plan, take_flight: Flight, head: AudioStart, flight: Flight) -> Made:
        audio_format = plan.request.format
        kind = audio_format, head.sample_rate_hz, head.channels
        encoder = await self._encoders.open(*kind)
        flight.created, flight.keepable = take_flight.created, head.proves_end
        flight.begin(audio_format.content_type)
        size = max(head.sample_rate_hz // _FIRST_PART, _FIRST_SAMPLES) * head.channels * 2
        async for chunks in take_flight.batches():
            rest = b"".join(chunks)
            while len(rest) > encoder.at_once_bytes:
                part, rest, size = rest[:size], rest[size:], _GROWTH * size
                flight.send(await _encoded(encoder, part))
            flight.send(encoder.feed(rest))
        take_entry = await take_flight.result()
        last, body = encoder.finish()
        flight.send(last)
        if not audio_format.lossless:
            asyncio.get_running_loop().run_in_executor(None, self._encoders.prepare, *kind)
        return _made(plan, take_entry, body)


async def _encoded(encoder: Encoder, pcm: bytes) -> bytes:
    if len(pcm) <= encoder.at_once_bytes:
        return encoder.feed(pcm)
    return await asyncio.to_thread(encoder.feed, pcm)


async def _pass_on(plan: Plan, take_flight: Flight, head: AudioStart, flight: Flight) -> Made:
    """Send audio that the engine gives in the very format asked for as it comes."""
    flight.created, flight.keepable = take_flight.created, head.proves_end
    flight.begin(head.media_type)
    async for chunk in take_flight.chunks():
        flight.send(chunk)
    take_entry = await take_flight.result()
    return _made(plan, take_entry, take_entry.body)


async def _derive(plan: Plan, take_entry: Entry) -> Made:
    if plan.request.format.holds(take_entry.media_type):
        return _made(plan, take_entry, take_entry.body)
    return _made(plan, take_entry, await asyncio.to_thread(transcode, take_entry.body, plan.request.format))


def _made(plan: Plan, take_entry: Entry, body: bytes) -> Made:
    """Return a clip of the take; what the take itself answers from now on is not kept twice, nor shared twice."""
    if take_entry.about.get("transient") or (plan.clip_key is plan.take_key and plan.fits(take_entry)):
        keep = Keep.NOWHERE
    elif take_entry.media_type == plan.request.format.media_type:
        keep = Keep.MEMORY
    else:
        keep = Keep.EVERYWHERE
    about = {**take_entry.about, "take_seconds": take_entry.compute_seconds, "take_bytes": len(take_entry.body)}
    return Made(body=body, media_type=plan.request.format.content_type, about=about, keep=keep)
