"""The space that a SQLite file has: within its bound, on its disk, and in its write-ahead log."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Final

from sayonce.errors import Failure, StoreError
from sayonce.stores.sqlite.file import log_of

_LEAST_LOG_BYTES: Final = 256_000
_MOST_LOG_BYTES: Final = 4_000_000
_CACHE_KIB: Final = 2_000
"""Of pages that the connection that writes may hold: most are of bodies that it has just written, and does not read."""
_RESERVE_BYTES: Final = 16_000_000
"""Left free on the disk, so that the log can grow while entries are evicted; a quarter of a smaller disk."""
_TRY_AGAIN_SECONDS: Final = 0.5
_EMPTYING_SECONDS: Final = 0.1
_PAUSE_SECONDS: Final = 0.001


class Space:
    """Every method is called by the thread that writes.

    The log holds new pages until no reader needs the pages that they replace. It is emptied at ``log_bytes``; bytes
    beyond one and a half times that count within the bound, and beyond three times that nothing new is written.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.log_bytes = max(_LEAST_LOG_BYTES, min(_MOST_LOG_BYTES, max_bytes // 4))
        self.full = False
        """Whether the last write found the disk full."""
        self._directory = path.parent
        self._log = os.fspath(log_of(path))
        self._try_at = 0.0
        self._blocked = False
        """Whether the last attempt found the log too long to go on: others come later, as each takes its time."""

    def prepare(self, db: sqlite3.Connection) -> None:
        """Bound the log of a connection, on a small disk more tightly, and its pages in memory."""
        disk = os.statvfs(self._directory)
        self.log_bytes = min(self.log_bytes, disk.f_blocks * disk.f_frsize // 8)
        (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
        db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        db.execute(f"PRAGMA journal_size_limit = {self.log_bytes}").fetchone()
        db.execute(f"PRAGMA wal_autocheckpoint = {self.log_bytes // page_bytes}").fetchone()

    def check_log(self, db: sqlite3.Connection) -> None:
        """Empty a log that has grown.

        Raises:
            StoreError: another program's reader keeps it from being emptied, and it is too long to go on.

        """
        used = self._log_used()
        long, too_long = used > self.log_bytes * 5 // 4, used > 3 * self.log_bytes
        if ((self.full or long) and time.monotonic() >= self._try_at) or (too_long and not self._blocked):
            self._try_at = time.monotonic() + _TRY_AGAIN_SECONDS
            self._empty(db)
            used = self._log_used()
        self._blocked = used > 3 * self.log_bytes
        if self._blocked:
            raise StoreError(
                f"{self._log}: has {used:,} bytes, as a program that reads the file does not end its transaction",
                failure=Failure.FULL,
            )

    @staticmethod
    def _empty(db: sqlite3.Connection) -> None:
        """Empty the log once its present readers are done and no other process empties it: a matter of milliseconds."""
        until = time.monotonic() + _EMPTYING_SECONDS
        while True:
            (busy, *_) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy or time.monotonic() >= until:
                return
            time.sleep(_PAUSE_SECONDS)

    def excess(self, db: sqlite3.Connection, used_bytes: int, size: int) -> int:
        """Return how many bytes of entries have to go before one of this size comes."""
        beyond = max(0, self._log_used() - self.log_bytes * 3 // 2)
        return max(used_bytes + size + beyond - self.max_bytes, self._missing(db, size))

    def _missing(self, db: sqlite3.Connection, size: int) -> int:
        disk = os.statvfs(self._directory)
        reserve = min(_RESERVE_BYTES, disk.f_blocks * disk.f_frsize // 4)
        free = disk.f_bavail * disk.f_frsize - reserve
        if free >= 2 * size:  # in the log first, and then in the file
            return 0
        (pages,) = db.execute("PRAGMA freelist_count").fetchone()
        (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
        return size - max(0, free // 2) - int(pages * page_bytes)

    def _log_used(self) -> int:
        try:
            return os.stat(self._log).st_size  # noqa: PTH116 (asked at every write, and much quicker)
        except OSError:  # not there before the first write
            return 0
