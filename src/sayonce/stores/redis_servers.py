"""Where the keys are: one Redis server, the primary that Sentinels name, or the primaries of a Cluster.

redis-py's own clients for Sentinel and Cluster learn where the servers are within the call that needs one. A call here
has milliseconds and is cancelled when they are over, so a server that hangs would never be given up for its successor.
Therefore addresses are learned in a task of its own, and each server has an ordinary client with a pool that waits.
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Final, TypeVar

from redis import exceptions
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from sayonce.core.breaker import Breaker
from sayonce.stores.base import Failure, StoreError
from sayonce.stores.redis_server import FAILURES, Operation, Server
from sayonce.stores.redis_url import Address, RedisURL, shown_address

T = TypeVar("T")

_ASK_SECONDS: Final = 0.5
"""How long one Sentinel or node may take to say where the primaries are."""
_PAUSE_SECONDS: Final = 0.2
"""Between two rounds of asking around."""
_REDIRECTIONS: Final = 4
_SILENCE: Final = (exceptions.ConnectionError, exceptions.TimeoutError, asyncio.CancelledError)
_TROUBLE: Final[tuple[type[BaseException], ...]] = (*FAILURES, asyncio.CancelledError)


class Servers(ABC):
    """Runs operations where their keys are."""

    def __init__(self, url: RedisURL, budget_seconds: float) -> None:
        self._url = url
        self._budget_seconds = budget_seconds

    @abstractmethod
    async def at(self, name: str, operation: Operation[T]) -> T:
        """Run an operation at the server that has a key."""

    @abstractmethod
    async def primaries(self) -> Sequence[Server]:
        """Return every server that has keys."""

    @abstractmethod
    async def close(self) -> None: ...

    def _server(self, address: Address) -> Server:
        login = (self._url.username, self._url.password)
        return Server(address, self._url, self._budget_seconds, login, self._url.db)


class SingleServer(Servers):
    """One server at one address."""

    def __init__(self, url: RedisURL, budget_seconds: float) -> None:
        super().__init__(url, budget_seconds)
        self._only = self._server(url.addresses[0])

    async def at(self, name: str, operation: Operation[T]) -> T:  # noqa: ARG002 (every key is here)
        return await self._only.run(operation)

    async def primaries(self) -> Sequence[Server]:
        return [self._only]

    async def close(self) -> None:
        await self._only.close()


class LearnedServers(Servers):
    """Servers whose addresses others tell, and which change; whoever meets trouble has them asked again."""

    def __init__(self, url: RedisURL, budget_seconds: float) -> None:
        super().__init__(url, budget_seconds)
        self._learning: asyncio.Task[None] | None = None
        self._learn_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._trouble: Exception = exceptions.ConnectionError("nobody says where the primary is")

    @property
    @abstractmethod
    def _known(self) -> bool:
        """Whether it is known where the keys are."""

    @abstractmethod
    def _sources(self) -> Iterable[Server]:
        """Return those who can say."""

    @abstractmethod
    async def _ask(self, source: Server) -> bool:
        """Take over what one of them says; False when it does not know."""

    async def _learned(self) -> None:
        if self._known:
            return
        learning = self.learn()
        if self._learn_at < asyncio.get_running_loop().time():  # else the last round has only just failed
            await asyncio.shield(learning)
        if not self._known:
            raise self._trouble.with_traceback(None)

    async def _run(self, server: Server, operation: Operation[T]) -> T:
        try:
            return await server.run(operation)
        except _TROUBLE:
            self.learn()
            raise

    def learn(self) -> asyncio.Task[None]:
        """Ask around in the background, unless that is under way."""
        if self._learning is None or self._learning.done():
            self._learning = asyncio.create_task(self._ask_around())
        return self._learning

    async def _ask_around(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._learn_at - loop.time())
        sources = list(self._sources())
        for source in random.sample(sources, len(sources)):
            try:
                async with asyncio.timeout(_ASK_SECONDS):
                    if await self._ask(source):
                        break
            except TimeoutError:
                self._trouble = exceptions.TimeoutError(f"{shown_address(source.address)} does not answer")
            except FAILURES as error:
                self._trouble = error
        self._learn_at = loop.time() + _PAUSE_SECONDS

    def _retire(self, server: Server) -> None:
        """Close a server that is asked no more; what is under way there fails now, rather than after its budget."""
        self._start(server.close())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        if self._learning is not None:
            self._learning.cancel()
        await asyncio.gather(*self._tasks, *(server.close() for server in self._all()))

    @abstractmethod
    def _all(self) -> Iterable[Server]:
        """Return every server that a connection may be open to."""


class SentinelServers(LearnedServers):
    """The primary of a service, as any of its Sentinels names it."""

    def __init__(self, url: RedisURL, budget_seconds: float) -> None:
        super().__init__(url, budget_seconds)
        login = (url.sentinel_username, url.sentinel_password)
        self._sentinels = [Server(address, url, budget_seconds, login) for address in url.addresses]
        self._primary: Server | None = None

    async def at(self, name: str, operation: Operation[T]) -> T:  # noqa: ARG002 (every key is at the primary)
        (primary,) = await self.primaries()
        return await self._run(primary, operation)

    async def primaries(self) -> Sequence[Server]:
        await self._learned()
        assert self._primary is not None
        return [self._primary]

    @property
    def _known(self) -> bool:
        return self._primary is not None

    def _sources(self) -> Iterable[Server]:
        return self._sentinels

    async def _ask(self, source: Server) -> bool:
        service = self._url.service
        told = await source.redis.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", service)
        if told is None:
            self._trouble = exceptions.ConnectionError(f"{shown_address(source.address)} knows no service {service!r}")
            return False
        address = (_text(told[0]), int(told[1]))
        if self._primary is None or self._primary.address != address:
            if self._primary is not None:
                self._retire(self._primary)
            self._primary = self._server(address)
        return True

    def _all(self) -> Iterable[Server]:
        return [*self._sentinels, *([self._primary] if self._primary else [])]


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
                self._start(self._try_again(server, breaker))
            kind = Failure.LOST if self._gone else Failure.BUSY
            raise StoreError(f"{shown_address(server.address)}: not asked for now", kind=kind)
        try:
            answer = await super()._run(server, operation)
        except _SILENCE:
            if breaker.failed(clock()) and self._servers.pop(server.address, None) is server:
                self._retire(server)
            raise
        except FAILURES:
            breaker.succeeded(clock())  # it answers, if only with an error
            raise
        breaker.succeeded(clock())
        return answer

    @property
    def _gone(self) -> bool:
        return all(self._breakers[address].open for address in self._primaries)

    async def _try_again(self, server: Server, breaker: Breaker) -> None:
        """Find out whether a server is back, so that no request waits for it."""
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                await server.run(_look)
        except (*_SILENCE, TimeoutError):
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
        ranges = await source.redis.execute_command("CLUSTER SLOTS")
        if not ranges:
            self._trouble = exceptions.ClusterDownError(f"{shown_address(source.address)} knows no slots")
            return False
        slots: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        nodes: set[Address] = set()
        for start, end, *found in ranges:
            addresses = [_address(node, source) for node in found]
            slots[start : end + 1] = [addresses[0]] * (end + 1 - start)
            nodes.update(addresses)
        self._adopt(slots, nodes)
        return True

    def _adopt(self, slots: list[Address | None], nodes: set[Address]) -> None:
        """Take over a map; the nodes of the URL stay, as those who are asked when all others are gone."""
        for address in self._servers.keys() - nodes - set(self._url.addresses):
            self._retire(self._servers.pop(address))
            self._breakers.pop(address, None)
        for address in nodes:
            self._node(address)
        self._slots, self._primaries = slots, frozenset(filter(None, slots))

    def _all(self) -> Iterable[Server]:
        return self._servers.values()


async def _look(redis: Any) -> None:
    """Ask for a key that is not there, and perhaps elsewhere."""
    await redis.get(f"sayonce:{{{random.random()}}}")  # noqa: S311 (any key will do)


def open_servers(url: RedisURL, budget_seconds: float) -> Servers:
    """Return the servers of a URL; nothing is connected before it is needed."""
    kinds: dict[str, type[Servers]] = {
        "single": SingleServer,
        "sentinel": SentinelServers,
        "cluster": ClusterServers,
    }
    return kinds[url.topology](url, budget_seconds)


def _address(node: Sequence[Any], source: Server) -> Address:
    """Return a node's address; a node that does not know its own name has the one by which it was asked."""
    host = _text(node[0] or b"")
    return (source.address[0] if host in ("", "?") else host, int(node[1]))


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
