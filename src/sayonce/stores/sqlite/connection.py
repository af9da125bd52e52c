"""A SQLite file of ours: opening, creating and recognizing it, and calling it off the event loop."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from sayonce.errors import ConfigError, Failure, StoreError
from sayonce.stores.sqlite.file import identity, index_of, log_of, set_aside
from sayonce.stores.sqlite.schema import SCHEMA, foreign_part

log = logging.getLogger("sayonce.store")
T = TypeVar("T")

SCHEMA_VERSION: Final = 2
BUSY_SECONDS: Final = 5.0
"""How long another process's lock is waited for when a file is opened."""
_LOCK_SECONDS: Final = 0.02
"""How long a statement waits for it, in its own thread, where others wait for the thread."""

_CACHE_KIB: Final = 8_000
"""Of pages that a connection may hold that reads. SQLite's own 2 MB are too few for the inner pages of the indexes of a million
entries; what is beyond them is filled by bodies, which pass by once."""
_APPLICATION_ID: Final = int.from_bytes(b"SAYO")
_MAX_WAITING: Final = 256
"""Calls that may wait for one thread: behind a disk that hangs, memory stays bounded."""
_KINDS: Final = {
    "SQLITE_BUSY": Failure.LOCKED,
    "SQLITE_LOCKED": Failure.LOCKED,
    "SQLITE_FULL": Failure.FULL,
    "SQLITE_READONLY": Failure.FULL,
    "SQLITE_CANTOPEN": Failure.FULL,
    "SQLITE_IOERR_WRITE": Failure.FULL,
    "SQLITE_IOERR_SHM": Failure.FULL,
    "SQLITE_IOERR_READ": Failure.DAMAGED,  # a disk that cannot read its own sectors
    "SQLITE_IOERR_SHORT_READ": Failure.DAMAGED,  # a log that somebody has cut
    "SQLITE_CORRUPT": Failure.DAMAGED,
    "SQLITE_NOTADB": Failure.DAMAGED,
}
_PASSES: Final = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR")
"""Errors at the opening that say nothing against the path: another program's lock, a disk that is full."""


class Connection:
    """One connection, used by one thread of its own, so that a slow disk never blocks the event loop."""

    def __init__(
        self, path: Path, name: str, prepare_with: Callable[[sqlite3.Connection], None] = lambda _: None
    ) -> None:
        self._path = path
        self._threads = ThreadPoolExecutor(1, thread_name_prefix=f"sayonce-{name}")
        self._slots = threading.BoundedSemaphore(_MAX_WAITING)
        self._db = connect(path)
        try:
            self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # makes the log, if there is none
            prepare_with(self._db)
        except BaseException:
            self._db.close()
            raise
        self._names = tuple(map(os.fspath, (path, log_of(path), index_of(path))))
        self.file, self.log, self._index = map(identity, self._names)
        self._schema: int | None = None  # the version that was last looked at

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do ``work`` and return its result. It is done also when the caller leaves: a write that was accepted lands.

        Raises:
            StoreError: naming the file.

        """
        if not self._slots.acquire(blocking=False):
            raise StoreError(f"{self._path}: {_MAX_WAITING} calls are waiting for the disk", failure=Failure.BUSY)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        # Not ``run_in_executor``, which would pass the answer through three futures and cancel work that waits.
        self._threads.submit(self._do, work).add_done_callback(partial(_tell, loop, answer))
        try:
            return await answer
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}", failure=_kind(error)) from error

    def check_path(self) -> None:
        """Check that the open file still has its name, and so do its log and the log's index.

        Raises:
            StoreError: one was removed, or another has the name.

        """
        file, log, index = map(identity, self._names)
        if file != self.file:
            raise StoreError(f"{self._path}: was removed or replaced", failure=Failure.LOST)
        if (log, index) != (self.log, self._index):
            # A process that opens the file from now on makes another log, and neither side sees the other's writes.
            raise StoreError(f"{self._path}: its write-ahead log was removed or replaced", failure=Failure.DAMAGED)

    def check_schema(self) -> None:
        """Check that the tables are as we make them, and nothing is beside them; quick while nobody changes any.

        Raises:
            StoreError: they are not.

        """
        (version,) = self._db.execute("PRAGMA schema_version").fetchone()
        if version == self._schema:
            return
        foreign = foreign_part(self._db)
        if foreign is not None:
            log.warning("sqlite: another program has changed %s: %s is not as it was made", self._path, foreign)
            raise StoreError(f"{self._path}: {foreign} is not as it was made", failure=Failure.DAMAGED)
        self._schema = version

    async def close(self) -> None:
        """Close after the work that waits."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self.close_now)
        self._threads.shutdown(wait=False)

    def close_now(self) -> None:
        """Close at once, before any work."""
        self._db.close()

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            result = work(self._db)
            if isinstance(result, sqlite3.Cursor):
                # It must end here: freed by another thread, it would reset the statement while this one runs it again.
                result.close()
            return result
        finally:
            self._slots.release()


def _tell(loop: asyncio.AbstractEventLoop, answer: asyncio.Future[T], done: Future[T]) -> None:
    with suppress(RuntimeError):  # the loop was closed: nobody waits any more
        loop.call_soon_threadsafe(_settle, answer, done)


def _settle(answer: asyncio.Future[T], done: Future[T]) -> None:
    if answer.done():  # the caller left
        return
    error = done.exception()
    if error is None:
        answer.set_result(done.result())
    else:
        answer.set_exception(error)


def _kind(error: sqlite3.Error) -> Failure:
    name = _error_name(error)
    return next((kind for prefix, kind in _KINDS.items() if name.startswith(prefix)), Failure.BROKEN)


def _error_name(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", None) or ""  # absent on errors of the Python module itself


def blob(value: object) -> bytes:
    """Return the bytes in a column; nothing where damage has made another type of them."""
    return value if isinstance(value, bytes) else b""


def connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        db.text_factory = partial(str, encoding="utf-8", errors="replace")  # one damaged name must not hide the others
        # In WAL mode NORMAL loses the last commits at a power cut, and never consistency.
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA trusted_schema = OFF")  # no other program can call a function by its schema
        db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    except BaseException:
        db.close()
        raise
    return db


def prepare(path: Path) -> None:
    """Make the file if it is not there, and its tables if it is empty; one of an older layout is set aside first.

    Raises:
        ConfigError: the file cannot be made or opened, or is not ours to write to.
        StoreError: another process has it locked, or the disk is full.

    """
    _make(path)
    try:
        _prepare_patiently(path)
    except sqlite3.OperationalError as error:
        if _error_name(error).startswith(_PASSES):
            raise StoreError(f"{path}: {error}", failure=_kind(error)) from error
        raise ConfigError(f"{path}: {error}; name a file that can be written") from error
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"{path}: {error}; move it away or name another file") from error


def _make(path: Path) -> None:
    try:
        # 0600 from its first moment. Only a new file is opened here: closing an existing one would drop the locks
        # that SQLite holds on it elsewhere in this process (sqlite.org/howtocorrupt.html section 2.2).
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(f"{path}: {error.strerror}", failure=Failure.FULL) from error
        raise ConfigError(
            f"{path}: {error.strerror}; name a file in a directory that exists and is writable"
        ) from error


def _prepare_patiently(path: Path) -> None:
    """Begin again while others make the same file: SQLite itself does not wait for the lock that turns WAL mode on."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return _prepare(path)
        except sqlite3.OperationalError as error:
            if _kind(error) is not Failure.LOCKED or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _prepare(path: Path) -> None:
    db = connect(path)
    try:
        version = _version(db, path)
        if version and version != SCHEMA_VERSION:
            db.close()
            kept = set_aside(path, f"layout-{version}")
            log.warning("sqlite: %s has the layout of another release: it is kept as %s", path, kept.name)
            prepare(path)
            return
        foreign = foreign_part(db) if version else None
        if foreign is not None:
            raise ConfigError(
                f"{path}: {foreign} is not as this program makes it; move the file away or name another file"
            )
        if not version:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # decided by a database's first page
        if db.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):  # a copy of a file has another mode
            raise ConfigError(
                f"{path}: this file system cannot share memory between processes; name a file on a local disk"
            )
        if not version:
            db.executescript(SCHEMA)
    finally:
        db.close()


def _version(db: sqlite3.Connection, path: Path) -> int:
    """Return which layout the file's tables have, 0 if there are none; all is read in one transaction, as another process may make them."""
    with db:
        db.execute("BEGIN")
        (application_id,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application_id != _APPLICATION_ID and tables:
        raise ConfigError(f"{path}: is another program's database; name another file")
    if version > SCHEMA_VERSION:
        raise ConfigError(
            f"{path}: was written by a newer release (schema {version}, this one knows {SCHEMA_VERSION}); "
            "upgrade sayonce or name another file"
        )
    return int(version) if tables else 0
