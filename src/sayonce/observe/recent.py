"""The latest requests and the most reused clips, which a dashboard shows beside the numbers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from heapq import nlargest
from typing import Final

import msgspec

from sayonce.cache import saved_seconds
from sayonce.core.envelope import Entry
from sayonce.core.epochs import Stamp
from sayonce.core.key import Digest
from sayonce.core.outcome import Outcome
from sayonce.speech.plan import Plan

_REQUESTS: Final = 50
_CLIPS: Final = 1000
_SHOWN_CLIPS: Final = 20
_PASSED_ON_CLIPS: Final = 200
"""Of each process, so that a clip which all processes use is found also where it is not first in any of them."""
_TEXT_CHARACTERS: Final = 200
REFUSED: Final = "refused"
"""The outcome of a request that was the client's mistake, or asked for what is stored alone, and nothing was."""
_UNANSWERED: Final = (REFUSED, Outcome.FAILED.value)


class Clip(msgspec.Struct):
    """A take and how often it was reused, in any format; ``text`` only where the operator allows it."""

    key: str = ""
    engine: str = ""
    voice: str = ""
    seconds: float | None = None
    saved_seconds: float = 0.0
    hits: int = 0
    text: str | None = None
    gone: bool = False
    """Whether the take is not there any more, as after a purge: there is nothing to play until it is made again."""


class Request(msgspec.Struct):
    """A request that was answered at a moment, in seconds since the Unix epoch, and how."""

    at: float
    engine: str
    voice: str
    outcome: str
    tier: str | None
    """Where an answer came from, if it was stored."""
    reason: str | None
    """The code of an error, of a request that had no answer."""
    seconds: float


class Shown(msgspec.Struct, array_like=True):
    """The most reused clips, and the latest requests, the newest first."""

    clips: list[Clip] = []
    latest: list[Request] = []


Noted = tuple[float, Clip, str, str | None, float]
"""The end of a request by ``time.perf_counter``, its clip, its outcome, its tier or its error, and its seconds."""
UNKNOWN: Final = Clip()
"""Stands for the clip of a request that could not be read."""


class Recent:
    """A little of the latest requests: bounded, and in memory alone.

    Without ``texts`` no spoken text is held. With them a clip's line has its text: every request for the clip brings the
    text along, so none has to be stored, and none outlives the process or a purge.
    """

    def __init__(self, may_have: Callable[[Digest, Stamp], bool], *, texts: bool = False) -> None:
        self.texts = texts
        self._may_have = may_have
        self.noted: deque[Noted] = deque(maxlen=_REQUESTS)
        self._clips: dict[Digest, Clip] = {}
        self._stamps: dict[Digest, Stamp] = {}
        """The tags of each clip's take, as they were when it was answered last."""

    def clip(self, plan: Plan, entry: Entry | None) -> Clip:
        """Return the line of an answer's take, begun if there is none."""
        clip = self._clips.get(plan.take_key) or self._begin(plan)
        if entry is not None:
            rate, frames = entry.about.get("sample_rate_hz"), entry.about.get("frames", 0)
            clip.seconds, clip.saved_seconds = frames / rate if rate else None, saved_seconds(entry)
            self._stamps[plan.take_key] = entry.tags
        if self.texts:
            clip.text = _shortened(plan.request.utterance.text)
        return clip

    def shown(self) -> Shown:
        """Return more clips than a dashboard shows: the other processes' counts may change their order."""
        for key, stamp in self._stamps.items():
            self._clips[key].gone = not self._may_have(key, stamp)
        now, moment = time.time(), time.perf_counter()
        latest = [
            Request(now - (moment - ended), clip.engine, clip.voice, outcome, *_told(outcome, why), seconds)
            for ended, clip, outcome, why, seconds in reversed(self.noted)
        ]
        return Shown(_most_reused(self._clips.values(), _PASSED_ON_CLIPS), latest)

    def forget_texts(self) -> None:
        """Forget every text; it comes back with the next request for its clip."""
        for clip in (*self._clips.values(), *(clip for _, clip, *_ in self.noted)):
            clip.text = None

    def _begin(self, plan: Plan) -> Clip:
        if len(self._clips) >= _CLIPS:  # a newcomer gets its chance: the less used half goes, not the least used one
            self._clips = dict(nlargest(_CLIPS // 2, self._clips.items(), key=lambda item: item[1].hits))
            self._stamps = {key: stamp for key, stamp in self._stamps.items() if key in self._clips}
        clip = self._clips[plan.take_key] = named(plan)
        return clip


def _told(outcome: str, why: str | None) -> tuple[str | None, str | None]:
    """Return the tier of an answer and the reason of an error, of which a request has one."""
    return (None, why) if outcome in _UNANSWERED else (why, None)


def without_texts(shown: Shown) -> Shown:
    """Return a copy that may be left for other processes."""
    return Shown([msgspec.structs.replace(clip, text=None) for clip in shown.clips], shown.latest)


def together(own: Shown, others: Iterable[Shown]) -> Shown:
    """Return the clips and requests of all processes; a clip has its text where this process was asked for it."""
    clips = {clip.key: msgspec.structs.replace(clip) for clip in own.clips}
    latest = list(own.latest)
    for other in others:
        latest += other.latest
        for clip in other.clips:
            known = clips.setdefault(clip.key, clip)
            if known is not clip:
                known.hits += clip.hits
                known.gone &= clip.gone
    latest.sort(key=lambda request: -request.at)
    return Shown(_most_reused(clips.values(), _SHOWN_CLIPS), latest[:_REQUESTS])


def _most_reused(clips: Iterable[Clip], number: int) -> list[Clip]:
    return nlargest(number, (clip for clip in clips if clip.hits), key=lambda clip: clip.hits)


def named(plan: Plan) -> Clip:
    """Return a line with the key, engine and voice of a clip, and nothing else."""
    return Clip(plan.take_key.hex(), plan.request.engine.name, plan.request.utterance.voice)


def _shortened(text: str) -> str:
    return text if len(text) <= _TEXT_CHARACTERS else text[: _TEXT_CHARACTERS - 1] + "…"
