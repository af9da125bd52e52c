"""The regular work of an open cache: reading what other instances have purged, and writing the totals."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from sayonce.cache.invalidation import Invalidation
from sayonce.cache.totals import Totals

_EVERY_SECONDS: Final = 0.2
"""Often enough that what is known of purges is fresh when a request comes, also on a busy event loop."""
_FLUSH_SECONDS: Final = 5.0


class Housekeeper:
    """Keeps house in a task of its own, from ``start`` to ``stop``."""

    def __init__(self, invalidation: Invalidation, totals: Totals) -> None:
        self._invalidation = invalidation
        self._totals = totals
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._invalidation.read()
        self._task = asyncio.create_task(self._keep_house())

    async def stop(self) -> None:
        """End the task and write the totals, unless it has not started or is stopped already."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
            await self._totals.flush()

    async def _keep_house(self) -> None:
        flush_at = 0.0
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            await self._invalidation.read()
            if time.monotonic() >= flush_at:
                await self._totals.flush()
                flush_at = time.monotonic() + _FLUSH_SECONDS
