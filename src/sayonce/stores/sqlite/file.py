"""A SQLite file under its name: which file that is now, and how it is moved to another name."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

Identity = tuple[int, int]
"""Device and inode, which tell a file from any other that gets its name."""


def identity(path: str | Path) -> Identity | None:
    """Return which file a name stands for; None when there is none, or its directory cannot be entered any more."""
    try:
        facts = os.stat(path)  # noqa: PTH116 (asked at every write, and much quicker)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def log_of(path: Path) -> Path:
    """Return where SQLite keeps the write-ahead log of a file."""
    return path.with_name(f"{path.name}-wal")


def index_of(path: Path) -> Path:
    """Return where SQLite keeps the index of that log, which all processes share."""
    return path.with_name(f"{path.name}-shm")


def drop_log(path: Path) -> None:
    """Remove the log of a file that is not there any more: SQLite would write it into the next file of that name."""
    log_of(path).unlink(missing_ok=True)
    index_of(path).unlink(missing_ok=True)


def set_aside(path: Path, why: str) -> Path:
    """Move a file, and its log, to another name beside it; return the name."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    kept = path.with_name(f"{path.name}.{why}-{moment}")
    # The log under the name that SQLite looks for, as the last commits may be in it alone; its index is made anew.
    with suppress(FileNotFoundError):
        log_of(path).rename(log_of(kept))
    index_of(path).unlink(missing_ok=True)
    path.rename(kept)
    return kept


def damaged_beside(path: Path) -> list[Path]:
    """Return the damaged files that were set aside."""
    found = path.parent.glob(f"{path.name}.damaged-*")
    return sorted(file for file in found if not file.name.endswith(("-wal", "-shm")))


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold the lock under which the file is made or changes its name: the directory, so that nothing is left behind."""
    try:
        directory = os.open(path.parent, os.O_RDONLY)
    except OSError:  # missing, which is told when the file is made; or not readable
        yield
        return
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)
