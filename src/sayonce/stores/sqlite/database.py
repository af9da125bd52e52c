"""The open SQLite file: work in transactions, waiting for locks, and going on when the file is lost or damaged."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from sayonce.errors import ConfigError, Failure, StoreError
from sayonce.stores.sqlite.connection import Connection, prepare
from sayonce.stores.sqlite.file import only_one
from sayonce.stores.sqlite.recovery import Known, begin_anew, given_up
from sayonce.stores.sqlite.space import Space

T = TypeVar("T")

ASKING_BUDGETS: Final = 3
"""How long a miss waits for another program's lock when it is met; afterwards the lock is only looked at."""
WRITING_BUDGETS: Final = 10
"""How long a write waits for it, when the answer is out."""
_MUST_BUDGETS: Final = 15
"""How long a write that must be done waits for it: a purge, the name of a voice."""
_LOOK_SECONDS: Final = 0.01
_LOCKED_SECONDS: Final = 0.1
"""How long a lock that outlasted a wait is taken to last, before it is tried again."""
READER: Final = 0
WRITER: Final = 1


class Database:
    """One connection that reads and one that writes; ``note`` is run in each transaction, before its work."""

    incomplete = False
    """Whether a damaged file was given up, and not all names in its tables could be taken over."""

    def __init__(
        self,
        path: Path,
        space: Space,
        note: Callable[[sqlite3.Connection], None],
        *,
        budget_seconds: float,
        make_parents: bool,
    ) -> None:
        self.known = Known()
        self._path = path
        self._space = space
        self._note = note
        self._budget_seconds = budget_seconds
        self._make_parents = make_parents
        self._locked = False
        self._try_lock_at = 0.0
        self._renewing: asyncio.Task[None] | None = None
        self._connections: tuple[Connection, Connection] | None = None
        self._is_open = False
        self._displaced = False
        """Whether the file has lost its name, or is damaged, and no new one could be opened yet."""

    async def open(self) -> None:
        """Open the file, or make it; where the disk is full or another has it locked, each call tries again.

        Raises:
            ConfigError: the directory is missing or not writable, or the file is something else.

        """
        self._is_open = True
        with suppress(StoreError):  # every call reports it
            self._connections = await asyncio.to_thread(self._open_prepared)
            self.incomplete = await self.look(self._given_up)

    async def close(self) -> None:
        self._is_open = False
        if self._renewing is not None:
            await asyncio.wait([self._renewing])
        if self._connections is None:
            return
        with suppress(StoreError):  # notes are worth nothing to a caller
            await self.change(lambda _: None)
        reader, writer = self._connections
        self._connections = None
        await reader.close()
        await writer.close()

    async def change(
        self, work: Callable[[sqlite3.Connection], T], *, must: bool = False, budgets: int = WRITING_BUDGETS
    ) -> T:
        """Do work in one transaction, with the notes since the last one.

        Work that ``must`` be done waits longer for another program's lock, and is written however long the log is.
        """

        def transaction(db: sqlite3.Connection) -> T:
            self.writer.check_path()
            if not must:
                self._check_lock()
                self._space.check_log(db)
            with db:
                db.execute("BEGIN IMMEDIATE")
                self.writer.check_schema()
                self._note(db)
                return work(db)

        wait_seconds = 0.0 if self._locked else budgets * self._budget_seconds
        until = time.monotonic() + (_MUST_BUDGETS * self._budget_seconds if must else wait_seconds)
        while True:
            try:
                result = await self.on(WRITER, transaction)
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
            raise StoreError(f"{self._path}: database is locked by another program", failure=Failure.LOCKED)
        self._try_lock_at = now + _LOCKED_SECONDS

    async def look(self, work: Callable[[sqlite3.Connection], T], *, check_path: bool = False) -> T:
        """Read; with ``check_path``, some times a second, notice also without a write that the file was replaced.

        While there is no new file no read answers, so that the store fails as a whole and not now and then.
        """

        def checked(db: sqlite3.Connection) -> T:
            self.reader.check_path()
            self.reader.check_schema()
            return work(db)

        return await self.on(READER, checked if check_path or self._displaced else work)

    async def on(self, which: int, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run work on a connection, and once more where its file was gone or damaged and another goes on."""
        if self._connections is None:
            await self._go_on(None, damaged=False)
        opened = self.opened
        try:
            return await opened[which].run(work)
        except StoreError as error:
            if error.failure not in (Failure.DAMAGED, Failure.LOST):
                raise
            await self._go_on(opened, damaged=error.failure is Failure.DAMAGED)
        return await self.opened[which].run(work)

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
                fresh = await opened[READER].run(partial(self._begin_anew, opened[READER], damaged=damaged))
            self.incomplete = await fresh[READER].run(self._given_up)
            self._connections = fresh
        except (ConfigError, StoreError, OSError) as error:
            raise StoreError(f"{error}") from error  # of no kind that would be taken for a state of the file
        self._displaced = False
        for connection in opened or ():
            await connection.close()

    def _begin_anew(self, old: Connection, db: sqlite3.Connection, *, damaged: bool) -> tuple[Connection, Connection]:
        self._make_directories()
        return begin_anew(self._path, old, db, self.known, self._open, damaged=damaged)

    def _given_up(self, db: sqlite3.Connection) -> bool:
        return given_up(db, self._path)

    def _renewed(self, task: asyncio.Task[None]) -> None:
        self._renewing = None
        if not task.cancelled():
            task.exception()  # raised to the calls that wait for it

    def _open_prepared(self) -> tuple[Connection, Connection]:
        self._make_directories()
        with only_one(self._path):
            prepare(self._path)
        return self._open()

    def _open(self) -> tuple[Connection, Connection]:
        try:
            reader = Connection(self._path, "read")
            try:
                return reader, Connection(self._path, "write", self._space.prepare)
            except BaseException:
                reader.close_now()
                raise
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error

    def _make_directories(self) -> None:
        """Make the directories of the default path."""
        if not self._make_parents:
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{self._path.parent}: {error.strerror}; name a file with sqlite:///…") from error

    @property
    def reader(self) -> Connection:
        return self.opened[0]

    @property
    def writer(self) -> Connection:
        return self.opened[1]

    @property
    def opened(self) -> tuple[Connection, Connection]:
        if self._connections is None:
            raise StoreError(f"{self._path}: is not open")
        return self._connections
