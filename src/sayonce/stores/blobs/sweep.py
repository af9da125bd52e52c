"""Find the bodies that nothing points to, and remove them: mark in the index, sweep in the body store.

The pointer to a body may be gone (expired, evicted, purged), or may never have come (a crash between the two writes).
Only hours that have been over for the grace time are looked at. No new pointer to their bodies can appear, so a body
that the marking has not found is of no use to anybody, also while others write.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator
from typing import Final

import msgspec
import numpy as np

from sayonce.stores.blobs.store import HOUR_SECONDS, BlobStore, Body, hour_of

GRACE_SECONDS: Final = 3600.0
"""How long after its hour a body is safe: for the slowest write of a pointer, and for clocks that differ."""


class Swept(msgspec.Struct):
    """The figures of a sweep: bodies that it found, and those that it removed, or would have removed."""

    pointers: int = 0
    bodies: int = 0
    bytes: int = 0
    removed: int = 0
    removed_bytes: int = 0
    dry: bool = False
    """Nothing was removed: as asked, or because nothing at all points here, as when the index is the wrong one."""


async def sweep(
    addresses: AsyncIterator[bytes],
    bodies: BlobStore,
    *,
    max_bytes: int | None = None,
    limit: int | None = None,
    dry: bool = False,
    without_pointers: bool = False,
) -> Swept:
    """Remove the bodies that are at none of the ``addresses`` to which the index points, at most ``limit`` of them.

    Beyond ``max_bytes`` the bodies of the oldest hours go too; an entry that points to one is removed when it is read.

    Raises:
        StoreError: the index or the body store did not answer; the bodies removed by then were of no use, and are
            counted in ``bodies.sweeps``.

    """
    over = int((bodies.clock() - GRACE_SECONDS) // HOUR_SECONDS)
    pointed_to = await _PointedTo.of(addresses, over)
    swept = Swept(pointed_to.pointers, dry=dry or not (pointed_to.pointers or without_pointers))
    in_use: Counter[int] = Counter()
    async for page in bodies.list():
        swept.bodies += len(page)
        swept.bytes += sum(body.size_bytes for body in page)
        orphans = []
        for body in page:
            if body.hour < over and body.address not in pointed_to:
                orphans.append(body)
            else:
                in_use[body.hour] += body.size_bytes
        await _remove(bodies, orphans, limit, swept)
    if max_bytes is not None and in_use.total() > max_bytes:
        first = min(_first_within(in_use, max_bytes), over)
        async for page in bodies.list():
            oldest = [body for body in page if body.hour < first and body.address in pointed_to]
            await _remove(bodies, oldest, limit, swept)
    return swept


class _PointedTo:
    """The bodies that something points to, eight bytes of each: a set would take ten times the memory.

    Two that agree in them keep a body too many, and lose none.
    """

    def __init__(self) -> None:
        self.pointers = 0
        self._shortened = array("Q")

    @classmethod
    async def of(cls, addresses: AsyncIterator[bytes], over: int) -> _PointedTo:
        """Read the addresses of bodies, keep those of hours before ``over``, and count all."""
        pointed_to = cls()
        async for address in addresses:
            pointed_to.pointers += 1
            if hour_of(address) < over:
                pointed_to._shortened.append(_shorten(address))
        if pointed_to._shortened:
            await asyncio.to_thread(np.frombuffer(pointed_to._shortened, np.uint64).sort)  # in place
        return pointed_to

    def __contains__(self, address: bytes) -> bool:
        short = _shorten(address)
        at = bisect_left(self._shortened, short)
        return at < len(self._shortened) and self._shortened[at] == short


def _shorten(address: bytes) -> int:
    return int.from_bytes(address[4:12]) ^ hour_of(address)


async def _remove(bodies: BlobStore, doomed: list[Body], limit: int | None, swept: Swept) -> None:
    if limit is not None:
        doomed = doomed[: limit - swept.removed]
    size_bytes = sum(body.size_bytes for body in doomed)
    if doomed and not swept.dry:
        await bodies.remove([body.name for body in doomed])
        bodies.sweeps.removed += len(doomed)  # now: a later step may fail
        bodies.sweeps.removed_bytes += size_bytes
    swept.removed += len(doomed)
    swept.removed_bytes += size_bytes


def _first_within(hours: Counter[int], max_bytes: int) -> int:
    """Return the first hour that stays when those before it have to go for the rest to fit."""
    excess = hours.total() - max_bytes
    for hour in sorted(hours):
        if excess <= 0:
            return hour
        excess -= hours[hour]
    return max(hours, default=0) + 1
