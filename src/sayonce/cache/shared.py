"""One computation between processes: lead it under a lease, or follow the one who does, from the first byte.

A follower whose leader is gone looks again and takes over. A store in trouble only means that everyone computes alone.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

import msgspec

from sayonce.cache.flight import Flight
from sayonce.cache.guard import Guard
from sayonce.core.outcome import Outcome
from sayonce.stores.coordinator import Coordinator, Question, Sighting

LEASE_SECONDS: Final = 5.0
"""How long the death of a leader can go unnoticed."""
_PATIENCE: Final = 20.0
"""Of the store's budget: a miss takes long anyway, and computing twice takes longer. So much is only waited while the
store answers others: one that answers nobody is given up by the guard long before."""
_ATTEMPTS: Final = 2
"""The second has a connection of its own, where the first had one that leads nowhere any more."""
_RENEWALS: Final = 10
"""How often a lease is renewed in its life, so that one lost renewal does not end it."""
_LOOK_SECONDS: Final = 0.01
_LATEST_LOOK_SECONDS: Final = 0.05
_FOLLOWED_SECONDS: Final = 0.02
"""How often a leader looks whether it is followed: until it is, nothing is published."""

_HEAD: Final = b"h"
_CHUNK: Final = b"c"
_END: Final = b"e"

T = TypeVar("T")


class Ask(Protocol):
    """Asks the store; None when it is in trouble."""

    async def __call__(self, operation: Callable[[], Awaitable[T]]) -> T | None: ...


class Look(Protocol):
    """Looks the key up, finishes the flight with what is found, and returns whether it was."""

    async def __call__(self, *, patience: float = 1.0) -> bool: ...


class SharedFlights:
    """Flights of this process, shared with others through a store."""

    def __init__(self, guard: Guard, coordinator: Coordinator, counters: defaultdict[str, float]) -> None:
        self._guard = guard
        self._coordinator = coordinator
        self._counters = counters
        self._watch = Watch(self._ask, coordinator)

    async def lead_or_follow(self, flight: Flight, key: bytes, look: Look) -> Lease | None:
        """Follow whoever computes the key until the flight is finished, or return the lease to compute it here.

        None without a finished flight means that the store does not answer: compute alone.
        """
        owner = secrets.token_hex(8)
        while True:
            holder = await self._ask(partial(self._coordinator.acquire, key, owner, LEASE_SECONDS))
            if holder is None:
                # A store that is full gives no lease, and what it has is still to be had.
                if not flight.has_begun and await look():
                    return None
                break
            if holder == owner:
                return await self._lead(flight, key, owner, look)
            whole = await self._follow(flight, key, holder)
            if whole is None:
                break
            # A body that broke off is not finished by an entry: its listeners would take what they have for the whole.
            if (whole or not flight.has_begun) and await look(patience=_PATIENCE):
                return None
        self._credit_lead(flight)
        return None

    async def _ask(self, operation: Callable[[], Awaitable[T]]) -> T | None:
        """Ask the coordinator, again where the store answers others; None when it is in trouble."""
        for _ in range(_ATTEMPTS):
            answer = await self._guard.call(operation, patience=_PATIENCE)
            if answer is not None or self._guard.breaker.open:
                return answer
        return None

    async def _lead(self, flight: Flight, key: bytes, owner: str, look: Look) -> Lease | None:
        # The one before may have finished between our look and our lease.
        if not flight.has_begun and await look(patience=_PATIENCE):
            await self._guard.call(partial(self._coordinator.release, key, owner), patience=_PATIENCE)
            return None
        self._credit_lead(flight)
        return Lease(self._guard, self._coordinator, key, owner, flight)

    def _credit_lead(self, flight: Flight) -> None:
        if flight.outcome is Outcome.JOINED:
            self._counters["flights: taken over"] += 1
        flight.credit(Outcome.LED, None)
        flight.restart()

    async def _follow(self, flight: Flight, key: bytes, holder: str) -> bool | None:
        """Relay a holder's records to this process's listeners.

        Returns whether they came to their end, or None when the store does not answer.
        """
        self._counters["flights: followed"] += 1
        await self._guard.done(partial(self._coordinator.follow, key, holder), patience=_PATIENCE)
        flight.credit(Outcome.JOINED, None)
        flight.restart()
        question = Question(key, holder)
        while True:
            sighting = await self._watch.look(question)
            if sighting is None:
                return None
            if _relay(flight, sighting.records):
                return True
            if not sighting.records and not sighting.held:
                return False
            question = Question(key, holder, sighting.position)


class Watch:
    """Looks for what all followers of this process wait for at once, and again and again while any waits."""

    def __init__(self, ask: Ask, coordinator: Coordinator) -> None:
        self._ask = ask
        self._coordinator = coordinator
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
            sightings = await self._ask(partial(self._coordinator.read, questions))
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


def _relay(flight: Flight, records: Sequence[bytes]) -> bool:
    """Pass records on and return whether the last of them has come."""
    for record in records:
        kind, content = record[:1], record[1:]
        if kind == _END:
            return True
        if kind == _HEAD:
            flight.created, head = msgspec.msgpack.decode(content)
            flight.begin(head)
        elif kind == _CHUNK:
            flight.send(content)
    return False


class Lease:
    """The right to compute a key, kept alive while the flight lasts, and its body as published for the others."""

    def __init__(self, guard: Guard, coordinator: Coordinator, key: bytes, owner: str, flight: Flight) -> None:
        self._guard = guard
        self._coordinator = coordinator
        self._key = key
        self._owner = owner
        self._flight = flight
        self._followed = False
        self._renewing = asyncio.create_task(self._renew())
        self._publishing = asyncio.create_task(self._publish())

    async def end(self) -> None:
        """Let go; call it when the value is stored, or when there will be none.

        The end is published only of a body that was published whole, so that nobody takes a part for it.
        """
        if not (self._flight.done and self._followed):
            self._publishing.cancel()
        try:
            (published,) = await asyncio.gather(self._publishing, return_exceptions=True)
            if published is True:
                await self._tell(_END)
        finally:  # and not before: a lease that ends by itself would have the others begin again
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
        await self._guard.call(partial(self._coordinator.release, self._key, self._owner), patience=_PATIENCE)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / _RENEWALS)
            renew = partial(self._coordinator.renew, self._key, self._owner, LEASE_SECONDS)
            await self._guard.call(renew, patience=_PATIENCE)

    async def _publish(self) -> bool:
        """Listen to the flight for those in other processes, once there are any; False when a record was lost."""
        flight = self._flight
        await flight.silence_over()
        if not flight.has_begun:  # a value that was made in one piece, or none: there is nothing to hear before its end
            return False
        followed = partial(self._coordinator.followed, self._key, self._owner)
        while not self._followed:
            await asyncio.sleep(_FOLLOWED_SECONDS)  # first of all: the first byte is on its way to those who wait here
            self._followed = bool(await self._guard.call(followed, patience=_PATIENCE))
        if not await self._tell(_HEAD + msgspec.msgpack.encode((flight.created, flight.head))):
            return False
        async for chunks in flight.batches():
            if not await self._tell(*(_CHUNK + chunk for chunk in chunks)):
                return False
        return True

    async def _tell(self, *records: bytes) -> bool:
        publish = partial(self._coordinator.publish, self._key, self._owner, records)
        return await self._guard.done(publish, size_bytes=sum(map(len, records)), patience=_PATIENCE)
