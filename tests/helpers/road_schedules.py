"""Instances over one store on a loop that is run step by step, and what any request of theirs may be answered with.

Time stands still until it is moved, and nothing runs until it is let: so a schedule of requests, purges and faults can
be made at random, and repeated.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import product
from typing import Any, Final
from unittest.mock import patch

from sayonce.cache import Answer, Cache, Flight, Lookup, Made, Scope, invalidation
from sayonce.cache.view import View
from sayonce.core.cache_control import DEFAULT, Policy
from sayonce.core.outcome import Outcome
from sayonce.errors import EngineError, NotCached, StoreError
from sayonce.stores.leases import Leases
from sayonce.stores.records import Question, Records, Sighting
from sayonce.testing import FakeClock, FaultyStore
from tests.helpers.memory_leases import MemoryLeases, MemoryRecords

TAKES: Final = ("streamed", "whole")
FORMS: Final = {"take": None, "shared clip": Scope.SHARED, "local clip": Scope.LOCAL}
_TICK_SECONDS: Final = 0.01
_ENOUGH_TICKS: Final = 6_000
"""A minute: every budget, lease and pause of a breaker is over by then."""
_STEPS: Final = 3
"""No computation has more."""


class SlowStore(FaultyStore):
    """A store whose every call takes a turn of the loop; leases and records are in trouble with it."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.held = MemoryLeases(clock)
        self.leases, self.records = _Leases(self, self.held), _Records(self, MemoryRecords(self.held))

    async def _trouble(self) -> None:
        await asyncio.sleep(0)
        await super()._trouble()


class _Leases(Leases):
    def __init__(self, store: SlowStore, held: MemoryLeases) -> None:
        self._store, self._held = store, held

    async def acquire(self, key: bytes, owner: str, seconds: float) -> str:
        await self._store._trouble()
        holder = await self._held.acquire(key, owner, seconds)
        await asyncio.sleep(0)  # the lease is ours, and its answer on its way
        return holder

    async def renew(self, key: bytes, owner: str, seconds: float) -> bool:
        await self._store._trouble()
        return await self._held.renew(key, owner, seconds)

    async def release(self, key: bytes, owner: str) -> None:
        await self._store._trouble()
        await self._held.release(key, owner)


class _Records(Records):
    def __init__(self, store: SlowStore, records: MemoryRecords) -> None:
        self._store, self._records = store, records

    async def publish(self, key: bytes, owner: str, part: str, records: Sequence[bytes]) -> None:
        await self._store._trouble()
        await self._records.publish(key, owner, part, records)

    async def read(self, questions: Sequence[Question]) -> Sequence[Sighting]:
        await self._store._trouble()
        return await self._records.read(questions)


class Computation:
    """A value that is being made or was made. Its number says when it began, among all that happened."""

    def __init__(self, flight: Flight, asked_by: Request, form: str) -> None:
        self.flight = flight
        self.asked_by = asked_by
        self.what = asked_by.at, asked_by.take, form
        self.began = 0
        self.ended: int | None = None
        self.failure: Exception | None = None
        self.steps = asyncio.Semaphore(0)


class Request:
    """One request, and what was purged before it for the instance that it asks."""

    def __init__(self, world: World, at: int, take: str, form: str, policy: Policy) -> None:
        self.world, self.at, self.take, self.policy = world, at, take, policy
        self.began = world.tick()
        self.outdated = world.outdated[at, take]
        self.flight: Flight | None = None
        self.task = world.loop.create_task(self._ask(world.lookup(self, form)))

    async def _ask(self, lookup: Lookup) -> bytes | None:
        try:
            answer = await self.world.caches[self.at].answer(lookup)
        except NotCached:
            assert self.policy.only_if_cached
            return None
        except EngineError:
            return None
        self.flight = answer.flight
        try:
            return await self._heard(answer)
        except EngineError:
            return None  # its computation failed in mid-stream
        finally:
            answer.close()

    async def _heard(self, answer: Answer) -> bytes:
        if answer.flight is None or answer.flight.done:
            return (await answer.result()).body
        heard = b"".join([chunk async for chunk in answer.flight.chunks()])
        body = (await answer.result()).body
        assert heard in (body, b"")  # nothing is heard of what is made in one piece
        return body

    def check(self) -> None:
        """Assert that it has its answer, and one that it may have."""
        assert self.task.done(), f"a request of {self.take!r} waits for ever"
        if self.task.cancelled() or (body := self.task.result()) is None:
            return
        take, number = body.decode().rstrip(".").split(":")
        value = self.world.values[int(number)]
        assert take == self.take
        assert value.began > self.outdated, "a purged value was answered"
        assert not value.flight.private or value.asked_by is self, "what was made for one request answered another"
        if self.policy.no_store:
            assert value.asked_by is self
        if self.policy.no_cache:
            assert self._is_new(value), "no-cache was answered by what was there before"

    def _is_new(self, value: Computation) -> bool:
        """Whether it was made since this request came, or made into another form by a flight that had it made."""
        assert self.flight is not None
        led = self.flight.outcome is Outcome.LED
        ends = value.ended, self.world.made[self.flight].ended if led else None
        return any(ended is not None and ended > self.began for ended in ends)


class World:
    """Instances over one store, or one instance without any."""

    def __init__(self, *, instances: int) -> None:
        self.clock = FakeClock(1000.0)
        self._patches = ExitStack()
        self._patches.enter_context(patch("time.monotonic", self.clock))
        self._patches.enter_context(patch.object(invalidation, "View", partial(View, clock=self.clock)))
        self.loop = asyncio.new_event_loop()
        self.store = SlowStore(self.clock) if instances else None
        self.caches = [Cache(self.store, clock=self.clock) for _ in range(instances or 1)]
        self.requests: list[Request] = []
        self.purges: list[asyncio.Task[Any]] = []
        self.values: dict[int, Computation] = {}
        self.under_way: list[Computation] = []
        self.made: dict[Flight, Computation] = {}
        self.outdated: defaultdict[tuple[int, str], int] = defaultdict(int)
        """What began no later than that is purged, for an instance that has been told so."""
        self.purged = 0
        """When the latest purge was over: until then an instance may obey it, and join no flight from before."""
        self.unsettled = 0
        """Purges that an instance may still come to obey, some time."""
        self.launched: dict[Flight, tuple[int, bool]] = {}
        self.troubled = False
        """Whether the store has failed: a lease may then stay until it ends by itself."""
        self._free = False
        self._number = 0
        for cache in self.caches:
            cache._flights.launch = partial(self._launch, cache, cache._flights.launch)

    def ask(self, at: int, take: str, form: str, policy: Policy) -> None:
        self.requests.append(Request(self, at, take, form, policy))

    def tick(self) -> int:
        self._number += 1
        return self._number

    def run(self, turns: int) -> None:
        for _ in range(turns):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def _launch(self, cache: Cache, launch: Any, flight: Flight, key: bytes, work: Any) -> None:
        self.launched[flight] = (self.tick(), cache.view.trusted)
        launch(flight, key, work)

    # -- what happens -----------------------------------------------------------------------------------------------

    def lookup(self, request: Request, form: str) -> Lookup:
        cache, scope = self.caches[request.at], FORMS[form]
        take = Lookup(
            cache.key(request.take), partial(self._speak, request), request.policy, tags=(f"voice={request.take}",)
        )
        if scope is None:
            return take
        return Lookup(
            cache.key([request.take, "clip", form]),
            partial(self._derive, request, form),
            request.policy,
            tags=take.tags,
            scope=scope,
            parents=(take,),
        )

    async def _speak(self, request: Request, flight: Flight) -> Made:
        assert not request.policy.only_if_cached, "only-if-cached had something computed"
        with self._computing(Computation(flight, request, "take")) as computation:
            with flight.queued():
                await self._step(computation)
            self._begin(computation)
            self.values[computation.began] = computation
            body = f"{request.take}:{computation.began}.".encode()
            if request.take == "streamed":
                flight.begin("text/plain")
                flight.send(body[:3])
                await self._step(computation)
                flight.send(body[3:])
            await self._step(computation)
            return Made(body=body)

    async def _derive(self, request: Request, form: str, flight: Flight, take: Answer) -> Made:
        with self._computing(Computation(flight, request, form)) as computation:
            self._begin(computation)
            if take.known_entry is None and take.flight is not None:
                flight.begin("text/plain")
                async for chunk in take.flight.chunks():
                    flight.send(chunk)
            entry = await take.result()
            await self._step(computation)
            return Made(body=entry.body)

    @contextmanager
    def _computing(self, computation: Computation) -> Iterator[Computation]:
        self.under_way.append(computation)
        self.made[computation.flight] = computation
        try:
            yield computation
        finally:
            computation.ended = self.tick()
            self.under_way.remove(computation)

    async def _step(self, computation: Computation) -> None:
        if not self._free:
            await computation.steps.acquire()
        if computation.failure is not None:
            raise computation.failure

    def _begin(self, computation: Computation) -> None:
        """Assert that nobody else computes the same here, unless that was purged or cannot be known to be current."""
        computation.began = self.tick()
        for other in self.under_way:
            (launched, trusted), (before, trusted_before) = (
                self.launched[each.flight] for each in (computation, other)
            )
            known = not self.unsettled and min(launched, before) > self.purged
            joinable = trusted and trusted_before and known
            shared = not (other.flight.private or computation.flight.private)
            if other is not computation and other.began and other.what == computation.what and shared:
                assert not joinable, "two computations of one value at once"

    def purge(self, at: int, take: str, *, by_tag: bool) -> None:
        self.purges.append(self.loop.create_task(self._purge(at, take, by_tag=by_tag)))

    async def _purge(self, at: int, take: str, *, by_tag: bool) -> None:
        cache, began = self.caches[at], self.tick()
        self.unsettled += 1
        try:
            if by_tag:
                obeyed = await cache.purge(f"voice={take}")
            else:
                clips = [cache.key([take, "clip", form]) for form in FORMS]
                obeyed = (await cache.remove(cache.key(take), *clips)).obeyed
        except StoreError:
            obeyed = invalidation.Obeyed.HERE
        everywhere = obeyed is invalidation.Obeyed.EVERYWHERE
        self.unsettled -= everywhere
        self.purged = self.tick()
        for each, other in enumerate(self.caches):
            if each == at or (everywhere and not _is_cut_off(other)):
                self.outdated[each, take] = max(began, self.outdated[each, take])

    def settle(self) -> None:
        """Let everything come to its end, and assert that it does and leaves nothing behind."""
        self._free = True
        if self.store is not None:
            self.store.fault = None
        for computation in self.under_way:
            for _ in range(_STEPS):
                computation.steps.release()
        self._wait()
        for at, take, form in product(range(len(self.caches)), TAKES, FORMS):
            self.ask(at, take, form, DEFAULT)
        self._wait()
        for each in self.requests:
            each.check()
        for each in self.purges:
            each.result()
        for cache in self.caches:
            assert not cache._flights._tasks
            assert not cache._flights._flights
        for flight in self.launched:
            assert flight.done
            assert not flight.awaited
            assert flight._listeners == 0, "a listener was never given back"
        if self.store is not None and not self.troubled:
            assert not [key for key in self.store.held._leases if self.store.held.holder(key)], "a lease stays"

    def _wait(self) -> None:
        """Let time pass until nothing is under way."""
        for _ in range(_ENOUGH_TICKS):
            self.run(5)
            tasks = [*[each.task for each in self.requests], *self.purges]
            if all(each.done() for each in tasks) and not any(cache._flights._tasks for cache in self.caches):
                return
            self.clock.advance(_TICK_SECONDS)

    def close(self) -> None:
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(asyncio.wait(tasks))
        self.loop.close()
        self._patches.close()


def _is_cut_off(cache: Cache) -> bool:
    """Whether an instance leaves the store alone for a while: it plays on then, and cannot hear of purges."""
    return cache._guard is not None and cache._guard.breaker.open
