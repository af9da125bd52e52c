"""The latest requests of a process, and the clips that it reused most: what a dashboard shows beside the numbers."""

from __future__ import annotations

import time
from collections import deque
from heapq import nlargest
from typing import Any, Final

import msgspec

from sayonce.cache import saved_seconds
from sayonce.core.envelope import Entry
from sayonce.core.key import Digest
from sayonce.speech.synthesis import Plan

_REQUESTS: Final = 50
_CLIPS: Final = 1000
_SHOWN_CLIPS: Final = 20
_TEXT_CHARACTERS: Final = 200


class Clip(msgspec.Struct):
    """A take and how often it was reused, in whatever format; ``text`` only where the operator allows it."""

    key: str = ""
    engine: str = ""
    voice: str = ""
    seconds: float | None = None
    saved_seconds: float = 0.0
    hits: int = 0
    text: str | None = None


Noted = tuple[float, Clip, str, str | None, float]
"""The end of a request by ``time.perf_counter``, its clip, its outcome, its tier or its error, and its seconds."""
UNKNOWN: Final = Clip()
"""Stands for the clip of a request that could not be read."""


class Recent:
    """A little of the latest requests: bounded, and in memory alone.

    Without ``texts`` nothing here says what was spoken. With them a clip's line says it, since every request for the
    clip brings its text along: so none has to be stored, and none outlives the process or a purge.
    """

    def __init__(self, *, texts: bool = False) -> None:
        self.texts = texts
        self.noted: deque[Noted] = deque(maxlen=_REQUESTS)
        self._clips: dict[Digest, Clip] = {}

    def clip(self, plan: Plan, entry: Entry | None) -> Clip:
        """Return the line of an answer's take, begun if there is none."""
        clip = self._clips.get(plan.take_key) or self._begin(plan)
        if entry is not None:
            rate, frames = entry.about.get("sample_rate_hz"), entry.about.get("frames", 0)
            clip.seconds, clip.saved_seconds = frames / rate if rate else None, saved_seconds(entry)
        if self.texts:
            clip.text = _shortened(plan.request.utterance.text)
        return clip

    def latest(self) -> list[dict[str, Any]]:
        """Return the latest requests, the newest first."""
        now, moment = time.time(), time.perf_counter()
        return [
            {
                "at": now - (moment - ended),
                "engine": clip.engine,
                "voice": clip.voice,
                "outcome": outcome,
                "reason": reason,
                "seconds": seconds,
            }
            for ended, clip, outcome, reason, seconds in reversed(self.noted)
        ]

    def most_reused(self) -> list[Clip]:
        """Return the takes that were reused most."""
        return nlargest(_SHOWN_CLIPS, (clip for clip in self._clips.values() if clip.hits), key=lambda clip: clip.hits)

    def forget_texts(self) -> None:
        """Forget every text; it comes back with the next request for its clip."""
        for clip in (*self._clips.values(), *(clip for _, clip, *_ in self.noted)):
            clip.text = None

    def _begin(self, plan: Plan) -> Clip:
        if len(self._clips) >= _CLIPS:  # a newcomer gets its chance: the less used half goes, not the least used one
            self._clips = dict(nlargest(_CLIPS // 2, self._clips.items(), key=lambda item: item[1].hits))
        clip = self._clips[plan.take_key] = named(plan)
        return clip


def named(plan: Plan) -> Clip:
    """Return a line that says whose clip was asked for, and nothing else."""
    return Clip(plan.take_key.hex(), plan.request.engine.name, plan.request.utterance.voice)


def _shortened(text: str) -> str:
    return text if len(text) <= _TEXT_CHARACTERS else text[: _TEXT_CHARACTERS - 1] + "…"
