"""Leases and records between the processes of one machine, as rows of the store's file."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from sayonce.core.clock import Clock
from sayonce.stores.leases import (
    COMPUTATION,
    ENDED_SECONDS,
    OWNER_CHARACTERS,
    READ_BYTES,
    READ_RECORDS,
    RECORD_BYTES,
    RECORDS_SECONDS,
    Coordinator,
    Question,
    Sighting,
)

Run = Callable[[Callable[[sqlite3.Connection], Any]], Awaitable[Any]]

_OWNER: Final = f"coalesce(substr(CAST(owner AS BLOB), 1, {OWNER_CHARACTERS}), x'')"
"""An owner as bytes, whatever was written: SQLite's columns take values of any type."""


class SQLiteCoordinator(Coordinator):
    """``change`` runs work in a transaction on the writer, ``read_with`` on the reader, both off the event loop."""

    def __init__(self, change: Run, read_with: Run, clock: Clock) -> None:
        self._change = change
        self._read_with = read_with
        self._clock = clock

    async def acquire(self, key: bytes, owner: str, seconds: float) -> str:
        now = self._clock()

        def work(db: sqlite3.Connection) -> str:
            db.execute("DELETE FROM records WHERE expires <= ?", (now,))
            db.execute("DELETE FROM leases WHERE key = ? AND expires <= ?", (key, now))
            # Whatever wrote it, a lease is bounded by its own time; a text is more than any number.
            db.execute(
                "UPDATE leases SET expires = ? WHERE key = ? AND expires > ?", (now + seconds, key, now + seconds)
            )
            db.execute("INSERT OR IGNORE INTO leases VALUES (?, ?, ?)", (key, owner, now + seconds))
            (holder,) = db.execute(f"SELECT {_OWNER} FROM leases WHERE key = ?", (key,)).fetchone()  # noqa: S608 (a constant)
            return _text(holder)

        return str(await self._change(work))

    async def renew(self, key: bytes, owner: str, seconds: float) -> bool:
        now = self._clock()
        sql = "UPDATE leases SET expires = ? WHERE key = ? AND owner = ? AND expires > ?"
        return bool(await self._change(lambda db: db.execute(sql, (now + seconds, key, owner, now)).rowcount))

    async def release(self, key: bytes, owner: str) -> None:
        ended = self._clock() + ENDED_SECONDS

        def work(db: sqlite3.Connection) -> None:
            db.execute(f"DELETE FROM leases WHERE key = ? AND {_OWNER} = ?", (key, _bytes(owner)))  # noqa: S608 (as above)
            if owner.isascii():  # else it is none of ours, and has no records
                records = (ended, key, _part(owner, COMPUTATION))
                db.execute("UPDATE records SET expires = ? WHERE key = ? AND owner = ?", records)

        await self._change(work)

    async def publish(self, key: bytes, owner: str, part: str, records: Sequence[bytes]) -> None:
        expires = self._clock() + RECORDS_SECONDS
        rows = [(key, _part(owner, part), expires, record) for record in records]
        sql = "INSERT INTO records (key, owner, expires, record) VALUES (?, ?, ?, ?)"
        await self._change(lambda db: db.executemany(sql, rows))

    async def read(self, questions: Sequence[Question]) -> Sequence[Sighting]:
        now = self._clock()

        def work(db: sqlite3.Connection) -> list[Sighting]:
            return [_sighting(db, question, now) for question in questions]

        sightings: list[Sighting] = await self._read_with(work)
        return sightings


def _part(owner: str, part: str) -> str:
    """Return under which name a part of a holder's records stands."""
    return f"{part} of {owner}"


def _text(holder: bytes) -> str:
    """Return an owner, also one that is no text: it is to be told from others, and to be removed."""
    return holder.decode(errors="surrogateescape")


def _bytes(owner: str) -> bytes:
    return owner.encode(errors="surrogateescape")


def _sighting(db: sqlite3.Connection, question: Question, now: float) -> Sighting:
    # The lease first: if it is gone, what is read after it is all that there will be.
    held = db.execute(
        "SELECT 1 FROM leases WHERE key = ? AND owner = ? AND expires > ?", (question.key, question.owner, now)
    ).fetchone()
    found = db.execute(
        "SELECT id, CASE WHEN length(record) <= ? THEN CAST(record AS BLOB) ELSE x'' END"
        " FROM records WHERE key = ? AND owner = ? AND id > ? ORDER BY id LIMIT ?",
        (RECORD_BYTES, question.key, _part(question.owner, question.part), int(question.position or 0), READ_RECORDS),
    )
    records: list[bytes] = []
    last, left_bytes = question.position, READ_BYTES
    for position, record in found:
        left_bytes -= len(record)
        if left_bytes < 0 and records:
            break
        records.append(record)
        last = str(position)
    found.close()
    return Sighting(held is not None, records, last)
