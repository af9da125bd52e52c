"""Leases and records between the processes of one machine, as rows of the store's file."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from sayonce.core.clock import Clock
from sayonce.stores.coordinator import ENDED_SECONDS, RECORDS_SECONDS, Coordinator, Question, Sighting

Run = Callable[[Callable[[sqlite3.Connection], Any]], Awaitable[Any]]

_READ_AT_ONCE: Final = 64


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
            db.execute("INSERT OR IGNORE INTO leases VALUES (?, ?, ?)", (key, owner, now + seconds))
            (holder,) = db.execute("SELECT owner FROM leases WHERE key = ?", (key,)).fetchone()
            return str(holder)

        return str(await self._change(work))

    async def renew(self, key: bytes, owner: str, seconds: float) -> bool:
        now = self._clock()
        sql = "UPDATE leases SET expires = ? WHERE key = ? AND owner = ? AND expires > ?"
        return bool(await self._change(lambda db: db.execute(sql, (now + seconds, key, owner, now)).rowcount))

    async def release(self, key: bytes, owner: str) -> None:
        ended = self._clock() + ENDED_SECONDS

        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM leases WHERE key = ? AND owner = ?", (key, owner))
            db.execute("UPDATE records SET expires = ? WHERE key = ? AND owner = ?", (ended, key, owner))

        await self._change(work)

    async def follow(self, key: bytes, owner: str) -> None:
        await self.publish(key, _follower_of(owner), [b""])

    async def followed(self, key: bytes, owner: str) -> bool:
        sql = "SELECT 1 FROM records WHERE key = ? AND owner = ? LIMIT 1"
        return await self._read_with(lambda db: db.execute(sql, (key, _follower_of(owner))).fetchone()) is not None

    async def publish(self, key: bytes, owner: str, records: Sequence[bytes]) -> None:
        expires = self._clock() + RECORDS_SECONDS
        rows = [(key, owner, expires, record) for record in records]
        sql = "INSERT INTO records (key, owner, expires, record) VALUES (?, ?, ?, ?)"
        await self._change(lambda db: db.executemany(sql, rows))

    async def read(self, questions: Sequence[Question]) -> Sequence[Sighting]:
        now = self._clock()

        def work(db: sqlite3.Connection) -> list[Sighting]:
            return [_sighting(db, question, now) for question in questions]

        sightings: list[Sighting] = await self._read_with(work)
        return sightings


def _follower_of(owner: str) -> str:
    """Return the name under which a holder's followers make themselves known."""
    return f"follower of {owner}"


def _sighting(db: sqlite3.Connection, question: Question, now: float) -> Sighting:
    # The lease first: if it is gone, what is read after it is all that there will be.
    held = db.execute(
        "SELECT 1 FROM leases WHERE key = ? AND owner = ? AND expires > ?", (question.key, question.owner, now)
    ).fetchone()
    found = db.execute(
        "SELECT id, record FROM records WHERE key = ? AND owner = ? AND id > ? ORDER BY id LIMIT ?",
        (question.key, question.owner, int(question.position or 0), _READ_AT_ONCE),
    ).fetchall()
    last = str(found[-1][0]) if found else question.position
    return Sighting(held is not None, [record for _, record in found], last)
