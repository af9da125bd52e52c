"""A store over Redis that is opened and closed, a password that a URL has to quote, and tables full of garbage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sayonce.core.envelope import Sealer
from sayonce.stores import open_store
from sayonce.stores.redis.names import table_name
from sayonce.stores.redis.store import RedisStore

PASSWORD = "pa/ss:wo@rd?#%"
QUOTED = "pa%2Fss%3Awo%40rd%3F%23%25"


@asynccontextmanager
async def opened(
    url: str, sealer: Sealer, *, budget_seconds: float = 5, clock: Callable[[], float]
) -> AsyncIterator[RedisStore]:
    store = open_store(url, sealer=sealer, budget_seconds=budget_seconds, clock=clock)
    assert isinstance(store, RedisStore)
    await store.open()
    await asyncio.wait([store._examining])  # its look at the settings, which has a connection of its own
    yield store
    await store.close()


def fill_table(client, table, fields):
    """Write so many fields of garbage into a table."""
    page = table_name(table)
    for start in range(0, fields, 5000):
        client.hset(page, mapping={f"garbage {number}": "x" for number in range(start, min(fields, start + 5000))})
