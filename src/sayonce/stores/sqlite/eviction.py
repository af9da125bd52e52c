"""The order of eviction in a SQLite file: that of ``core.eviction``, kept in columns so that all processes share it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

from sayonce.core.doorkeeper import Doorkeeper
from sayonce.core.eviction import MAX_USES, PolicyName, worth
from sayonce.errors import Failure, StoreError
from sayonce.stores.sqlite.space import Space

_NOTE: Final = f"""
    UPDATE entries SET used = max(used, :used), uses = uses + :count,
        priority = (SELECT age FROM usage) + min(uses + :count, {MAX_USES}) * worth
    WHERE key = :key
"""  # noqa: S608 (a constant)
_ADD: Final = """
    INSERT INTO entries (key, expires, used, size, uses, worth, priority)
    VALUES (:key, :expires, :used, :size, :uses, :worth, :priority)
"""
_ORDERS: Final[dict[PolicyName, str]] = {"gdsf": "priority, used, id", "lru": "used, id"}


class Eviction:
    """Adds entries to the index and keeps it within its bound; every method runs within the caller's transaction.

    The columns of both orders are kept, so that a file may be opened with another policy. Each process remembers for
    itself which keys it has seen.
    """

    def __init__(self, policy: PolicyName, space: Space) -> None:
        self._space = space
        self._refuses = policy == "gdsf"
        self._lowest = f"SELECT id, size, priority FROM entries ORDER BY {_ORDERS[policy]}"  # noqa: S608 (constants)
        self._doorkeeper = Doorkeeper()

    @staticmethod
    def note(db: sqlite3.Connection, uses: Iterable[tuple[bytes, int, float]]) -> None:
        """Note how often keys were read and when last."""
        db.executemany(_NOTE, [{"key": key, "count": count, "used": used} for key, count, used in uses])

    def add(
        self, db: sqlite3.Connection, key: bytes, size: int, *, cost_seconds: float, expires: float, now: float
    ) -> int | None:
        """Replace the key's older entry, making room; return its row, or None when it is not kept."""
        seen = self._doorkeeper.seen(key)
        older = db.execute("SELECT uses FROM entries WHERE key = ?", (key,)).fetchone()
        db.execute("DELETE FROM entries WHERE key = ?", (key,))
        if size > self._space.max_bytes:
            return None
        uses, saves = older[0] + 1 if older else int(seen), worth(size, cost_seconds)
        _, used_bytes, age = usage(db)
        priority = age + min(uses, MAX_USES) * saves
        if not self._make_room(db, self._space.excess(db, used_bytes, size), priority):
            return None
        row = {"key": key, "expires": expires, "used": now, "size": size, "uses": uses, "worth": saves}
        return db.execute(_ADD, row | {"priority": priority}).lastrowid

    def _make_room(self, db: sqlite3.Connection, excess: int, priority: float) -> bool:
        """Evict the lowest until there is no excess; evict nothing when one that is worth more would have to go."""
        if excess <= 0:
            return True
        victims: list[tuple[int]] = []
        lowest = highest = priority
        for victim, size, highest in db.execute(self._lowest):
            lowest = min(lowest, highest)
            if self._refuses and highest > priority:
                _age(db, lowest)  # refusing ages like evicting would
                return False
            victims.append((victim,))
            excess -= size
            if excess <= 0:
                break
        db.executemany("DELETE FROM entries WHERE id = ?", victims)
        _age(db, highest)
        return True


def usage(db: sqlite3.Connection) -> tuple[int, int, float]:
    """Return the figures of the whole file: entries, their bytes, and the priority of the last that was evicted.

    Raises:
        StoreError: the file is damaged.

    """
    row = db.execute("SELECT entries, bytes, age FROM usage WHERE id = 1").fetchone()
    if row is None or not all(isinstance(figure, int | float) for figure in row):
        raise StoreError("the figures of the file cannot be read", failure=Failure.DAMAGED)
    entries, used_bytes, age = row
    return entries, used_bytes, age


def _age(db: sqlite3.Connection, priority: float) -> None:
    db.execute("UPDATE usage SET age = max(age, ?)", (priority,))
