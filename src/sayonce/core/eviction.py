"""Which values to keep in limited space.

``LRU`` evicts what was used longest ago. A policy has ``get``, ``put``, ``discard``, ``clear`` and the figures, and is
told each value's size and what recomputing it would cost.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

V = TypeVar("V")


class LRU(Generic[V]):
    """A mapping bounded in bytes that evicts the least recently used value."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self.evicted = 0
        self._values: OrderedDict[bytes, tuple[V, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._values)

    def get(self, key: bytes) -> V | None:
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    def put(self, key: bytes, value: V, size_bytes: int, cost_seconds: float = 0.0) -> bool:  # noqa: ARG002 (LRU ignores cost)
        """Keep a value and return whether it fitted; one larger than the whole space is not kept."""
        self.discard(key)
        if size_bytes > self.max_bytes:
            return False
        self._values[key] = (value, size_bytes)
        self.used_bytes += size_bytes
        while self.used_bytes > self.max_bytes:
            _, (_, freed) = self._values.popitem(last=False)
            self.used_bytes -= freed
            self.evicted += 1
        return True

    def discard(self, key: bytes) -> bool:
        found = self._values.pop(key, None)
        if found is None:
            return False
        self.used_bytes -= found[1]
        return True

    def clear(self) -> None:
        self._values.clear()
        self.used_bytes = 0
