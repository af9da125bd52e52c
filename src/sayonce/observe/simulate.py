"""Replay requests against an eviction policy, a size and a time to live, before buying the memory.

The simulator drives the very classes that the stores use. It has no clock: the time is the trace's.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import accumulate
from random import Random
from typing import Final

import msgspec

from sayonce.core.envelope import OVERHEAD_BYTES
from sayonce.core.eviction import EvictionPolicy, PolicyName, new_policy

DAY_SECONDS: Final = 86_400.0
BYTES_PER_SECOND: Final = 24_000
"""FLAC of 24 kHz mono speech, about half of WAV."""


class Access(msgspec.Struct, frozen=True):
    """One request: its time, its value, the size of the value, and the cost of computing it.

    A value with a ``parent`` is derived from it for next to nothing: a clip in another format from its take.
    """

    time: float
    key: bytes
    size_bytes: int
    cost_seconds: float
    parent: bytes = b""
    parent_bytes: int = 0


class Result(msgspec.Struct, frozen=True):
    """The work of a cache on a trace."""

    requests: int
    hits: int
    compute_seconds: float
    """The cost of the misses."""
    saved_seconds: float
    """The cost that the hits saved."""
    peak_bytes: int
    evicted: int

    @property
    def hit_rate(self) -> float:
        return self.hits / self.requests if self.requests else 0.0

    @property
    def saved_share(self) -> float:
        """The share of all compute seconds that was saved."""
        total = self.saved_seconds + self.compute_seconds
        return self.saved_seconds / total if total else 0.0


def simulate(trace: Iterable[Access], policy: PolicyName, max_bytes: int, ttl_seconds: float | None = None) -> Result:
    """Return the savings of a cache of this size on a trace; the times of the trace must not go backwards."""
    kept: EvictionPolicy[float] = new_policy(policy, max_bytes)  # the values are when they expire
    ttl_seconds = math.inf if ttl_seconds is None else ttl_seconds
    requests = hits = peak_bytes = 0
    compute_seconds = saved_seconds = 0.0
    for access in trace:
        requests += 1
        expires = _fresh(kept, access.key, access.time)
        if expires is None and access.parent:
            expires = _fresh(kept, access.parent, access.time)
            if expires is not None:
                kept.put(access.key, expires, access.size_bytes)
        if expires is not None:
            hits += 1
            saved_seconds += access.cost_seconds
        else:
            compute_seconds += access.cost_seconds
            if access.parent:
                kept.put(access.parent, access.time + ttl_seconds, access.parent_bytes, access.cost_seconds)
            kept.put(access.key, access.time + ttl_seconds, access.size_bytes, access.cost_seconds)
        peak_bytes = max(peak_bytes, kept.used_bytes)
    return Result(requests, hits, compute_seconds, saved_seconds, peak_bytes, kept.evicted)


def _fresh(kept: EvictionPolicy[float], key: bytes, now: float) -> float | None:
    """Return when a value that is kept expires, if it has not."""
    expires = kept.get(key)
    if expires is not None and expires <= now:
        kept.discard(key)
        return None
    return expires


def footprint(trace: Iterable[Access]) -> int:
    """Return the bytes that every value of a trace takes together: a cache of this size evicts nothing."""
    sizes: dict[bytes, int] = {}
    for access in trace:
        sizes[access.key] = access.size_bytes
        if access.parent:
            sizes[access.parent] = access.parent_bytes
    return sum(sizes.values())


def reference_trace(
    requests: int = 250_000,
    seed: int = 1,
    *,
    phrases: int = 20_000,
    skew: float = 0.9,
    one_off_share: float = 0.2,
    drift: float = 0.05,
    days: int = 10,
) -> Iterator[Access]:
    """Make the requests of a speech service, the same ones for the same arguments.

    Args:
        requests: how many, evenly over the days.
        seed: of the random numbers.
        phrases: how many short texts are in use at a time (a median of 3 s of sound), their popularity following Zipf.
        skew: Zipf's exponent.
        one_off_share: the share of requests for long texts that nobody repeats (a median of 20 s of sound).
        drift: the share of phrases that each new day replaces, popular or not.
        days: how many the trace covers.

    A clip takes 24 kB a second; computing it takes 50 ms and a fifth of its duration, with noise of three tenths.

    """
    random = Random(seed)  # noqa: S311 (a workload, not a secret)
    speech = _Speech(random, seed)
    in_use = [speech.clip(median_seconds=3.0) for _ in range(phrases)]
    popularity = list(accumulate(rank**-skew for rank in range(1, phrases + 1)))
    day = 0
    for number in range(requests):
        time = number * days * DAY_SECONDS / requests
        while day < int(time // DAY_SECONDS):
            day += 1
            for rank in random.sample(range(phrases), round(phrases * drift)):
                in_use[rank] = speech.clip(median_seconds=3.0)
        if random.random() < one_off_share:
            clip = speech.clip(median_seconds=20.0)
        else:
            clip = in_use[bisect(popularity, random.random() * popularity[-1], hi=phrases - 1)]
        yield Access(time, *clip)


class _Speech:
    """Makes clips that were never heard before."""

    def __init__(self, random: Random, seed: int) -> None:
        self._random = random
        self._seed = seed
        self._made = 0

    def clip(self, median_seconds: float) -> tuple[bytes, int, float]:
        """Return the key, the bytes and the cost of a new clip."""
        self._made += 1
        key = blake2b(f"{self._seed}:{self._made}".encode(), digest_size=16).digest()
        duration = self._random.lognormvariate(math.log(median_seconds), 0.6)
        cost_seconds = 0.05 + 0.2 * duration * self._random.lognormvariate(0, 0.3)
        return key, int(duration * BYTES_PER_SECOND) + OVERHEAD_BYTES, cost_seconds
