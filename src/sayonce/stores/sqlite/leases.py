"""Leases between the processes of one machine, as rows of the store's file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from sayonce.core.clock import Clock
from sayonce.core.envelope import Entry, Pointer, Refused
from sayonce.stores.leases import OWNER_CHARACTERS, Claimed, Leases
from sayonce.stores.records import COMPUTATION, ENDED_SECONDS

T = TypeVar("T")

_OWNER: Final = f"coalesce(substr(CAST(owner AS BLOB), 1, {OWNER_CHARACTERS}), x'')"
"""An owner as bytes, also where another program wrote a number: SQLite's columns take values of any type."""


class Run(Protocol):
    """Runs work on a connection, off the event loop."""

    async def __call__(self, work: Callable[[sqlite3.Connection], T]) -> T: ...


class SQLiteLeases(Leases):
    """``change`` runs work in a transaction on the writer, off the event loop.

    ``look`` reads an envelope there, and ``unseal`` opens it.
    """

    def __init__(
        self,
        change: Run,
        clock: Clock,
        look: Callable[[sqlite3.Connection, bytes], bytes | None],
        unseal: Callable[[bytes, bytes], Entry | Pointer | None],
    ) -> None:
        self._change = change
        self._clock = clock
        self._look = look
        self._unseal = unseal

    async def acquire(self, key: bytes, owner: str, seconds: float) -> str:
        return await self._change(self._acquiring(key, owner, seconds))

    async def claim(self, key: bytes, owner: str, seconds: float) -> Claimed:
        acquiring = self._acquiring(key, owner, seconds)

        def work(db: sqlite3.Connection) -> tuple[str, bytes | None]:
            holder = acquiring(db)
            return holder, self._look(db, key) if holder == owner else None

        holder, sealed = await self._change(work)
        if holder != owner:
            return Claimed(holder)
        if sealed is None:
            return Claimed(holder, looked=True)
        try:
            found = self._unseal(key, sealed)
        except Refused:
            return Claimed(holder)  # whoever looks again meets it
        return Claimed(holder) if isinstance(found, Pointer) else Claimed(holder, looked=True, entry=found)

    def _acquiring(self, key: bytes, owner: str, seconds: float) -> Callable[[sqlite3.Connection], str]:
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

        return work

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
