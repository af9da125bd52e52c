"""The clips that are asked for again and again: they are made anew before their time to live ends."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from heapq import nlargest
from typing import Final

import msgspec

from sayonce.cache import Cache, Lookup
from sayonce.core.cache_control import Policy
from sayonce.core.envelope import Entry
from sayonce.core.key import Digest
from sayonce.speech.engines.bounds import check_shape
from sayonce.speech.plan import Plan, plays_on

_LOOK_SECONDS: Final = 5.0
_IN_USE: Final = 2
"""Requests in a clip's time to live."""
_AHEAD: Final = 0.1
"""The last part of its time to live, in which a clip is made anew."""
_MAX_CLIPS: Final = 4096
_MAX_CHARACTERS: Final = 2000


class _Clip(msgspec.Struct):
    """A clip with its requests since it was made."""

    plan: Plan
    created: float
    expires: float
    uses: int = 0

    @property
    def ahead_seconds(self) -> float:
        """How long before its time to live ends it is made anew."""
        return _AHEAD * (self.expires - self.created)


class ClipsInUse:
    """Notes which clips are asked for in this process, and has them made anew; forgotten when anything is purged.

    Without ``Cache.stale`` nothing is noted. ``lookup`` returns what answers a plan.
    """

    def __init__(self, cache: Cache, lookup: Callable[[Plan, Policy], Lookup]) -> None:
        self._cache = cache
        self._lookup = lookup
        self._clips: dict[Digest, _Clip] = {}
        cache.on_purge(self._clips.clear)
        self._task: asyncio.Task[None] | None = None
        self._renewing: dict[str, asyncio.Task[None]] = {}
        """What is being made anew, by the name of its engine."""

    def note(self, plan: Plan, entry: Entry, times: int) -> None:
        """Note that a clip was asked for so many times."""
        if not self._cache.stale:
            return
        known = self._clips.get(plan.clip_key)
        if known is not None and known.created == entry.created:
            known.uses += times
        elif _is_small(plan) and plays_on(entry):
            if len(self._clips) >= _MAX_CLIPS:  # the less used half goes, so that a newcomer gets its chance
                kept = nlargest(_MAX_CLIPS // 2, self._clips.items(), key=lambda item: item[1].uses)
                self._clips.clear()
                self._clips.update(kept)
            self._clips[plan.clip_key] = _Clip(plan, entry.created, entry.expires, times)

    def count(self, plan: Plan, times: int) -> None:
        """Count so many more requests for a clip that was noted."""
        known = self._clips.get(plan.clip_key)
        if known is not None:
            known.uses += times

    def renew(self) -> None:
        """Have the clips in use made anew that come to their end, one after the other at each engine."""
        now = self._cache.now()
        due: defaultdict[str, list[_Clip]] = defaultdict(list)
        for key, clip in list(self._clips.items()):
            if clip.expires <= now:
                del self._clips[key]
            elif clip.uses >= _IN_USE and clip.expires - now <= clip.ahead_seconds:
                due[clip.plan.request.engine.name].append(clip)
        for name, clips in due.items():
            if name not in self._renewing:  # else the next look has them, or the one that is busy now
                task = self._renewing[name] = asyncio.create_task(self._renew(clips))
                task.add_done_callback(partial(self._renewed, name))

    def _renewed(self, name: str, task: asyncio.Task[None]) -> None:
        del self._renewing[name]
        if not task.cancelled():
            task.exception()  # the road has counted and told it, and the clips are played on

    async def _renew(self, clips: Iterable[_Clip]) -> None:
        """Make clips of one engine anew, until one fails: the next look tries again."""
        for clip in clips:
            key = clip.plan.clip_key
            if self._clips.get(key) is not clip:  # purged meanwhile
                continue
            entry = await self._cache.renew(self._lookup(clip.plan, Policy(min_fresh_seconds=clip.ahead_seconds)))
            if entry is not None and self._clips.get(key) is clip:
                self._clips[key] = _Clip(clip.plan, entry.created, entry.expires)

    # -- the regular look -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Look again and again, until ``stop``."""
        if self._cache.stale:
            self._task = asyncio.create_task(self._look())

    async def stop(self) -> None:
        """End that; a computation that is under way goes on."""
        tasks = [each for each in (self._task, *self._renewing.values()) if each is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self.renew()


def _is_small(plan: Plan) -> bool:
    """Whether a plan may be held for long: without audio that was sent along, and with a text as people ask for it again."""
    utterance = plan.request.utterance
    if utterance.reference is not None and utterance.reference.audio is not None:
        return False
    return len(utterance.text) + check_shape(utterance.parameters) <= _MAX_CHARACTERS
