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
from typing import Final, Self, TypeVar

import msgspec

from sayonce.cache import lease as leading
from sayonce.cache.flight import Flight
from sayonce.cache.guard import Guard
from sayonce.cache.lease import CHUNK, END, FOLLOWERS, HEAD, TIMEOUT_FACTOR, VALUE, WELCOMES, Lease
from sayonce.cache.record_poller import RecordPoller
from sayonce.core.counters import Counter, Counts, FlightPart, Operation
from sayonce.core.decision import Computing
from sayonce.core.envelope import Entry, Refused
from sayonce.core.epochs import Stamp
from sayonce.core.key import Secret
from sayonce.core.outcome import Outcome
from sayonce.core.relay import CHALLENGE_BYTES, Ending, FlightSeal, Head, is_genuine, new_owner
from sayonce.stores.leases import Claimed, Leases
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
_ENDED_OWNERS: Final = 1000
"""As many flights as may have asked for a lease while a store hung, which gives it when it goes on."""

T = TypeVar("T")


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
    """What the flights of this process share with others: a store, a secret, and what is known of purges."""

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
        self.guard = guard
        self.leases = leases
        self.records = records
        self.counts = counts
        self.secret = secret
        self.current = current
        self.poller = RecordPoller(self.ask, records)
        self._ended: dict[str, None] = {}
        self._told = -_TELL_AGAIN_SECONDS

    def note_ended(self, owner: str) -> None:
        """Note an owner of ours that computes no more, and whose lease the store may hold, or give yet, all the same."""
        self._ended[owner] = None
        if len(self._ended) > _ENDED_OWNERS:
            del self._ended[next(iter(self._ended))]

    async def claim(self, key: bytes, owner: str) -> Claimed | None:
        """Ask for the lease; None when the store does not answer. One that is held by nobody of ours any more is broken."""
        claim = partial(self.leases.claim, key, owner, leading.LEASE_SECONDS)
        claimed = await self.ask(Operation.ACQUIRE, claim)
        if claimed is not None and claimed.holder in self._ended:
            await self.release(key, claimed.holder)
            claimed = await self.ask(Operation.ACQUIRE, claim)
        return claimed

    async def ask(self, operation: Operation, run: Callable[[], Awaitable[T]]) -> T | None:
        """Ask the store, again where it answers others; None when it is in trouble."""
        for _ in range(_ATTEMPTS):
            answer = await self.guard.call(operation, run, timeout_factor=TIMEOUT_FACTOR)
            if answer is not None or self.guard.breaker.open:
                return answer
        return None

    async def release(self, key: bytes, owner: str) -> None:
        """Give a lease back, or break another's."""
        await self.guard.call(
            Operation.RELEASE, partial(self.leases.release, key, owner), timeout_factor=TIMEOUT_FACTOR
        )

    def doubt(self, doubt: Doubt) -> None:
        """Count it, and tell of what no instance does by itself, once a minute."""
        self.counts.add(Counter.FLIGHTS, doubt)
        if doubt is Doubt.OUTDATED or time.monotonic() - self._told < _TELL_AGAIN_SECONDS:
            return
        self._told = time.monotonic()
        log.warning("a computation of another instance is not followed, and is made here: %s", _DOUBTS[doubt])


class Turn:
    """One flight between processes: who computes it. Without others it is this process, alone.

    Use as an async context manager, which gives the lease back when the value is stored, or when there will be none.
    """

    def __init__(self, others: SharedFlights | None, flight: Flight, key: bytes) -> None:
        self._others = others
        self._flight = flight
        self._key = key
        self._owner = "" if others is None else new_owner(others.secret, key)
        self._holder = ""
        self._broken = 0
        self._lease: Lease | None = None
        self._unsure = False
        """Whether the store may have given a lease of which this flight did not hear, or not in time."""
        self.computing = Computing.ALONE if others is None else Computing.UNDECIDED
        self.claimed: Claimed | None = None
        """The answer to the last question for the lease."""
        self.given_up = False
        """Whether the store does not answer, or is not believed."""

    @property
    def timeout_factor(self) -> float:
        """Of the store's budget, for a look that others wait for, too."""
        return 1.0 if self.computing is Computing.ALONE else TIMEOUT_FACTOR

    async def acquire(self) -> None:
        """Ask for the lease.

        A store that takes nothing new is not asked: its holder may have been unable to give a lease back.
        """
        others = self._shared
        holder = None
        if others.guard.unwritable is None:
            self._unsure = True
            self.claimed = await others.claim(self._key, self._owner)
            self._unsure = self.claimed is None
            if self.claimed is not None:
                holder = self.claimed.holder
                others.counts.add(Counter.STORE_CALLS, "store", Operation.GET, number=self.claimed.looked)
        if holder is None:
            self.computing = Computing.ALONE
        elif holder == self._owner:
            self.computing = Computing.LEASED
            seal = FlightSeal(others.secret, self._key, holder)
            self._lease = Lease(
                others.guard, others.leases, others.records, others.poller, seal, self._key, holder, self._flight
            )
        else:
            self.computing, self._holder = Computing.ELSEWHERE, holder

    def lead(self) -> None:
        """Compute here, from the first byte on."""
        if self._others is None:
            return
        if self._flight.outcome is Outcome.JOINED:
            self._others.counts.add(Counter.FLIGHTS, FlightPart.TAKEN_OVER)
        self._flight.credit(Outcome.LED, None)
        self._flight.restart()

    async def follow(self) -> Ending | None:
        """Relay the holder's records to this process's listeners; return how it ended, or None where it broke off.

        The lease of one that is not believed is broken: whoever asks for it next may have it.
        """
        self.computing = Computing.UNDECIDED
        try:
            return await self._follow(self._holder)
        except Unanswered:
            self._give_up()
        except NotBelieved as error:
            self._shared.doubt(error.doubt)
            await self._shared.release(self._key, self._holder)
            self._broken += _BROKEN_LEASES - 1 if error.doubt is Doubt.UNANSWERED else 1
            if self._broken >= _BROKEN_LEASES:
                self._give_up()
        return None

    def _give_up(self) -> None:
        self.computing, self.given_up = Computing.ALONE, True

    @property
    def _shared(self) -> SharedFlights:
        assert self._others is not None
        return self._others

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._lease is not None:
            if not await self._lease.end():
                self._shared.note_ended(self._owner)
        elif self._unsure:
            self._shared.note_ended(self._owner)
            await self._shared.release(self._key, self._owner)

    async def _follow(self, holder: str) -> Ending | None:
        """Do what ``follow`` does.

        Raises:
            NotBelieved, Unanswered: it is not followed any more.

        """
        others, key, flight = self._shared, self._key, self._flight
        if not is_genuine(others.secret, key, holder):
            raise NotBelieved(Doubt.FORGED)
        others.counts.add(Counter.FLIGHTS, FlightPart.FOLLOWED)
        flight.credit(Outcome.JOINED, None)
        flight.restart()
        seal, signs = FlightSeal(others.secret, key, holder), _Signs(others.poller)
        challenge = secrets.token_bytes(CHALLENGE_BYTES)
        ask = partial(others.records.publish, key, holder, FOLLOWERS, [seal.seal(FOLLOWERS, 0, challenge)])
        asking = asyncio.create_task(self._ask_again(ask))
        try:
            welcomed = await _welcomed(signs, seal, Question(key, holder, WELCOMES), challenge)
        finally:
            asking.cancel()
            await asyncio.wait([asking])
        if not welcomed:
            return None
        return await self._relay(seal, signs, Question(key, holder, COMPUTATION))

    async def _ask_again(self, ask: Callable[[], Awaitable[None]]) -> None:
        """Put a challenge again and again: it may be lost, or its answer, where the store is busy."""
        while True:
            await self._shared.guard.done(Operation.PUBLISH, ask, timeout_factor=TIMEOUT_FACTOR)
            await asyncio.sleep(_ASK_AGAIN_SECONDS)

    async def _relay(self, seal: FlightSeal, signs: _Signs, question: Question) -> Ending | None:
        """Pass a holder's records on, each of which must be the next one."""
        flight = self._flight
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
                    self._begin(_decoded(content, Head))
                elif kind == VALUE:
                    value += content
                elif kind == END:
                    ending = _decoded(content, Ending)
                    if ending.relayed_bytes != relayed_bytes:
                        raise NotBelieved(Doubt.FORGED)
                    return msgspec.structs.replace(ending, entry=_decoded(value, Entry) if value else None)
        return None

    def _begin(self, head: Head) -> None:
        if not self._shared.current(head.stamp):
            raise NotBelieved(Doubt.OUTDATED)
        self._flight.created = head.created
        self._flight.begin(head.about)


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
