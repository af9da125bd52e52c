"""Recovery: a new file instead of one that is gone or damaged, with the tables and totals of the old one.

One process makes it, under a lock; the others find another file at the path and open that. A damaged file is kept
beside it under another name, as it may be repaired, and is never deleted.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from sayonce.stores.sqlite.connection import Connection, connect, prepare
from sayonce.stores.sqlite.file import drop_log, identity, log_of, only_one, set_aside

log = logging.getLogger("sayonce.store")
T = TypeVar("T")

_OURS: Final = "store"
"""The table in which the store itself keeps notes."""
_NAMES: Final = "voices"
"""The table where a name that is absent is taken for an engine's own."""
_GIVEN_UP: Final = "given up"
"""The note that names a damaged file from which not all names could be read."""

_MERGE_TOTALS: Final = "INSERT INTO totals VALUES (?, ?) ON CONFLICT DO UPDATE SET value = max(value, excluded.value)"
_MERGE_TABLES: Final = "INSERT OR IGNORE INTO books VALUES (?, ?, ?)"
_OVERRIDE_TABLES: Final = "INSERT OR REPLACE INTO books VALUES (?, ?, ?)"


class Known:
    """The tables and totals that a running process has read, should their file be lost."""

    def __init__(self) -> None:
        self.totals: dict[str, float] = {}
        self.tables: dict[str, dict[str, bytes]] = {}
        """Those that were read from beginning to end."""


def begin_anew(
    path: Path, old: Connection, db: sqlite3.Connection, known: Known, open_it: Callable[[], T], *, damaged: bool
) -> T:
    """Have a sound file at ``path``: another process's, or a new one; ``db`` is the connection of ``old``.

    It is opened under the same lock, so that others, who see its log, know that they come later.

    Raises:
        ConfigError: the file that is at the path now is another program's.
        StoreError: it is locked.

    """
    with only_one(path):
        now = identity(path)
        kept = None
        if damaged and now == old.file:
            if identity(log_of(path)) is None:
                _empty_log(db)  # the log has no name any more: its content belongs into the file that is kept
            kept = set_aside(path, "damaged")
        log_there = identity(log_of(path))
        first = now != old.file and log_there in (None, old.log)
        if first and log_there is not None:
            _settle(path, db)
        prepare(path)
        with closing(connect(path)) as fresh:
            # The old file is newer than a copy that was put at the path, and older than a file that another process of
            # ours has begun meanwhile.
            merge = _OVERRIDE_TABLES if first else _MERGE_TABLES
            lost = _take_over(db, fresh, known, merge, totals=kept is not None or now is None)
            if kept is not None and lost:
                fresh.execute(_MERGE_TABLES, (_OURS, _GIVEN_UP, os.fsencode(kept.name)))
        _tell(path, kept, removed=now is None, first=first, lost=lost)
        return open_it()


def given_up(db: sqlite3.Connection, path: Path) -> bool:
    """Whether names may be lost, which holds until the damaged file that may have them is moved away."""
    row = db.execute("SELECT value FROM books WHERE book = ? AND name = ?", (_OURS, _GIVEN_UP)).fetchone()
    return row is not None and path.with_name(os.fsdecode(bytes(row[0]))).exists()


def _settle(path: Path, db: sqlite3.Connection) -> None:
    """Write the log of a file that is gone from here into it, wherever it is now, before the next one has the name."""
    _empty_log(db)
    drop_log(path)


def _empty_log(db: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def _take_over(old: sqlite3.Connection, fresh: sqlite3.Connection, known: Known, merge: str, *, totals: bool) -> bool:
    """Copy totals and tables, as far as they can be read or are known; return whether names may be lost."""
    with fresh:
        fresh.execute("BEGIN IMMEDIATE")
        if totals:
            counted, _ = _readable(old, "SELECT name, value FROM totals")
            fresh.executemany(_MERGE_TOTALS, [*counted, *known.totals.items()])
        return _take_over_tables(old, fresh, known, merge)


def _take_over_tables(old: sqlite3.Connection, fresh: sqlite3.Connection, known: Known, merge: str) -> bool:
    by_index, whole = _readable(old, "SELECT book, name FROM books INDEXED BY sqlite_autoindex_books_1")
    by_row, also_whole = _readable(old, "SELECT book, name FROM books NOT INDEXED")
    named = {*by_index, *by_row}
    for table, name in named:
        value, _ = _readable(old, "SELECT value FROM books WHERE book = ? AND name = ?", (table, name))
        fresh.executemany(merge, [(table, name, row[0]) for row in value if isinstance(row[0], bytes)])
    for table, values in known.tables.items():
        fresh.executemany(_MERGE_TABLES, [(table, name, value) for name, value in values.items()])
    # A name whose value is lost stays with an empty one, which says that it was there and cannot be read.
    fresh.executemany(_MERGE_TABLES, [(table, name, b"") for table, name in named])
    return not (whole or also_whole or _NAMES in known.tables)


def _readable(db: sqlite3.Connection, sql: str, values: tuple[Any, ...] = ()) -> tuple[list[Any], bool]:
    """Return the rows up to the first that cannot be read, and whether that were all."""
    rows: list[Any] = []
    try:
        rows.extend(db.execute(sql, values))
    except sqlite3.Error:
        return rows, False
    return rows, True


def _tell(path: Path, kept: Path | None, *, removed: bool, first: bool, lost: bool) -> None:
    """Warn of it once: the processes that follow find a file that another of them has made."""
    names = (
        "; names of voices may be missing, so unknown ones are refused until that file is moved away" if lost else ""
    )
    if kept is not None:
        log.warning("sqlite: %s is damaged: it is kept as %s, and a new file goes on%s", path, kept.name, names)
    elif removed:
        log.warning("sqlite: %s was removed: a new file goes on in its place", path)
    else:
        level = logging.WARNING if first else logging.INFO
        log.log(level, "sqlite: another file has taken the place of %s, and goes on", path)
