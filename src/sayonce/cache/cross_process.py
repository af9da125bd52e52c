"""One computation between processes: lead it under a lease, or follow the leader, from the first byte.

Nothing that the store says is believed: a follower relays only records that open as the next ones of a flight, once the
leader has answered its challenge, and compares the whole with the entry. A leader that is gone, gives no answer or is not genuine
loses its lease, and its follower takes over. A store in trouble only means that everyone computes alone.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import StrEnum
from functools import partial
from typing import Final, Protocol, TypeVar

import msgspec

from sayonce.cache import lease as leading
from sayonce.cache.flight import Flight
from sayonce.cache.guard import Guard
from sayonce.cache.lease import CHUNK, END, FOLLOWERS, HEAD, TIMEOUT_FACTOR, VALUE, WELCOMES, Lease
from sayonce.cache.record_poller import RecordPoller
from sayonce.core.counters import Counter, Counts, FlightPart, Operation
from sayonce.core.envelope import Entry, Refused
from sayonce.core.epochs import Stamp
from sayonce.core.key import Secret
from sayonce.core.outcome import Outcome
from sayonce.core.relay import CHALLENGE_BYTES, Ending, FlightSeal, Head, is_genuine, new_owner
from sayonce.stores.leases import Leases
from sayonce.stores.records import COMPUTATION, Question, Records, Sighting

log = logging.getLogger("sayonce.cache")

QUIET_SECONDS: Final = 5.0
"""How long a leader may give no sign of life, by the follower's own clock: what the store says of a lease's time does
not count."""
_ATTEMPTS: Final = 2
"""The second has a connection of its own, where the first had one that leads nowhere any more."""
_BROKEN_LEASES: Final = 3
"""How many leases one flight breaks before it computes without one: somebody puts them there. One that was waited for
without an answer counts for all but one."""
_ASK_AGAIN_SECONDS: Final = 1.0
"""After how long a challenge without an answer is put again."""
_TELL_AGAIN_SECONDS: Final = 60.0

T = TypeVar("T")


class Look(Protocol):
    """Looks the key up, finishes the flight with what is found, and returns whether it was.

    With an ``ending`` only the entry that was relayed counts.
    """

    async def __call__(self, *, timeout_factor: float = 1.0, ending: Ending | None = None) -> bool: ...


class Doubt(StrEnum):
    """Why a leader is followed no longer."""

    FORGED = "forged"  # a lease or a record that no instance with the secret made, for this position
    UNANSWERED = "silent"  # no answer to a challenge, or no sign of life since
    OUTDATED = "outdated"  # it began before a purge that this instance knows of


_DOUBTS: Final = {
    Doubt.FORGED: "its lease or a record of it was altered, or made without this secret",
    Doubt.UNANSWERED: f"it gave no sign of life for {QUIET_SECONDS:g} s",
}


class NotBelieved(Exception):
    """A leader is followed no longer."""

    def __init__(self, doubt: Doubt) -> None:
        super().__init__(doubt.value)
        self.doubt = doubt


class Unanswered(Exception):
    """The store does not answer."""


class SharedFlights:
    """Flights of this process, shared with others through a store."""

    def __init__(
        self,
        guard: Guard,
        leases: Leases,
        records: Records,
        counts: Counts,
        secret: Secret,
        current: Callable[[Stamp], bool],
    ) -> None:
        """``current`` tells whether nothing of a stamp was purged since."""
        self._guard = guard
        self._leases = leases
        self._records = records
        self._counts = counts
        self._secret = secret
        self._current = current
        self._poller = RecordPoller(self._ask, records)
        self._told = -_TELL_AGAIN_SECONDS

    async def lead_or_follow(self, flight: Flight, key: bytes, look: Look) -> Lease | None:
        """Follow the process that computes the key until the flight is finished, or return the lease to compute it here.

        None without a finished flight means that the store does not answer, or is not believed: compute alone.
        """
        owner = new_owner(self._secret, key)
        broken = 0
        while broken < _BROKEN_LEASES:
            holder = await self._holder(key, owner)
            if holder is None:
                # A store that is full gives no lease, and what it has is still to be had.
                if not flight.has_begun and await look():
                    return None
                break
            if holder == owner:
                return await self._lead(flight, key, owner, look)
            try:
                ending = await self._follow(flight, key, holder)
            except Unanswered:
                break
            except NotBelieved as error:
                broken += _BROKEN_LEASES - 1 if error.doubt is Doubt.UNANSWERED else 1
                self._doubt(error.doubt)
                await self._release(key, holder)
                continue
            # A body that broke off is not finished by an entry: its listeners would take what they have for the whole.
            if (ending or not flight.has_begun) and await look(timeout_factor=TIMEOUT_FACTOR, ending=ending):
                return None
        self._credit_lead(flight)
        return None

    async def _holder(self, key: bytes, owner: str) -> str | None:
        """Return the holder of the lease, ``owner`` perhaps; None where the store gives none.

        One that takes nothing new is not asked: its holder may have been unable to give a lease back.
        """
        if self._guard.unwritable is not None:
            return None
        return await self._ask(Operation.ACQUIRE, partial(self._leases.acquire, key, owner, leading.LEASE_SECONDS))

    async def _ask(self, operation: Operation, run: Callable[[], Awaitable[T]]) -> T | None:
        """Ask the store, again where it answers others; None when it is in trouble."""
        for _ in range(_ATTEMPTS):
            answer = await self._guard.call(operation, run, timeout_factor=TIMEOUT_FACTOR)
            if answer is not None or self._guard.breaker.open:
                return answer
        return None

    async def _lead(self, flight: Flight, key: bytes, owner: str, look: Look) -> Lease | None:
        # The one before may have finished between our look and our lease.
        if not flight.has_begun and await look(timeout_factor=TIMEOUT_FACTOR):
            await self._release(key, owner)
            return None
        self._credit_lead(flight)
        seal = FlightSeal(self._secret, key, owner)
        return Lease(self._guard, self._leases, self._records, self._poller, seal, key, owner, flight)

    async def _release(self, key: bytes, owner: str) -> None:
        await self._guard.call(
            Operation.RELEASE, partial(self._leases.release, key, owner), timeout_factor=TIMEOUT_FACTOR
        )

    def _credit_lead(self, flight: Flight) -> None:
        if flight.outcome is Outcome.JOINED:
            self._counts.add(Counter.FLIGHTS, FlightPart.TAKEN_OVER)
        flight.credit(Outcome.LED, None)
        flight.restart()

    def _doubt(self, doubt: Doubt) -> None:
        """Count it, and tell of what no instance does by itself, once a minute."""
        self._counts.add(Counter.FLIGHTS, doubt)
        if doubt is Doubt.OUTDATED or time.monotonic() - self._told < _TELL_AGAIN_SECONDS:
            return
        self._told = time.monotonic()
        log.warning("a computation of another instance is not followed, and is made here: %s", _DOUBTS[doubt])

    async def _follow(self, flight: Flight, key: bytes, holder: str) -> Ending | None:
        """Relay a holder's records to this process's listeners; return how it ended, or None where it broke off.

        Raises:
            NotBelieved, Unanswered: it is not followed any more.

        """
        if not is_genuine(self._secret, key, holder):
            raise NotBelieved(Doubt.FORGED)
        self._counts.add(Counter.FLIGHTS, FlightPart.FOLLOWED)
        flight.credit(Outcome.JOINED, None)
        flight.restart()
        seal, signs = FlightSeal(self._secret, key, holder), _Signs(self._poller)
        challenge = secrets.token_bytes(CHALLENGE_BYTES)
        ask = partial(self._records.publish, key, holder, FOLLOWERS, [seal.seal(FOLLOWERS, 0, challenge)])
        asking = asyncio.create_task(self._ask_again(ask))
        try:
            welcomed = await _welcomed(signs, seal, Question(key, holder, WELCOMES), challenge)
        finally:
            asking.cancel()
            await asyncio.wait([asking])
        if not welcomed:
            return None
        return await self._relay(flight, seal, signs, Question(key, holder, COMPUTATION))

    async def _ask_again(self, ask: Callable[[], Awaitable[None]]) -> None:
        """Put a challenge again and again: it may be lost, or its answer, where the store is busy."""
        while True:
            await self._guard.done(Operation.PUBLISH, ask, timeout_factor=TIMEOUT_FACTOR)
            await asyncio.sleep(_ASK_AGAIN_SECONDS)

    async def _relay(self, flight: Flight, seal: FlightSeal, signs: _Signs, question: Question) -> Ending | None:
        """Pass a holder's records on, each of which must be the next one."""
        position, relayed_bytes, value = 0, 0, b""
        async for sighting in signs.of(question):
            for record in sighting.records:
                content = _opened(seal, COMPUTATION, position, record)
                signs.seen()
                position += 1
                kind, content = content[:1], content[1:]
                if kind == CHUNK:
                    relayed_bytes += len(content)
                    flight.send(content)
                elif kind == HEAD:
                    self._begin(flight, _decoded(content, Head))
                elif kind == VALUE:
                    value += content
                elif kind == END:
                    ending = _decoded(content, Ending)
                    if ending.relayed_bytes != relayed_bytes:
                        raise NotBelieved(Doubt.FORGED)
                    return msgspec.structs.replace(ending, entry=_decoded(value, Entry) if value else None)
        return None

    def _begin(self, flight: Flight, head: Head) -> None:
        if not self._current(head.stamp):
            raise NotBelieved(Doubt.OUTDATED)
        flight.created = head.created
        flight.begin(head.about)


class _Signs:
    """The records of a holder, as long as it gives signs of life."""

    def __init__(self, poller: RecordPoller) -> None:
        self._poller = poller
        self.seen()

    def seen(self) -> None:
        """Count the time anew: something came that only this holder can have made, and only now."""
        self._until = time.monotonic() + QUIET_SECONDS

    async def of(self, question: Question) -> AsyncIterator[Sighting]:
        """Yield what there is, until the holder is gone and all that it said has come.

        Raises:
            NotBelieved: there was no sign of life for too long.
            Unanswered: the store does not answer.

        """
        while True:
            try:
                async with asyncio.timeout(self._until - time.monotonic()):
                    sighting = await self._poller.look(question)
            except TimeoutError:
                raise NotBelieved(Doubt.UNANSWERED) from None
            if sighting is None:
                raise Unanswered
            if not sighting.records and not sighting.held:
                return
            yield sighting
            question = msgspec.structs.replace(question, position=sighting.position)


async def _welcomed(signs: _Signs, seal: FlightSeal, question: Question, challenge: bytes) -> bool:
    """Wait until the holder answers a challenge; False when it is gone. The answers to others do not count."""
    answer = seal.seal(WELCOMES, 0, challenge)
    async for sighting in signs.of(question):
        if answer in sighting.records:
            signs.seen()
            return True
    return False


def _opened(seal: FlightSeal, part: str, position: int, record: bytes) -> bytes:
    try:
        return seal.open(part, position, record)
    except Refused:
        raise NotBelieved(Doubt.FORGED) from None


def _decoded(content: bytes, kind: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(content, type=kind)
    except msgspec.MsgspecError:
        raise NotBelieved(Doubt.FORGED) from None
