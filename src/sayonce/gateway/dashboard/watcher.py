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

_Noted = tuple[float, str, str, str, str | None, float]
"""The end of a request in seconds since the Unix epoch, engine, voice, outcome, tier or error, and seconds."""


class Clip(msgspec.Struct):
    """A take and how often it was reused, in whatever format. There is no text."""

    key: str
    engine: str
    voice: str
    seconds: float | None
    saved_seconds: float
    hits: int = 0


class Watcher(Observer):
    """An observer that also remembers a little of the latest requests: bounded, in memory alone, without texts."""

    def __init__(self, synthesizer: Synthesizer, *args: Any, **options: Any) -> None:
        super().__init__(synthesizer, *args, **options)
        self._latest: deque[_Noted] = deque(maxlen=_REQUESTS)
        self._clips: dict[Digest, Clip] = {}

    def answered(self, plan: Plan, answer: Answer, started: float, begun: float) -> None:
        super().answered(plan, answer, started, begun)
        entry = answer.known_entry
        if entry is not None and not answer.outcome.computed:
            (self._clips.get(plan.take_key) or self._begin(plan, entry)).hits += 1
        self._note(plan, answer.outcome, answer.tier, started)

    def failed(self, error: SayonceError, started: float, plan: Plan | None = None) -> None:
        super().failed(error, started, plan)
        outcome = Outcome.FAILED if error.status >= _SERVER_ERROR else REFUSED
        self._note(plan, outcome, error.code or error.kind, started)

    def latest(self) -> list[dict[str, Any]]:
        """Return the latest requests of this process, the newest first."""
        names = ("at", "engine", "voice", "outcome", "reason", "ms")
        return [dict(zip(names, (*noted[:-1], 1000 * noted[-1]), strict=True)) for noted in reversed(self._latest)]

    def most_reused(self) -> list[Clip]:
        """Return the takes that this process reused most."""
        return nlargest(_SHOWN_CLIPS, self._clips.values(), key=lambda clip: clip.hits)

    def _note(self, plan: Plan | None, outcome: str, reason: str | None, started: float) -> None:
        engine, voice = (plan.request.engine.name, plan.request.utterance.voice) if plan else ("", "")
        self._latest.append((time.time(), engine, voice, outcome, reason, time.perf_counter() - started))

    def _begin(self, plan: Plan, entry: Entry) -> Clip:
        if len(self._clips) >= _CLIPS:  # a newcomer gets its chance: the less used half goes, not the least used one
            kept = nlargest(_CLIPS // 2, self._clips.items(), key=lambda item: item[1].hits)
            self._clips = dict(kept)
        rate, frames = entry.about.get("sample_rate_hz"), entry.about.get("frames", 0)
        clip = self._clips[plan.take_key] = Clip(
            key=plan.take_key.hex(),
            engine=plan.request.engine.name,
            voice=plan.request.utterance.voice,
            seconds=frames / rate if rate else None,
            saved_seconds=saved_seconds(entry),
        )
        return clip
