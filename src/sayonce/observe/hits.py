"""Hits are noted with little work each, and charged to the ledger in batches."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from typing import Final

from sayonce.core.counters import Counter, CountKey, Counts
from sayonce.core.envelope import Entry
from sayonce.core.outcome import Outcome
from sayonce.observe.ledger import Worth
from sayonce.observe.metrics import BUCKET_SECONDS, Histogram
from sayonce.observe.recent import Clip, Noted
from sayonce.speech.in_use import ClipsInUse
from sayonce.speech.plan import Plan

_MAX_BATCHES: Final = 1000
"""Clips that are counted apart until they are charged."""
_HIT: Final = Outcome.HIT.value
_HITS: Final[CountKey] = (Counter.ANSWERS, Outcome.HIT)
_SAVED: Final[CountKey] = (Counter.SAVED_SECONDS,)

Charge = Callable[[Plan, Outcome, Worth, int], None]
"""Charges a clip's hits."""


class Batch:
    """A clip's hits since they were last charged, and all that noting one more needs, looked up once.

    The entry is not held: one that came from a store is in memory for the one hit alone.
    """

    __slots__ = ("clip", "created", "hits", "plan", "tier", "times", "worth")

    def __init__(self, plan: Plan, entry: Entry, tier: str | None, times: Histogram, clip: Clip) -> None:
        self.plan = plan
        self.created = entry.created
        self.tier = tier
        self.times = times
        self.clip = clip
        self.worth = Worth.of(plan, entry)
        self.hits = 0


class Hits:
    """Counts of hits by clip, until they are charged.

    Args:
        charge: charges a clip's hits to its account.
        times_of: the histogram of an engine's hits from a tier.
        clip_of: the dashboard's line of a clip.
        in_use: is told which clips are asked for.
        latest: the dashboard's latest requests.
        counts: the cache's.

    """

    def __init__(
        self,
        charge: Charge,
        times_of: Callable[[str, str | None], Histogram],
        clip_of: Callable[[Plan, Entry], Clip],
        in_use: ClipsInUse,
        *,
        latest: deque[Noted],
        counts: Counts,
    ) -> None:
        self._charge = charge
        self._times_of = times_of
        self._clip_of = clip_of
        self._in_use = in_use
        self._latest = latest
        self._counts = counts
        self._batches: dict[bytes, Batch] = {}

    def note(self, plan: Plan, entry: Entry, tier: str | None, started: float) -> float:
        """Note a hit that was sent, and return its seconds; this is all that watching a hit costs.

        A hit is sent in one piece: its first byte is its last.
        """
        batch = self._batches.get(plan.clip_key)
        if batch is None or batch.created != entry.created or batch.tier != tier:
            batch = self._begin(plan, entry, tier)
        ended = time.perf_counter()
        seconds = ended - started
        batch.hits += 1
        times = batch.times
        times.counts[bisect_left(BUCKET_SECONDS, seconds)] += 1
        times.sum += seconds
        counts = self._counts
        counts[_HITS] += 1
        counts[_SAVED] += batch.worth.seconds
        self._latest.append((ended, batch.clip, _HIT, tier, seconds))
        return seconds

    def charge(self) -> None:
        """Charge the hits since the last time."""
        batches, self._batches = self._batches, {}
        for batch in batches.values():
            batch.clip.hits += batch.hits
            self._in_use.count(batch.plan, batch.hits)
            self._charge(batch.plan, Outcome.HIT, batch.worth, batch.hits)

    def _begin(self, plan: Plan, entry: Entry, tier: str | None) -> Batch:
        if len(self._batches) >= _MAX_BATCHES or plan.clip_key in self._batches:
            self.charge()
        self._in_use.note(plan, entry, 0)
        times = self._times_of(plan.request.engine.name, tier)
        batch = self._batches[plan.clip_key] = Batch(plan, entry, tier, times, self._clip_of(plan, entry))
        return batch
