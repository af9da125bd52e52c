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
from sayonce.errors import ConfigError, Failure, StoreError
from sayonce.stores.base import SealedStore, StoreStats
from sayonce.stores.sqlite.connection import Connection, blob, prepare
from sayonce.stores.sqlite.eviction import Eviction, usage
from sayonce.stores.sqlite.file import only_one
from sayonce.stores.sqlite.leases import SQLiteLeases
from sayonce.stores.sqlite.records import SQLiteRecords
from sayonce.stores.sqlite.recovery import Known, begin_anew, given_up
from sayonce.stores.sqlite.space import Space

T = TypeVar("T")

DEFAULT_MAX_BYTES: Final = 2_000_000_000
_PURGED_AT_ONCE: Final = 64
"""Expired entries that one write removes, so that no write pays for all."""
_READ_AT_ONCE: Final = 500
_ASKING_BUDGETS: Final = 3
"""How long a miss waits for another program's lock when it is met; afterwards the lock is only looked at."""
_WRITING_BUDGETS: Final = 10
"""How long a write waits for it, when the answer is out."""
_MUST_BUDGETS: Final = 15
"""How long a write that must be done waits for it: a purge, the name of a voice."""
_LOOK_SECONDS: Final = 0.01
_LOCKED_SECONDS: Final = 0.1
"""How long a lock that outlasted a wait is taken to last, before it is tried again."""
_READER: Final = 0
_WRITER: Final = 1
_KNOWN_BYTES: Final = 10_000
"""Of a value of a table that is remembered: names, and not clips."""
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
        budget_seconds: float = 0.05,
    ) -> None:
        super().__init__(sealer, clock)
        self.path = path
        self._space = Space(path, max_bytes)
        self._eviction = Eviction(policy, self._space)
        self._budget_seconds = budget_seconds
        self._locked = False
        self._try_lock_at = 0.0
        self._known = Known()
        self._renewing: asyncio.Task[None] | None = None
        self._make_parents = make_parents
        self._connections: tuple[Connection, Connection] | None = None
        self._is_open = False
        self._displaced = False
        """Whether the file has lost its name, or is damaged, and no new one could be opened yet."""
        change = partial(self._change, budgets=_ASKING_BUDGETS)
        self.leases = SQLiteLeases(change, clock)
        self.records = SQLiteRecords(change, self._look, clock)
        self._uses: dict[bytes, tuple[int, float]] = {}

    def __repr__(self) -> str:
        return f"SQLiteStore({str(self.path)!r})"

    async def open(self) -> None:
        """Open the file, or make it; where the disk is full or another has it locked, each call tries again.

        Raises:
            ConfigError: the directory is missing or not writable, or the file is something else.

        """
        self._is_open = True
        with suppress(StoreError):  # every call reports it
            self._connections = await asyncio.to_thread(self._open_prepared)
            self.incomplete = await self._look(self._given_up)

    async def close(self) -> None:
        self._is_open = False
        if self._renewing is not None:
            await asyncio.wait([self._renewing])
        if self._connections is None:
            return
        with suppress(StoreError):  # notes of use are worth nothing to a caller
            await self._change(lambda _: None)
        reader, writer = self._connections
        self._connections = None
        await reader.close()
        await writer.close()

    async def delete(self, key: bytes) -> bool:
        sql = "DELETE FROM entries WHERE key = ?"
        return await self._change(lambda db: db.execute(sql, (key,)).rowcount > 0, must=True)

    async def clear(self) -> int:
        entries = await self._change(lambda db: db.execute("DELETE FROM entries").rowcount, must=True)
        # Give the disk back; ``execute`` would stop after one page (its first step).
        await self._on(_WRITER, lambda db: db.executescript("PRAGMA incremental_vacuum"))
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

    def _open_prepared(self) -> tuple[Connection, Connection]:
        self._make_directories()
        with only_one(self.path):
            prepare(self.path)
        return self._open()

    def _open(self) -> tuple[Connection, Connection]:
        try:
            reader = Connection(self.path, "read")
            try:
                return reader, Connection(self.path, "write", self._space.prepare)
            except sqlite3.Error:
                reader.close_now()
                raise
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}") from error

    def _make_directories(self) -> None:
        """Make the directories of the default path."""
        if not self._make_parents:
            return
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{self.path.parent}: {error.strerror}; name a file with sqlite:///…") from error

    async def _read(self, key: bytes, read: Callable[[bytes], T]) -> T | None:
        sql = "SELECT sealed FROM entries JOIN bodies USING (id) WHERE key = ?"
        row = await self._look(lambda db: db.execute(sql, (key,)).fetchone())
        if row is None:
            return None
        if len(self._uses) < _MAX_NOTED:
            count, _ = self._uses.get(key, (0, 0))
            self._uses[key] = (count + 1, self._clock())
        return read(blob(row[0]))

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
        while page := await self._look(partial(_read_heads, after=after, length=length)):
            after = page[-1][0]
            yield [head for _, head in page]

    async def _change(
        self, work: Callable[[sqlite3.Connection], T], *, must: bool = False, budgets: int = _WRITING_BUDGETS
    ) -> T:
        """Do work in one transaction, together with the notes of use since the last one.

        Work that ``must`` be done waits longer for another program's lock, and is written however long the log is.
        """

        def transaction(db: sqlite3.Connection) -> T:
            self._writer.check_path()
            if not must:
                self._check_lock()
                self._space.check_log(db)
            with db:
                db.execute("BEGIN IMMEDIATE")
                self._writer.check_schema()
                self._eviction.note(db, self._taken())
                return work(db)

        patience = 0.0 if self._locked else budgets * self._budget_seconds
        until = time.monotonic() + (_MUST_BUDGETS * self._budget_seconds if must else patience)
        while True:
            try:
                result = await self._on(_WRITER, transaction)
            except StoreError as error:
                self._space.full = error.failure is Failure.FULL
                if error.failure is not Failure.LOCKED or time.monotonic() >= until:
                    self._locked = error.failure is Failure.LOCKED
                    raise
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                self._locked = self._space.full = False
                return result

    def _check_lock(self) -> None:
        """Spare others the wait for a lock that was just met: many calls may wait for this one thread."""
        if not self._locked:
            return
        now = time.monotonic()
        if now < self._try_lock_at:
            raise StoreError(f"{self.path}: database is locked by another program", failure=Failure.LOCKED)
        self._try_lock_at = now + _LOCKED_SECONDS

    async def _look(self, work: Callable[[sqlite3.Connection], T], *, check_path: bool = False) -> T:
        """Read; with ``check_path``, some times a second, notice also without a write that the file was replaced.

        While there is no new file no read answers, so that the store fails as a whole and not now and then.
        """

        def checked(db: sqlite3.Connection) -> T:
            self._reader.check_path()
            self._reader.check_schema()
            return work(db)

        return await self._on(_READER, checked if check_path or self._displaced else work)

    async def _on(self, which: int, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run work on a connection, and once more where its file was gone or damaged and another goes on."""
        if self._connections is None:
            await self._go_on(None, damaged=False)
        opened = self._opened
        try:
            return await opened[which].run(work)
        except StoreError as error:
            if error.failure not in (Failure.DAMAGED, Failure.LOST):
                raise
            await self._go_on(opened, damaged=error.failure is Failure.DAMAGED)
        return await self._opened[which].run(work)

    async def _go_on(self, opened: tuple[Connection, Connection] | None, *, damaged: bool) -> None:
        """Go on in the file that is at the path now, or in a new one; all calls wait for the same renewal."""
        if self._is_open and self._connections is opened and self._renewing is None:
            self._renewing = asyncio.create_task(self._renew(opened, damaged=damaged))
            self._renewing.add_done_callback(self._renewed)
        if self._renewing is not None:
            await asyncio.shield(self._renewing)

    async def _renew(self, opened: tuple[Connection, Connection] | None, *, damaged: bool) -> None:
        self._displaced = True
        try:
            if opened is None:
                fresh = await asyncio.to_thread(self._open_prepared)
            else:
                fresh = await opened[_READER].run(partial(self._begin_anew, opened[_READER], damaged=damaged))
            self.incomplete = await fresh[_READER].run(self._given_up)
            self._connections = fresh
        except (ConfigError, StoreError, OSError) as error:
            raise StoreError(f"{error}") from error  # of no kind that would be taken for a state of the file
        self._displaced = False
        for connection in opened or ():
            await connection.close()

    def _begin_anew(self, old: Connection, db: sqlite3.Connection, *, damaged: bool) -> tuple[Connection, Connection]:
        self._make_directories()
        return begin_anew(self.path, old, db, self._known, self._open, damaged=damaged)

    def _given_up(self, db: sqlite3.Connection) -> bool:
        return given_up(db, self.path)

    def _renewed(self, task: asyncio.Task[None]) -> None:
        self._renewing = None
        if not task.cancelled():
            task.exception()  # raised to the calls that wait for it

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
