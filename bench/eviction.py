"""What limited space is spent on: the share of compute seconds each policy saves, and what an operation costs.

``python -m bench.eviction [--entries 1000 100000 1000000]``
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from bench.common import finish, median, table, verdict
from sayonce.core.eviction import EvictionPolicy, PolicyName, new_policy
from sayonce.observe.simulate import footprint, reference_trace, simulate
from sayonce.stores.sqlite.eviction import Eviction
from sayonce.stores.sqlite.schema import SCHEMA
from sayonce.stores.sqlite.space import Space

POLICIES: tuple[PolicyName, ...] = ("lru", "gdsf")
SHAPES: dict[str, dict[str, Any]] = {
    "reference": {},
    "flat (skew 0.7), drift 20 %": {"skew": 0.7, "drift": 0.2},
    "steep (skew 1.1), few one-off texts": {"skew": 1.1, "one_off_share": 0.05},
    "every phrase new every day": {"drift": 1.0},
}
PERCENTS = (0.5, 1, 2, 5, 10, 20, 100)
ENTRIES = [10**3, 10**5, 10**6]
OPERATIONS = 20_000
SIZE = 1000


def saved(shape: dict[str, Any]) -> tuple[int, dict[PolicyName, list[float]]]:
    """Return the bytes of a trace's every value, and the share of its compute seconds that each policy saves by size."""
    trace = list(reference_trace(**shape))
    whole = footprint(trace)
    sizes = [int(whole * percent / 100) for percent in PERCENTS]
    return whole, {policy: [simulate(trace, policy, size).saved_share for size in sizes] for policy in POLICIES}


def print_shares() -> dict[PolicyName, list[float]]:
    results = [saved(shape) for shape in SHAPES.values()]
    rows = [
        [name, f"{whole / 1e9:.1f} GB", policy, *(f"{share:.3f}" for share in shares[policy])]
        for name, (whole, shares) in zip(SHAPES, results, strict=True)
        for policy in POLICIES
    ]
    columns = ["trace", "footprint", "policy", *(f"{percent:g} %" for percent in PERCENTS)]
    table("Share of compute seconds saved, by space in percent of the footprint", columns, rows)
    return results[0][1]


def print_costs(sizes: Sequence[int]) -> None:
    columns = ["tier", "policy", "entries", "hit", "put, comes again", "put, comes first"]
    tiers = {"memory": memory_costs, "sqlite's index": sqlite_costs}
    rows = [
        [tier, policy, f"{entries:,}", *costs(policy, entries)]
        for tier, costs in tiers.items()
        for policy in POLICIES
        for entries in sizes
    ]
    table("µs per operation on full space; a hit in SQLite is noted, and written with the next put", columns, rows)


def memory_costs(name: PolicyName, entries: int) -> Sequence[float]:
    policy = filled(name, entries)
    some = list(islice(cycle(policy), 0, OPERATIONS * 7, 7))
    get = timed(policy.get, some)
    known = [os.urandom(32) for _ in range(OPERATIONS)]
    first = timed(lambda key: policy.put(key, key, SIZE, 0.3), known)
    again = timed(lambda key: policy.put(key, key, SIZE, 3.0), known)
    assert len(policy) <= entries
    return get, again, first


def filled(name: PolicyName, entries: int) -> EvictionPolicy[bytes]:
    policy: EvictionPolicy[bytes] = new_policy(name, SIZE * entries)
    for number in range(entries):
        policy.put(key := os.urandom(32), key, SIZE, 0.2 + number % 100 / 500)
    return policy


def sqlite_costs(name: PolicyName, entries: int) -> Sequence[float]:
    """Time the index alone: without bodies, and in one transaction, so that neither disk nor commit is measured."""
    with tempfile.TemporaryDirectory() as directory:
        db = sqlite3.connect(Path(directory) / "clips.db", isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(SCHEMA)
        eviction = Eviction(name, Space(Path(directory) / "clips.db", SIZE * entries))
        db.execute("BEGIN")

        def add(key: bytes, seconds: float = 0.3) -> None:
            eviction.add(db, key, SIZE, cost_seconds=seconds, expires=2e9, now=time.time())

        for number in range(entries):
            add(os.urandom(32), 0.2 + number % 100 / 500)
        keys = [key for (key,) in db.execute("SELECT key FROM entries ORDER BY random() LIMIT ?", (OPERATIONS,))]
        note = timed(lambda key: eviction.note(db, [(key, 1, time.time())]), keys)
        known = [os.urandom(32) for _ in range(OPERATIONS)]
        first = timed(add, known)
        again = timed(lambda key: add(key, 3.0), known)
        db.close()
    return note, again, first


def timed(work: Callable[[bytes], object], keys: Iterable[bytes]) -> float:
    """Return the median microseconds of ten parts, as other work on the machine disturbs some of them."""
    keys = list(keys)
    part = max(1, len(keys) // 10)
    taken = []
    for start in range(0, len(keys), part):
        some = keys[start : start + part]
        began = time.perf_counter()
        for key in some:
            work(key)
        taken.append((time.perf_counter() - began) / len(some))
    return median(taken) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, nargs="+", default=ENTRIES)
    print_costs(parser.parse_args().entries)
    shares = print_shares()
    print()
    for percent in (1, 5):
        gdsf, lru = (shares[policy][PERCENTS.index(percent)] for policy in ("gdsf", "lru"))
        verdict(f"GDSF saves this many times as much as LRU at {percent} %", gdsf / lru, target=1)
    by_percent: dict[str, Any] = {
        policy: dict(zip(map(str, PERCENTS), shares[policy], strict=True)) for policy in shares
    }
    finish("eviction", {"saved_share": by_percent})


if __name__ == "__main__":
    main()
