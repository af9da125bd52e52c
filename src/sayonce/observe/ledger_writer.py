"""Write the charges of a process to the store: every few seconds, and at its end."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

from sayonce.cache import Cache
from sayonce.core.counters import Operation
from sayonce.errors import StoreError
from sayonce.observe.ledger import Ledger

log = logging.getLogger("sayonce.observe")

_EVERY_SECONDS: Final = 5.0
_LAST_SECONDS: Final = 2.0
_SHARED_PART: Final = "say"
_LEASE: Final = b"ledger".ljust(32, b"\0")
"""The key of the lease on the shared part: no digest, which is random in every byte."""
_LEASE_SECONDS: Final = 10.0
"""Longer than reading and writing the part may take."""

Write = Callable[[], Awaitable[None]]


async def write_once(cache: Cache, ledger: Ledger) -> None:
    """Write the ledger of a process that ends at once, where possible into the one part that all such processes share.

    Parts are kept for good, and a script may start a process for each sentence.
    """
    store, owner = cache.store, secrets.token_hex(8)
    if store is None or cache.store_state == "failing":
        return
    leases, holder = store.leases, None
    if leases is not None:
        holder = await cache.attempt(Operation.ACQUIRE, partial(leases.acquire, _LEASE, owner, _LEASE_SECONDS))
    if holder == owner:
        await cache.attempt(Operation.RESUME_LEDGER, partial(ledger.go_on_with, store, _SHARED_PART))
    await LedgerWriter(cache, lambda: ledger).stop()
    if leases is not None and holder == owner:
        await cache.attempt(Operation.RELEASE, partial(leases.release, _LEASE, owner))


class LedgerWriter:
    """Writes a ledger into a cache's store, as long as the cache is open."""

    def __init__(self, cache: Cache, ledger_of: Callable[[], Ledger]) -> None:
        self._cache = cache
        self._ledger_of = ledger_of
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_writing())

    async def stop(self) -> None:
        """Write the last charges, with more time than the budget: there is no later chance."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._write(self._at_last)

    async def _keep_writing(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            await self._write(self._within_budget)

    async def _write(self, do: Callable[[Write], Awaitable[bool]]) -> None:
        if self._cache.store is not None:
            await self._ledger_of().write(self._cache.store, do)

    async def _within_budget(self, write: Write) -> bool:
        async def done() -> bool:
            await write()
            return True

        return bool(await self._cache.attempt(Operation.WRITE_LEDGER, done))

    async def _at_last(self, write: Write) -> bool:
        if await self._within_budget(write):
            return True
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                await write()
                return True
        log.warning("the last figures of the ledger were not written: the store does not answer")
        return False
