"""Our SQLite store beside diskcache: what a read costs an event loop, and a file that was removed under it."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import uvloop

from bench.common import median
from bench.features import Read, rate
from bench.own_parts.common import ROUNDS, cases
from sayonce.core.envelope import Entry, Sealer
from sayonce.core.key import Secret
from sayonce.stores import open_store
from sayonce.stores.base import Store

KEYS = {"1 kB": (os.urandom(32), os.urandom(1024)), "67 kB": (os.urandom(32), os.urandom(67_000))}


def _store(path: Path) -> Store:
    store = open_store(f"sqlite:///{path}", sealer=Sealer(Secret(b"benchmark")), budget_seconds=5)
    assert store is not None
    return store


def _entry(key: bytes, body: bytes) -> Entry:
    now = time.time()
    return Entry(key=key, body=body, media_type="audio/mpeg", created=now, expires=now + 3600)


async def _costs(directory: Path) -> dict[str, dict[str, object]]:
    store = _store(directory / "ours.db")
    await store.open()
    sides: dict[str, dict[str, Read]] = {"ours": {}}
    for size, (key, body) in KEYS.items():
        await store.put(_entry(key, body))
        sides["ours"][size] = lambda key=key: store.get(key)
    if find_spec("diskcache"):
        from diskcache import Cache

        cache = Cache(directory / "theirs")
        for size, (key, body) in KEYS.items():
            cache.set(key, body)
            sides.setdefault("diskcache", {})[size] = lambda key=key: asyncio.to_thread(cache.get, key)
    found = defaultdict(list)
    for _ in range(ROUNDS):
        for side, reads in sides.items():
            for size, read in reads.items():
                found[size, side].append((await rate(read, 16, 0.3))["cpu_us"])
    await store.close()
    return {f"a read of {size}, 16 tasks, µs": {side: median(found[size, side]) for side in sides} for size in KEYS}


async def _our_removed(directory: Path) -> str:
    """Remove the file while two instances have it open in turn, and return whether they still share what is written."""
    first, second = _store(directory / "removed.db"), _store(directory / "removed.db")
    await first.open()
    for path in directory.glob("removed.db*"):
        path.unlink()
    await second.open()
    key, body = KEYS["1 kB"]
    await first.put(_entry(key, body))
    found = await second.get(key)
    await first.close()
    await second.close()
    return "found" if found else "lost"


def _their_removed(directory: Path) -> str:
    from diskcache import Cache

    first = Cache(directory / "removed")
    first.set("before", b"")
    for path in (directory / "removed").glob("cache.db*"):
        path.unlink()
    second = Cache(directory / "removed")
    try:
        first.set(*KEYS["1 kB"])
    except Exception as error:  # noqa: BLE001 (it is what is shown)
        return f"{type(error).__name__}"
    return "found" if second.get(KEYS["1 kB"][0]) else "lost"


def compare() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        rows = uvloop.run(_costs(directory))
        removed: dict[str, object] = {"ours": uvloop.run(_our_removed(directory))}
        if find_spec("diskcache"):
            removed["diskcache"] = _their_removed(directory)
        rows["written after the file was removed, read by another instance"] = removed
    cases("SQLite", rows)
    return rows
