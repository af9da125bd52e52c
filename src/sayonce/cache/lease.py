"""The leader's side of a flight between processes: a lease that is kept alive, and a body that others can hear."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec

from sayonce.cache.flight import Flight
from sayonce.cache.guard import Guard
from sayonce.cache.record_poller import RecordPoller
from sayonce.core.counters import Operation
from sayonce.core.envelope import Refused
from sayonce.core.relay import CHALLENGE_RECORD_BYTES, Ending, FlightSeal, Head, encoded
from sayonce.stores.leases import Leases
from sayonce.stores.records import COMPUTATION, RECORD_BYTES, Question, Records

LEASE_SECONDS: Final = 5.0
"""How long the death of a leader can go unnoticed."""
TIMEOUT_FACTOR: Final = 20.0
"""Of the store's budget: a miss takes long anyway, and computing twice takes longer. So much is only waited while the
store answers others: one that answers nobody is given up by the guard long before."""
FOLLOWERS: Final = "followers"
"""The part in which followers put their challenges."""
WELCOMES: Final = "welcomes"
"""The part in which the leader answers them."""

HEAD: Final = b"h"
CHUNK: Final = b"c"
BEAT: Final = b"b"
"""A sign of life, for followers that wait while there is nothing to hear."""
VALUE: Final = b"v"
"""A part of the entry, where followers do not find it in the store: it was purged meanwhile, or is not kept."""
END: Final = b"e"

_RENEWALS: Final = 10
"""How often a lease is renewed in its life, so that one lost renewal does not end it."""
_SIGN_SECONDS: Final = 0.5
"""How often followers get a sign of life where there is nothing to hear."""
_UNATTENDED_SECONDS: Final = 0.02
"""How long nobody looks for followers, of a new lease and once there is something to hear: many clips are then whole."""
_CHUNK_BYTES: Final = RECORD_BYTES // 2
_MAX_FOLLOWERS: Final = 10_000


class Lease:
    """The right to compute a key, kept alive while the flight lasts, and its body as published for the others."""

    def __init__(
        self,
        guard: Guard,
        leases: Leases,
        records: Records,
        poller: RecordPoller,
        seal: FlightSeal,
        key: bytes,
        owner: str,
        flight: Flight,
    ) -> None:
        self._guard = guard
        self._leases = leases
        self._records = records
        self._poller = poller
        self._seal = seal
        self._key = key
        self._owner = owner
        self._flight = flight
        self._followed = asyncio.Event()
        self._welcomed: set[bytes] = set()
        self._telling = asyncio.Lock()
        self._position = 0
        self._told_at = 0.0
        self._whole = True
        self._relayed_bytes = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._publishing: asyncio.Task[bool] | None = None
        self._starting = asyncio.get_running_loop().call_later(_UNATTENDED_SECONDS, self._start)

    def _start(self) -> None:
        self._tasks = [asyncio.create_task(work) for work in (self._renew(), self._attend())]
        self._publishing = asyncio.create_task(self._publish())

    async def end(self) -> bool:
        """Let go, and return whether the store says so; call it when the value is stored, or when there will be none.

        The end is published only of a body that was published whole, so that nobody takes a part for it.
        """
        self._starting.cancel()
        # Cancelled tasks refer to this lease by their errors: a cycle would keep the flight's megabytes.
        publishing, tasks = self._publishing, self._tasks
        self._publishing, self._tasks = None, []
        try:
            if publishing is not None:
                await self._end_publishing(publishing, tasks)
        finally:  # whatever went wrong: the others would wait for a lease that nobody keeps up
            release = partial(self._leases.release, self._key, self._owner)
            released = await self._guard.done(Operation.RELEASE, release, timeout_factor=TIMEOUT_FACTOR)
        return released

    async def _end_publishing(self, publishing: asyncio.Task[bool], tasks: list[asyncio.Task[None]]) -> None:
        entry = self._flight.entry
        if entry is None or not self._followed.is_set():
            publishing.cancel()
        try:
            (published,) = await asyncio.gather(publishing, return_exceptions=True)
            if published is True and entry is not None:
                if not (self._flight.landing.done() and self._flight.landing.result()):
                    await self._tell(*(VALUE + part for part in _parts(encoded(entry))))
                await self._tell(END + msgspec.msgpack.encode(Ending.of(self._relayed_bytes, entry)))
        finally:  # and not before: a lease that ends by itself would have the others begin again
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / _RENEWALS)
            renew = partial(self._leases.renew, self._key, self._owner, LEASE_SECONDS)
            await self._guard.call(Operation.RENEW, renew, timeout_factor=TIMEOUT_FACTOR)

    async def _attend(self) -> None:
        """Welcome followers, and give them signs of life."""
        if not self._flight.has_begun:
            with suppress(
                TimeoutError
            ):  # the first byte first of all: it is on its way to the listeners of this process
                async with asyncio.timeout(_SIGN_SECONDS):
                    await self._flight.silence_over()
            await asyncio.sleep(_UNATTENDED_SECONDS)
        followers = Question(self._key, self._owner, FOLLOWERS)
        while True:
            sighting = None
            with suppress(TimeoutError):
                async with asyncio.timeout(_SIGN_SECONDS):
                    sighting = await self._poller.look(followers)
                    if sighting is None or not sighting.records:  # the store is in trouble, or the lease was lost
                        await asyncio.sleep(_SIGN_SECONDS)
            if sighting is not None:
                followers = msgspec.structs.replace(followers, position=sighting.position)
                await self._welcome(sighting.records)
            if self._followed.is_set() and time.monotonic() - self._told_at > _SIGN_SECONDS:
                await self._tell(BEAT)

    async def _welcome(self, records: Sequence[bytes]) -> None:
        """Answer the challenges that have come: an answer proves that the leader is at work now, and no record of an earlier time."""
        challenges = {self._challenge(record): None for record in records}
        new = [each for each in challenges if each is not None and each not in self._welcomed]
        if not new or len(self._welcomed) >= _MAX_FOLLOWERS:
            return
        answers = [self._seal.seal(WELCOMES, 0, each) for each in new]
        publish = partial(self._records.publish, self._key, self._owner, WELCOMES, answers)
        if await self._guard.done(Operation.PUBLISH, publish, timeout_factor=TIMEOUT_FACTOR):  # else they ask again
            self._told_at = time.monotonic()
            self._welcomed.update(new)
            self._flight.hurry()
            self._followed.set()

    def _challenge(self, record: bytes) -> bytes | None:
        """Return a follower's challenge; None of what no follower wrote, which is nobody to publish for."""
        if len(record) != CHALLENGE_RECORD_BYTES:  # and no time is spent on what cannot be one
            return None
        try:
            return self._seal.open(FOLLOWERS, 0, record)
        except Refused:
            return None

    async def _publish(self) -> bool:
        """Listen to the flight for those in other processes, once there are any; False when a record was lost."""
        flight = self._flight
        await flight.silence_over()
        if not flight.has_begun:  # a value that was made in one piece, or none: there is nothing to hear before its end
            return False
        await self._followed.wait()
        if not await self._tell(HEAD + msgspec.msgpack.encode(Head(flight.created, flight.stamp, flight.head))):
            return False
        async for chunks in flight.batches():
            if not await self._tell(*(CHUNK + part for chunk in chunks for part in _parts(chunk))):
                return False
            self._relayed_bytes += sum(map(len, chunks))
        return True

    async def _tell(self, *contents: bytes) -> bool:
        """Publish the next records, and none any more after one that was lost: what comes behind it is worth nothing."""
        async with self._telling:
            if not self._whole:
                return False
            self._told_at = time.monotonic()
            records = [
                self._seal.seal(COMPUTATION, self._position + offset, each) for offset, each in enumerate(contents)
            ]
            self._position += len(records)
            publish = partial(self._records.publish, self._key, self._owner, COMPUTATION, records)
            self._whole = False  # until the store confirms it, which it does not where this is cancelled
            self._whole = await self._guard.done(
                Operation.PUBLISH, publish, size_bytes=sum(map(len, records)), timeout_factor=TIMEOUT_FACTOR
            )
            return self._whole


def _parts(chunk: bytes) -> list[bytes]:
    """Cut a chunk into what a record may hold."""
    return [chunk[start : start + _CHUNK_BYTES] for start in range(0, len(chunk), _CHUNK_BYTES)]
