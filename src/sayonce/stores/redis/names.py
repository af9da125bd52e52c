"""The names of keys in Redis: those of one object share a hash tag, and so a server."""

from __future__ import annotations

from typing import Final

LAYOUT: Final = 2
"""Raised when a release that knows the former layout must not read what this one writes, nor overwrite it."""
PREFIX: Final = f"sayonce:{LAYOUT}:"
"""With the version of the layout: keys of another version are neither read nor overwritten."""
TOTALS: Final = f"{PREFIX}{{totals}}"
"""The hash of the lasting counters."""


def name_of(key: bytes) -> str:
    """Return the name of a digest's entry; the braces make the digest its hash tag."""
    return f"{PREFIX}{{{key.hex()}}}"


def table_name(table: str) -> str:
    """Return the name of a table's hash."""
    return f"{PREFIX}{{book:{table}}}"


def lease_name(key: bytes) -> str:
    """Return the name of the lease on a key."""
    return f"{name_of(key)}:lease"


def records_name(key: bytes, part: str, owner: str) -> str:
    """Return the name of a part of the records of a lease's holder."""
    return f"{name_of(key)}:{part}:{owner}"
