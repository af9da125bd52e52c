"""Polls a store for the records that leaders and followers of this process wait for, all in one call."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

from sayonce.core.counters import Operation
from sayonce.stores.records import Question, Records, Sighting

_LOOK_SECONDS: Final = 0.01
_LATEST_LOOK_SECONDS: Final = 0.02

T = TypeVar("T")


class Ask(Protocol):
    """Asks the store; None when it is in trouble."""

    async def __call__(self, operation: Operation, run: Callable[[], Awaitable[T]]) -> T | None: ...


class RecordPoller:
    """Polls for the records of all flights of this process, as long as any of them waits."""

    def __init__(self, ask: Ask, records: Records) -> None:
        self._ask = ask
        self._records = records
        self._waiting: defaultdict[Question, list[asyncio.Future[Sighting | None]]] = defaultdict(list)
        self._looking: asyncio.Task[None] | None = None

    async def look(self, question: Question) -> Sighting | None:
        """Wait for records, or for the end of the holder; None when the store does not answer."""
        answer: asyncio.Future[Sighting | None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting[question]
        waiting.append(answer)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            return await answer
        finally:
            waiting.remove(answer)
            if not waiting:
                self._waiting.pop(question, None)

    async def _look(self) -> None:
        pause_seconds = 0.0
        while self._waiting:
            questions = list(self._waiting)
            sightings = await self._ask(Operation.READ, partial(self._records.read, questions))
            told = self._tell(questions, sightings or [None] * len(questions))
            pause_seconds = 0.0 if told else min(pause_seconds + _LOOK_SECONDS, _LATEST_LOOK_SECONDS)
            await asyncio.sleep(max(pause_seconds, _LOOK_SECONDS))
        self._looking = None

    def _tell(self, questions: Sequence[Question], sightings: Sequence[Sighting | None]) -> bool:
        told = False
        for question, sighting in zip(questions, sightings, strict=True):
            if sighting is None or sighting.records or not sighting.held:
                for answer in self._waiting.get(question, ()):
                    if not answer.done():
                        answer.set_result(sighting)
                told = True
        return told
