"""Leases between the processes of one machine, as rows of the store's file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from sayonce.core.clock import Clock
from sayonce.stores.leases import OWNER_CHARACTERS, Leases
from sayonce.stores.records import COMPUTATION, ENDED_SECONDS

T = TypeVar("T")

_OWNER: Final = f"coalesce(substr(CAST(owner AS BLOB), 1, {OWNER_CHARACTERS}), x'')"
"""An owner as bytes, also where another program wrote a number: SQLite's columns take values of any type."""


class Run(Protocol):
    """Runs work on a connection, off the event loop."""

    async def __call__(self, work: Callable[[sqlite3.Connection], T]) -> T: ...


class SQLiteLeases(Leases):
    """``change`` runs work in a transaction on the writer, off the event loop."""

    def __init__(self, change: Run, clock: Clock) -> None:
        self._change = change
        self._clock = clock

    async def acquire(self, key: bytes, owner: str, seconds: float) -> str:
        now = self._clock()

        def work(db: sqlite3.Connection) -> str:
            db.execute("DELETE FROM records WHERE expires <= ?", (now,))
            db.execute("DELETE FROM leases WHERE key = ? AND expires <= ?", (key, now))
            # Also a lease that another program wrote is bounded by our own time; a text is more than any number.
            db.execute(
                "UPDATE leases SET expires = ? WHERE key = ? AND expires > ?", (now + seconds, key, now + seconds)
            )
            db.execute("INSERT OR IGNORE INTO leases VALUES (?, ?, ?)", (key, owner, now + seconds))
            (holder,) = db.execute(f"SELECT {_OWNER} FROM leases WHERE key = ?", (key,)).fetchone()  # noqa: S608 (a constant)
            return _text(holder)

        return await self._change(work)

    async def renew(self, key: bytes, owner: str, seconds: float) -> bool:
        now = self._clock()
        sql = "UPDATE leases SET expires = ? WHERE key = ? AND owner = ? AND expires > ?"
        return await self._change(lambda db: db.execute(sql, (now + seconds, key, owner, now)).rowcount > 0)

    async def release(self, key: bytes, owner: str) -> None:
        ended = self._clock() + ENDED_SECONDS

        def work(db: sqlite3.Connection) -> None:
            db.execute(f"DELETE FROM leases WHERE key = ? AND {_OWNER} = ?", (key, _bytes(owner)))  # noqa: S608 (as above)
            if owner.isascii():  # else another program wrote it, and it has no records
                records = (ended, key, records_name(owner, COMPUTATION))
                db.execute("UPDATE records SET expires = ? WHERE key = ? AND owner = ?", records)

        await self._change(work)


def records_name(owner: str, part: str) -> str:
    """Return the name under which a part of a holder's records stands."""
    return f"{part} of {owner}"


def _text(holder: bytes) -> str:
    """Return an owner, also one that is no text: it is told from others, and released, like any."""
    return holder.decode(errors="surrogateescape")


def _bytes(owner: str) -> bytes:
    return owner.encode(errors="surrogateescape")
