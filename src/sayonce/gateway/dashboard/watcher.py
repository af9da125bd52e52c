"""The latest requests of a process, and the clips that it reused most: what a dashboard shows beside the numbers."""

from __future__ import annotations

import time
from collections import deque
from heapq import nlargest
from typing import Any, Final

import msgspec

from sayonce.cache import Answer, saved_seconds
from sayonce.core.envelope import Entry
from sayonce.core.key import Digest
from sayonce.core.outcome import Outcome
from sayonce.errors import SayonceError
from sayonce.observe.observer import REFUSED, Observer
from sayonce.speech.synthesis import Plan, Synthesizer

_REQUESTS: Final = 50
_CLIPS: Final = 1000
_SHOWN_CLIPS: Final = 20
_SERVER_ERROR: Final = 500


class Clip(msgspec.Struct):
    """A take and how often it was reused, in whatever format. There is no text."""

    key: str = ""
    engine: str = ""
    voice: str = ""
    seconds: float | None = None
    saved_seconds: float = 0.0
    hits: int = 0


_Noted = tuple[float, Clip, str, str | None, float]
"""The end of a request by ``time.perf_counter``, its clip, its outcome, its tier or its error, and its seconds."""
_UNKNOWN: Final = Clip()


class Watcher(Observer):
    """An observer that also remembers a little of the latest requests: bounded, in memory alone, without texts."""

    def __init__(self, synthesizer: Synthesizer, *args: Any, **options: Any) -> None:
        super().__init__(synthesizer, *args, **options)
        self._latest: deque[_Noted] = deque(maxlen=_REQUESTS)
        self._clips: dict[Digest, Clip] = {}

    def answered(self, plan: Plan, answer: Answer, started: float, begun: float) -> None:
        super().answered(plan, answer, started, begun)
        # Every hit comes by here: what can wait until somebody looks is left for then.
        clip, outcome, ended = self._clips.get(plan.take_key), answer.outcome, time.perf_counter()
        if clip is None:
            clip = self._begin(plan, answer.known_entry)
        if outcome is Outcome.HIT or outcome is Outcome.JOINED:
            clip.hits += 1
        self._latest.append((ended, clip, outcome, answer.tier, ended - started))

    def failed(self, error: SayonceError, started: float, plan: Plan | None = None) -> None:
        super().failed(error, started, plan)
        outcome = Outcome.FAILED if error.status >= _SERVER_ERROR else REFUSED
        clip, ended = _clip(plan, None) if plan else _UNKNOWN, time.perf_counter()
        self._latest.append((ended, clip, outcome, error.code or error.kind, ended - started))

    def latest(self) -> list[dict[str, Any]]:
        """Return the latest requests of this process, the newest first."""
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
            for ended, clip, outcome, reason, seconds in reversed(self._latest)
        ]

    def most_reused(self) -> list[Clip]:
        """Return the takes that this process reused most."""
        return nlargest(_SHOWN_CLIPS, (clip for clip in self._clips.values() if clip.hits), key=lambda clip: clip.hits)

    def _begin(self, plan: Plan, entry: Entry | None) -> Clip:
        if len(self._clips) >= _CLIPS:  # a newcomer gets its chance: the less used half goes, not the least used one
            self._clips = dict(nlargest(_CLIPS // 2, self._clips.items(), key=lambda item: item[1].hits))
        clip = self._clips[plan.take_key] = _clip(plan, entry)
        return clip


def _clip(plan: Plan, entry: Entry | None) -> Clip:
    clip = Clip(plan.take_key.hex(), plan.request.engine.name, plan.request.utterance.voice)
    if entry is not None:
        rate, frames = entry.about.get("sample_rate_hz"), entry.about.get("frames", 0)
        clip.seconds, clip.saved_seconds = frames / rate if rate else None, saved_seconds(entry)
    return clip
