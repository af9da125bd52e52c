"""Sweeps bodies by itself while a server runs: one instance at a time, every two hours, and not too much at once."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Final

from sayonce.errors import StoreError
from sayonce.stores.blobs.store import BlobStore
from sayonce.stores.blobs.sweep import Swept, sweep
from sayonce.stores.leases import Leases

log = logging.getLogger("sayonce.bodies")

EVERY_SECONDS: Final = 7200.0
MAX_REMOVED: Final = 100_000
"""In one sweep; the rest is for the next."""
LEASE: Final = b"sweep".ljust(32, b"\0")
"""The key of the lease: no digest, which is random in every byte."""
_LOOK_SECONDS: Final = 300.0


class Sweeper:
    """Sweeps when no instance has for two hours. The lease is taken for that long and never given back."""

    def __init__(
        self,
        addresses: Callable[[], AsyncIterator[bytes]],
        leases: Leases,
        bodies: BlobStore,
        *,
        max_bytes: int,
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        """``addresses`` reads from the index where the bodies lie that its entries point to."""
        self._addresses = addresses
        self._leases = leases
        self._bodies = bodies
        self._max_bytes = max_bytes
        self._look_seconds = look_seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _run(self) -> None:
        while True:
            # Not all instances at the same moment, nor one that is only started for a moment.
            await asyncio.sleep(self._look_seconds * random.uniform(0.5, 1))  # noqa: S311 (jitter is no secret)
            try:
                await self.turn()
            except StoreError as error:
                self._bodies.sweeps.failed += 1
                log.warning("bodies were not swept: %s", error)

    async def turn(self) -> bool:
        """Sweep if it is time to, and return whether it was.

        Raises:
            StoreError: the store or the body store did not answer.

        """
        turn = secrets.token_hex(8)  # another each time: the holder of the lease has swept
        if await self._leases.acquire(LEASE, turn, EVERY_SECONDS) != turn:
            return False
        swept = await sweep(self._addresses(), self._bodies, max_bytes=self._max_bytes, limit=MAX_REMOVED)
        self._count(swept)
        if swept.removed:
            what = "bodies would go, but nothing points to any here: see sayonce gc" if swept.dry else "bodies removed"
            log.info("%d %s (%d bytes)", swept.removed, what, swept.removed_bytes)
        return True

    def _count(self, swept: Swept) -> None:
        sweeps = self._bodies.sweeps
        if swept.dry and swept.removed:
            sweeps.withheld += 1
            return
        sweeps.done += 1
        sweeps.last = self._bodies.clock()
