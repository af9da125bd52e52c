"""What limited space is spent on: the share of compute seconds each policy saves, and what an operation costs.

python bench/eviction.py
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sayonce.core.eviction import EvictionPolicy, PolicyName, new_policy
from sayonce.observe.simulate import footprint, reference_trace, simulate
from sayonce.stores.sqlite_eviction import Eviction

POLICIES: tuple[PolicyName, ...] = ("lru", "gdsf")
SHAPES: dict[str, dict[str, Any]] = {
    "reference": {},
    "flat (skew 0.7), drift 20 %": {"skew": 0.7, "drift": 0.2},
    "steep (skew 1.1), few one-off texts": {"skew": 1.1, "one_off_share": 0.05},
    "every phrase new every day": {"drift": 1.0},
}
PERCENTS = (0.5, 1, 2, 5, 10, 20, 100)
ENTRIES = (10**3, 10**5, 10**6)
OPERATIONS = 20_000
SIZE = 1000


def shares() -> Table:
    table = Table("trace", "footprint", "policy", *(f"{percent:g} %" for percent in PERCENTS), title="compute saved")
    for name, shape in SHAPES.items():
        trace = list(reference_trace(**shape))
        whole = footprint(trace)
        for policy in POLICIES:
            results = (simulate(trace, policy, int(whole * percent / 100)) for percent in PERCENTS)
            saved = [f"{result.saved_share:.3f}" for result in results]
            table.add_row(name, f"{whole / 1e9:.1f} GB", policy, *saved)
    return table


def costs() -> Table:
    table = Table("tier", "policy", "entries", "get, hit", "put, evicting", "put, first seen", title="µs per operation")
    for policy in POLICIES:
        for entries in ENTRIES:
            table.add_row("memory", policy, f"{entries:,}", *memory_costs(policy, entries))
    for policy in POLICIES:
        for entries in ENTRIES:
            table.add_row("sqlite's index", policy, f"{entries:,}", *sqlite_costs(policy, entries))
    return table


def memory_costs(name: PolicyName, entries: int) -> Sequence[str]:
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


def sqlite_costs(name: PolicyName, entries: int) -> Sequence[str]:
    """Time the index alone: without bodies, and in one transaction, so that neither disk nor commit is measured."""
    with tempfile.TemporaryDirectory() as directory:
        db = sqlite3.connect(Path(directory) / "clips.db", isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(files("sayonce.stores").joinpath("schema.sql").read_text())
        eviction = Eviction(name, SIZE * entries)
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
    return f"{note} (noted)", again, first


def timed(work: Callable[[bytes], object], keys: Iterable[bytes]) -> str:
    """Return the median over ten parts, as other work on the machine disturbs some of them."""
    keys = list(keys)
    part = max(1, len(keys) // 10)
    taken = []
    for start in range(0, len(keys), part):
        some = keys[start : start + part]
        began = time.perf_counter()
        for key in some:
            work(key)
        taken.append((time.perf_counter() - began) / len(some))
    return f"{sorted(taken)[len(taken) // 2] * 1e6:.2f}"


if __name__ == "__main__":
    console = Console(width=140)
    console.print(shares())
    console.print(costs())
