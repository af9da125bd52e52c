"""Hits in memory, noted with next to no work, and charged to the ledger by the lot."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Final

from sayonce.core.envelope import Entry
from sayonce.observe.metrics import BUCKET_SECONDS, Histogram
from sayonce.speech.synthesis import Plan

_MAX_CLIPS: Final = 1000
"""Clips that are counted apart: each is held until it is charged."""

Charge = Callable[[Plan, Entry, int], None]
"""Charges a clip's hits."""


class _Clip:
    __slots__ = ("entry", "histogram", "hits", "plan")

    def __init__(self, plan: Plan, entry: Entry, histogram: Histogram) -> None:
        self.plan = plan
        self.entry = entry
        self.histogram = histogram
        self.hits = 0


class Hits:
    """Counts of hits by clip, until they are charged."""

    def __init__(self, charge: Charge, histogram_of: Callable[[str], Histogram]) -> None:
        self._charge = charge
        self._histogram_of = histogram_of
        self._clips: dict[bytes, _Clip] = {}

    def note(self, plan: Plan, entry: Entry, seconds: float) -> None:
        """Note a hit; this is all that a hit in memory costs."""
        clip = self._clips.get(plan.clip_key)
        if clip is None or clip.entry is not entry:
            clip = self._begin(plan, entry)
        clip.hits += 1
        histogram = clip.histogram
        histogram.counts[bisect_left(BUCKET_SECONDS, seconds)] += 1
        histogram.sum += seconds

    def charge(self) -> None:
        """Charge what was noted since the last time."""
        clips, self._clips = self._clips, {}
        for clip in clips.values():
            self._charge(clip.plan, clip.entry, clip.hits)

    def _begin(self, plan: Plan, entry: Entry) -> _Clip:
        if len(self._clips) >= _MAX_CLIPS or plan.clip_key in self._clips:
            self.charge()
        clip = self._clips[plan.clip_key] = _Clip(plan, entry, self._histogram_of(plan.request.engine.name))
        return clip
