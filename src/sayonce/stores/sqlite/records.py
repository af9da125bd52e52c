"""Records between the processes of one machine, as rows of the store's file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from sayonce.core.clock import Clock
from sayonce.stores.records import READ_BYTES, READ_RECORDS, RECORD_BYTES, RECORDS_SECONDS, Question, Records, Sighting
from sayonce.stores.sqlite.leases import Run, records_name


class SQLiteRecords(Records):
    """``change`` runs work in a transaction on the writer, ``read_with`` on the reader, both off the event loop."""

    def __init__(self, change: Run, read_with: Run, clock: Clock) -> None:
        self._change = change
        self._read_with = read_with
        self._clock = clock

    async def publish(self, key: bytes, owner: str, part: str, records: Sequence[bytes]) -> None:
        expires = self._clock() + RECORDS_SECONDS
        rows = [(key, records_name(owner, part), expires, record) for record in records]
        sql = "INSERT INTO records (key, owner, expires, record) VALUES (?, ?, ?, ?)"
        await self._change(lambda db: db.executemany(sql, rows))

    async def read(self, questions: Sequence[Question]) -> Sequence[Sighting]:
        now = self._clock()

        def work(db: sqlite3.Connection) -> list[Sighting]:
            return [_sighting(db, question, now) for question in questions]

        return await self._read_with(work)


def _sighting(db: sqlite3.Connection, question: Question, now: float) -> Sighting:
    # The lease first: once it is gone, no further record comes.
    held = db.execute(
        "SELECT 1 FROM leases WHERE key = ? AND owner = ? AND expires > ?", (question.key, question.owner, now)
    ).fetchone()
    name = records_name(question.owner, question.part)
    found = db.execute(
        "SELECT id, CASE WHEN length(record) <= ? THEN CAST(record AS BLOB) ELSE x'' END"
        " FROM records WHERE key = ? AND owner = ? AND id > ? ORDER BY id LIMIT ?",
        (RECORD_BYTES, question.key, name, int(question.position or 0), READ_RECORDS),
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
