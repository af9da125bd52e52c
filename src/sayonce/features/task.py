"""The work of a remembered function, for any cache: keys of calls, values as bytes, one call or many."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from sayonce.cache import Cache, Flight, Keep, Lookup, Made
from sayonce.cache.compute_errors import CarryErrors
from sayonce.cache.flight import computing
from sayonce.cache.sync import SyncCache
from sayonce.cache.threads import Threads
from sayonce.core.cache_control import Policy
from sayonce.core.counters import Counter
from sayonce.core.envelope import Entry, Refused
from sayonce.core.key import Digest
from sayonce.core.outcome import Outcome, Refusal
from sayonce.errors import Unkeyable
from sayonce.features.bound import Bound
from sayonce.features.keys import Arguments
from sayonce.features.tensors import Codec
from sayonce.features.travel import packed

S = TypeVar("S")

_LOOKUPS_AT_ONCE: Final = 16
"""Fewer than a store has connections, so that none is waited for."""
_ROUND_SECONDS: Final = 0.05


class DecodingPolicy(Policy, frozen=True, kw_only=True):
    """Lets a stored value answer only if it can be decoded, and holds it then: one that cannot is a miss."""

    task: Task
    value: list[Any]
    refused: list[Refusal]

    def accepts(self, entry: Entry, now: float) -> bool:  # noqa: ARG002 (its age is no matter)
        try:
            self.value.append(self.task.codec.decode(entry))
        except Refused as refused:
            self.refused.append(refused.reason)
            return False
        return True

    def result(self, cache: Cache, outcome: Outcome, entry: Entry) -> Any:
        """Count the answer and return its value."""
        cache.record(outcome, entry)
        cache.counts.add(Counter.FEATURE_REQUESTS, self.task.name)
        if outcome.computed:
            cache.counts.add(Counter.FEATURE_COMPUTATIONS, self.task.name)
        for reason in set(self.refused):
            cache.counts.add(Counter.REFUSED_VALUES, reason)
        return self.value[-1] if self.value else self.task.codec.decode(entry)


class Task:
    """A function with the identity of its calls, the codec of its values, and how they are kept."""

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        *,
        revision: str,
        bound: Bound,
        arguments: Arguments,
        codec: Codec,
        ttl: timedelta,
        tags: Iterable[str],
        batch: bool,
        expected_bytes: int,
        declared: tuple[str, str, Mapping[str, object]],
    ) -> None:
        self.function = function
        self.name = name
        self.identity = ["remember", name, revision]
        self.packed = packed(function)
        self.declared = declared
        """Name, revision and options, from which it is made again in another process."""
        self.bound = bound
        self.arguments = arguments
        self.codec = codec
        self._ttl = ttl
        self._tags = tuple(tags)
        self.batch = batch
        self._expected_bytes = expected_bytes

    def key(self, cache: Cache | SyncCache[Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Digest:
        """Return the digest of a call.

        Raises:
            Unkeyable: naming the argument.

        """
        document = self.arguments.document(args, kwargs)
        try:
            bound = self.bound.document()
            return cache.key([*self.identity, document, bound] if bound else [*self.identity, document])
        except Unkeyable:
            raise self.arguments.check(document) from None

    async def find_key(self, cache: Cache, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Digest:
        """Return the digest of a call, reading files off the event loop."""
        if self.arguments.read_files:
            return await cache.threads.read(self.key, cache, args, kwargs)
        return self.key(cache, args, kwargs)

    def decoding_policy(self) -> DecodingPolicy:
        """Return what lets a stored value of this task answer one call."""
        return DecodingPolicy(expected_bytes=self._expected_bytes, task=self, value=[], refused=[])

    async def answer(self, cache: Cache, key: Digest, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Return the value of a call from what is stored, a computation under way, or a new one."""
        policy = self.decoding_policy()
        answer = await cache.answer(self.lookup(key, policy, partial(self._make, cache, key, args, kwargs)))
        return policy.result(cache, answer.outcome, answer.entry or await answer.result())

    def lookup(self, key: Digest, policy: Policy, compute: Callable[[Flight], Awaitable[Made]]) -> Lookup:
        """Return what answers a call with this key."""
        return Lookup(key, compute, policy, self._ttl, self._tags)

    async def _make(
        self, cache: Cache, key: Digest, args: tuple[Any, ...], kwargs: Mapping[str, Any], _: Flight
    ) -> Made:
        made = await self.compute(cache.threads, self.encode, args, kwargs)
        if self.arguments.read_files and await self.find_key(cache, args, kwargs) != key:
            return msgspec.structs.replace(made, keep=Keep.NOWHERE)  # the file changed meanwhile: which was it made of?
        return made

    def encode(self, value: Any) -> Made:
        """Return a value as bytes, and expect stored ones to be as large."""
        made = self.codec.encode(value)
        self._expected_bytes = max(self._expected_bytes, len(made.body))
        return made

    async def compute(
        self, threads: Threads, finish: Callable[[Any], S], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> S:
        """Run the function, a plain one in a thread, and return what ``finish`` makes of its value."""
        with CarryErrors():
            if inspect.iscoroutinefunction(self.function):
                return finish(await self.function(*args, **kwargs))
            value = await threads.compute(_without_gradients, self.function, finish, args, kwargs)
            return finish(await value) if inspect.isawaitable(value) else value

    async def many(
        self, cache: Cache, items: Iterable[Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> list[Any]:
        """Return the values of the function for every item, in order, computing only those that are missing."""
        calls = [(item, *args) for item in items]
        keys = [await self.find_key(cache, call, kwargs) for call in calls]
        distinct = dict(zip(keys, calls, strict=True))
        values = await self._stored(cache, list(distinct))
        missing = {key: call for key, call in distinct.items() if key not in values}
        if self.batch:
            values |= await self._together(cache, missing, args, kwargs)
        else:
            for key, call in missing.items():
                values[key] = await self.answer(cache, key, call, kwargs)
        return [values[key] for key in keys]

    async def _stored(self, cache: Cache, keys: list[Digest]) -> dict[Digest, Any]:
        values: dict[Digest, Any] = {}

        async def look(key: Digest) -> None:
            policy = self.decoding_policy()
            found = await cache.find(key, policy)
            if found is not None:
                values[key] = policy.result(cache, found.outcome, await found.result())

        for start in range(0, len(keys), _LOOKUPS_AT_ONCE):
            await asyncio.gather(*map(look, keys[start : start + _LOOKUPS_AT_ONCE]))
        return values

    async def _together(
        self,
        cache: Cache,
        missing: dict[Digest, tuple[Any, ...]],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> dict[Digest, Any]:
        """Compute what nobody else computes in one call of the function; a task of its own, as others may join."""
        together = _Together(self, cache.threads, {key: call[0] for key, call in missing.items()}, args, kwargs)
        policies = {key: self.decoding_policy() for key in missing}
        flights = {key: cache.begin(self.lookup(key, policies[key], partial(together.make, key))) for key in missing}
        together.start({key: flight for key, (flight, joined) in flights.items() if not joined})
        values = {}
        for key, (flight, joined) in flights.items():
            entry = await flight.result()
            values[key] = policies[key].result(cache, Outcome.JOINED if joined else flight.outcome, entry)
        return values


def _without_gradients(
    function: Callable[..., Any], finish: Callable[[Any], Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    torch = sys.modules.get("torch")
    guard: AbstractContextManager[Any] = nullcontext() if torch is None else torch.no_grad()
    with guard:
        value = function(*args, **kwargs)
        return value if inspect.isawaitable(value) else finish(value)


class _Together:
    """Several flights with one call of the function for all, in a task of its own, so that each caller may leave."""

    def __init__(
        self,
        task: Task,
        threads: Threads,
        items: Mapping[Digest, Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        self._task = task
        self._threads = threads
        self._items = items
        self._call = args, kwargs
        self._asked = {key: asyncio.Event() for key in items}
        self._rounds: dict[Digest, asyncio.Future[asyncio.Task[dict[Digest, Made]]]] = {}
        self._running: asyncio.Task[None]

    def start(self, flights: Mapping[Digest, Flight]) -> None:
        loop = asyncio.get_running_loop()
        self._rounds = {key: loop.create_future() for key in flights}
        self._running = loop.create_task(self._run(flights))

    async def make(self, key: Digest, _: Flight) -> Made:
        self._asked[key].set()
        made = await asyncio.shield(await self._rounds[key])
        return made[key]

    async def _run(self, flights: Mapping[Digest, Flight]) -> None:
        """Wait until each flight asks for its value or finds it stored after all, then make what was asked for.

        Only so long: a flight may wait for another process, and the batch of that process for one of ours.
        """
        undecided = {key: asyncio.create_task(self._decided(key, flight)) for key, flight in flights.items()}
        while undecided:
            await asyncio.wait(undecided.values(), timeout=_ROUND_SECONDS)
            decided = [key for key, waiting in undecided.items() if waiting.done()]
            wanted = [key for key in decided if self._asked[key].is_set()]
            undecided = {key: waiting for key, waiting in undecided.items() if key not in decided}
            if wanted:
                making = asyncio.create_task(self._make(wanted, [flights[key] for key in wanted]))
                for key in wanted:
                    self._rounds[key].set_result(making)
                await asyncio.wait([making])

    async def _make(self, wanted: list[Digest], flights: list[Flight]) -> dict[Digest, Made]:
        computing(flights)
        args, kwargs = self._call
        made = await self._task.compute(
            self._threads, self._encoded, ([self._items[key] for key in wanted], *args), kwargs
        )
        with CarryErrors():
            if len(made) != len(wanted):
                raise TypeError(f"the function returned {len(made)} values for {len(wanted)} items")
        return dict(zip(wanted, made, strict=True))

    def _encoded(self, values: Iterable[Any]) -> list[Made]:
        return [self._task.encode(value) for value in values]

    async def _decided(self, key: Digest, flight: Flight) -> None:
        ways = [asyncio.create_task(self._asked[key].wait()), asyncio.create_task(_landed(flight))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()


async def _landed(flight: Flight) -> None:
    await flight.result()
