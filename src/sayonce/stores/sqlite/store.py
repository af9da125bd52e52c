"""The default store: one SQLite file, shared by any number of processes, bounded in bytes.

Write-ahead logging, so reading never waits for writing. A read notes its use in memory, and the next write takes the
notes along, so that a read is not a write.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from sayonce.core.clock import Clock
from sayonce.core.envelope import OVERHEAD_BYTES, Entry, Pointer, Sealer
from sayonce.core.eviction import PolicyName
from sayonce.stores.base import SealedStore, StoreStats
from sayonce.stores.sqlite.connection import SCHEMA_VERSION, blob
from sayonce.stores.sqlite.database import ASKING_BUDGETS, WRITER, Database
from sayonce.stores.sqlite.eviction import Eviction, usage
from sayonce.stores.sqlite.leases import SQLiteLeases
from sayonce.stores.sqlite.records import SQLiteRecords
from sayonce.stores.sqlite.space import Space

T = TypeVar("T")

DEFAULT_MAX_BYTES: Final = 2_000_000_000
_PURGED_AT_ONCE: Final = 64
"""Expired entries that one write removes, so that no write pays for all."""
_READ_AT_ONCE: Final = 500
_KNOWN_BYTES: Final = 10_000
"""Of a value of a table that is remembered: names, and not clips."""
_MAX_NOTED: Final = 10_000
"""Uses that are noted between two writes; beyond them the order is a little less exact."""


class SQLiteStore(SealedStore):
    """Keeps envelopes in one file. ``stats`` counts an expired entry until a write has removed it."""

    name = "sqlite"
    layout = SCHEMA_VERSION

    def __init__(
        self,
        path: Path,
        *,
        sealer: Sealer,
        clock: Clock = time.time,
        max_bytes: int = DEFAULT_MAX_BYTES,
        policy: PolicyName = "gdsf",
        make_parents: bool = False,
        budget_seconds: float = 0.05,
    ) -> None:
        super().__init__(sealer, clock)
        self.path = path
        self._space = Space(path, max_bytes)
        self._eviction = Eviction(policy, self._space)
        self._database = Database(
            path, self._space, self._note, budget_seconds=budget_seconds, make_parents=make_parents
        )
        self._change, self._look, self._known = self._database.change, self._database.look, self._database.known
        change = partial(self._change, budgets=ASKING_BUDGETS)
        self.leases = SQLiteLeases(change, clock, _envelope, self._opened)
        self.records = SQLiteRecords(change, self._look, clock)
        self._uses: dict[bytes, tuple[int, float]] = {}

    def __repr__(self) -> str:
        return f"SQLiteStore({str(self.path)!r})"

    async def open(self) -> None:
        await self._database.open()

    async def close(self) -> None:
        await self._database.close()

    @property
    def incomplete(self) -> bool:
        return self._database.incomplete

    async def delete(self, key: bytes) -> bool:
        sql = "DELETE FROM entries WHERE key = ?"
        return await self._change(lambda db: db.execute(sql, (key,)).rowcount > 0, must=True)

    async def clear(self) -> int:
        entries = await self._change(lambda db: db.execute("DELETE FROM entries").rowcount, must=True)
        # Give the disk back; ``execute`` would stop after one page (its first step).
        await self._database.on(WRITER, lambda db: db.executescript("PRAGMA incremental_vacuum"))
        return entries

    async def stats(self) -> StoreStats:
        entries, used_bytes, _ = await self._look(usage)
        return StoreStats(entries, used_bytes, self._space.max_bytes)

    async def count(self, deltas: Mapping[str, float]) -> None:
        upsert = "INSERT INTO totals VALUES (?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value"
        rows = list(deltas.items())
        await self._change(lambda db: db.executemany(upsert, rows))

    async def totals(self) -> dict[str, float]:
        rows = await self._look(lambda db: db.execute("SELECT name, value FROM totals").fetchall())
        self._known.totals = {name: value for name, value in rows if isinstance(value, int | float)}
        return dict(self._known.totals)

    async def write_field(self, table: str, field: str, value: bytes) -> None:
        sql = "INSERT OR REPLACE INTO books VALUES (?, ?, ?)"
        await self._change(lambda db: db.execute(sql, (table, field, value)), must=True)
        if table in self._known.tables:
            self._known.tables[table][field] = value

    async def swap_field(self, table: str, field: str, old: bytes | None, new: bytes | None) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            row = db.execute("SELECT value FROM books WHERE book = ? AND name = ?", (table, field)).fetchone()
            if (None if row is None else blob(row[0])) != old:
                return False
            if new is None:
                db.execute("DELETE FROM books WHERE book = ? AND name = ?", (table, field))
            else:
                db.execute("INSERT OR REPLACE INTO books VALUES (?, ?, ?)", (table, field, new))
            return True

        swapped = await self._change(work, must=True)
        if swapped and table in self._known.tables:
            if new is None:
                self._known.tables[table].pop(field, None)
            else:
                self._known.tables[table][field] = new
        return swapped

    async def read_field(self, table: str, field: str) -> bytes | None:
        sql = "SELECT value FROM books WHERE book = ? AND name = ?"
        row = await self._look(lambda db: db.execute(sql, (table, field)).fetchone())
        return None if row is None else blob(row[0])

    async def read_table(self, table: str) -> dict[str, bytes]:
        sql = "SELECT name, value FROM books WHERE book = ?"
        found = await self._look(lambda db: db.execute(sql, (table,)).fetchall(), check_path=True)
        rows = {name: blob(value) for name, value in found}
        self._known.tables[table] = {name: value for name, value in rows.items() if len(value) <= _KNOWN_BYTES}
        return rows

    async def remove_field(self, table: str, field: str) -> bool:
        sql = "DELETE FROM books WHERE book = ? AND name = ?"
        there = await self._change(lambda db: db.execute(sql, (table, field)).rowcount > 0, must=True)
        self._known.tables.get(table, {}).pop(field, None)
        return there

    async def _read(self, key: bytes, read: Callable[[bytes], T]) -> T | None:
        sealed = await self._look(lambda db: _envelope(db, key))
        if sealed is None:
            return None
        self._note_use(key)
        return read(sealed)

    def _opened(self, key: bytes, sealed: bytes) -> Entry | Pointer | None:
        """Open what was found under a lease: an entry is used there, and a pointer is looked up again."""
        found = self._unseal(key, sealed)
        if isinstance(found, Entry):
            self._note_use(key)
        return found

    def _note_use(self, key: bytes) -> None:
        if len(self._uses) < _MAX_NOTED:
            count, _ = self._uses.get(key, (0, 0))
            self._uses[key] = (count + 1, self._clock())

    async def _write(self, entry: Entry, sealed: bytes, ttl_seconds: float) -> bool:  # noqa: ARG002 (``kept_until`` tells)
        now, size = self._clock(), len(sealed) + OVERHEAD_BYTES

        def work(db: sqlite3.Connection) -> bool:
            self._purge(db, now)
            row = self._eviction.add(
                db, entry.key, size, cost_seconds=entry.compute_seconds, expires=self.kept_until(entry), now=now
            )
            if row is not None:
                db.execute("INSERT INTO bodies VALUES (?, ?)", (row, sealed))
            return row is not None

        return await self._change(work)

    async def _heads(self, length: int) -> AsyncIterator[list[bytes]]:
        after = 0
        while page := await self._look(partial(_read_heads, after=after, length=length)):
            after = page[-1][0]
            yield [head for _, head in page]

    def _note(self, db: sqlite3.Connection) -> None:
        """Write the notes of use, one taken after the other, as the event loop may be writing another."""
        taken = (self._uses.popitem() for _ in range(len(self._uses)))
        self._eviction.note(db, [(key, count, used) for key, (count, used) in taken])

    @staticmethod
    def _purge(db: sqlite3.Connection, now: float) -> None:
        expired = "SELECT id FROM entries WHERE expires <= ? LIMIT ?"
        db.execute(f"DELETE FROM entries WHERE id IN ({expired})", (now, _PURGED_AT_ONCE))  # noqa: S608 (a constant)


def _envelope(db: sqlite3.Connection, key: bytes) -> bytes | None:
    row = db.execute("SELECT sealed FROM entries JOIN bodies USING (id) WHERE key = ?", (key,)).fetchone()
    return None if row is None else blob(row[0])


def _read_heads(db: sqlite3.Connection, *, after: int, length: int) -> list[tuple[int, bytes]]:
    """Return the first bytes of the next envelopes, with their rows; ``substr`` would read all of each."""
    with db:
        db.execute("BEGIN")
        ids = db.execute("SELECT id FROM bodies WHERE id > ? ORDER BY id LIMIT ?", (after, _READ_AT_ONCE)).fetchall()
        return [(row, _read_head(db, row, length)) for (row,) in ids]


def _read_head(db: sqlite3.Connection, row: int, length: int) -> bytes:
    with db.blobopen("bodies", "sealed", row, readonly=True) as blob:
        return blob.read(length)
