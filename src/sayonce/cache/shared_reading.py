"""A reading of what others change, shared by the callers that wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SharedReading(Generic[T]):
    """Reads once for all callers that ask meanwhile, and for each of them after it has asked.

    A reading that was under way when a caller asked may have missed the very change that this caller has heard of.
    """

    def __init__(self, read: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._read = read
        self._latest: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """Return the result of a reading that began after this call, or raise its error."""
        under_way = self._latest
        if under_way is not None and not under_way.done():
            await asyncio.wait([under_way])
        if self._latest is under_way:  # else another caller has begun the next one, and this one shares it
            self._latest = asyncio.create_task(self._read())
            self._latest.add_done_callback(_retrieve)
        assert self._latest is not None
        return await asyncio.shield(self._latest)


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Look at the error of a reading that nobody waits for any more, so that asyncio does not report it."""
    if not task.cancelled():
        task.exception()
