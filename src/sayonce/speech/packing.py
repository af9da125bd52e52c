"""A take as it is kept: checked, encoded, and with the facts that later answers need."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, Literal

import numpy as np

from sayonce.audio.decode.whole_file import decode
from sayonce.audio.encode import lengths
from sayonce.audio.encode.encoders import encode
from sayonce.audio.formats import FORMATS
from sayonce.audio.pcm import Pcm, samples_of
from sayonce.speech.engines import AudioStart

TakeForm = Literal["flac", "opus", "as-is"]
TAKE_FORMATS: Final = {"flac": "flac", "opus": "opus", "as-is": "wav"}
PCM: Final = "audio/pcm"
SILENCE_TTL: Final = timedelta(minutes=1)
_HEADED: Final = {FORMATS[name].media_type: FORMATS[name] for name in ("mp3", "flac", "opus")}
"""Formats that clients are sent as they came, and that state a length or an end."""
_SHORTEST_SECONDS: Final = 0.01


def pack(head: AudioStart, audio: bytes, take: TakeForm) -> tuple[bytes, str, dict[str, Any]]:
    """Return a take's stored form, its media type and its facts; audio that came encoded is checked and kept as is.

    A header that leaves the length open, as it was written to a pipe, gets it. Joined files are encoded anew: many players stop where the first one's header says that it ends.
    """
    if head.media_type != PCM:
        pcm = decode(audio, apart=True)
        chosen = _HEADED.get(head.media_type) if pcm.joined else None
        kept = lengths.stated(audio, head.media_type, pcm.frames) if chosen is None else encode(pcm, chosen)
        return kept, head.media_type, _facts(pcm)
    audio_format = FORMATS[TAKE_FORMATS[take]]
    pcm = Pcm(audio, head.sample_rate_hz, head.channels, len(audio) // (2 * head.channels))
    return encode(pcm, audio_format), audio_format.media_type, _facts(pcm)


def _facts(pcm: Pcm) -> dict[str, Any]:
    facts: dict[str, Any] = {"sample_rate_hz": pcm.sample_rate_hz, "channels": pcm.channels, "frames": pcm.frames}
    return facts | {"silent": True} if _is_silent(pcm) else facts


def _is_silent(pcm: Pcm) -> bool:
    """Whether nobody can hear anything. No text sounds like that: a server that failed may answer with such a file."""
    too_short = pcm.frames < pcm.sample_rate_hz * _SHORTEST_SECONDS
    return too_short or not np.any(samples_of(pcm.samples, pcm.channels))
