"""The schema of a file. Another program's trigger or view would change the meaning of our statements."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from functools import cache
from importlib.resources import files
from typing import Final

SCHEMA: Final = files(__package__).joinpath("schema.sql").read_text()
_OF_SQLITE: Final = ("sqlite_stat1", "sqlite_stat4")
"""Made by ANALYZE, which an operator may run."""
_SPACE: Final = re.compile(r"(--[^\n]*|\s)+")

Part = tuple[str, str, str]
"""A table, an index, a trigger or a view: which of them, its name, and the statement that makes it."""


def foreign_part(db: sqlite3.Connection) -> str | None:
    """Return a part of a file's schema that is not ours, or missing, or changed; None when it is as we make it."""
    kind, name, _ = min(_parts(db) ^ _ours(), default=(None, None, None))
    return None if kind is None else f"the {kind} {name!r}"


@cache
def _ours() -> frozenset[Part]:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(SCHEMA)
        return _parts(db)


def _parts(db: sqlite3.Connection) -> frozenset[Part]:
    rows = db.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL")  # else made by SQLite itself
    return frozenset((kind, name, _SPACE.sub(" ", sql)) for kind, name, sql in rows if name not in _OF_SQLITE)
