"""The default store: one SQLite file, shared by any number of processes, bounded in bytes.

Write-ahead logging, so reading never waits for writing. A read notes its use in memory, and the next write takes the
notes along, so that a read is not a write.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from sayonce.core.clock import Clock
from sayonce.core.envelope import OVERHEAD_BYTES, Entry, Sealer
from sayonce.core.eviction import PolicyName
from sayonce.errors import ConfigError
from sayonce.stores.base import SealedStore, StoreError, StoreStats
from sayonce.stores.database import Connection, prepare
from sayonce.stores.sqlite_coordinator import SQLiteCoordinator
from sayonce.stores.sqlite_eviction import Eviction

T = TypeVar("T")

DEFAULT_MAX_BYTES: Final = 2_000_000_000
_PURGED_AT_ONCE: Final = 64
"""Expired entries that one write removes, so that no write pays for all."""
_READ_AT_ONCE: Final = 500
_MAX_NOTED: Final = 10_000
"""Uses that are noted between two writes; beyond them the order is a little less exact."""


class SQLiteStore(SealedStore):
    """Keeps envelopes in one file. ``stats`` counts an expired entry until a write has removed it."""

    name = "sqlite"

    def __init__(
        self,
        path: Path,
        *,
        sealer: Sealer,
        clock: Clock = time.time,
        max_bytes: int = DEFAULT_MAX_BYTES,
        policy: PolicyName = "gdsf",
        make_parents: bool = False,
    ) -> None:
        super().__init__(sealer, clock)
        self.path = path
        self._eviction = Eviction(policy, max_bytes)
        self._make_parents = make_parents
        self._connections: tuple[Connection, Connection] | None = None
        self.coordinator = SQLiteCoordinator(self._change, self._look, clock)
        self._uses: dict[bytes, tuple[int, float]] = {}

    def __repr__(self) -> str:
        return f"SQLiteStore({str(self.path)!r})"

    async def open(self) -> None:
        """Open the file, or make it.

        Raises:
            ConfigError: the directory is missing or not writable, or the file is something else.

        """
        self._connections = await asyncio.to_thread(self._open)

    async def close(self) -> None:
        if self._connections is None:
            return
        with suppress(StoreError):  # notes of use are worth nothing to a caller
            await self._change(lambda _: None)
        reader, writer = self._connections
        self._connections = None
        await reader.close()
        await writer.close()

    async def delete(self, key: bytes) -> bool:
        return await self._change(lambda db: db.execute("DELETE FROM entries WHERE key = ?", (key,)).rowcount > 0)

    async def clear(self) -> int:
        entries = await self._change(lambda db: db.execute("DELETE FROM entries").rowcount)
        # Give the disk back; ``execute`` would stop after one page (its first step).
        await self._writer.run(lambda db: db.executescript("PRAGMA incremental_vacuum"))
        return entries

    async def stats(self) -> StoreStats:
        entries, used_bytes = await self._reader.run(
            lambda db: db.execute("SELECT entries, bytes FROM usage").fetchone()
        )
        return StoreStats(entries, used_bytes, self._eviction.max_bytes)

    async def bump(self, tag: str) -> int:
        def work(db: sqlite3.Connection) -> int:
            db.execute("INSERT INTO epochs VALUES (?, 1) ON CONFLICT DO UPDATE SET epoch = epoch + 1", (tag,))
            (epoch,) = db.execute("SELECT epoch FROM epochs WHERE tag = ?", (tag,)).fetchone()
            return int(epoch)

        return await self._change(work)

    async def epochs(self) -> dict[str, int]:
        return dict(await self._reader.run(lambda db: db.execute("SELECT tag, epoch FROM epochs").fetchall()))

    async def count(self, deltas: Mapping[str, float]) -> None:
        upsert = "INSERT INTO totals VALUES (?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value"
        rows = list(deltas.items())
        await self._change(lambda db: db.executemany(upsert, rows))

    async def totals(self) -> dict[str, float]:
        return dict(await self._reader.run(lambda db: db.execute("SELECT name, value FROM totals").fetchall()))

    async def register(self, book: str, name: str, value: bytes) -> None:
        await self._change(lambda db: db.execute("INSERT OR REPLACE INTO books VALUES (?, ?, ?)", (book, name, value)))

    async def registered(self, book: str, name: str) -> bytes | None:
        sql = "SELECT value FROM books WHERE book = ? AND name = ?"
        row = await self._look(lambda db: db.execute(sql, (book, name)).fetchone())
        return None if row is None else bytes(row[0])

    async def registry(self, book: str) -> dict[str, bytes]:
        sql = "SELECT name, value FROM books WHERE book = ?"
        return dict(await self._look(lambda db: db.execute(sql, (book,)).fetchall()))

    async def unregister(self, book: str, name: str) -> bool:
        sql = "DELETE FROM books WHERE book = ? AND name = ?"
        return await self._change(lambda db: db.execute(sql, (book, name)).rowcount > 0)

    def _open(self) -> tuple[Connection, Connection]:
        if self._make_parents:
            try:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(f"{self.path.parent}: {error.strerror}; name a file with sqlite:///…") from error
        prepare(self.path)
        return Connection(self.path, "read"), Connection(self.path, "write")

    async def _read(self, key: bytes) -> bytes | None:
        sql = "SELECT sealed FROM entries JOIN bodies USING (id) WHERE key = ?"
        row = await self._reader.run(lambda db: db.execute(sql, (key,)).fetchone())
        if row is None:
            return None
        if len(self._uses) < _MAX_NOTED:
            count, _ = self._uses.get(key, (0, 0))
            self._uses[key] = (count + 1, self._clock())
        return bytes(row[0])

    async def _write(self, entry: Entry, sealed: bytes, ttl_seconds: float) -> bool:  # noqa: ARG002 (``expires`` tells)
        now, size = self._clock(), len(sealed) + OVERHEAD_BYTES

        def work(db: sqlite3.Connection) -> bool:
            self._purge(db, now)
            row = self._eviction.add(
                db, entry.key, size, cost_seconds=entry.compute_seconds, expires=entry.expires, now=now
            )
            if row is not None:
                db.execute("INSERT INTO bodies VALUES (?, ?)", (row, sealed))
            return row is not None

        return await self._change(work)

    async def _heads(self, length: int) -> AsyncIterator[list[bytes]]:
        after = 0
        while page := await self._reader.run(partial(_read_heads, after=after, length=length)):
            after = page[-1][0]
            yield [head for _, head in page]

    async def _change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do work in one transaction, together with the notes of use since the last one."""

        def transaction(db: sqlite3.Connection) -> T:
            with db:
                db.execute("BEGIN IMMEDIATE")
                self._eviction.note(db, self._taken())
                return work(db)

        return await self._writer.run(transaction)

    async def _look(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._reader.run(work)

    def _taken(self) -> list[tuple[bytes, int, float]]:
        """Take the notes one by one, as the event loop may be writing another."""
        taken = (self._uses.popitem() for _ in range(len(self._uses)))
        return [(key, count, used) for key, (count, used) in taken]

    @staticmethod
    def _purge(db: sqlite3.Connection, now: float) -> None:
        expired = "SELECT id FROM entries WHERE expires <= ? LIMIT ?"
        db.execute(f"DELETE FROM entries WHERE id IN ({expired})", (now, _PURGED_AT_ONCE))  # noqa: S608 (a constant)

    @property
    def _reader(self) -> Connection:
        return self._opened[0]

    @property
    def _writer(self) -> Connection:
        return self._opened[1]

    @property
    def _opened(self) -> tuple[Connection, Connection]:
        if self._connections is None:
            raise StoreError(f"{self.path}: is not open")
        return self._connections


def _read_heads(db: sqlite3.Connection, *, after: int, length: int) -> list[tuple[int, bytes]]:
    """Return the first bytes of the next envelopes, with their rows; ``substr`` would read all of each."""
    with db:
        db.execute("BEGIN")
        ids = db.execute("SELECT id FROM bodies WHERE id > ? ORDER BY id LIMIT ?", (after, _READ_AT_ONCE)).fetchall()
        return [(row, _read_head(db, row, length)) for (row,) in ids]


def _read_head(db: sqlite3.Connection, row: int, length: int) -> bytes:
    with db.blobopen("bodies", "sealed", row, readonly=True) as blob:
        return blob.read(length)
