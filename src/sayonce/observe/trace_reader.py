"""Read recorded traces; the simulator replays them."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from sayonce.core.outcome import Outcome
from sayonce.errors import ConfigError
from sayonce.observe.simulate import Access
from sayonce.observe.trace import HEADER, VALUE_BYTES

Tier = Literal["memory", "store"]

_GZIP: Final = b"\x1f\x8b"
_REUSED: Final = tuple(outcome.value for outcome in Outcome if outcome.stored or outcome is Outcome.JOINED)
_OUTCOMES: Final = frozenset(outcome.value for outcome in Outcome)


class Trace(msgspec.Struct):
    """The recorded requests in the order of their times, and how they were answered."""

    accesses: list[Access] = []
    reused: int | None = None
    """Hits, and requests that joined a synthesis; None for requests that nobody has answered."""
    not_cacheable: int = 0
    """Requests with ``no-store``, which no cache answers; they are not among the accesses."""
    unreadable: int = 0
    """Lines that are no request: cut off, or of something else."""

    @property
    def hit_rate(self) -> float | None:
        return None if self.reused is None or not self.accesses else self.reused / len(self.accesses)


def read_traces(paths: Iterable[Path], tier: Tier = "store") -> Trace:
    """Return the requests of one or several files, with the sizes that they have in a tier.

    Raises:
        ConfigError: a file cannot be read, or is no trace.

    """
    trace = Trace(reused=0)
    for path in paths:
        for line in _lines(path):
            _take_in(trace, line, tier)
    trace.accesses.sort(key=lambda access: access.time)
    return trace


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            packed = file.read(len(_GZIP)) == _GZIP
        with (gzip.open if packed else open)(path, "rt", encoding="ascii", errors="replace") as lines:
            if next(lines, "").rstrip() != HEADER:
                raise ConfigError(f"{path}: is no trace of this version: its first line is not '{HEADER}'")
            yield from lines
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


def _take_in(trace: Trace, line: str, tier: Tier) -> None:
    if line.startswith("#"):
        return
    try:
        access, outcome = _parsed(line.rstrip("\n").split(","), tier)
    except ValueError:
        trace.unreadable += 1
        return
    if not _makes_sense(access) or outcome not in _OUTCOMES:
        trace.unreadable += 1
    elif outcome == Outcome.BYPASS:
        trace.not_cacheable += 1
    else:
        trace.accesses.append(access)
        trace.reused = (trace.reused or 0) + (outcome in _REUSED)


def _parsed(fields: Sequence[str], tier: Tier) -> tuple[Access, str]:
    """Return the request as a tier sees it: a clip that a store does not keep is its take there."""
    time, value, size, kept, take, take_size, cost, outcome, _ = fields
    key, size_bytes, parent, parent_bytes = bytes.fromhex(value), int(size), bytes.fromhex(take), int(take_size)
    if kept == "memory" and tier == "store":
        key, size_bytes, parent, parent_bytes = parent, parent_bytes, b"", 0
    return Access(float(time), key, size_bytes, float(cost), parent, parent_bytes), outcome


def _makes_sense(access: Access) -> bool:
    numbers = math.isfinite(access.time) and 0 <= access.cost_seconds < math.inf
    sizes = min(access.size_bytes, access.parent_bytes) >= 0
    return numbers and sizes and len(access.key) == VALUE_BYTES and len(access.parent) in (0, VALUE_BYTES)
