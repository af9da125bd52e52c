"""A Redis Cluster: which primary has a key, while slots move and primaries are lost."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from redis import exceptions
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from sayonce.core.breaker import Breaker
from sayonce.core.envelope import Refused
from sayonce.errors import Failure, StoreError
from sayonce.stores.redis.names import PREFIX
from sayonce.stores.redis.server import FAILURES, Operation, Server
from sayonce.stores.redis.topology import ASK_SECONDS, LearnedServers, text_of
from sayonce.stores.redis.url import Address, RedisURL, shown_address

T = TypeVar("T")

_REDIRECTIONS: Final = 4
_ANSWERS: Final[tuple[type[Exception], ...]] = (*FAILURES, Refused)
_NO_ANSWER: Final = (exceptions.ConnectionError, exceptions.TimeoutError)


class ClusterServers(LearnedServers):
    """The primaries of a Cluster, each with its own breaker: while one is gone, the keys of the others are served."""

    def __init__(self, url: RedisURL, budget_seconds: float) -> None:
        super().__init__(url, budget_seconds)
        self._slots: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._servers = {address: self._server(address) for address in url.addresses}
        self._breakers: defaultdict[Address, Breaker] = defaultdict(Breaker)
        self._primaries: frozenset[Address] = frozenset()

    async def at(self, name: str, operation: Operation[T]) -> T:
        await self._learned()
        slot = key_slot(name.encode())
        for _ in range(_REDIRECTIONS):
            address = self._slots[slot]
            if address is None:
                self.learn()
                raise exceptions.ClusterDownError(f"no node serves slot {slot}")
            try:
                return await self._run(self._node(address), operation)
            except exceptions.MovedError as moved:
                self._slots[slot] = (moved.host or address[0], int(moved.port))
            except exceptions.AskError as asked:
                return await self._import(self._node((asked.host or address[0], int(asked.port))), operation)
        raise exceptions.TryAgainError(f"slot {slot} is moving")

    async def primaries(self) -> Sequence[Server]:
        await self._learned()
        return [self._node(address) for address in sorted(self._primaries)]

    async def _run(self, server: Server, operation: Operation[T]) -> T:
        breaker, clock = self._breakers[server.address], asyncio.get_running_loop().time
        if breaker.open:
            self.learn()
            if breaker.allows(clock()):
                self._start(self._probe(server, breaker))
            failure = Failure.LOST if self._gone else Failure.BUSY
            raise StoreError(f"{shown_address(server.address)}: its circuit breaker is open", failure=failure)
        times_unanswered = server.times_unanswered
        try:
            answer = await super()._run(server, operation)
        except _NO_ANSWER:
            self._unanswered(server)
            raise
        except asyncio.CancelledError:
            if server.times_unanswered > times_unanswered:  # else the caller has left, which says nothing of the server
                self._unanswered(server)
            raise
        except _ANSWERS:
            breaker.succeeded(clock())  # it answers, if only with an error
            raise
        breaker.succeeded(clock())
        return answer

    def _unanswered(self, server: Server) -> None:
        """Note that a server does not answer; when its breaker opens, end the calls that still wait for it."""
        breaker, now = self._breakers[server.address], asyncio.get_running_loop().time()
        if breaker.failed(now) and self._servers.pop(server.address, None) is server:
            self._retire(server)

    @property
    def _gone(self) -> bool:
        return all(self._breakers[address].open for address in self._primaries)

    async def _probe(self, server: Server, breaker: Breaker) -> None:
        """Probe whether a server is back, so that no request waits for it."""
        try:
            async with asyncio.timeout(ASK_SECONDS):
                await server.run(_look)
        except (*_NO_ANSWER, TimeoutError):
            breaker.failed(asyncio.get_running_loop().time())
        except FAILURES:
            breaker.succeeded(asyncio.get_running_loop().time())
        else:
            breaker.succeeded(asyncio.get_running_loop().time())

    async def _import(self, server: Server, operation: Operation[T]) -> T:
        """Run one command at the server that a slot is moving to; ASKING holds for the next on its connection."""

        async def asking(redis: Any) -> T:
            async with redis.client() as one:
                await one.execute_command("ASKING")
                return await operation(one)

        return await server.run(asking)

    def _node(self, address: Address) -> Server:
        if address not in self._servers:
            self._servers[address] = self._server(address)
        return self._servers[address]

    @property
    def _known(self) -> bool:
        return bool(self._primaries)

    def _sources(self) -> Iterable[Server]:
        return self._servers.values()

    async def _ask(self, source: Server) -> bool:
        ranges = await source.run(partial(_ranges, source=source.address[0]))
        if not ranges:
            self._trouble = exceptions.ClusterDownError(f"{shown_address(source.address)} knows no slots")
            return False
        slots: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for served, (primary, *_) in ranges:
            for slot in served:
                slots[slot] = primary
        self._adopt(slots, {address for _, nodes in ranges for address in nodes})
        return True

    def _adopt(self, slots: list[Address | None], nodes: set[Address]) -> None:
        """Take over a map; the nodes of the URL stay, to be asked when all others are gone."""
        for address in self._servers.keys() - nodes - set(self._url.addresses):
            self._retire(self._servers.pop(address))
            self._breakers.pop(address, None)
        for address in nodes:
            self._node(address)
        self._slots, self._primaries = slots, frozenset(filter(None, slots))

    def _all(self) -> Iterable[Server]:
        return self._servers.values()


async def _look(redis: Any) -> None:
    """Ask for a key that does not exist; an answer that it would be elsewhere is an answer."""
    await redis.get(f"{PREFIX}{{{random.random()}}}")  # noqa: S311 (any key will do)


async def _ranges(redis: Any, *, source: str) -> list[tuple[range, list[Address]]]:
    """Return which slots are served by which nodes, the primary first."""
    told = await redis.execute_command("CLUSTER SLOTS")
    return [
        (_slots(start, end), [_address(node, source) for node in (primary, *replicas)])
        for start, end, primary, *replicas in told
    ]


def _slots(start: int, end: int) -> range:
    if not 0 <= start <= end < REDIS_CLUSTER_HASH_SLOTS:
        raise ValueError(f"slots {start} to {end}")
    return range(start, end + 1)


def _address(node: Sequence[Any], source: str) -> Address:
    """Return a node's address; a node that does not know its own name has the one by which it was asked."""
    host = text_of(node[0] or b"")
    return (source if host in ("", "?") else host, int(node[1]))
