"""The file of a SQLite store from outside: its log, its disk, whether it is whole, what it knows of purges."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from tests.helpers.store_in_trouble import Stand

NEW = range(100, 120)


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def told(caplog: pytest.LogCaptureFixture, message: str) -> int:
    return sum(message in record.getMessage() for record in caplog.records)


def is_full(file: int) -> bool:
    try:
        os.write(file, bytes(4096))
    except OSError:
        return True
    return False


async def purges(stand: Stand) -> dict[str, bytes]:
    assert stand.cache.store is not None
    return await stand.cache.store.read_table("purges")


def checkpoint(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def whole(path: Path) -> bool:
    db = sqlite3.connect(path)
    (checked,) = db.execute("PRAGMA integrity_check").fetchone()
    db.close()
    return bool(checked == "ok")
