"""Operations at one Redis server: read a hash, add to the totals, and go through its keys a page at a time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from sayonce.stores.redis.names import PREFIX, TOTALS
from sayonce.stores.redis.script import Script

BEYOND: Final = {
    b"fields": "has more than {fields:,} fields",
    b"bytes": "has more than {total_bytes:,} bytes",
}
"""The answers of ``table.lua`` for a table that is too large."""
_ENTRY: Final = re.compile(rf"{PREFIX}\{{[0-9a-f]{{64}}\}}".encode())
_SCANNED_AT_ONCE: Final = 1000
_TABLE: Final = Script("table", list[bytes])
_NO_NUMBER: Final = ("not a float", "NaN or Infinity", "not a valid float")


async def read_hash(redis: Any, *, hash_name: str, arguments: tuple[int, ...]) -> dict[str, bytes] | bytes:
    """Return a hash, or why it is not read."""
    match await _TABLE(redis, [hash_name], *arguments):
        case [why] if why in BEYOND:
            return why
        case found:
            pairs = zip(found[::2], found[1::2], strict=True)
            return {name.decode(errors="surrogateescape"): value for name, value in pairs}


async def _scan(redis: Any, cursor: int) -> tuple[int, list[bytes]]:
    cursor, found = await redis.scan(cursor, match=f"{PREFIX}{{*}}", count=_SCANNED_AT_ONCE)
    return cursor, [name for name in found if _ENTRY.fullmatch(name)]


async def clear_page(redis: Any, *, cursor: int) -> tuple[int, int]:
    """Remove a page of entries, each by a command of its own: a Cluster's lie in different slots."""
    cursor, names = await _scan(redis, cursor)
    async with redis.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.unlink(name)
        return cursor, sum(await pipeline.execute())


async def read_heads(redis: Any, *, cursor: int, length: int) -> tuple[int, list[bytes]]:
    cursor, names = await _scan(redis, cursor)
    async with redis.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.getrange(name, 0, length - 1)
        heads = await pipeline.execute(raise_on_error=False)  # one of another type is none of ours
    return cursor, [head for head in heads if isinstance(head, bytes) and head]


async def read_figures(redis: Any) -> tuple[int, int, int]:
    async with redis.pipeline(transaction=False) as pipeline:
        entries, memory = await pipeline.dbsize().info("memory").execute()
    return int(entries), int(memory["used_memory"]), int(memory["maxmemory"])


async def add_to_totals(redis: Any, *, deltas: Mapping[str, float]) -> None:
    async with redis.pipeline(transaction=True) as pipeline:
        for name, delta in deltas.items():
            pipeline.hincrbyfloat(TOTALS, name, delta)
        added = await pipeline.execute(raise_on_error=False)
    for (name, delta), answer in zip(deltas.items(), added, strict=True):
        if not isinstance(answer, Exception):
            continue
        if not any(what in str(answer) for what in _NO_NUMBER):
            raise answer
        await redis.hset(TOTALS, name, delta)  # a total that is no number begins again, and costs no other
