"""Read recorded traces, for the simulator."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from sayonce.core.outcome import Outcome
from sayonce.errors import ConfigError
from sayonce.observe.simulate import Access
from sayonce.observe.trace import HEADER, VALUE_BYTES

Tier = Literal["memory", "store"]

_GZIP: Final = b"\x1f\x8b"
_REUSED: Final = (Outcome.HIT.value, Outcome.JOINED.value)
_OUTCOMES: Final = frozenset(outcome.value for outcome in Outcome)


class Trace(msgspec.Struct):
    """What was recorded: the requests in the order of their times, and how they were answered then."""

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
        time, value, memory_bytes, store_bytes, cost, outcome, _ = line.rstrip("\n").split(",")
        access = Access(
            float(time), bytes.fromhex(value), int(memory_bytes if tier == "memory" else store_bytes), float(cost)
        )
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


def _makes_sense(access: Access) -> bool:
    numbers = math.isfinite(access.time) and math.isfinite(access.cost_seconds)
    return numbers and access.cost_seconds >= 0 <= access.size_bytes and len(access.key) == VALUE_BYTES
