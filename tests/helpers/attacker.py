"""An attacker that can read and write a store and does not have the secret: it writes into Redis or the file itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import redis

from sayonce.stores.redis.names import name_of

FOREVER = 4e9
"""A moment that a test does not live to see, in seconds since the Unix epoch."""


class Attacker(Protocol):
    """What can be done to leases, records and entries from outside."""

    def lease(self, key: bytes) -> bytes | None: ...

    def plant_lease(self, key: bytes, owner: Any) -> None:
        """Write a lease that never ends."""

    def records(self, key: bytes, part: str, owner: str) -> list[bytes]: ...

    def plant_records(self, key: bytes, part: str, owner: str, records: Sequence[bytes]) -> None: ...

    def remove_records(self, key: bytes, part: str, owner: str) -> None: ...

    def entry(self, key: bytes) -> bytes | None: ...

    def plant_entry(self, key: bytes, sealed: bytes) -> None: ...


class RedisAttacker:
    """With a client of Redis."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def lease(self, key: bytes) -> bytes | None:
        return self.client.get(f"{name_of(key)}:lease")

    def plant_lease(self, key: bytes, owner: Any) -> None:
        self.client.set(f"{name_of(key)}:lease", owner)

    def records(self, key: bytes, part: str, owner: str) -> list[bytes]:
        return [fields[b"r"] for _, fields in self.client.xrange(f"{name_of(key)}:{part}:{owner}")]

    def plant_records(self, key: bytes, part: str, owner: str, records: Sequence[bytes]) -> None:
        with self.client.pipeline(transaction=False) as pipeline:
            for record in records:
                pipeline.xadd(f"{name_of(key)}:{part}:{owner}", {b"r": record})
            pipeline.execute()

    def remove_records(self, key: bytes, part: str, owner: str) -> None:
        self.client.delete(f"{name_of(key)}:{part}:{owner}")

    def entry(self, key: bytes) -> bytes | None:
        return self.client.get(name_of(key))

    def plant_entry(self, key: bytes, sealed: bytes) -> None:
        self.client.set(name_of(key), sealed, px=3_600_000)


class SQLiteAttacker:
    """With a connection to the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lease(self, key: bytes) -> bytes | None:
        found = self._run("SELECT CAST(owner AS BLOB) FROM leases WHERE key = ?", key)
        return found[0][0] if found else None

    def plant_lease(self, key: bytes, owner: Any) -> None:
        self._run("INSERT OR REPLACE INTO leases VALUES (?, ?, ?)", key, owner, FOREVER)

    def records(self, key: bytes, part: str, owner: str) -> list[bytes]:
        rows = self._run(
            "SELECT record FROM records WHERE key = ? AND owner = ? ORDER BY id", key, f"{part} of {owner}"
        )
        return [record for (record,) in rows]

    def plant_records(self, key: bytes, part: str, owner: str, records: Sequence[bytes]) -> None:
        rows = [(key, f"{part} of {owner}", FOREVER, record) for record in records]
        with closing(sqlite3.connect(self.path, timeout=5)) as db, db:
            db.executemany("INSERT INTO records (key, owner, expires, record) VALUES (?, ?, ?, ?)", rows)

    def remove_records(self, key: bytes, part: str, owner: str) -> None:
        self._run("DELETE FROM records WHERE key = ? AND owner = ?", key, f"{part} of {owner}")

    def entry(self, key: bytes) -> bytes | None:
        found = self._run("SELECT sealed FROM bodies JOIN entries USING (id) WHERE key = ?", key)
        return found[0][0] if found else None

    def plant_entry(self, key: bytes, sealed: bytes) -> None:
        self._run("UPDATE bodies SET sealed = ? WHERE id = (SELECT id FROM entries WHERE key = ?)", sealed, key)

    def _run(self, sql: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self.path, timeout=5)) as db, db:
            return db.execute(sql, values).fetchall()
