"""Where the keys are: one Redis server, the primary that Sentinels name, or the primaries of a Cluster.

redis-py's own clients for Sentinel and Cluster learn where the servers are within the call that needs one. A call here
has milliseconds and is cancelled when they are over, so a server that hangs would never be given up for its successor.
Therefore addresses are learned in a task of its own, and each server has an ordinary client with a pool that waits.
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from redis import exceptions

from sayonce.stores.redis.server import FAILURES, Operation, Server
from sayonce.stores.redis.url import Address, RedisURL, shown_address

T = TypeVar("T")

ASK_SECONDS: Final = 0.5
"""How long one Sentinel or node may take to say where the primaries are."""
_PAUSE_SECONDS: Final = 0.2
"""Between two rounds of asking around."""
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

    def at(self, name: str, operation: Operation[T]) -> Coroutine[Any, Any, T]:  # noqa: ARG002 (every key is here)
        return self._only.run(operation)

    async def primaries(self) -> Sequence[Server]:
        return [self._only]

    async def close(self) -> None:
        await self._only.close()


class LearnedServers(Servers):
    """Servers with addresses that change and that other servers tell; a call that fails has them asked again."""

    def __init__(self, url: RedisURL, budget_seconds: float) -> None:
        super().__init__(url, budget_seconds)
        self._learning: asyncio.Task[None] | None = None
        self._learn_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._trouble: Exception = exceptions.ConnectionError("nobody says where the primary is")

    @property
    @abstractmethod
    def _known(self) -> bool:
        """Whether the addresses of the primaries are known."""

    @abstractmethod
    def _sources(self) -> Iterable[Server]:
        """Return the servers to ask for the addresses."""

    @abstractmethod
    async def _ask(self, source: Server) -> bool:
        """Take over one source's answer; False when it does not know."""

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
                async with asyncio.timeout(ASK_SECONDS):
                    if await self._ask(source):
                        break
            except TimeoutError:
                self._trouble = exceptions.TimeoutError(f"{shown_address(source.address)} does not answer")
            except FAILURES as error:
                self._trouble = error
        self._learn_at = loop.time() + _PAUSE_SECONDS

    def _retire(self, server: Server) -> None:
        """Close a server that is asked no more; calls under way there fail now, rather than after their budget."""
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
        address = await source.run(partial(_primary_of, service=service))
        if address is None:
            self._trouble = exceptions.ConnectionError(f"{shown_address(source.address)} knows no service {service!r}")
            return False
        if self._primary is None or self._primary.address != address:
            if self._primary is not None:
                self._retire(self._primary)
            self._primary = self._server(address)
        return True

    def _all(self) -> Iterable[Server]:
        return [*self._sentinels, *([self._primary] if self._primary else [])]


async def _primary_of(redis: Any, *, service: str | None) -> Address | None:
    told = await redis.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", service)
    return None if told is None else (text_of(told[0]), int(told[1]))


def text_of(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode()
