"""A time limit on an await, which knows a slow answer from an event loop that is late itself."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final

_LATE_SECONDS: Final = 0.01
"""A timer that fires later than this tells of a busy event loop, not of a slow store."""


class Limit:
    """``asyncio.timeout``, but for an event loop that is late itself: then what has arrived is looked at first."""

    def __init__(self, seconds: float) -> None:
        self._timeout = asyncio.timeout(None)
        self._seconds = seconds

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + self._seconds
        self._timer = self._loop.call_at(self._due, self._expire)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def expire(self) -> None:
        """End it now."""
        self._timer.cancel()
        if not self._timeout.expired():
            self._timeout.reschedule(self._loop.time())

    def _expire(self) -> None:
        now = self._loop.time()
        if now - self._due > _LATE_SECONDS:
            self._due = now + _LATE_SECONDS
            self._timer = self._loop.call_at(self._due, self._expire)
        else:
            self._timeout.reschedule(now)
