"""The fail-open boundary: the one place where a store's failure becomes "no answer from the cache"."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

from sayonce.core.breaker import Breaker
from sayonce.core.counters import Counter, Counts, Operation
from sayonce.core.envelope import Refused
from sayonce.core.tracer import NoTracer, Tracer
from sayonce.errors import Failure, StoreError
from sayonce.stores.base import Store
from sayonce.stores.deadline import Deadlines

log = logging.getLogger("sayonce.store")
T = TypeVar("T")

_CALLS: Final = Counter.STORE_CALLS
"""Looked up once: up to Python 3.11 a member of an enum costs a call, and a hit from a store counts one."""
CALLS_AT_ONCE: Final = 32
"""More only wait longer; waiting for a slot is part of the budget, and no sign of an outage."""
WRITING_BYTES: Final = 64_000_000
"""Bytes that may be on their way to a slow store; what comes on top is not stored."""
_BYTES_PER_SECOND: Final = 20_000_000
"""The slowest transfer that a budget allows for, beyond its fixed part."""
_UNANSWERED_PART: Final = 0.8
"""A call that ran out of time tells of the store only if it waited for the store itself for this part of its time."""
_PROBE_TIMEOUT_FACTOR: Final = 2.0
"""How many budgets a probe in doubt may take: a store that answers neither of two such probes does not answer."""
_CONNECT_SECONDS: Final = 0.5
"""How long the probe of an open breaker may take to reach the store; nobody waits for it."""
_TELL_AGAIN_SECONDS: Final = 60.0
"""Trouble that comes with every call is told once a minute: a line for each request would be trouble of its own."""


class _Slots:
    """The slots for calls; one that is free costs no wait, and the others are given in turn."""

    def __init__(self) -> None:
        self.free = CALLS_AT_ONCE
        self._waiting = 0
        self._turns = asyncio.Semaphore(0)

    async def wait(self) -> None:
        """Wait for a slot; call it while none is free."""
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1

    def leave(self) -> None:
        if self._waiting:
            self._turns.release()
        else:
            self.free += 1


class Guard:
    """Calls a store within a budget, and not at all while its breaker is open."""

    def __init__(
        self,
        store: Store,
        budget_seconds: float,
        counts: Counts,
        *,
        part: str | None = None,
        look: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """``part`` names what is guarded where it is not the whole store, and ``look`` then probes it."""
        self.store = store
        self.breaker = Breaker()
        self.tracer: Tracer = NoTracer()
        self._part = part or "store"
        self._name = part or store.name
        self._look = look or self._look_for_nothing
        self._budget_seconds = budget_seconds
        self._counts = counts
        self.unwritable: str | None = None
        """Why the store takes no new values, while what it has is still to be had."""
        self._outage = ""
        self.last_error = ""
        """How the latest call failed that failed."""
        self.took_last_write = True
        """Whether the store kept the last value that was written to it."""
        self._told_unwritable = False
        self._slots = _Slots()
        self._writing_bytes = 0
        self._deadlines = Deadlines(budget_seconds, self._probe_for_waiting)
        self._told: defaultdict[str, float] = defaultdict(float)
        self._doubt_probe: asyncio.Task[None] | None = None
        self._recovery_probe: asyncio.Task[None] | None = None

    async def call(
        self,
        operation: Operation,
        run: Callable[[], Awaitable[T]],
        *,
        size_bytes: int = 0,
        read_bytes: int = 0,
        timeout_factor: float = 1.0,
        ahead: bool = False,
    ) -> T | None:
        """Return the operation's result, or None when the store did not give one within the budget.

        The budget grows with the bytes to write, or to read where their number is known, and by ``timeout_factor`` where
        waiting for a busy store is worth it; once it is known that the store does not answer, nobody waits any more.
        A call that goes ``ahead`` waits for no slot: all others would wait for nothing without it. It is one at a time.
        """
        if self.breaker.open:
            self._counts.add(Counter.STORE_SKIPPED, self._part)
            self._probe_when_due()
            return None
        if size_bytes and self._writing_bytes and self._writing_bytes + size_bytes > WRITING_BYTES:
            self._counts.add(Counter.STORE_WRITES_DROPPED, self._part)
            return None
        self._writing_bytes += size_bytes
        began = time.monotonic()
        self._counts[_CALLS, self._part, operation] += 1
        try:
            seconds = self._budget_seconds * timeout_factor + (size_bytes + read_bytes) / _BYTES_PER_SECOND
            with self.tracer.span(self._part, store=self._name, operation=operation):
                slots = None if ahead else self._slots
                result = await self._ask(run, seconds, slots, probed=timeout_factor > 1 and not size_bytes)
        except Refused as refused:
            self._refused(refused)
            return None
        except StoreError as error:
            self._failed(error, began)
            return None
        finally:
            self._writing_bytes -= size_bytes
        self._answered()
        return result

    async def done(
        self,
        operation: Operation,
        run: Callable[[], Awaitable[object]],
        *,
        size_bytes: int = 0,
        timeout_factor: float = 1.0,
        ahead: bool = False,
    ) -> bool:
        """Run an operation for its effect and return whether the store confirmed it."""
        confirm = partial(_confirmed, run)
        return (
            await self.call(operation, confirm, size_bytes=size_bytes, timeout_factor=timeout_factor, ahead=ahead)
            is True
        )

    async def _ask(
        self,
        run: Callable[[], Awaitable[T]],
        seconds: float,
        slots: _Slots | None = None,
        *,
        probed: bool = False,
    ) -> T:
        """Run an operation within a time, and in a slot where there are ``slots``.

        Whatever it raises but ``Refused`` becomes a ``StoreError``.
        While a ``probed`` one waits, the store is probed beside it: it may be busy, or not answer at all.
        """
        waited_seconds = 0.0
        deadline = self._deadlines.after(seconds, probed=probed)
        try:
            with deadline:
                if slots is None:
                    return await run()
                if slots.free:
                    slots.free -= 1
                else:
                    waited_seconds = seconds  # all of it, unless a slot comes free
                    await slots.wait()
                    waited_seconds = deadline.passed_seconds
                try:
                    return await run()
                finally:
                    slots.leave()
        except (Refused, StoreError):
            raise
        except TimeoutError:
            # A call that waited for a slot, or for our own event loop, and then had no time left tells nothing.
            unanswered = deadline.passed_seconds - waited_seconds > _UNANSWERED_PART * seconds
            failure = Failure.TIMEOUT if unanswered else Failure.BUSY
            raise StoreError("no answer within the budget", failure=failure) from None
        except Exception as error:  # whatever a store does, the request is answered
            if self._untold("unexpected"):
                log.exception("%s: unexpected failure", self._name)
            raise StoreError(f"{type(error).__name__}: {error}") from None

    def _answered(self) -> None:
        if self.breaker.succeeded(time.monotonic()):
            log.warning("%s: circuit breaker closed, it answers again", self._name)

    def _refused(self, refused: Refused) -> None:
        self._answered()
        self._counts.add(Counter.REFUSED_VALUES, refused.reason)
        if self._untold(refused.reason):
            log.warning("%s: a stored value was refused (%s) and is a miss", self._name, refused.reason.value)

    def _failed(self, error: StoreError, began: float) -> None:
        self._counts.add(Counter.STORE_ERRORS, self._part, error.failure)
        self.last_error = str(error)
        if error.failure is Failure.BUSY:
            return  # our own pool is exhausted: the backend is not down
        if error.failure is Failure.BEYOND:
            self._answered()
            return  # the store has told of it
        if error.failure in (Failure.FULL, Failure.LOCKED):
            self._answered()  # what it has is still to be had
            self._takes_nothing(error)
        elif self.breaker.failed(time.monotonic(), began):
            self._outage = str(error)
            log.warning("%s: circuit breaker opened, calls are skipped: %s", self._name, error)
            self._deadlines.expire()  # what others still wait for will not come either
        elif not self.breaker.open:
            self._probe_in_doubt()

    def _takes_nothing(self, error: StoreError) -> None:
        if self.unwritable is None:
            self._told_unwritable = self._untold("unwritable")
            if self._told_unwritable:
                log.warning("%s: takes no new values: %s", self._name, error)
        self.unwritable = str(error)

    @property
    def trouble(self) -> str | None:
        """Why the circuit breaker is open, or why the store takes no new values; None where all is well."""
        return self._outage if self.breaker.open else self.unwritable

    def wrote(self, kept: bool | None) -> None:
        """Note whether the store kept a value: one that answers takes writes, and may do without this one."""
        self.took_last_write = bool(kept)
        if kept is not None and self.unwritable is not None:
            self.unwritable = None
            if self._told_unwritable:
                log.warning("%s: takes new values again", self._name)

    def _untold(self, what: str) -> bool:
        now = time.monotonic()
        due = now >= self._told[what]
        if due:
            self._told[what] = now + _TELL_AGAIN_SECONDS
        return due

    # -- in doubt, and while it is not asked --------------------------------------------------------------------------

    def _probe_for_waiting(self) -> None:
        """Probe the store for a call that waits: if it does not answer either, the wait was the first failure."""
        self._probe_in_doubt(doubted_at=time.monotonic())

    def _probe_in_doubt(self, doubted_at: float | None = None) -> None:
        if self._doubt_probe is None or self._doubt_probe.done():
            self._doubt_probe = asyncio.create_task(self._probe_until_sure(doubted_at))

    async def _probe_until_sure(self, doubted_at: float | None) -> None:
        """Probe until there is an answer or the breaker opens, so that few calls have to find out by waiting."""
        while doubted_at is not None or (self.breaker.doubtful and not self.breaker.open):
            began = time.monotonic()
            try:
                await self._ask(self._look, self._budget_seconds * _PROBE_TIMEOUT_FACTOR)
            except Refused:
                self._answered()
            except StoreError as error:
                if error.failure is Failure.BUSY:
                    return
                if doubted_at is not None:
                    self.breaker.suspected(doubted_at)
                self._failed(error, began)
            else:
                self._answered()
            doubted_at = None

    def _probe_when_due(self) -> None:
        """Find out in the background whether the store is back, so that no request waits for it."""
        if self.breaker.allows(time.monotonic()):
            self._recovery_probe = asyncio.create_task(self._probe_recovery())

    async def _probe_recovery(self) -> None:
        """Reach the store in some time, then have it answer within the budget, as a request would ask it."""
        try:
            await self._ask(self._look, max(_CONNECT_SECONDS, self._budget_seconds))
            await self._ask(self._look, self._budget_seconds)
        except (Refused, StoreError):
            self.breaker.failed(time.monotonic())
        else:
            self._answered()

    async def _look_for_nothing(self) -> None:
        await self.store.get(secrets.token_bytes(32))


async def _confirmed(run: Callable[[], Awaitable[object]]) -> bool:
    await run()
    return True
