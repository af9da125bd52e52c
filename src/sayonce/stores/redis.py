"""A store in Redis (6.2 or later) or Valkey: one GET a hit, explicit timeouts, and no retries of its own.

Entries are ``sayonce:{<hexadecimal digest>}`` with a time to live; counters and epochs are the hashes
``sayonce:{totals}`` and ``sayonce:{epochs}``, without one, so that a ``volatile-…`` eviction policy spares them.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from sayonce.core.clock import Clock
from sayonce.core.envelope import Entry, Sealer
from sayonce.errors import ConfigError
from sayonce.stores.base import Failure, SealedStore, StoreError, StoreStats
from sayonce.stores.redis_coordinator import RedisCoordinator
from sayonce.stores.url import RedisURL

PREFIX: Final = "sayonce:"
TOTALS: Final = f"{PREFIX}{{totals}}"
EPOCHS: Final = f"{PREFIX}{{epochs}}"
_LASTING: Final = re.compile(rb"sayonce:\{(totals|epochs|book:[^}]*)\}$")
"""What ``clear`` spares."""
MAX_CONNECTIONS: Final = 32
_ANSWER_SECONDS: Final = 1.0
"""The least time after which a silent server is given up; the cache's own budget is usually shorter."""
_MAX_TTL_MS: Final = 100 * 365 * 86_400_000
_SCANNED_AT_ONCE: Final = 1000
_POOL_EXHAUSTED: Final = "No connection available."


class RedisStore(SealedStore):
    """Keeps envelopes in Redis; the bound, and what is evicted, are the server's ``maxmemory`` and its policy.

    ``stats`` counts the whole database and the whole server's memory, as Redis knows no others.
    """

    name = "redis"

    def __init__(
        self, url: RedisURL, *, sealer: Sealer, clock: Clock = time.time, budget_seconds: float = 0.05
    ) -> None:
        super().__init__(sealer, clock)
        self.url = url
        # Its annotations cannot tell that it answers with bytes.
        self._redis: Any = Redis.from_pool(_pool(url, budget_seconds))
        self.coordinator = RedisCoordinator(self._redis, name_of, self._translated)

    def __repr__(self) -> str:
        return f"RedisStore({self.url.shown!r})"

    async def open(self) -> None:
        """Check what can be checked without the server.

        Raises:
            ConfigError: the file of CA certificates is missing.

        """
        ca = self.url.ssl_ca_certs
        if ca is not None and not await asyncio.to_thread(Path(ca).is_file):
            raise ConfigError(f"{ca}: there is no such file; ssl_ca_certs names a PEM file of CA certificates")

    async def close(self) -> None:
        with self._translated():
            await self._redis.aclose()

    async def delete(self, key: bytes) -> bool:
        with self._translated():
            return bool(await self._redis.unlink(name_of(key)))

    async def clear(self) -> int:
        removed, cursor = 0, None
        with self._translated():
            while cursor != 0:
                cursor, found = await self._redis.scan(cursor or 0, match=f"{PREFIX}{{*", count=_SCANNED_AT_ONCE)
                entries = [name for name in found if not _LASTING.match(name)]
                if entries:
                    removed += await self._redis.unlink(*entries)
        return removed

    async def stats(self) -> StoreStats:
        with self._translated():
            async with self._redis.pipeline(transaction=False) as pipeline:
                entries, memory = await pipeline.dbsize().info("memory").execute()
        return StoreStats(entries, memory["used_memory"], memory["maxmemory"] or None)

    async def bump(self, tag: str) -> int:
        with self._translated():
            return int(await self._redis.hincrby(EPOCHS, tag))

    async def epochs(self) -> dict[str, int]:
        with self._translated():
            return {tag.decode(): int(epoch) for tag, epoch in (await self._redis.hgetall(EPOCHS)).items()}

    async def count(self, deltas: Mapping[str, float]) -> None:
        with self._translated():
            async with self._redis.pipeline(transaction=True) as pipeline:
                for name, delta in deltas.items():
                    pipeline.hincrbyfloat(TOTALS, name, delta)
                await pipeline.execute()

    async def totals(self) -> dict[str, float]:
        with self._translated():
            return {name.decode(): float(total) for name, total in (await self._redis.hgetall(TOTALS)).items()}

    async def register(self, book: str, name: str, value: bytes) -> None:
        with self._translated():
            await self._redis.hset(book_name(book), name, value)

    async def registered(self, book: str, name: str) -> bytes | None:
        with self._translated():
            value: bytes | None = await self._redis.hget(book_name(book), name)
            return value

    async def registry(self, book: str) -> dict[str, bytes]:
        with self._translated():
            return {name.decode(): value for name, value in (await self._redis.hgetall(book_name(book))).items()}

    async def unregister(self, book: str, name: str) -> bool:
        with self._translated():
            return bool(await self._redis.hdel(book_name(book), name))

    async def _read(self, key: bytes) -> bytes | None:
        with self._translated():
            sealed: bytes | None = await self._redis.get(name_of(key))
            return sealed

    async def _write(self, entry: Entry, sealed: bytes, ttl_seconds: float) -> bool:
        ttl_ms = max(1, int(min(ttl_seconds * 1000, _MAX_TTL_MS)))
        with self._translated():
            return bool(await self._redis.set(name_of(entry.key), sealed, px=ttl_ms))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn everything that the client raises into a StoreError; its context is cut, as it may repeat a command."""
        try:
            yield
        except FAILURES as error:
            raise StoreError(f"{self.url.shown}: {self._message(error)}", kind=kind_of(error)) from None

    def _message(self, error: Exception) -> str:
        first_line = (str(error).splitlines() or [""])[0][:200]
        if self.url.password:
            first_line = first_line.replace(self.url.password, "***")
        return f"{type(error).__name__}: {first_line}"


FAILURES: Final[tuple[type[Exception], ...]] = tuple(
    thing for thing in vars(exceptions).values() if isinstance(thing, type) and thing.__base__ is Exception
)
"""The roots of everything that the client raises, of which there are several and more with each release."""


def name_of(key: bytes) -> str:
    """Return the name of a digest's entry; the braces make the digest its hash tag."""
    return f"{PREFIX}{{{key.hex()}}}"


def book_name(book: str) -> str:
    """Return the name of a book's hash."""
    return f"{PREFIX}{{book:{book}}}"


def kind_of(error: Exception) -> Failure:
    """Tell the kinds of failure apart."""
    if isinstance(error, exceptions.TimeoutError):
        return Failure.TIMEOUT
    if isinstance(
        error,
        (
            exceptions.ResponseError,
            exceptions.AuthenticationError,
            exceptions.AuthorizationError,
            exceptions.BusyLoadingError,
        ),
    ):
        return Failure.REFUSED
    if isinstance(error, exceptions.ConnectionError):
        return Failure.BUSY if str(error) == _POOL_EXHAUSTED else Failure.LOST
    return Failure.BROKEN


def _pool(url: RedisURL, budget_seconds: float) -> BlockingConnectionPool:
    tls: dict[str, Any] = {"ssl_ca_certs": url.ssl_ca_certs, "ssl_cert_reqs": "required", "ssl_check_hostname": True}
    return BlockingConnectionPool(
        max_connections=MAX_CONNECTIONS,
        timeout=budget_seconds,
        connection_class=SSLConnection if url.tls else Connection,
        host=url.host,
        port=url.port,
        db=url.db,
        username=url.username,
        password=url.password,
        socket_connect_timeout=max(budget_seconds, _ANSWER_SECONDS),
        socket_timeout=max(budget_seconds, _ANSWER_SECONDS),
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        protocol=2,  # RESP3 brings nothing here, and a HELLO that older proxies do not know
        **(tls if url.tls else {}),
    )
