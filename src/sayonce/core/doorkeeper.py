"""Which keys were seen lately, in a fixed quarter of a megabyte: a Bloom filter in two generations."""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import Final

_BITS_PER_KEY: Final = 16
_POSITIONS: Final = struct.Struct("<4I")
"""Four bits that a key sets; with 16 bits a key, one unseen key in 400 passes for seen."""


class Doorkeeper:
    """Tells a key that comes again from one that comes for the first time (Einziger, Friedman and Manes 2017, TinyLFU).

    It remembers the last ``keys`` distinct keys at least, and twice as many at most: when the young generation is full
    it becomes the old one, and a new young one begins empty.
    """

    def __init__(self, keys: int = 65_536) -> None:
        self._keys = keys
        self._young = bytearray(keys * _BITS_PER_KEY // 8)
        self._old = bytearray(len(self._young))
        self._added = 0

    def seen(self, key: bytes) -> bool:
        """Remember a key and return whether it was known."""
        positions = _POSITIONS.unpack(blake2b(key, digest_size=_POSITIONS.size).digest())
        if _has(self._young, positions):
            return True
        known = _has(self._old, positions)
        if self._added == self._keys:
            self._young, self._old, self._added = bytearray(len(self._young)), self._young, 0
        for position in positions:
            self._young[(position >> 3) % len(self._young)] |= 1 << (position & 7)
        self._added += 1
        return known


def _has(bits: bytearray, positions: tuple[int, ...]) -> bool:
    # A plain loop: a generator would take twice as long.
    size = len(bits)
    for position in positions:  # noqa: SIM110
        if not bits[(position >> 3) % size] >> (position & 7) & 1:
            return False
    return True
