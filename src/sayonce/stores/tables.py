"""The bounds of tables, where other programs may write to them too."""

from __future__ import annotations

from typing import Final, NamedTuple


class TableBound(NamedTuple):
    """The most that a table may hold.

    A longer value is read as an empty one, which is no record of this program; a larger table is not read at all.
    """

    fields: int
    value_bytes: int
    total_bytes: int


FIELD_BYTES: Final = 4_096
"""Of a field's name; a longer one is left out."""
BOUNDS: Final = {
    "purges": TableBound(20_000, 4_096, 16_000_000),
    "voices": TableBound(200_000, 100_000, 64_000_000),
    "voice clips": TableBound(200_000, 10_100_000, 64_000_000),
    "voice copies": TableBound(20_000, 4_096, 16_000_000),
}
_BOUND: Final = TableBound(10_000, 10_000_000, 64_000_000)


def bound_of(table: str) -> TableBound:
    """Return the bound of a table: far more than this program writes into it."""
    return BOUNDS.get(table, _BOUND)
