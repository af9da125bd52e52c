"""A store in Redis (6.2 or later) or Valkey: one GET a hit, explicit timeouts, and no retries of its own.

Entries are ``sayonce:2:{<hexadecimal digest>}`` with a time to live; counters and tables are hashes (named in
``names``) without one, so that a ``volatile-…`` eviction policy spares them.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from sayonce.core.clock import Clock
from sayonce.core.envelope import Entry, Pointer, Refused, Sealer
from sayonce.core.outcome import Refusal
from sayonce.errors import ConfigError, Failure, StoreError
from sayonce.stores.base import SealedStore, StoreStats
from sayonce.stores.redis.cluster import ClusterServers
from sayonce.stores.redis.health import Health, health_of
from sayonce.stores.redis.leases import RedisLeases
from sayonce.stores.redis.names import LAYOUT, TOTALS, name_of, table_name
from sayonce.stores.redis.operations import BEYOND, add_to_totals, clear_page, read_figures, read_hash, read_heads
from sayonce.stores.redis.protocol import MAX_VALUE_BYTES, Read, ValueTooLarge
from sayonce.stores.redis.records import RedisRecords
from sayonce.stores.redis.script import Script
from sayonce.stores.redis.server import FAILURES, Get, Operation, Put, Server, kind_of, tls_context
from sayonce.stores.redis.topology import SentinelServers, Servers, SingleServer
from sayonce.stores.redis.url import RedisURL, Topology, shown_address
from sayonce.stores.tables import BOUNDS, FIELD_BYTES, TableBound, bound_of

log = logging.getLogger("sayonce.store")
settings_log = logging.getLogger("sayonce.store.settings")
T = TypeVar("T")

_AT_ONCE_BYTES: Final = 262_144
"""The longest value that is written over the connections of hits."""
_MAX_TTL_MS: Final = 100 * 365 * 86_400_000
_EXAMINED_SECONDS: Final = 2.0
_CLEAN: Final = Script("clean", int)
_FIELD: Final[Script[bytes | None]] = Script("field", bytes | None)  # type: ignore[arg-type]
_SWAP: Final = Script("swap", int)
_TOTALS_BOUND: Final = TableBound(10_000, 64, 1_000_000)
_NUMBER: Final = re.compile(rb"-?[0-9]{1,18}(\.[0-9]{1,20})?")
"""A total, as Redis writes it."""
_SERVERS: Final[dict[Topology, type[Servers]]] = {
    "single": SingleServer,
    "sentinel": SentinelServers,
    "cluster": ClusterServers,
}
_FILES: Final = {
    "ssl_ca_certs": "a PEM file of CA certificates",
    "ssl_certfile": "a PEM file with the certificate to show",
    "ssl_keyfile": "a PEM file with its key",
}


class WrongType(StoreError):
    """Under a name of ours lies a value of another type."""


class RedisStore(SealedStore):
    """Keeps envelopes in Redis, whose ``maxmemory`` and policy are the bound and the order of eviction.

    ``stats`` counts the whole database and the whole memory of the servers, as Redis knows no others.
    """

    name = "redis"
    layout = LAYOUT

    def __init__(
        self, url: RedisURL, *, sealer: Sealer, clock: Clock = time.time, budget_seconds: float = 0.05
    ) -> None:
        super().__init__(sealer, clock)
        self.url = url
        self._connect = partial(_SERVERS[url.topology], url, budget_seconds)
        self._servers = self._connect()
        self.leases = RedisLeases(self._at, self._finds)
        self.records = RedisRecords(self._at, together=url.topology != "cluster")
        self.unread: dict[str, str] = {}
        self._told_too_large = False
        self._told_cleaned: set[str] = set()
        self._examining: asyncio.Task[None] | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"RedisStore({self.url.shown!r})"

    async def open(self) -> None:
        """Check the files that the URL names, and look at the server's settings in the background.

        Raises:
            ConfigError: a file that the URL names is missing, or is no such file.

        """
        if self.url.tls:
            await asyncio.to_thread(_check_files, self.url)
        if self._closed:
            self._servers, self._closed = self._connect(), False
        self._examining = asyncio.create_task(self._warn())

    async def close(self) -> None:
        if self._examining is not None:
            self._examining.cancel()
        self._closed = True
        with self._translated():
            await self._servers.close()

    async def delete(self, key: bytes) -> bool:
        name = name_of(key)
        return bool(await self._at(name, lambda redis: redis.unlink(name)))

    async def clear(self) -> int:
        return sum([removed async for removed in self._pages(clear_page)])

    async def stats(self) -> StoreStats:
        found = [await self._on(primary, read_figures) for primary in await self._primaries()]
        bounds = [bound for _, _, bound in found]
        entries, used_bytes = sum(entries for entries, _, _ in found), sum(used for _, used, _ in found)
        return StoreStats(entries, used_bytes, sum(bounds) if all(bounds) else None)

    async def health(self) -> list[Health]:
        """Return each server's health."""
        return [
            await self._on(primary, partial(health_of, address=shown_address(primary.address)))
            for primary in await self._primaries()
        ]

    async def count(self, deltas: Mapping[str, float]) -> None:
        if deltas:
            await self._in(TOTALS, partial(add_to_totals, deltas=deltas))

    async def totals(self) -> dict[str, float]:
        stored = await self._whole(TOTALS, _TOTALS_BOUND)
        return {name: float(total) for name, total in stored.items() if _NUMBER.fullmatch(total)}

    async def write_field(self, table: str, field: str, value: bytes) -> None:
        hash_name = table_name(table)
        await self._in(hash_name, lambda redis: redis.hset(hash_name, field, value))

    async def swap_field(self, table: str, field: str, old: bytes | None, new: bytes | None) -> bool:
        hash_name, most = table_name(table), bound_of(table).value_bytes
        arguments = (field, new or b"", most) if old is None else (field, new or b"", most, old)
        return bool(await self._in(hash_name, lambda redis: _SWAP(redis, [hash_name], *arguments)))

    async def read_field(self, table: str, field: str) -> bytes | None:
        hash_name, most = table_name(table), bound_of(table).value_bytes
        return await self._in(hash_name, lambda redis: _FIELD(redis, [hash_name], field, most))

    async def read_table(self, table: str) -> dict[str, bytes]:
        try:
            found = await self._whole(table_name(table), bound_of(table))
        except StoreError as error:
            if error.failure is Failure.BEYOND and table in BOUNDS:
                self._note_unread(table, error)
            raise
        if self.unread.pop(table, None) is not None:
            log.warning("%s: the table %r is read again", self.url.shown, table)
        return found

    def _note_unread(self, table: str, error: StoreError) -> None:
        if table not in self.unread:
            log.error("%s; remove from it what is not of this program", error)
        self.unread[table] = str(error)

    async def _whole(self, hash_name: str, bound: TableBound) -> dict[str, bytes]:
        """Return a hash.

        Raises:
            StoreError: it is beyond its bound (``Failure.BEYOND``), or the server did not answer.

        """
        arguments = (bound.fields, FIELD_BYTES, bound.value_bytes, bound.total_bytes)
        found = await self._in(hash_name, partial(read_hash, hash_name=hash_name, arguments=arguments))
        if isinstance(found, bytes):
            why = BEYOND[found].format(fields=bound.fields, total_bytes=bound.total_bytes)
            raise StoreError(
                f"{self.url.shown}: {hash_name} {why}, which others have written, and is not read",
                failure=Failure.BEYOND,
            )
        return found

    async def remove_field(self, table: str, field: str) -> bool:
        hash_name = table_name(table)
        return bool(await self._in(hash_name, lambda redis: redis.hdel(hash_name, field)))

    def _read(self, key: bytes, read: Read[T]) -> Coroutine[Any, Any, T | None]:
        name = name_of(key)
        return self._at(name, Get(name.encode(), read))

    def _finds(self, key: bytes) -> Get[Entry | Pointer | None]:
        return Get(name_of(key).encode(), partial(self._unseal, key))

    async def _write(self, entry: Entry, sealed: bytes, ttl_seconds: float) -> bool:
        if len(sealed) > MAX_VALUE_BYTES:
            self._tell_too_large(len(sealed))
            return False
        name, ttl_ms = name_of(entry.key), max(1, int(min(ttl_seconds * 1000, _MAX_TTL_MS)))
        put = Put(name, sealed, ttl_ms)
        # By the ordinary client's own connections where the answers of hits would wait behind it.
        operation = put if len(sealed) <= _AT_ONCE_BYTES else put.__call__
        return bool(await self._at(name, operation))

    def _tell_too_large(self, size_bytes: int) -> None:
        if not self._told_too_large:
            self._told_too_large = True
            log.warning(
                "%s: a value of %d bytes is not kept, as one takes %d bytes at most; a body store keeps larger ones",
                self.url.shown, size_bytes, MAX_VALUE_BYTES,
            )  # fmt: skip

    def _heads(self, length: int) -> AsyncIterator[list[bytes]]:
        return self._pages(partial(read_heads, length=length))

    async def _warn(self) -> None:
        """Tell once of settings that a cache suffers from; a server that is down now is found out by the first call."""
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(_EXAMINED_SECONDS):
                for health in await self.health():
                    if health.warning is not None:
                        settings_log.warning("redis %s: %s; %s", health.address, *health.warning)

    # -- the servers --------------------------------------------------------------------------------------------------

    async def _at(self, name: str, operation: Operation[T]) -> T:
        try:
            return await self._servers.at(name, operation)
        except ValueTooLarge:
            raise Refused(Refusal.TOO_LARGE) from None
        except FAILURES as error:
            raise self._error(error) from None

    async def _in(self, hash_name: str, operation: Operation[T]) -> T:
        """Run an operation on a hash; another program's value under its name is removed."""
        try:
            return await self._at(hash_name, operation)
        except WrongType:
            if (
                await self._at(hash_name, lambda redis: _CLEAN(redis, [hash_name]))
                and hash_name not in self._told_cleaned
            ):
                self._told_cleaned.add(hash_name)
                log.warning("%s: %s was no hash, so none of this program's, and was removed", self.url.shown, hash_name)
            return await self._at(hash_name, operation)

    async def _on(self, primary: Server, operation: Operation[T]) -> T:
        with self._translated():
            return await primary.run(operation)

    async def _pages(self, scan: Callable[..., Awaitable[tuple[int, T]]]) -> AsyncIterator[T]:
        """Go through every server's keys, a page at a time: each is a call of its own, with its own time."""
        for primary in await self._primaries():
            cursor: int | None = None
            while cursor != 0:
                cursor, page = await self._on(primary, partial(scan, cursor=cursor or 0))
                yield page

    async def _primaries(self) -> list[Server]:
        with self._translated():
            return list(await self._servers.primaries())

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn everything that the client raises into a StoreError; its context is cut, as it may repeat a command."""
        try:
            yield
        except FAILURES as error:
            raise self._error(error) from None

    def _error(self, error: Exception) -> StoreError:
        kind = WrongType if "WRONGTYPE" in str(error) else StoreError
        return kind(f"{self.url.shown}: {self._message(error)}", failure=kind_of(error))

    def _message(self, error: Exception) -> str:
        # A pipeline's errors repeat the command before them, with the value that it was to store.
        first_line = (str(error).rpartition("caused error: ")[2].splitlines() or [""])[0][:200]
        for secret in self.url.secrets:
            first_line = first_line.replace(secret, "***")
        return f"{type(error).__name__}: {first_line}"


def _check_files(url: RedisURL) -> None:
    for option, what in _FILES.items():
        path = getattr(url, option)
        if path is not None and not Path(path).is_file():
            raise ConfigError(f"{path}: there is no such file; {option} names {what}")
    try:
        tls_context(url.ssl_ca_certs, url.ssl_certfile, url.ssl_keyfile)
    except OSError as error:
        files = ", ".join(f"{option} {getattr(url, option)}" for option in _FILES if getattr(url, option))
        raise ConfigError(f"{files}: not PEM files that fit together ({error.strerror or error})") from None
