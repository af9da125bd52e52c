"""Which values to keep in limited space.

``LRU`` evicts what was used longest ago. ``GDSF`` evicts what saves the least: it weighs how often a value is used, how
long recomputing it takes and how many bytes it occupies. Both are mappings bounded in bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final, Generic, Literal, Protocol, TypeAlias, TypeVar

from sayonce.core.doorkeeper import Doorkeeper

V = TypeVar("V")

PolicyName: TypeAlias = Literal["gdsf", "lru"]

MAX_USES: Final = 15
"""Uses beyond which a value gains no more, so that an old favourite can be overtaken."""
MISS_SECONDS: Final = 0.001
"""The least cost of a miss, so that values of unknown or no cost are told apart by uses and size."""


class EvictionPolicy(Protocol[V]):
    """A mapping bounded in bytes that decides what stays; it is told each value's size and what recomputing it costs."""

    max_bytes: int
    used_bytes: int
    evicted: int
    """Values that had to make room for others."""

    def __len__(self) -> int: ...

    def __contains__(self, key: object) -> bool:
        """Whether there is a value for the key; to ask is no use of it."""

    def __iter__(self) -> Iterator[bytes]: ...

    def get(self, key: bytes) -> V | None:
        """Return a key's value and note that it was used."""
        ...

    def put(self, key: bytes, value: V, size_bytes: int, cost_seconds: float = 0.0) -> bool:
        """Keep a value in the place of the key's older one, and return whether it is kept."""
        ...

    def discard(self, key: bytes) -> bool:
        """Remove a key and return whether it was there."""
        ...

    def clear(self) -> None: ...


def new_policy(name: PolicyName, max_bytes: int) -> EvictionPolicy[V]:
    """Return an empty mapping that evicts by the policy of this name."""
    return GDSF(max_bytes) if name == "gdsf" else LRU(max_bytes)


def worth(size_bytes: int, cost_seconds: float) -> float:
    """Return what one use of a value saves: seconds per byte that it occupies."""
    return (cost_seconds + MISS_SECONDS) / max(size_bytes, 1)


class LRU(Generic[V]):
    """A mapping bounded in bytes that evicts the least recently used value."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self.evicted = 0
        self._values: OrderedDict[bytes, tuple[V, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._values)

    def get(self, key: bytes) -> V | None:
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    def put(self, key: bytes, value: V, size_bytes: int, cost_seconds: float = 0.0) -> bool:  # noqa: ARG002 (LRU ignores cost)
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


class _Node(Generic[V]):
    """A value and what its priority follows from."""

    __slots__ = ("age", "key", "size", "uses", "value", "worth")

    def __init__(self, key: bytes, value: V, size: int, worth: float, uses: int, age: float) -> None:
        self.key = key
        self.value = value
        self.size = size
        self.worth = worth
        self.uses = uses
        self.age = age

    def priority(self) -> float:
        return self.age + min(self.uses, MAX_USES) * self.worth


class GDSF(Generic[V]):
    """A mapping bounded in bytes that evicts what saves the least computing for its size.

    GreedyDual-Size-Frequency (Cherkasova 1998): a value's priority is ``age + uses x cost / size``, where ``age`` is the
    priority of the last eviction at the time of the value's last use; so what is no longer used is overtaken. Uses are
    counted beyond the first request: a value that a doorkeeper has not seen before has none, and pushes out only what
    is worth nothing either. A stream of texts that nobody repeats therefore displaces no phrase that is in use.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self.evicted = 0
        self._age = 0.0
        self._nodes: dict[bytes, _Node[V]] = {}
        # A heap of priorities as they were when pushed. They only grow, so the lowest is weighed again when it comes up,
        # and a use need not touch the heap. What was discarded stays until it comes up or the heap is made anew.
        self._heap: list[tuple[float, int, _Node[V]]] = []
        self._order = count()
        self._doorkeeper = Doorkeeper()

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, key: object) -> bool:
        return key in self._nodes

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._nodes)

    def get(self, key: bytes) -> V | None:
        node = self._nodes.get(key)
        if node is None:
            return None
        node.uses += 1
        node.age = self._age
        return node.value

    def put(self, key: bytes, value: V, size_bytes: int, cost_seconds: float = 0.0) -> bool:
        if size_bytes > self.max_bytes:
            self.discard(key)
            return False
        older = self._nodes.get(key)
        seen = self._doorkeeper.seen(key)
        uses = older.uses + 1 if older else int(seen)
        self.discard(key)
        node = _Node(key, value, size_bytes, worth(size_bytes, cost_seconds), uses, self._age)
        if not self._make_room(node):
            return False
        self._nodes[key] = node
        self.used_bytes += size_bytes
        self._push(node)
        return True

    def discard(self, key: bytes) -> bool:
        node = self._nodes.pop(key, None)
        if node is None:
            return False
        self.used_bytes -= node.size
        if len(self._heap) > 2 * len(self._nodes) + 64:
            self._heap = [entry for entry in self._heap if self._is_live(entry[2])]
            heapify(self._heap)
        return True

    def clear(self) -> None:
        self._nodes.clear()
        self._heap.clear()
        self.used_bytes = 0

    def _make_room(self, node: _Node[V]) -> bool:
        """Evict what is worth no more than a value until it fits, or nothing when that is not enough."""
        priority = node.priority()
        excess = self.used_bytes + node.size - self.max_bytes
        lowest: list[tuple[float, int, _Node[V]]] = []
        while excess > 0:
            lowest.append(self._pop_lowest())
            excess -= lowest[-1][2].size
            if lowest[-1][0] > priority:
                # Refusing ages like evicting would, or values of the past could stay for ever.
                self._age = min(priority, lowest[0][0])
                for ranked in lowest:
                    heappush(self._heap, ranked)
                return False
        for _, _, victim in lowest:
            self.discard(victim.key)
        if lowest:
            self._age = lowest[-1][0]
            self.evicted += len(lowest)
        return True

    def _push(self, node: _Node[V]) -> None:
        heappush(self._heap, (node.priority(), next(self._order), node))

    def _pop_lowest(self) -> tuple[float, int, _Node[V]]:
        while True:
            ranked = heappop(self._heap)
            priority, _, node = ranked
            if not self._is_live(node):
                continue
            if node.priority() == priority:
                return ranked
            self._push(node)

    def _is_live(self, node: _Node[V]) -> bool:
        return self._nodes.get(node.key) is node
