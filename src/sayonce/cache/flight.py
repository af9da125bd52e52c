"""A flight: one computation under way, its growing body, and any number of listeners.

Every listener reads the same append-only list of chunks with a cursor of its own, so a slow one delays nobody, a late
one starts at the first byte, and one that leaves takes nothing with it, unless it was the last of a private flight.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final
from weakref import ref

from sayonce.cache.threads import waiting
from sayonce.core.audio_start import BodyForm
from sayonce.core.envelope import Entry
from sayonce.core.epochs import Stamp
from sayonce.core.outcome import Outcome
from sayonce.errors import EngineError, SayonceError

_OWN_VALUE: Final = (
    "a computation asks for the value that it computes, itself or through others: it would wait for ever"
)
_ANOTHER_TAKE: Final = "the synthesis broke off, and the engine does not speak it the same way again; ask once more"


def _nothing() -> None:
    pass


class Flight:
    """A body that grows until it is whole or has failed; all of it happens on one event loop."""

    def __init__(
        self,
        created: float,
        stamp: Stamp = (),
        *,
        private: bool = False,
        renews: bool = False,
        launched: float = 0.0,
    ) -> None:
        self.created = created
        self.launched = launched
        """When it began by the clock of this instance's view."""
        self.stamp = stamp
        self.private = private
        """Made for one listener alone, and kept nowhere: it ends when that listener leaves."""
        self.renews = renews
        """Makes a value anew that is stale, and answers meanwhile."""
        self.discarded = False
        """Deleted while under way: its listeners hear it to its end, and it is not kept."""
        self.keepable = True
        """Whether the value may be kept, as far as that is known before it is whole."""
        self.landing: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """Tells, when it has been written, whether it is kept where this cache keeps what lasts."""
        self.source: asyncio.Future[bool] | None = None
        """The same of the value that this one is derived from: while that is kept, nothing is computed again."""
        self.head: BodyForm = None
        """The form of the body, which listeners must know before its first chunk; set with ``begin``."""
        self.entry: Entry | None = None
        self.error: BaseException | None = None
        self.outcome = Outcome.LED
        """How the leader's own request was answered, once the flight has begun."""
        self.tier: str | None = None
        self.task: asyncio.Task[None] | None = None
        """The task that computes and writes it, until that is over."""
        self.abandon: Callable[[], None] = _nothing
        """Ends the computation when nobody wants it any more."""
        self.hurried = False
        """Whether somebody waits for a value that was to be made in the background."""
        self._hurry: Callable[[], None] = _nothing
        self._queued = False
        self._listeners = 0
        self.awaited: list[Flight] = []
        """The flights that this one's computation waits for now."""
        self._chunks: list[bytes] = []
        self._begun = False
        self._repeat = b""
        self._changed = asyncio.Event()

    @property
    def done(self) -> bool:
        return self.entry is not None or self.error is not None

    @property
    def has_begun(self) -> bool:
        return self._begun

    def held_bytes(self) -> int:
        """Return what the body takes in memory while somebody listens: in chunks, and whole once it is."""
        return sum(map(len, self._chunks)) + (len(self.entry.body) if self.entry is not None else 0)

    def begin(self, head: BodyForm = None) -> None:
        """Let listeners in: from here on a failure is one in mid-stream."""
        if self._begun and head != self.head:
            raise EngineError(_ANOTHER_TAKE)
        self.head = head
        self._begun = True
        self._notify()

    def send(self, chunk: bytes) -> None:
        if self._repeat:
            chunk = self._beyond_repeat(chunk)
        if chunk:
            self._chunks.append(chunk)
            self._notify()

    def restart(self) -> None:
        """Begin again after the maker of the body is gone: what listeners have must come again, byte for byte."""
        self._repeat = b"".join(self._chunks)

    def _beyond_repeat(self, chunk: bytes) -> bytes:
        known = self._repeat[: len(chunk)]
        if chunk[: len(known)] != known:
            raise EngineError(_ANOTHER_TAKE)
        self._repeat = self._repeat[len(known) :]
        return chunk[len(known) :]

    def credit(self, outcome: Outcome, tier: str | None) -> None:
        """Record that the value came from elsewhere than this flight's own work."""
        self.outcome, self.tier = outcome, tier

    @contextmanager
    def queued(self) -> Iterator[None]:
        """Mark the time in which the computation waits for its turn.

        While queued, nothing has been computed: the flight is abandoned when its last listener leaves.
        """
        self._queued = True
        self._abandon_if_deserted()
        try:
            yield
        finally:
            self._queued = False

    def on_hurry(self, hurry: Callable[[], None]) -> None:
        """Call back once somebody waits for a value that is made in the background."""
        self._hurry = hurry

    def hurry(self) -> None:
        """Make a value, and all that its computation waits for, as for those who wait for it from now on."""
        if not self.hurried:
            self.hurried = True
            self._hurry()
            for each in self.awaited:
                each.hurry()

    def _abandon_if_deserted(self) -> None:
        costs_nothing_yet = self._queued and not self._begun
        if (self.private or costs_nothing_yet) and not (self._listeners or self.done):
            self.abandon()

    def finish(self, entry: Entry) -> None:
        """End with the whole value; fail if listeners have heard more than that, of one that began the same."""
        if self._repeat:
            return self.fail(EngineError(_ANOTHER_TAKE))
        self.entry = entry
        self._end()
        return None

    def fail(self, error: BaseException) -> None:
        self.error = _frameless(error)
        self._end()

    def _end(self) -> None:
        # The former callbacks refer to this flight: a cycle would keep its megabytes.
        self.abandon = self._hurry = _nothing
        self._notify()

    def listen(self) -> None:
        """Count a listener, until it calls ``leave``."""
        self._listeners += 1

    async def begun(self) -> None:
        """Wait until there is something to hear; raise the computation's error if it failed before that."""
        with self._waited_for():
            await self.silence_over()
        if self.error is not None and not self._begun:
            raise _frameless(self.error)

    def leave(self) -> None:
        """Listen no more. Without a listener a computation is abandoned while it is queued, a private one always."""
        self._listeners -= 1
        self._abandon_if_deserted()

    @contextmanager
    def _waited_for(self) -> Iterator[None]:
        """Lend the slot of the computation that waits here, and note what it waits for.

        Raises:
            RecursionError: this flight waits for that very computation, itself or through others.

        """
        askers = [asker for each in _computing.get() if (asker := each()) is not None]
        if not self.done and any(self._needs(asker) for asker in askers):
            raise RecursionError(_OWN_VALUE)
        for asker in askers:
            asker.awaited.append(self)
            if asker.hurried:
                self.hurry()
        try:
            with waiting():
                yield
        finally:
            for asker in askers:
                asker.awaited.remove(self)

    def _needs(self, flight: Flight) -> bool:
        """Whether this flight cannot end before the other one does."""
        needed = [self]
        for each in needed:  # it grows meanwhile
            needed += [other for other in list(each.awaited) if other not in needed]
        return flight in needed

    async def silence_over(self) -> None:
        """Wait until there is something to hear or there will be nothing, without counting as a listener."""
        while not (self._begun or self.done):
            await self._changed.wait()

    async def over(self) -> None:
        """Wait until the computation has ended, and what it made is written."""
        if self.task is not None:
            await asyncio.wait([self.task])

    async def result(self) -> Entry:
        """Wait for the whole value; raise the computation's error."""
        with self._waited_for():
            while not self.done:
                await self._changed.wait()
        if self.entry is None:
            assert self.error is not None
            raise _frameless(self.error)
        return self.entry

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body from its first byte as it grows; raise the computation's error where it broke off."""
        async for chunks in self.batches():
            for chunk in chunks:
                yield chunk

    async def batches(self) -> AsyncIterator[Sequence[bytes]]:
        """Yield the same, all chunks that have come since the last time together."""
        position = 0
        while True:
            if chunks := self._chunks[position:]:
                position += len(chunks)
                yield chunks
            elif self.error is not None:
                raise _frameless(self.error)
            elif self.done:
                return
            else:
                await self._changed.wait()

    def _notify(self) -> None:
        """Wake all that wait now; each then looks at the state itself, so no wake-up is lost."""
        self._changed.set()
        self._changed.clear()


def _frameless(error: BaseException) -> BaseException:
    """Return an error as each listener raises its own.

    The frames of one that all shared would hold this flight, and the flights that wait for it: a cycle.
    """
    return error.twin() if isinstance(error, SayonceError) else error


_computing: ContextVar[Sequence[ref[Flight]]] = ContextVar("computing", default=())
"""The flights that this code computes; they follow a call into threads, tasks and other event loops.

Whatever a computation leaves behind, as a connection to a server, keeps its context, and must not keep its flights.
"""


def computing(flights: Sequence[Flight]) -> None:
    """Note the flights that the current task, and all that it starts, computes."""
    _computing.set([ref(flight) for flight in flights])
