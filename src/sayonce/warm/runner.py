"""Make values ahead, several at once; stored ones are skipped, so an interrupted run is just run again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Protocol

import msgspec

from sayonce.cache import Cache
from sayonce.errors import EngineBusy, SayonceError, StoreError
from sayonce.warm.rows import Row

DEFAULT_FORMAT: Final = "flac"
"""The format of rows that name none: lossless, so that the take suffices, and every other is derived from it."""
NOT_KEPT: Final = (
    "made, and the store did not keep it: it is full of what is worth more, or fails; see 'sayonce doctor'"
)
_ATTEMPTS: Final = 10
_SHOWN_CHARACTERS: Final = 60


class Failure(msgspec.Struct, frozen=True):
    """A row that could not be made, named by file and line; the text is shortened."""

    place: str
    text: str
    reason: str


class Summary(msgspec.Struct):
    """The result of a run."""

    rows: int = 0
    computed: int = 0
    already_there: int = 0
    failed: int = 0
    interrupted: bool = False
    seconds: float = 0.0
    failures: list[Failure] = []

    def fail(self, row: Row, reason: str) -> None:
        self.failed += 1
        text = row.text if len(row.text) <= _SHOWN_CHARACTERS else row.text[: _SHOWN_CHARACTERS - 1] + "…"
        self.failures.append(Failure(row.place, text, reason))


Make = Callable[[], Awaitable[bool]]
"""Makes a row's value and returns whether it was computed for it: another request may have done so meanwhile."""


class Target(Protocol):
    """The place of values, and the maker of missing ones."""

    async def look(self, row: Row) -> Make | None:
        """Return a function that makes the row's value, or None when it is there.

        Raises:
            SayonceError: the row is wrong, or the store does not answer.

        """
        ...

    async def unkept(self) -> list[Row]:
        """Wait until everything is written, and return the rows of which the value was made and is not there."""
        ...


def check_answering(cache: Cache) -> None:
    """Check that the store answers, so that a value that was not found is not there.

    Raises:
        StoreError: it does not, and would keep nothing.

    """
    if cache.store_state == "failing":
        raise StoreError("the store does not answer")


class Pace:
    """Lets one value begin in each interval, so that an engine serves others besides."""

    def __init__(self, per_second: float | None, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._interval_seconds = 1 / per_second if per_second else 0.0
        self._next = 0.0
        self._sleep = sleep

    async def turn(self, now: float) -> None:
        start = max(self._next, now)
        self._next = start + self._interval_seconds
        if start > now:
            await self._sleep(start - now)


class Warmer:
    """Looks up every row, and has missing values made, several at once.

    Args:
        target: where the values are kept.
        concurrency: rows at once.
        per_second: the most values that are begun in a second; stored ones do not count.
        progress: called after each row.

    """

    def __init__(
        self,
        target: Target,
        *,
        concurrency: int,
        per_second: float | None = None,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        self.summary = Summary()
        self._target = target
        self._concurrency = concurrency
        self._pace = Pace(per_second, self._pause)
        self._progress = progress
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Begin nothing more; values under way are finished."""
        self._stopping.set()

    async def run(self, rows: Iterable[Row]) -> Summary:
        """Work through the rows and return the summary."""
        started = time.perf_counter()
        waiting = iter(rows)
        async with asyncio.TaskGroup() as group:
            for _ in range(self._concurrency):
                group.create_task(self._work(waiting))
        for row in await self._target.unkept():
            self.summary.computed -= 1
            self.summary.fail(row, NOT_KEPT)
        self.summary.seconds = time.perf_counter() - started
        return self.summary

    async def _work(self, waiting: Iterable[Row]) -> None:
        for row in waiting:
            if self._stopping.is_set() or not await self._deal_with(row):
                self.summary.interrupted = True
                return
            self.summary.rows += 1
            self._progress()

    async def _deal_with(self, row: Row) -> bool:
        """Have a row made where it is missing; returns False when the run was stopped before its turn."""
        try:
            make = None if row.error else await self._target.look(row)
            computed = make is not None and await self._made(make)
        except SayonceError as error:
            self.summary.fail(row, str(error))
        except _Stopped:
            return False
        else:
            self._count(row, computed=computed)
        return True

    def _count(self, row: Row, *, computed: bool) -> None:
        if row.error:
            self.summary.fail(row, row.error)
        elif computed:
            self.summary.computed += 1
        else:
            self.summary.already_there += 1

    async def _made(self, make: Make) -> bool:
        for _ in range(_ATTEMPTS - 1):
            await self._pace.turn(time.monotonic())
            try:
                return await make()
            except EngineBusy as error:
                await self._pause(error.retry_after_seconds)
        return await make()

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return
        raise _Stopped


class _Stopped(Exception):
    """The run was stopped while a row waited for its turn."""
